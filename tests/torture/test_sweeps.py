"""A thin share of every sweep, each day; `make torture` takes all of it."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest

from tests.torture import __main__ as driver
from tests.torture import below, crash, damage, disks, errors, inputs, kinds, machine, powercut, together
from tests.torture.kinds import Job, Kind, Tally
from tests.torture.system import path_of, system
from tests.torture.world import ACTIONS, World

THIN: list[tuple[Kind, int, int]] = [  # kind, each so-manieth job, each so-manieth point
    (crash.IN_PROCESS, 3, 120),
    (crash.BY_SIGNAL, 3, 30),
    (crash.WORKERS, 2, 100),
    (below.BELOW, 9, 200),
    (crash.TORN, 5, 30),
    (crash.AGAIN, 5, 40),
    (machine.COMMANDS, 5, 20),
    (errors.ERRORS, 15, 200),
    (powercut.MODELLED, 5, 240),
    (disks.CUTS, 11, 120),
    (disks.NO_ROOM, 5, 6),
    (together.WRITERS, 3, 40),
    (together.LOCKS, 5, 10),
    (together.RUNNERS, 1, 60),
    (together.READERS, 1, 20),
    (together.ORPHANS, 1, 15),
    (inputs.HOSTILE, 2, 12),
    (inputs.GENERATED, 3, 80),
    (damage.DAMAGES, 3, 60),
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


def test_both_ways_to_copy_are_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some texts are read ahead and copied by the kernel, some are read and written; each call is a point."""
    world = World(tmp_path / "job", ACTIONS["upgrade"])
    calls: list[str] = []
    by_kernel: list[str] = []
    real = os.copy_file_range

    def copy(source: int, target: int, count: int) -> int:
        by_kernel.append(path_of(target))
        return real(source, target, count)

    monkeypatch.setattr(os, "copy_file_range", copy)
    with system(lambda name, path, _: calls.append(path) if name == "write" else None):
        world.action.act(world.site())
    texts = {path for path in calls if path.endswith("parsed.txt")}
    assert set(by_kernel) < texts
    assert by_kernel
    assert by_kernel[0] in calls


OUTCOMES = {
    "good": (Tally(1, 5), 0, ""),
    "broken": (Tally(1, 5, ("it broke",)), 1, "! it broke"),
    "thin": (Tally(1, 4), 1, "too few"),
    "cut short": (Tally(1, 4, left_out=2), 0, "2 jobs left out for time"),
    "skipped": (Tally(skipped="no xfs"), 0, "skipped: no xfs"),
}


def driven(monkeypatch: pytest.MonkeyPatch, tally: Tally, *words: str, mandatory: bool = False) -> int:
    """The driver's answer where the only kind, of which five runs are wanted, came to this."""
    monkeypatch.setattr(driver, "KINDS", (Kind("one", 5, [partial(_answer, tally)], mandatory=mandatory),))
    return driver.main(words)


def _answer(tally: Tally, base: Path, stride: int) -> Tally:
    return tally


@pytest.mark.parametrize("name", OUTCOMES)
def test_a_violation_and_a_thin_sweep_fail_the_driver(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tally, code, shown = OUTCOMES[name]
    assert driven(monkeypatch, tally) == code
    assert shown in capsys.readouterr().out


def test_a_share_is_asked_for_runs_and_not_for_their_number(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert driven(monkeypatch, Tally(9, 1), "--share", "7") == 0
    assert "1 of 7 points" in capsys.readouterr().out
    assert driven(monkeypatch, Tally(9, 0), "--share", "7") == 1
    assert driven(monkeypatch, Tally(9, 5), "--minutes", "0") == 0
    assert "1 jobs left out for time" in capsys.readouterr().out


def test_what_is_mandatory_is_skipped_only_where_it_cannot_be_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    skipped = Tally(skipped="no mkfs.ext4")
    monkeypatch.setattr(driver.disks, "is_able", lambda: True)
    assert driven(monkeypatch, skipped, mandatory=True) == 1
    assert "had to be tried on this machine" in capsys.readouterr().out
    monkeypatch.setattr(driver.disks, "is_able", lambda: False)
    assert driven(monkeypatch, skipped, mandatory=True) == 0
    assert "NOT TRIED HERE: one" in capsys.readouterr().out


def test_a_hunt_ends_with_the_first_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    assert kinds.tallied(9, iter([["one"], ["two"]])).runs == 2
    monkeypatch.setattr(kinds, "hunting", True)
    assert kinds.tallied(9, iter([["one"], ["two"]])).runs == 1
