"""The sweeps catch what they are for: all of the deliberate bugs, each day."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from migrator import build, undo
from tests.torture.bugs import BUGS, Bug, caught


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_deliberate_bug_is_caught(bug: Bug, tmp_path: Path) -> None:
    assert caught(bug, tmp_path / "job") != []


def test_what_is_no_bug_is_not_caught_and_a_broken_one_is_told(tmp_path: Path) -> None:
    """Otherwise a bug that no longer fits the code would pass for one that is caught."""
    good = next(bug for bug in BUGS if bug.name == "rollback without verify")
    crash = next(bug for bug in BUGS if bug.name == "hard-linked tree")
    assert caught(replace(crash, patches=list), tmp_path / "none") == []
    with pytest.raises(TypeError):
        caught(replace(good, patches=lambda: [(undo, "require_sound", lambda: None)]), tmp_path / "odd")
    with pytest.raises(AssertionError, match="does not fit"):
        caught(replace(crash, patches=lambda: [(build.Building, "finish", lambda: None)]), tmp_path / "odder")


def test_there_are_bugs_enough() -> None:
    assert len({bug.name for bug in BUGS}) >= 12
