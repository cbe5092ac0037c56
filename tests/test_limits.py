"""Files of a size that no pipeline writes end in a result or in a finding, with memory that has a bound."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.test_crash import small_store

ROWS = 1_000_000


def _membership(root: Path) -> None:
    with (root / "cohorts/one/membership.csv").open("a") as file:
        file.writelines(f"draft,gone-{number}\n" for number in range(ROWS))


def _metadata(root: Path) -> None:
    """A hundred megabytes that are a valid document."""
    text = "x" * (100 << 20)
    (root / "gens/draft/a1/metadata.json").write_text(json.dumps({"combo_id": "c", "note": text}))


def _nested_list(root: Path) -> None:
    (root / "gens/draft/a1/metadata.json").write_text('{"a":' + "[" * 10_000_000 + "]" * 10_000_000 + "}")


CASES: dict[str, tuple[Callable[[Path], None], str, int]] = {  # what is written, what is found, MB of memory
    "a membership of a million unknown rows": (_membership, "unknown-member", 1500),
    "metadata of 100 MB": (_metadata, "invalid-json", 500),
    "metadata ten million deep": (_nested_list, "invalid-json", 500),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_huge_file_ends_in_an_answer_within_so_much_memory(case: str, tmp_path: Path) -> None:
    """The kernel gives the process no more than that: above it there would be a traceback or a kill, and no answer."""
    make, kind, limit = CASES[case]
    small_store(tmp_path / "data")
    make(tmp_path / "data")
    words = [sys.executable, "-m", "migrator", "--data-root", str(tmp_path / "data"), "plan", "--json"]
    limited = ["bash", "-c", f'ulimit -v {limit * 1024} && exec "$@"', "bash", *words]
    done = subprocess.run(limited, capture_output=True, text=True)
    assert done.returncode in (0, 4), done.stderr[-2000:]
    assert kind in {issue["kind"] for issue in json.loads(done.stdout)["issues"]}
