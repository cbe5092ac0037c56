"""Killed at a point: the tree is the old or the new one, looks write nothing, the next commands recover.

In process a crash is an exception at the k-th system call and at every one after it, which no handler can get past;
the other half really dies, by SIGKILL in a forked child, before the k-th act of the one writer.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from migrator.engine import files
from migrator.errors import MigratorError
from tests.faults import killed_at, points
from tests.torture.kinds import Kind, Tally, in_order, tallied
from tests.torture.system import Call, Cut, system
from tests.torture.world import ACTIONS, LAYOUTS, PLAIN, World, recover


class Crash(BaseException):
    """The process is gone: nothing after this reaches the disk."""


def calls_of(act: Callable[[], object]) -> list[Call]:
    """Every mutating system call of an action that goes well."""
    seen: list[Call] = []
    with system(lambda name, path, args: seen.append((name, path, args))):
        act()
    return seen


class Crashing:
    """Before the k-th system call the process is gone; of a write, `part` of its bytes may have got through.

    `counts` tells of a call by name and path whether it counts.
    """

    def __init__(
        self,
        k: int,
        part: Callable[[int], int] | None = None,
        counts: Callable[[str, str], bool] = lambda name, path: True,
    ) -> None:
        self.k, self.part, self.counts = k, part, counts
        self.count = 0
        self.fired = False

    def __call__(self, name: str, path: str, args: tuple[Any, ...]) -> None:
        count = self.count
        if not self.fired and not self.counts(name, path):
            return
        self.count += 1
        if count < self.k:
            return
        self.fired = True
        if count == self.k and self.part and name == "write":
            raise Cut(self.part(len(args[1])), Crash())
        raise Crash


@contextmanager
def dying() -> Iterator[None]:
    """What a crash takes with it."""
    with suppress(Crash):
        yield


def crashed(act: Callable[[], object], k: int, part: Callable[[int], int] | None = None) -> bool:
    """Run an action that crashes before its k-th system call; False where it ended before."""
    crash = Crashing(k, part)
    with dying(), system(crash):
        act()
    return crash.fired


def told(world: World, where: str, found: list[str]) -> list[str]:
    """Violations with the place where the fault was."""
    return [f"{world.action.name}, {world.layout}, {where}: {what}" for what in found]


def sample(calls: list[Call], world: World, stride: int, offset: int = 0) -> list[int]:
    """Points to hit: each so-manieth of the build and of its removal (many calls alike), and all around them.

    With a large stride, for the everyday suite, what lies around them is thinned out as well.
    """
    rest = 1 if stride <= 12 else stride // 4
    steps = [stride if inside_a_build(path, world.work) else rest for _, path, _ in calls]
    return [k for k, step in enumerate(steps) if (k + offset) % step == 0] or [len(calls) // 2]


def inside_a_build(path: str, work: Path) -> bool:
    """Whether a call is about something within a new tree."""
    parts = Path(path).relative_to(work).parts
    return len(parts) > 3 if parts[:1] == ("b",) else len(parts) > 1 and parts[0].startswith("data.2")


def in_process(action: str, layout: str, base: Path, stride: int) -> Tally:
    """Each system call of an action."""
    return each_call(World(base, ACTIONS[action], layout), stride)


def with_workers(action: str, layout: str, base: Path, stride: int) -> Tally:
    """The same with two workers: what they do is theirs, and goes on until they see that their parent is gone."""
    return each_call(World(base, ACTIONS[action], layout, jobs=2), stride)


def each_call(world: World, stride: int) -> Tally:
    """Each system call that this process makes in the world's action."""
    calls = calls_of(world.act)
    chosen = sample(calls, world, stride, len(world.action.name))

    def runs() -> Iterator[list[str]]:
        for k in in_order(chosen):
            world.reset()
            fired = crashed(world.act, k)
            if world.jobs > 1 and not fired:  # which process does what is not the same each time
                continue
            found = [] if fired else ["the crash did not happen"]
            found += world.whole() + world.looks_write_nothing() + world.recovers()
            yield told(world, f"crash before call {k} {calls[k][:2]}", found)

    return tallied(len(calls), runs())


def by_signal(action: str, layout: str, base: Path, stride: int) -> Tally:
    """Each act of the writer, with a process that really dies."""
    world = World(base, ACTIONS[action], layout)
    acts = points(world.act)

    def runs() -> Iterator[list[str]]:
        for k in range(len(action) % min(stride, len(acts)), len(acts), stride):
            world.reset()
            found = [] if killed_at(k, world.act) else ["the kill did not happen"]
            found += world.whole() + world.recovers()
            yield told(world, f"killed before act {k} {acts[k]}", found)

    return tallied(len(acts), runs())


def torn(action: str, layout: str, base: Path, stride: int) -> Tally:
    """Each write of an action cut at no byte, at half of them and at all but one; then the process is gone."""
    world = World(base, ACTIONS[action], layout)
    calls = calls_of(world.act)
    writes = [k for k, (name, _, _) in enumerate(calls) if name == "write"]
    cuts: list[Callable[[int], int]] = [lambda n: 0, lambda n: n // 2, lambda n: max(n - 1, 0)]

    def runs() -> Iterator[list[str]]:
        for number, k in enumerate(writes):
            for part in cuts:
                if (number + cuts.index(part)) % stride:
                    continue
                world.reset()
                fired = crashed(world.act, k, part)
                found = [] if fired else ["the write was not cut"]
                found += world.whole() + world.recovers()
                yield told(world, f"write {k} torn: {calls[k][1]}", found)

    return tallied(len(writes) * len(cuts), runs())


def again(action: str, layout: str, base: Path, stride: int) -> Tally:
    """A crash at k, then one at j of the recovery from it: pairs of all that lies around the build."""
    world = World(base, ACTIONS[action], layout)
    calls = calls_of(world.act)
    first = sample(calls, world, 12 * stride, len(action))
    total = 0

    def runs() -> Iterator[list[str]]:
        nonlocal total
        for k in first:
            world.reset()
            crashed(world.act, k)
            world.keep("crashed")
            later = calls_of(lambda: recover(world.site()))
            total += len(later)
            chosen = sample(later, world, 12 * stride, k)
            for j in chosen[k % 4 :: 4] or chosen[:1]:
                world.reset("crashed")
                try:
                    fired = crashed(lambda: recover(world.site()), j)
                except MigratorError as error:
                    yield told(world, f"crash {k}, again {j}", [f"recovery refused: {error}"])
                    continue
                found = [] if fired else ["the second crash did not happen"]
                found += world.whole() + world.recovers()
                where = f"crash before call {k} {calls[k][:2]}, again before {j} {later[j][:2]}"
                yield told(world, where, found)

    tally = tallied(0, runs())
    return Tally(total, tally.runs, tally.violations, tally.seconds)


@contextmanager
def touching() -> Iterator[None]:
    """An exchange as xfs does it: both tops get the time of now."""
    real = files.exchange

    def exchange(a: str | Path, b: str | Path) -> None:
        real(a, b)
        os.utime(a)
        os.utime(b)

    files.exchange = exchange
    try:
        yield
    finally:
        files.exchange = real


def as_on_xfs(action: str, base: Path, stride: int) -> Tally:
    """The same where the exchange changes the trees' own times, which are to be as they were."""
    with touching():
        return in_process(action, PLAIN, base, stride)


CASES = [(action, layout) for action in ACTIONS for layout in LAYOUTS]
IN_PROCESS = Kind(
    "crash, in process",
    500,
    [partial(in_process, *case) for case in CASES] + [partial(as_on_xfs, name) for name in ("upgrade", "rollback")],
    3,
)
WORKERS = Kind("crash, with two workers", 60, [partial(with_workers, "upgrade", layout) for layout in LAYOUTS], 2)
BY_SIGNAL = Kind("crash, SIGKILL", 500, [partial(by_signal, *case) for case in CASES])
TORN = Kind("torn write", 300, [partial(torn, *case) for case in CASES])
AGAIN = Kind("crash in recovery", 2000, [partial(again, *case) for case in CASES])
