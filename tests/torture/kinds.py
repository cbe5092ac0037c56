"""What a sweep is: jobs that each return a tally. A job is a plain function of a folder to work in and a stride."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

Job = Callable[[Path, int], "Tally"]


@dataclass(frozen=True)
class Tally:
    """What a sweep did: `points` were there to hit, `runs` were hit, `violations` are broken promises, in words."""

    points: int = 0
    runs: int = 0
    violations: tuple[str, ...] = ()
    seconds: float = 0.0
    skipped: str = ""
    left_out: int = 0  # jobs that were not begun, for want of time

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.points + other.points,
            self.runs + other.runs,
            self.violations + other.violations,
            self.seconds + other.seconds,
            self.skipped or other.skipped,
            self.left_out + other.left_out,
        )


@dataclass(frozen=True)
class Kind:
    """One line of the table. `stride` thins the whole sweep out so that it fits its time; 1 takes every point.

    What is `mandatory` may not be skipped where the machine has what it needs.
    """

    name: str
    target: int
    jobs: Sequence[Job]
    stride: int = 1
    mandatory: bool = False


hunting = False  # whether the first violation ends a sweep: when a deliberate bug is to be caught


def in_order(points: list[int]) -> list[int]:
    """The points as they are swept: the end first when a bug is hunted, since the switch lies there."""
    return points[::-1] if hunting else points


def tallied(points: int, runs: Iterator[list[str]]) -> Tally:
    """The tally of some runs, each of which yields what it found broken."""
    started = time.monotonic()
    count = 0
    violations: list[str] = []
    for found in runs:
        count += 1
        violations += found
        if hunting and violations:
            break
    return Tally(points, count, tuple(violations), time.monotonic() - started)


def scratch() -> Path:
    """A folder for the sweeps; in memory where there is such a place, since most of them make and remove files."""
    memory = Path("/dev/shm")
    return Path(tempfile.mkdtemp(prefix="torture-", dir=memory if os.access(memory, os.W_OK) else None))


def work(job: Job, stride: int) -> Tally:
    """One job in a process and a folder of its own; one that dies is a violation, and the others go on."""
    here, there = multiprocessing.Pipe(duplex=False)
    base = scratch()
    process = multiprocessing.get_context("spawn").Process(target=_answer, args=(job, base / "job", stride, there))
    process.start()
    there.close()
    try:
        tally: Tally = here.recv()
        return tally
    except EOFError:
        return Tally(violations=("the process of the sweep died",))
    finally:
        process.join()
        shutil.rmtree(base, ignore_errors=True)


def _answer(job: Job, base: Path, stride: int, pipe: Connection) -> None:
    try:
        pipe.send(job(base, stride))
    except Exception:  # noqa: BLE001 - a sweep that falls over has proven nothing
        pipe.send(Tally(violations=(f"the sweep itself failed: {traceback.format_exc()}",)))
