"""What `make links` found: exit 1 for a link that is dead; one that could not be reached is named and is no failure.

A machine without a network reaches nothing, and nothing is wrong with the documentation then.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path


def sorted_out(lines: Iterable[str]) -> tuple[list[str], list[str], list[str]]:
    """Links that work, that are dead (a server said so), and that were not reached; from Sphinx's output.json."""
    found: tuple[list[str], list[str], list[str]] = ([], [], [])
    for line in lines:
        link = json.loads(line)
        if link["status"] in ("working", "redirected"):
            found[0].append(link["uri"])
        elif link["status"] in ("broken", "timeout"):
            said = bool(re.match(r"4\d\d |Anchor ", link["info"]))
            found[1 if said else 2].append(f"{link['filename']}:{link['lineno']}: {link['uri']}  {link['info'][:80]}")
    return found


def main(path: str) -> int:
    """Print them; 1 where one is dead."""
    work, dead, not_reached = sorted_out(Path(path).read_text().splitlines())
    for name, links in (("dead", dead), ("not reached", not_reached)):
        for link in links:
            print(f"{name}: {link}")
    print(f"{len(work)} work, {len(dead)} dead, {len(not_reached)} not reached")
    return 1 if dead else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
