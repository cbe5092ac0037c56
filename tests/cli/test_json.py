"""What --json prints has the keys that docs/command-line.md tells, command by command, in that order."""

from __future__ import annotations

import re
from pathlib import Path

from tests.cli.conftest import Cli
from tests.test_docs import ROOT

ROW = re.compile(r"^\| `(?P<line>[^`]+) --json` \| (?P<keys>.*) \|$", re.MULTILINE)


def test_every_key_is_told(cli: Cli, root: Path) -> None:
    """The commands of the table, in its order, on one store: plan it, upgrade it, look, undo."""
    rows = ROW.findall((ROOT / "docs" / "command-line.md").read_text())
    assert len(rows) >= 14
    told = {line: re.findall("`([a-z_]+)`", keys) for line, keys in rows}
    found = {}
    for line in told:
        words = line.replace("OLD", "old-essay").split()
        answer = cli("--data-root", root, *words, "--json")
        assert answer.code == 0, (line, answer.err)
        found[line] = list(answer.json)
    assert found == told


def test_a_report_and_a_record_are_files_and_undo_works(cli: Cli, root: Path) -> None:
    kept = cli("--data-root", root, "plan", "--out", "kept", "--json").json
    assert Path(kept["report"]) == root.parent / "kept" / "report.html"
    done = cli("--data-root", root, "upgrade", "--yes", "--json").json
    assert all(Path(path).is_file() for path in (kept["report"], done["report"], done["record"]))
    assert cli(*done["undo"].split()[1:], "--yes").code == 0
