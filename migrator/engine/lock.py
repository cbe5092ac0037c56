"""One run at a time: a kernel lock (flock), so that no kill leaves a stale one.

The lock file lies beside the data root and is never removed: unlinking a held lock file would give two owners.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import getpass
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from migrator.engine import files
from migrator.errors import MigratorError, TryAgain

LOCK = "lock"
_POLL_SECONDS = 0.02
_GRACE_SECONDS = 0.1  # is_held() of a reader takes the lock for an instant: that is nobody's run


def who() -> str:
    """The person and machine, for ledger and lock."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


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
    noted = False
    try:
        _acquire(fd, folder, fcntl.LOCK_SH if shared else fcntl.LOCK_EX, wait)
        if not shared:
            note = {"pid": os.getpid(), "who": who(), "what": what}
            files.write_lock(fd, json.dumps(note).encode(), folder / LOCK)
            noted = True
        yield
    finally:
        try:
            if noted:
                with contextlib.suppress(OSError, MemoryError):  # a note for people; what it was held for is done
                    files.write_lock(fd, b"", folder / LOCK)
        finally:
            os.close(fd)  # releases the lock


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
    """Whether somebody holds the lock now. Writes nothing."""
    try:
        fd = os.open(folder / LOCK, os.O_RDONLY | os.O_CLOEXEC)
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
    """Who took the lock last, for people, or None where the note cannot be read."""
    try:
        note = json.loads((folder / LOCK).read_bytes())
        return f"{note['who']}, pid {note['pid']} ({note['what']})"
    except (OSError, ValueError, KeyError, TypeError):
        return None
