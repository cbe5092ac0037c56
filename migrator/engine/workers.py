"""Work beside this process: an executor for maps over chunks, and one function in a child. Both die with their parent.

A pool is for local processes; any other concurrent.futures.Executor (Dask on a shared file system) does as well.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pickle
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")
_SERIAL_FILES = 3_000  # below this a child costs more than it gives


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))


class Pool(Protocol):
    """What is needed of an executor."""

    def map(self, fn: Callable[..., T], /, *iterables: Iterable[object]) -> Iterable[T]:
        """fn of each tuple of arguments, in their order."""


class _Here:
    """The pool that does the work itself."""

    def map(self, fn: Callable[..., T], /, *iterables: Iterable[object]) -> Iterable[T]:
        """The built-in map."""
        return map(fn, *iterables)


@contextmanager
def executor(count: int, jobs: int | None = None) -> Iterator[Pool]:
    """A pool for `count` files: processes that die with their parent, or none where few files make it dearer."""
    workers = jobs or (cores() if count >= _SERIAL_FILES else 1)
    if workers == 1:
        yield _Here()
        return
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(workers, context, _die_with_parent, (os.getpid(),)) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


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
        if (jobs or cores()) == 1 or count < _SERIAL_FILES:
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
