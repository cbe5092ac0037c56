"""Work beside this process, in forked children that die with their parent.

A child inherits what the parent has in memory, so nothing is sent to it; only its result comes back by a pipe.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pickle
import signal
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Generic, TypeVar

P = TypeVar("P")
T = TypeVar("T")
_SERIAL_FILES = 3_000  # below this a child costs more than it gives


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))


def processes(count: int, jobs: int | None = None) -> int:
    """How many processes work on `count` files: as many as asked for, else one where a child would cost more."""
    return jobs or (cores() if count >= _SERIAL_FILES else 1)


def spread(
    function: Callable[[P], T],
    parts: Sequence[P],
    count: int,
    jobs: int | None = None,
    done: Callable[[T], None] | None = None,
) -> list[T]:
    """The function of each part, in their order: contiguous shares, the first one done here.

    Parts should cost about the same. `done` hears of each part that is finished here.
    """
    workers = min(processes(count, jobs), len(parts)) or 1
    bounds = [len(parts) * number // workers for number in range(workers + 1)]
    shares = [parts[start:end] for start, end in pairwise(bounds)]
    children = [Beside(partial(_all, function, share), count, workers) for share in shares[1:]]
    try:
        results = []
        for part in shares[0]:
            results.append(function(part))
            if done:
                done(results[-1])
        for child in children:
            results += child.result()
        return results
    finally:
        for child in children:
            child.abandon()


def _all(function: Callable[[P], T], parts: Sequence[P]) -> list[T]:
    return [function(part) for part in parts]


def _die_with_parent(parent: int) -> None:
    """A worker must not go on writing, nor keep the lock, when the run is killed."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL, 0, 0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if os.getppid() != parent:
        os._exit(1)


class Beside(Generic[T]):
    """A function that runs in a forked child while this process goes on; its value comes back by a pipe.

    With `count` files too few, or one job, it runs at once and here.
    """

    def __init__(self, function: Callable[[], T], count: int, jobs: int | None = None) -> None:
        self._value: list[T] = []
        self._pid = 0
        if processes(count, jobs) == 1:
            self._value.append(function())
            return
        self._read, write = os.pipe()
        parent = os.getpid()
        self._pid = os.fork()
        if self._pid:
            os.close(write)
            return
        code = 1
        try:
            _die_with_parent(parent)
            with os.fdopen(write, "wb") as pipe:
                pickle.dump(_outcome(function), pipe)
            code = 0
        finally:
            os._exit(code)

    def result(self) -> T:
        """The function's value; its exception is raised here."""
        if self._pid:
            with os.fdopen(self._read, "rb") as pipe:
                data = pipe.read()
            _, status = os.waitpid(self._pid, 0)
            self._pid = 0
            if status or not data:
                raise OSError("a worker process died")
            value, error = pickle.loads(data)
            if error is not None:
                raise error
            self._value.append(value)
        return self._value[0]

    def abandon(self) -> None:
        """End the child if it still runs."""
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            with contextlib.suppress(OSError):
                os.close(self._read)
            self._pid = 0


def _outcome(function: Callable[[], T]) -> tuple[T | None, Exception | None]:
    try:
        return function(), None
    except Exception as error:  # noqa: BLE001 - carried to the parent, which raises it
        return None, error
