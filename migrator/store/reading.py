"""One file, one record of a store: how they are read, by whoever looks into generations, tables and texts.

Reads and never writes. What cannot be trusted is said in words, never defaulted and never skipped.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import marshal
import os
import shlex
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Protocol

from migrator.store import codec
from migrator.store.documents import Sidecar
from migrator.store.layout import GENS, METADATA, gen_path
from migrator.store.problems import INVALID_JSON, MISSING_METADATA
from migrator.store.records import Key

MAX_TABLE_BYTES = 256 << 20
_PLAIN = 2  # of marshal's versions the last one in which equal values have equal bytes
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC  # non-blocking: a FIFO in a file's place must not hang


class Unreadable(Exception):
    """A file that is there and cannot be read as one; the text says why."""


class NotRegular(Unreadable):
    """A folder, a FIFO, a link or a socket in a file's place."""

    def __init__(self) -> None:
        super().__init__("is not a regular file")


Parts = list[list[Key]]


class Work(Protocol):
    """A map over parts of a store that others may have begun: a context manager, so that none outlives an error.

    `results` gives a plain value for each part.
    """

    def __enter__(self) -> Work: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None: ...
    def results(self) -> list[list[Any]]: ...


class Alone:
    """The map in this process, when its results are asked for."""

    def __init__(self, function: Callable[[list[Key]], list[Any]], parts: Parts, count: int) -> None:
        self._function, self._parts = function, parts

    def __enter__(self) -> Alone:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Nothing was begun."""

    def results(self) -> list[list[Any]]:
        """The function of each part."""
        return [self._function(part) for part in self._parts]


# How such a map is begun: (function, parts, number of files).
Share = Callable[[Callable[[list[Key]], list[Any]], Parts, int], Work]


def read_bytes(path: str, limit: int, *, follow: bool = False, dir_fd: int | None = None) -> bytes | None:
    """The bytes of a regular file, None where there is none. Raises Unreadable."""
    try:
        fd = os.open(path, _FLAGS if follow else _FLAGS | os.O_NOFOLLOW, dir_fd=dir_fd)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise NotRegular from None
        raise Unreadable(f"cannot be read: {error.strerror}") from None
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise NotRegular
        if status.st_size > limit:
            raise Unreadable(f"has {status.st_size:,} bytes, more than the {limit:,} that are read")
        data = os.read(fd, status.st_size + 1)
        while len(data) < status.st_size:
            more = os.read(fd, status.st_size - len(data))
            if not more:
                break
            data += more
        return data
    except OSError as error:
        raise Unreadable(f"cannot be read: {error.strerror}") from None
    finally:
        os.close(fd)


# metadata.json, its bytes, the parts of each Sidecar by its name, and (kind, path, message) of what cannot be trusted
Record = tuple[dict[str, Any], bytes, dict[str, tuple[Any, ...]], list[tuple[str, str, str]]]


def read_records(root: str, names: Sequence[str], keys: Iterable[Key]) -> list[Record]:
    """Of each generation its metadata.json, the parts of its Sidecars and, where these cannot be trusted, why.

    The bytes of metadata.json are kept where the sidecars are read too: whoever wants metadata alone writes no file.
    """
    answers: dict[bytes, tuple[Any, ...]] = {}
    return [_read_record(root, names, key, answers) for key in keys]


def _read_record(root: str, names: Sequence[str], key: Key, answers: dict[bytes, tuple[Any, ...]]) -> Record:
    """`answers` holds what steps ask of sidecars, each once: a store has few different ones."""
    metadata: dict[str, Any] = {}
    kept = b""
    sidecars: dict[str, tuple[Any, ...]] = {}
    findings: list[tuple[str, str, str]] = []
    folder = gen_path(*key)
    for name in names:
        path = f"{folder}/{name}"
        try:
            data = read_bytes(f"{root}/{path}", codec.MAX_BYTES)
            if data is not None:
                document = codec.loads(data)
                if name == METADATA:
                    metadata = document
                    kept = data if len(names) > 1 else b""
                else:
                    answer: Any = Sidecar.of(data, document)[1:]
                    sidecars[name] = (data, *answers.setdefault(marshal.dumps(answer, _PLAIN), answer))
            elif name == METADATA:
                findings.append((MISSING_METADATA, path, f"the generation has no {name}; {set_aside(key)}"))
        except (Unreadable, codec.InvalidJson) as error:
            findings.append((INVALID_JSON, path, f"{error}; {set_aside(key)}"))
    return metadata, kept, sidecars, findings


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Without the garbage collector, which would look at all records again and again while they only become more."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def set_aside(key: Key) -> str:
    """What a person can do about a generation that cannot be repaired, as commands from within the data root."""
    stage, gen_id = key
    folder = f"{GENS}/{stage}"
    aside, here = shlex.quote(f"{folder}/.set-aside"), shlex.quote(gen_path(stage, gen_id))
    return f"repair it, or set it aside: mkdir -p {aside} && mv {here} {aside}/"
