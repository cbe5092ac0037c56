"""Every mutating system call of the package, each behind a numbered point for the crash tests.

Nothing else in the package writes, renames or deletes. A new file is made with O_EXCL and O_NOFOLLOW, a file that
others may read meanwhile is replaced by a rename, and no failed fsync is ever tried again.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

Hook = Callable[[str, str], None]
hook: Hook | None = None  # set by tests: called with (call, path) before each mutation

_libc = ctypes.CDLL(None, use_errno=True)
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_AT_ONCE = 1 << 20  # bytes that the kernel copies in one call
_UNCOPIED = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM)
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def _point(call: str, path: object) -> None:
    if hook is not None:
        hook(call, os.fspath(path) if isinstance(path, os.PathLike) else str(path))


# -- new things


def make_dir(path: str | Path, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
    """Make one folder; it must not exist."""
    _point("mkdir", path)
    os.mkdir(path, mode, dir_fd=dir_fd)


def make_dirs(path: Path) -> None:
    """Make a folder and those above it, where they are missing, durably: what is kept in them counts on them."""
    missing = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    for folder in reversed(missing):
        with contextlib.suppress(FileExistsError):
            make_dir(folder)
            sync_dir(folder.parent)


def new_file(path: str | Path, *, dir_fd: int | None = None) -> int:
    """A descriptor of a new, empty file that only its owner can read until `finish` says otherwise."""
    _point("create", path)
    return os.open(path, _NEW, 0o600, dir_fd=dir_fd)


def write(fd: int, data: bytes, path: str | Path) -> None:
    """Write all of the data."""
    _point("write", path)
    written = os.write(fd, data)
    while written < len(data):
        written += os.write(fd, data[written:])


def copy(source: int, target: int, size: int, path: str | Path) -> bool:
    """Let the kernel copy so many bytes of an open file into a new one; it shares the blocks where a file system can.

    False, and nothing is written, where the kernel will not or takes the file for empty: then read and write it.
    """
    copied = 0
    while True:
        _point("write", path)
        try:
            count = os.copy_file_range(source, target, min(size - copied, _AT_ONCE))
        except OSError as error:
            if copied or error.errno not in _UNCOPIED:
                raise
            return False
        copied += count
        if copied == size or not count:
            return copied > 0 or not size


def finish(fd: int, path: str | Path, mode: int, owner: tuple[int, int] | None, mtime_ns: int | None) -> None:
    """Give a new file its owner (where it differs), its mode and, where given, its time."""
    _point("attributes", path)
    if owner is not None:
        os.fchown(fd, *owner)
    os.fchmod(fd, mode)
    if mtime_ns is not None:
        os.utime(fd, ns=(mtime_ns, mtime_ns))


def copy_xattrs(source: int | str, target: int | str) -> None:
    """Copy the extended attributes that the file system lets us read and write."""
    try:
        names = os.listxattr(source)
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.EPERM):
            return
        raise
    for name in names:
        _point("xattr", str(target))
        try:
            os.setxattr(target, name, os.getxattr(source, name))
        except OSError as error:
            if error.errno not in (errno.ENOTSUP, errno.EPERM):
                raise


def symlink(target: str, path: str | Path, *, dir_fd: int | None = None) -> None:
    """Make a symbolic link; nothing may bear its name."""
    _point("symlink", path)
    os.symlink(target, path, dir_fd=dir_fd)


def link(name: str, to: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
    """Give a file a second name: one file then, in both trees."""
    _point("link", to)
    os.link(name, to, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd, follow_symlinks=False)


def set_link_attributes(name: str, owner: tuple[int, int] | None, mtime_ns: int, *, dir_fd: int | None = None) -> None:
    """Give a symbolic link its owner and its time."""
    _point("attributes", name)
    if owner is not None:
        os.chown(name, *owner, dir_fd=dir_fd, follow_symlinks=False)
    os.utime(name, ns=(mtime_ns, mtime_ns), dir_fd=dir_fd, follow_symlinks=False)


def set_time(path: str | Path, mtime_ns: int) -> None:
    """Give a folder its time."""
    _point("attributes", path)
    os.utime(path, ns=(mtime_ns, mtime_ns), follow_symlinks=False)


# -- replacing and appending


def write_new(path: Path, data: bytes, mode: int = 0o644) -> None:
    """A new file with its content, made durable by the caller's syncfs."""
    fd = new_file(path)
    try:
        write(fd, data, path)
        finish(fd, path, mode, None, None)
    finally:
        os.close(fd)


def replace_file(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Put a whole file in the place of another: readers find the old or the new one, also after a power cut."""
    new = temporary(path)  # one writer holds the lock: a left-over is its predecessor's
    with contextlib.suppress(FileNotFoundError):
        remove_file(new)
    fd = new_file(new)
    try:
        write(fd, data, new)
        finish(fd, new, mode, None, None)
        _point("fsync", new)
        os.fsync(fd)
    finally:
        os.close(fd)
    rename(new, path)
    sync_dir(path.parent)


def temporary(path: Path) -> Path:
    """Where the content of a file is written before it takes its place."""
    return path.with_name(f".{path.name}.tmp")


def append(path: Path, data: bytes) -> None:
    """Add to a log. Not durable by itself."""
    _point("append", path)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)


def open_lock(path: Path) -> int:
    """A descriptor of the lock file, which is made where it is missing and never removed."""
    if not path.exists():
        _point("create", path)
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)


def write_lock(fd: int, data: bytes, path: Path) -> None:
    """Say who holds the lock. Whoever reads it may find half of it: it is for people."""
    _point("write", path)
    os.ftruncate(fd, 0)
    os.pwrite(fd, data, 0)


# -- moving and removing


def rename(old: str | Path, new: str | Path) -> None:
    """Rename within one file system; a file in the place of `new` is replaced."""
    _point("rename", new)
    os.rename(old, new)


def exchange(a: str | Path, b: str | Path) -> None:
    """Exchange two names in one step. Raises OSError (EINVAL, EXDEV, EBUSY, ...) where that cannot be done."""
    _point("exchange", a)
    result = _libc.renameat2(_AT_FDCWD, os.fsencode(a), _AT_FDCWD, os.fsencode(b), ctypes.c_uint(_RENAME_EXCHANGE))
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(a), None, str(b))


def replace_link(path: Path, target: str, workspace: Path) -> None:
    """Let a symbolic link point elsewhere in one step; the new link is made in `workspace`, on the same mount."""
    temporary = workspace / "link"
    with contextlib.suppress(FileNotFoundError):
        remove_file(temporary)
    symlink(target, temporary)
    sync_dir(workspace)  # a rename out of another folder does not make the link itself durable everywhere
    rename(temporary, path)


def remove_file(path: str | Path, *, dir_fd: int | None = None) -> None:
    """Remove a file or a symbolic link."""
    _point("unlink", path)
    os.unlink(path, dir_fd=dir_fd)


def remove_dir(path: str | Path, *, dir_fd: int | None = None) -> None:
    """Remove an empty folder."""
    _point("rmdir", path)
    os.rmdir(path, dir_fd=dir_fd)


def remove_tree(path: Path) -> None:
    """Remove a folder with all that is in it, never through a symbolic link. Missing is fine."""
    with contextlib.suppress(FileNotFoundError):
        _make_writable(path)
        fd = os.open(path, _FOLDER)
        try:
            _empty(fd)
        finally:
            os.close(fd)
        remove_dir(path)


def _empty(fd: int) -> None:
    for entry in list(_entries(fd)):
        if not entry.is_dir(follow_symlinks=False):
            remove_file(entry.name, dir_fd=fd)
            continue
        _make_writable(entry.name, dir_fd=fd)
        child = os.open(entry.name, _FOLDER, dir_fd=fd)
        try:
            _empty(child)
        finally:
            os.close(child)
        remove_dir(entry.name, dir_fd=fd)


def _make_writable(path: str | Path, *, dir_fd: int | None = None) -> None:
    """Let a read-only folder of our own copy be emptied."""
    mode = os.stat(path, dir_fd=dir_fd, follow_symlinks=False).st_mode
    if stat.S_ISDIR(mode) and mode & stat.S_IRWXU != stat.S_IRWXU:
        _point("chmod", path)
        os.chmod(path, stat.S_IMODE(mode) | stat.S_IRWXU, dir_fd=dir_fd)


def _entries(fd: int) -> Iterator[os.DirEntry[str]]:
    with os.scandir(fd) as entries:
        yield from entries


# -- durability


def sync_dir(path: Path) -> None:
    """Make the names in a folder durable."""
    _point("fsync-dir", path)
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system that cannot fsync a folder (FUSE without fsyncdir)
            raise
    finally:
        os.close(fd)


def sync_file_system(path: Path) -> None:
    """Make everything on the file system durable; an I/O error since the last time is raised, unlike by sync(2)."""
    _point("syncfs", path)
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if _libc.syncfs(fd) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(path))
    finally:
        os.close(fd)
