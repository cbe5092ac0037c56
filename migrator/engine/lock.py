"""One run at a time: a kernel lock (flock), so that no kill leaves a stale one.

The lock file lies beside the data root and is never removed: unlinking a held lock file would give two owners.
Whoever shares the lock leaves a note of its own beside it, locked for as long as it counts.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import getpass
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

from migrator.engine import files
from migrator.errors import MigratorError, TryAgain

LOCK = "lock"
_SHARED = "shared-"  # of the notes of those who share it; the next writer sweeps away what a killed one left
_POLL_SECONDS = 0.02
_GRACE_SECONDS = 0.1  # is_held() of a reader takes the lock for an instant: that is nobody's run


def who() -> str:
    """The person and machine, for ledger and lock."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{os.uname().nodename}"


@contextlib.contextmanager
def hold(folder: Path, what: str, *, shared: bool = False, wait: float = 0) -> Iterator[None]:
    """Hold the lock of a data root's state folder; `what` tells others the reason, `wait` is in seconds.

    Raises TryAgain, naming the holder, when it stays taken. Writers hold it alone; a pipeline's step shares it.
    """
    try:
        files.make_dirs(folder)
        fd = files.open_lock(folder / LOCK)
    except OSError as error:
        raise MigratorError(
            f"the lock cannot be taken: {error.strerror}",
            where=folder / LOCK,
            hint="check who owns the folder",
        ) from error
    note = json.dumps({"pid": os.getpid(), "who": who(), "what": what}).encode()
    noted = False
    try:
        _acquire(fd, folder, fcntl.LOCK_SH if shared else fcntl.LOCK_EX, wait)
        if shared:
            with _signed(folder, note):
                yield
            return
        files.write_lock(fd, note, folder / LOCK)
        noted = True
        yield
    finally:
        try:
            if noted:
                with contextlib.suppress(OSError, MemoryError):  # a note for people; what it was held for is done
                    files.write_lock(fd, b"", folder / LOCK)
        finally:
            with contextlib.suppress(OSError):
                fcntl.flock(fd, fcntl.LOCK_UN)  # a child that is about to end may have a copy of the descriptor
            os.close(fd)


@contextlib.contextmanager
def _signed(folder: Path, note: bytes) -> Iterator[None]:
    """Leave a note while the lock is shared. It is for people: where none can be written, the work goes on."""
    path = folder / f"{_SHARED}{os.urandom(8).hex()}"
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            fd = files.open_lock(path)
            stack.callback(os.close, fd)
            stack.callback(_discard, path)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            files.write_lock(fd, note, path)
        yield


def _discard(path: Path) -> None:
    with contextlib.suppress(OSError):
        files.remove_file(path)


def _acquire(fd: int, folder: Path, mode: int, wait: float) -> None:
    deadline = time.monotonic() + max(wait, _GRACE_SECONDS)
    while True:
        try:
            fcntl.flock(fd, mode | fcntl.LOCK_NB)
            return
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise
        if time.monotonic() >= deadline:
            raise TryAgain(
                f"the data root is in use by {holder(folder) or 'a step of the pipeline'}",
                where=folder / LOCK,
                hint="wait for it, or repeat the command with --wait SECONDS",
            )
        time.sleep(_POLL_SECONDS)


def is_held(folder: Path) -> bool:
    """Whether somebody holds the lock alone now. Writes nothing."""
    return _is_locked(folder / LOCK)


def _is_locked(path: Path) -> bool:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(fd)
    return False


def holder(folder: Path) -> str | None:
    """Who shares the lock now, else who took it last, for people; None where no note can be read."""
    sharing = [said for path in sorted(folder.glob(f"{_SHARED}*")) if _is_locked(path) and (said := _said(path))]
    if not sharing:
        return _said(folder / LOCK)
    return f"a step of the pipeline: {sharing[0]}" + (f" and {len(sharing) - 1} more" if len(sharing) > 1 else "")


def _said(path: Path) -> str | None:
    try:
        note = json.loads(path.read_bytes())
        return f"{note['who']}, pid {note['pid']} ({note['what']})"
    except (OSError, ValueError, KeyError, TypeError):
        return None
