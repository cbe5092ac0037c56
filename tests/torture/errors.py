"""The operating system says no, at one system call or at all from there on: nothing is lost, and what is said is so."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from migrator.errors import CareNeeded, MigratorError
from migrator.site import Outcome
from tests.torture.crash import calls_of, sample, told
from tests.torture.kinds import Kind, Tally, in_order, tallied
from tests.torture.system import Call, system
from tests.torture.world import ACTIONS, LINKED, PLAIN, World

CODES = ("EIO", "ENOSPC", "EDQUOT", "EACCES", "EPERM", "EROFS", "EXDEV", "EMFILE", "EINVAL", "ENAMETOOLONG")


def _error(name: str) -> None:
    code = getattr(errno, name)
    raise OSError(code, os.strerror(code))


def _terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def _no_memory() -> NoReturn:
    raise MemoryError


def _interrupt() -> NoReturn:
    raise KeyboardInterrupt


FAULTS: dict[str, Callable[[], None]] = {name: partial(_error, name) for name in CODES} | {
    "KeyboardInterrupt": _interrupt,
    "SIGTERM": _terminate,
    "MemoryError": _no_memory,
}
DURABLE = ("fsync", "syncfs")


@dataclass
class Failing:
    """Fails the k-th system call, with `always` all after it too."""

    k: int
    fault: Callable[[], None]
    always: bool
    count: int = 0
    fired: bool = False

    def __call__(self, name: str, path: str, args: tuple[Any, ...]) -> None:
        hit = self.count >= self.k if self.always else self.count == self.k
        self.count += 1
        if hit:
            self.fired = True
            self.fault()


def _on_term(signum: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt  # as the command line does


def one_run(world: World, k: int, calls: list[Call], name: str, always: bool) -> list[str]:
    """One fault in one run, and whether what was said of it is so."""
    state = str(world.site().place.state)
    # what comes after the journal is gone is the copy of the mapping: told when it fails, and made later
    ended = k > max((place for place, (_, path, _) in enumerate(calls) if path == state), default=len(calls))
    world.reset()
    failing = Failing(k, FAULTS[name], always)
    failure: BaseException | None = None
    outcome: object = None
    open_files = len(os.listdir("/proc/self/fd"))
    try:
        with system(failing):
            outcome = world.act()
    except (MigratorError, OSError, KeyboardInterrupt, MemoryError) as error:
        failure = error
    found = [] if failing.fired else ["the fault did not happen"]
    found += world.whole()
    on_folder = calls[k - 1][0] == "open"  # only folders are opened for nothing but an fsync
    found += _said(world, calls[k], name, failure, outcome, ended, on_folder)
    failure = None
    if len(os.listdir("/proc/self/fd")) != open_files:
        found.append("a descriptor stays open")
    return found + world.recovers()


def _said(
    world: World,
    call: Call,
    name: str,
    failure: BaseException | None,
    outcome: object,
    ended: bool,
    on_folder: bool,
) -> list[str]:
    """The answer fits the state: a refusal means the old tree, success the new one, made durable."""
    if failure is None:
        status = outcome.status if isinstance(outcome, Outcome) else "done"
        unable = name == "EINVAL" and on_folder  # a file system that cannot fsync a folder says this
        if call[0] in DURABLE and not (ended or unable or world.is_old()):
            return [f"{status}, although a {call[0]} failed"]
        return [] if world.is_new() else [f"said {status}, and the tree is the old one"]
    if isinstance(failure, CareNeeded):
        return [] if failure.where and failure.hint else [f"care is needed, but not where or what to do: {failure}"]
    if isinstance(failure, KeyboardInterrupt) or world.action.name == "prune":
        return []
    return [] if world.is_old() else [f"said {failure!r}, and the tree is not the old one"]


def sweep(action: str, layout: str, name: str, base: Path, stride: int, *, only: tuple[str, ...] = ()) -> Tally:
    """One kind of fault at each system call of an action (or at `only` these), once and from then on."""
    world = World(base, ACTIONS[action], layout)
    calls = calls_of(world.act)
    chosen = [k for k in sample(calls, world, stride, len(name)) if not only or calls[k][0] in only]
    signal.signal(signal.SIGTERM, _on_term)

    def runs() -> Iterator[list[str]]:
        for k in in_order(chosen):
            for always in (False, True):
                where = f"{name} {'from then on' if always else 'once'} at call {k} {calls[k][:2]}"
                yield told(world, where, one_run(world, k, calls, name, always))

    return tallied(len(calls), runs())


ACTED = [("upgrade", PLAIN), ("rollback", LINKED), ("adopt", PLAIN), ("prune", PLAIN)]
ACTED += [("cohort", LINKED), ("extend", PLAIN), ("regenerate", PLAIN)]
CASES = [(action, layout, name) for action, layout in ACTED for name in FAULTS]
CASES += [("upgrade", LINKED, name) for name in ("EIO", "ENOSPC", "EINVAL", "KeyboardInterrupt")]
ERRORS = Kind("errno at every call", 6000, [partial(sweep, *case) for case in CASES], 12)
