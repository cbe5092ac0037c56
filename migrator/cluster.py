"""Workers of a Dask scheduler as an executor: they copy, read and hash on any machine that sees the same files.

Imports distributed when somebody connects, which only `upgrade --scheduler` does.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, InvalidStateError
from contextlib import contextmanager, suppress
from typing import Any

from migrator import __version__
from migrator.engine.exchange import Place, way_out
from migrator.engine.workers import Common
from migrator.errors import MigratorError, UsageError

_CONNECT = 10.0  # seconds
_ALONE = 30.0  # seconds without any worker, or without the scheduler, until a run gives up
_TICK = 1.0


class Cluster(Executor):
    """The workers of one scheduler. What many parts have in common is sent to each of them once."""

    def __init__(self, client: Any, address: str) -> None:
        self.address = address
        self._client = client
        self._held: dict[str, Any] = {}
        self._open: set[Future[Any]] = set()
        self._closed = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def submit(self, function: Callable[..., Any], /, *args: Any, **options: Any) -> Future[Any]:
        """The future of a call on some worker; it fails with BrokenExecutor when there is nobody to make the call."""
        inner = self._client.submit(function, *map(self._sent, args), pure=False, **options)
        outer: Future[Any] = Future()
        self._open.add(outer)
        outer.add_done_callback(lambda _: inner.cancel() if outer.cancelled() else None)
        outer.add_done_callback(self._open.discard)
        inner.add_done_callback(lambda _: _passed_on(inner, outer))
        return outer

    def _sent(self, value: Any) -> Any:
        """What is common as the result of a task: workers hand it on, and it is made again where it was lost."""
        if not isinstance(value, Common):
            return value
        if value.key not in self._held:
            self._held[value.key] = self._client.submit(_same, value, pure=False)
        return self._held[value.key]

    def _watch(self) -> None:
        """Give up what is under way when there has been nobody to do it for a while: Dask would wait for ever."""
        missing = 0.0
        while not self._closed.wait(_TICK):
            there = self._client.status == "running" and self._client.scheduler_info().get("workers")
            missing = 0.0 if there else missing + _TICK
            if missing >= _ALONE:
                for future in list(self._open):
                    with suppress(Exception):  # it has just ended
                        future.set_exception(BrokenExecutor(f"no worker of {self.address} is left"))

    def close(self) -> None:
        """Leave the scheduler."""
        self._closed.set()
        self._client.close()


def _same(value: Common) -> Common:
    return value


def _passed_on(inner: Any, outer: Future[Any]) -> None:
    """The outcome of a Dask future for whoever waits; fetching a result can fail too, when its worker has just died.

    Dask's own executor does not pass such a failure on: its future would never be done.
    """
    if outer.done() or not outer.set_running_or_notify_cancel():
        return
    with suppress(InvalidStateError):  # it has been given up meanwhile
        try:
            outer.set_result(inner.result())
        except (asyncio.CancelledError, CancelledError):
            outer.set_exception(BrokenExecutor("the scheduler gave a part up"))
        except InvalidStateError:
            raise
        except Exception as error:  # noqa: BLE001 - passed on
            if type(error).__name__ == "KilledWorker":
                error = BrokenExecutor("workers died, one after the other, of the same part")
            outer.set_exception(error)


@contextmanager
def connected(address: str, place: Place) -> Iterator[Cluster]:
    """The workers of the scheduler at an address, proven to be like us and to see the same data root.

    Raises UsageError or MigratorError.
    """
    if not place.linked:
        raise UsageError(
            "workers of other machines need a data root that is a symbolic link: its switch is atomic there too",
            where=place.root,
            hint=way_out(place),
        )
    try:
        import distributed
    except ImportError:
        raise MigratorError(
            "--scheduler needs distributed, which is not installed", hint="pip install 'migrator[distributed]'"
        ) from None
    try:
        new_client: Any = distributed.Client
        client = new_client(address, timeout=_CONNECT, set_as_default=False)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"there is no scheduler at {address}: {error}", hint="dask scheduler   (prints its address)"
        ) from None
    cluster = Cluster(client, address)
    try:
        _require_alike(client, place)
        yield cluster
    finally:
        cluster.close()


def seen(root: str) -> dict[str, object]:
    """What a worker must have in common with us, and what it sees of the data root."""
    status = os.stat(root)
    return {
        "version of migrator": __version__,
        "version of Python": ".".join(map(str, sys.version_info[:2])),
        "user": os.geteuid(),
        "group": os.getegid(),
        "data root": (status.st_ino, status.st_mtime_ns),
    }


def _require_alike(client: Any, place: Place) -> None:
    answers = client.run(seen, str(place.real), on_error="return")
    if not answers:
        raise MigratorError("the scheduler has no workers", hint="dask worker ADDRESS   (on each machine)")
    mine = seen(str(place.real))
    for worker, answer in sorted(answers.items()):
        if isinstance(answer, BaseException):
            raise MigratorError(
                f"the worker {worker} does not see the data root: {answer}",
                where=place.real,
                hint="each worker needs migrator and the data root, under the same path",
            )
        other = [name for name, value in mine.items() if answer[name] != value]
        if other:
            raise MigratorError(f"the worker {worker} has another {' and another '.join(other)}", where=place.real)
