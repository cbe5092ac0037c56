"""Work beside this process, in forked children that die with their parent.

A child inherits what the parent has in memory, so nothing is sent to it; only its result comes back by a pipe, as plain
values (texts, bytes, numbers, tuples, lists, dicts): marshal reads those five times as fast as pickle.
"""

from __future__ import annotations

import contextlib
import ctypes
import marshal
import os
import pickle
import signal
from collections.abc import Callable, Sequence
from functools import partial
from typing import Generic, TypeVar

P = TypeVar("P")
T = TypeVar("T")
_SERIAL_FILES = 3_000  # below this a child costs more than it gives
_NUMBER = 4  # bytes of a part's number in the queue


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))


def processes(count: int, jobs: int | None = None) -> int:
    """How many processes work on `count` files: as many as asked for, else one where a child would cost more."""
    return jobs or (cores() if count >= _SERIAL_FILES else 1)


def cut(count: int, jobs: int | None = None) -> int:
    """Into how many parts work on `count` files is cut: enough for the slower process to leave some to the other."""
    workers = processes(count, jobs)
    return 1 if workers == 1 else 4 * workers


def spread(
    function: Callable[[P], T],
    parts: Sequence[P],
    count: int,
    jobs: int | None = None,
    done: Callable[[T], None] | None = None,
) -> list[T]:
    """The function of each part, in their order; whichever process is free, this one too, takes the next part.

    `done` hears of each part that is finished here. Results are plain values. A pipe holds the numbers of 16,000 parts.
    """
    workers = min(processes(count, jobs), len(parts)) or 1
    queue = _queue(len(parts))
    take = partial(_take, function, parts, queue)
    children = [Beside(take, count, workers) for _ in range(workers - 1)]
    try:
        found = dict(take(done))
        for child in children:
            found.update(child.result())
        return [found[number] for number in range(len(parts))]
    finally:
        for child in children:
            child.abandon()
        os.close(queue)


def _queue(count: int) -> int:
    """A pipe that holds the numbers 0, 1, 2, ...: a read of one number is one process's and nobody else's."""
    read, write = os.pipe()
    os.write(write, b"".join(number.to_bytes(_NUMBER, "big") for number in range(count)))
    os.close(write)
    return read


def _take(
    function: Callable[[P], T], parts: Sequence[P], queue: int, done: Callable[[T], None] | None = None
) -> list[tuple[int, T]]:
    results = []
    while number := os.read(queue, _NUMBER):
        place = int.from_bytes(number, "big")
        result = function(parts[place])
        results.append((place, result))
        if done:
            done(result)
    return results


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
                pipe.write(_outcome(function))
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
            if data[:1] == _RAISED:
                raise pickle.loads(data[1:])
            self._value.append(marshal.loads(memoryview(data)[1:]))
        return self._value[0]

    def abandon(self) -> None:
        """End the child if it still runs."""
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            with contextlib.suppress(OSError):
                os.close(self._read)
            self._pid = 0


_RETURNED, _RAISED = b"v", b"e"


def _outcome(function: Callable[[], T]) -> bytes:
    try:
        return _RETURNED + marshal.dumps(function())  # type: ignore[arg-type] # plain values
    except Exception as error:  # noqa: BLE001 - carried to the parent, which raises it
        return _RAISED + pickle.dumps(error)
