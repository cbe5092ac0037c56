"""Stands in for the operating system under the one writer: each single system call is a point, with its arguments.

`files.hook` numbers the acts of the protocol; here an act is taken apart, so that a close, an fsync or the second half
of a write can fail as well.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from migrator.engine import files

Call = tuple[str, str, tuple[Any, ...]]  # name, path, further arguments
Before = Callable[[str, str, tuple[Any, ...]], None]

_BY_PATH = ("mkdir", "unlink", "rmdir", "chmod", "chown")
_BY_FD = ("fchown", "fchmod", "fsync", "ftruncate")


class Cut(Exception):
    """Raised by a hook at a write: that many bytes reach the disk, then `error` is raised."""

    def __init__(self, length: int, error: BaseException) -> None:
        super().__init__(length)
        self.length, self.error = length, error


def path_of(fd: int) -> str:
    """Where an open descriptor's file lies."""
    return os.readlink(f"/proc/self/fd/{fd}")


def _at(path: Any, dir_fd: int | None) -> str:
    text = os.fspath(path)
    return text if dir_fd is None else f"{path_of(dir_fd)}/{text}"


class System:
    """The os module for migrator.engine.files. `before(call, path, arguments)` is told of each mutating call first."""

    def __init__(self, before: Before) -> None:
        self.before = before

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name in _BY_PATH:

            def by_path(path: Any, *args: Any, dir_fd: int | None = None, **kwargs: Any) -> Any:
                self.before(name, _at(path, dir_fd), args)
                return real(path, *args, dir_fd=dir_fd, **kwargs)

            return by_path
        if name in _BY_FD:

            def by_fd(fd: int, *args: Any) -> Any:
                self.before(name, path_of(fd), args)
                return real(fd, *args)

            return by_fd
        return real

    def open(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        """A descriptor; told as `create` where it may make the file."""
        self.before("create" if flags & os.O_CREAT else "open", _at(path, dir_fd), (flags, mode))
        return os.open(path, flags, mode, dir_fd=dir_fd)

    def close(self, fd: int) -> None:
        """Close, and only then fail: the descriptor is gone in any case."""
        path = path_of(fd)
        os.close(fd)
        self.before("close", path, ())

    def write(self, fd: int, data: bytes) -> int:
        """Write, or a part of it."""
        try:
            self.before("write", path_of(fd), (os.lseek(fd, 0, os.SEEK_CUR), data))
        except Cut as cut:
            os.write(fd, data[: cut.length])
            raise cut.error from None
        return os.write(fd, data)

    def copy_file_range(self, source: int, target: int, count: int) -> int:
        """A write of what the kernel reads."""
        data = os.pread(source, count, os.lseek(source, 0, os.SEEK_CUR))
        try:
            self.before("write", path_of(target), (os.lseek(target, 0, os.SEEK_CUR), data))
        except Cut as cut:
            os.write(target, data[: cut.length])
            raise cut.error from None
        return os.copy_file_range(source, target, count)

    def pwrite(self, fd: int, data: bytes, offset: int) -> int:
        """Write at a place."""
        try:
            self.before("write", path_of(fd), (offset, data))
        except Cut as cut:
            os.pwrite(fd, data[: cut.length], offset)
            raise cut.error from None
        return os.pwrite(fd, data, offset)

    def utime(self, path: Any, *, ns: tuple[int, int], dir_fd: int | None = None, follow_symlinks: bool = True) -> None:
        """Set times."""
        self.before("utime", path_of(path) if isinstance(path, int) else _at(path, dir_fd), (ns[1],))
        if isinstance(path, int):
            os.utime(path, ns=ns)
        else:
            os.utime(path, ns=ns, dir_fd=dir_fd, follow_symlinks=follow_symlinks)

    def setxattr(self, target: Any, name: str, value: bytes) -> None:
        """Set an attribute."""
        self.before("setxattr", path_of(target) if isinstance(target, int) else str(target), (name, value))
        os.setxattr(target, name, value)

    def symlink(self, target: str, path: Any, *, dir_fd: int | None = None) -> None:
        """Make a link."""
        self.before("symlink", _at(path, dir_fd), (target,))
        os.symlink(target, path, dir_fd=dir_fd)

    def rename(self, old: Any, new: Any) -> None:
        """Rename."""
        self.before("rename", os.fspath(old), (os.fspath(new),))
        os.rename(old, new)


class Libc:
    """The C library's two calls for files, with their way to fail."""

    def __init__(self, before: Before, real: Any) -> None:
        self._before, self._real = before, real

    def renameat2(self, from_fd: int, a: bytes, to_fd: int, b: bytes, flags: Any) -> int:
        """Exchange two names."""
        return self._call(
            "exchange", os.fsdecode(a), (os.fsdecode(b),), self._real.renameat2, from_fd, a, to_fd, b, flags
        )

    def syncfs(self, fd: int) -> int:
        """Make a file system durable."""
        return self._call("syncfs", path_of(fd), (), self._real.syncfs, fd)

    def _call(self, name: str, path: str, told: tuple[Any, ...], real: Any, *args: Any) -> int:
        try:
            self._before(name, path, told)
        except OSError as error:
            ctypes.set_errno(error.errno or errno.EIO)
            return -1
        return int(real(*args))


@contextmanager
def system(before: Before) -> Iterator[None]:
    """Put a stand-in under the one writer for a while."""
    os_, libc = files.os, files._libc
    files.os, files._libc = System(before), Libc(before, libc)  # type: ignore[assignment,attr-defined]
    try:
        yield
    finally:
        files.os, files._libc = os_, libc  # type: ignore[attr-defined]
