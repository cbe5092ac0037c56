"""A thin share of every sweep, each day; `make torture` takes all of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.torture import __main__ as driver
from tests.torture import crash, damage, disks, errors, inputs, kinds, powercut, together
from tests.torture.kinds import Job, Kind, Tally

THIN: list[tuple[Kind, int, int]] = [  # kind, each so-manieth job, each so-manieth point
    (crash.IN_PROCESS, 1, 120),
    (crash.BY_SIGNAL, 1, 30),
    (crash.TORN, 1, 30),
    (crash.AGAIN, 3, 40),
    (errors.ERRORS, 7, 160),
    (powercut.MODELLED, 1, 240),
    (disks.CUTS, 1, 120),
    (disks.NO_ROOM, 1, 6),
    (together.WRITERS, 1, 30),
    (together.LOCKS, 1, 10),
    (together.RUNNERS, 1, 60),
    (together.READERS, 1, 20),
    (together.ORPHANS, 1, 15),
    (inputs.HOSTILE, 1, 6),
    (inputs.GENERATED, 1, 50),
    (damage.DAMAGES, 1, 40),
]
SHARES = [
    pytest.param(job, stride, id=f"{kind.name}-{number}")
    for kind, every, stride in THIN
    for number, job in enumerate(kind.jobs)
    if number % every == 0
]


@pytest.mark.parametrize(("job", "stride"), SHARES)
def test_no_promise_is_broken(job: Job, stride: int, tmp_path: Path) -> None:
    tally = job(tmp_path / "job", stride)
    assert tally.skipped or tally.runs > 0
    assert tally.violations == ()


def test_a_violation_and_a_thin_sweep_fail_the_driver(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    outcomes = {"good": Tally(1, 5), "broken": Tally(1, 5, ("it broke",)), "thin": Tally(1, 4)}
    for name, tally in outcomes.items():
        monkeypatch.setattr(driver, "KINDS", (Kind(name, 5, ()),))
        monkeypatch.setattr(driver, "Tally", lambda tally=tally: tally)
        assert driver.main([]) == (0 if name == "good" else 1)
    shown = capsys.readouterr().out
    assert "! it broke" in shown
    assert "too few" in shown


def test_a_hunt_ends_with_the_first_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    assert kinds.tallied(9, iter([["one"], ["two"]])).runs == 2
    monkeypatch.setattr(kinds, "hunting", True)
    assert kinds.tallied(9, iter([["one"], ["two"]])).runs == 1
