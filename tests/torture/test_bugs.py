"""The sweeps catch what they are for: each day a quarter of the deliberate bugs, `make torture` all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.torture.bugs import BUGS, Bug, caught


@pytest.mark.parametrize("bug", BUGS[::4], ids=lambda bug: bug.name)
def test_a_deliberate_bug_is_caught(bug: Bug, tmp_path: Path) -> None:
    assert caught(bug, tmp_path / "job") != []


def test_there_are_bugs_enough() -> None:
    assert len({bug.name for bug in BUGS}) >= 12
