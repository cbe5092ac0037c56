"""Work that is shared out: to forked children that die with their parent, or to any executor.

A child inherits what the parent has in memory, so nothing is sent to it; only its result comes back by a pipe, as plain
values (texts, bytes, numbers, tuples, lists, dicts): marshal reads those five times as fast as pickle. An executor is
sent each part, and what all parts have in common once a process.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import hashlib
import io
import marshal
import os
import pickle
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from functools import partial
from itertools import islice
from types import TracebackType
from typing import Any, Generic, NamedTuple, TypeVar

from migrator.errors import TryAgain

P = TypeVar("P")
T = TypeVar("T")
_SERIAL_FILES = 3_000  # below this a child costs more than it gives
_NUMBER = 4  # bytes of a part's number in the queue
_PART_FILES, _FEWEST_PARTS = 3_000, 8  # of what an executor gets: it does not say how many workers it has
_LARGE = 1_000  # entries of a dictionary that many parts have in common, such as the names of a whole store
_KEPT = 16  # common things that a worker keeps unpacked
_AHEAD = 64  # parts that an executor has at a time: what is sent must not fill the memory
_PATIENCE = 60.0  # seconds for parts that are under way, when one has failed

# How work is shared: by an executor, by so many processes of this machine, or (None) by as many as it has cores.
Jobs = int | Executor | None


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))


def processes(count: int, jobs: Jobs = None) -> int:
    """How many processes of ours work on `count` files: as many as asked for, else one where a child would cost more.

    A process with threads (those of an executor, or a caller's) must not fork: a child would inherit their locks.
    """
    if isinstance(jobs, int):
        return jobs
    return cores() if jobs is None and count >= _SERIAL_FILES and threading.active_count() == 1 else 1


def spare(count: int, jobs: Jobs = None) -> Jobs:
    """The jobs for what would be forked while a child is at work already: none where that has the second core."""
    return jobs if processes(count, jobs) > 2 else 1


def name_of(jobs: Jobs) -> str:
    """What a record calls the executor, "" where there is none."""
    return str(getattr(jobs, "address", type(jobs).__name__)) if isinstance(jobs, Executor) else ""


def cut(count: int, jobs: Jobs = None) -> int:
    """Into how many parts work on `count` files is cut: enough for the slower process to leave some to the other."""
    if isinstance(jobs, Executor):
        return max(count // _PART_FILES, _FEWEST_PARTS)
    workers = processes(count, jobs)
    return 1 if workers == 1 else 4 * workers


def borders(number: int) -> list[float]:
    """Where work is cut into so many parts, as fractions of it: ever smaller ones, so that the last is soon done."""
    return [1 - (1 - part / number) ** 1.5 for part in range(number + 1)]


def spread(
    function: Callable[[P], T],
    parts: Sequence[P],
    count: int,
    jobs: Jobs = None,
    done: Callable[[T], None] | None = None,
) -> list[T]:
    """The function of each part, in their order; whichever process is free, this one too, takes the next part.

    `done` hears of each part that is finished here. Results are plain values. A pipe holds the numbers of 16,000 parts.
    For an executor, function and parts must be such as can be pickled.
    """
    with Shared(function, parts, count, jobs) as work:
        return work.results(done)


class Shared(Generic[P, T]):
    """Work that children have begun while this process does something else; it joins them when it asks for the results.

    With one process or an executor all of it is done then. A context manager, so that no child outlives an error.
    """

    def __init__(self, function: Callable[[P], T], parts: Sequence[P], count: int, jobs: Jobs = None) -> None:
        self._function, self._parts, self._jobs = function, parts, jobs
        workers = min(processes(count, jobs), len(parts)) or 1
        self._children: list[Beside[list[tuple[int, T]]]] = []
        with contextlib.ExitStack() as stack:
            self._queue = _queue(len(parts))
            stack.callback(os.close, self._queue)
            take = partial(_take, function, parts, self._queue)
            for _ in range(workers - 1):
                self._children.append(Beside(take, count, workers))
                stack.callback(self._children[-1].abandon)
            self._end = stack.pop_all()

    def __enter__(self) -> Shared[P, T]:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end.close()

    def results(self, done: Callable[[T], None] | None = None) -> list[T]:
        """The function of each part, in their order; `done` hears of each part that is finished here."""
        if isinstance(self._jobs, Executor) and len(self._parts) > 1:
            return _submitted(self._jobs, self._function, self._parts, done)
        found = dict(_take(self._function, self._parts, self._queue, done))
        for child in self._children:
            found.update(child.result())
        return [found[number] for number in range(len(self._parts))]


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


# -- by an executor


class Common(NamedTuple):
    """Something that many parts need, pickled: an executor may well send it to each worker only once."""

    key: str
    data: bytes


class _Packer:
    """Pickles parts. Large dictionaries are left out of them and sent beside them, as is the function."""

    def __init__(self) -> None:
        self._found: dict[int, tuple[object, Common]] = {}  # with the object itself, so that no other gets its id

    def common(self, thing: object) -> Common:
        """A thing that is pickled once, however often it is asked for."""
        if id(thing) not in self._found:
            data = pickle.dumps(thing, pickle.HIGHEST_PROTOCOL)
            self._found[id(thing)] = (thing, Common(hashlib.sha256(data).hexdigest(), data))
        return self._found[id(thing)][1]

    def packed(self, part: object) -> tuple[bytes, list[Common]]:
        """A part, and what it needs beside the function."""
        needed: dict[str, Common] = {}
        packer = self

        class Pickler(pickle.Pickler):
            def persistent_id(self, thing: object) -> str | None:
                if type(thing) is not dict or len(thing) < _LARGE:
                    return None
                common = packer.common(thing)
                needed[common.key] = common
                return common.key

        buffer = io.BytesIO()
        Pickler(buffer, pickle.HIGHEST_PROTOCOL).dump(part)
        return buffer.getvalue(), list(needed.values())


_kept: dict[str, Any] = {}  # key -> thing; of a worker


def _unpacked(common: Common) -> Any:
    if common.key not in _kept:
        while len(_kept) >= _KEPT:
            _kept.pop(next(iter(_kept)), None)
        _kept[common.key] = pickle.loads(common.data)
    return _kept[common.key]


def _do(part: bytes, function: Common, *others: Common) -> bytes:
    """What a worker does: unpack, call, pack the plain value."""
    things = {common.key: _unpacked(common) for common in others}

    class Unpickler(pickle.Unpickler):
        def persistent_load(self, key: str) -> Any:
            return things[key]

    return marshal.dumps(_unpacked(function)(Unpickler(io.BytesIO(part)).load()))


def _submitted(
    executor: Executor, function: Callable[[P], T], parts: Sequence[P], done: Callable[[T], None] | None
) -> list[T]:
    """The function of each part by an executor. Where one fails, those under way have ended before it is told."""
    packer = _Packer()
    common = packer.common(function)
    results: dict[int, T] = {}
    running: dict[Future[bytes], int] = {}
    places = iter(range(len(parts)))
    try:
        while True:
            for place in islice(places, _AHEAD - len(running)):
                part, others = packer.packed(parts[place])
                running[executor.submit(_do, part, common, *others)] = place
            if not running:
                return [results[place] for place in range(len(parts))]
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                result = results[running.pop(future)] = marshal.loads(future.result())
                if done:
                    done(result)
    except BrokenExecutor as error:
        raise TryAgain(f"a worker was lost: {error}", hint="repeat the command") from error
    finally:
        wait([future for future in running if not future.cancel()], _PATIENCE)


# -- beside this process


class Beside(Generic[T]):
    """A function that runs in a forked child while this process goes on; its value comes back by a pipe.

    With `count` files too few, one job or an executor it runs at once and here.
    """

    def __init__(self, function: Callable[[], T], count: int, jobs: Jobs = None) -> None:
        self._value: list[T] = []
        self._pid = 0
        if processes(count, jobs) == 1:
            self._value.append(function())
            return
        reap(wait=False)
        self._read, write = os.pipe()
        with contextlib.suppress(OSError):
            fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, _ROOM)  # or each side wakes the other up for every 64 kB
        parent = os.getpid()
        self._pid = os.fork()
        if self._pid:
            os.close(write)
            return
        code = 1
        try:
            _die_with_parent(parent)
            with os.fdopen(write, "wb") as pipe:
                kind, outcome = _outcome(function)
                pipe.write(kind + len(outcome).to_bytes(_HEAD, "big"))
                pipe.write(outcome)
            code = 0
        finally:
            os._exit(code)

    def result(self) -> T:
        """The function's value; its exception is raised here."""
        if self._pid:
            with os.fdopen(self._read, "rb") as pipe:
                kind, head = pipe.read(1), pipe.read(_HEAD)
                size = int.from_bytes(head, "big")
                value = pipe.read(size)
            _leaving.add(self._pid)
            self._pid = 0
            if len(head) < _HEAD or len(value) < size:
                raise OSError("a worker process died")
            if kind == _RAISED:
                raise pickle.loads(value)
            self._value.append(marshal.loads(value))
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
_HEAD = 8  # bytes that say how many follow
_ROOM = 1 << 20  # bytes that a child can leave in its pipe
_leaving: set[int] = set()  # children that have said all: what they still do is to give back their memory


def reap(*, wait: bool = True) -> None:
    """See off the children that have given their results."""
    for child in list(_leaving):
        try:
            gone = os.waitpid(child, 0 if wait else os.WNOHANG)[0]
        except ChildProcessError:  # somebody else has
            gone = child
        if gone:
            _leaving.discard(child)


def _outcome(function: Callable[[], T]) -> tuple[bytes, bytes]:
    try:
        return _RETURNED, marshal.dumps(function())  # type: ignore[arg-type] # plain values
    except Exception as error:  # noqa: BLE001 - carried to the parent, which raises it
        error.__cause__ = error.__context__ = None  # they may be of a class that nobody can unpack
        return _RAISED, pickle.dumps(error.with_traceback(None))
