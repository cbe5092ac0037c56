"""One folder of a new tree: what lies in it is copied, linked or written anew, with all that it had. Mutates.

Modes, owners, times, extended attributes and symbolic links stay; what gets new content keeps mode and owner. A file
is hashed on the way. It is hard-linked only on demand, since who rewrites a linked file in place changes both trees.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from migrator.engine import files
from migrator.engine.listing import BLOCK, LINK, READ, READ_FOLDER, Entry, hash_bytes
from migrator.engine.survey import in_blocks, look_through
from migrator.engine.tokens import Batch
from migrator.errors import MigratorError, TryAgain

_UNLINKABLE = (errno.EPERM, errno.EXDEV, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS)
_ME = (os.geteuid(), os.getegid())

Content = bytes | Callable[[bytes], bytes | None]
Pairs = list[tuple[str, tuple[str, str]]]  # (path today, digests before and after)


class Member(NamedTuple):
    """What is to be done with a file or link: its name then, its new content (None: it stays), what is known of it."""

    entry: Entry
    name: str
    content: Content | None
    read: bytes | None  # its bytes
    digest: str  # of its bytes, where it stays and is known; it is not searched then either
    linked: bool


class Folder(NamedTuple):
    """One folder's share of the work: itself, unless it is there already (no `entry`), and what lies directly in it."""

    path: str
    target: str
    entry: Entry | None
    members: list[Member]


def copy_members(source: str, target: str, folder: Folder, batch: Batch | None, digests: Pairs, ends: bool) -> None:
    """Copy what lies directly in a folder; it gets its own attributes too, where nothing else will lie in it."""
    start = len(folder.path) + 1 if folder.path else 0  # where a member's own name begins
    below = f"{folder.target}/" if folder.target else ""
    from_fd = _open_folder(source)
    try:
        to_fd = os.open(target, READ_FOLDER)
        try:
            for member in folder.members:
                entry, name = member.entry, member.name
                path = entry.path
                pair = "", ""
                if entry.kind == LINK:
                    files.symlink(entry.target, name, dir_fd=to_fd)
                    files.set_link_attributes(name, owner_of(entry.uid, entry.gid), entry.mtime_ns, dir_fd=to_fd)
                elif member.linked:
                    pair = _link_file(from_fd, to_fd, member, below + name, batch)
                elif member.read is not None:
                    pair = _write_file(f"{source}/{path[start:]}", to_fd, member, below + name, batch)
                else:
                    pair = _copy_file(path[start:], from_fd, to_fd, member, below + name, batch)
                if not member.digest:
                    digests.append((path, pair))
            if ends and folder.entry:
                _finish_folder(from_fd, to_fd, target, folder.entry)
        finally:
            os.close(to_fd)
    finally:
        os.close(from_fd)


def _open_folder(path: str) -> int:
    try:
        return os.open(path, READ_FOLDER)
    except OSError as error:
        raise TryAgain(f"a folder changed during the run: {error.strerror}", where=path) from None


def _copy_file(
    old_name: str, from_fd: int, to_fd: int, member: Member, path: str, batch: Batch | None
) -> tuple[str, str]:
    """Copy a file, or write its new content, with its attributes; return the digests of the old and new bytes."""
    entry = member.entry
    try:
        read_fd = os.open(old_name, READ, dir_fd=from_fd)
    except OSError as error:
        raise TryAgain(f"a file changed during the run: {error.strerror}", where=entry.path) from None
    try:
        write_fd = files.new_file(member.name, dir_fd=to_fd)
        try:
            if member.digest and files.copy(read_fd, write_fd, entry.size, path):
                digests = member.digest, member.digest
            elif member.content is None and entry.size > BLOCK:
                digest = in_blocks(read_fd, entry.size, path, batch, partial(files.write, write_fd, path=path))
                digests = digest, digest
            else:
                old = os.read(read_fd, entry.size + 1)  # one more than it had, to see its end
                digests = _write(write_fd, old, member.content, path, batch)
            _finish(read_fd, write_fd, entry, path, digests)
        finally:
            os.close(write_fd)
    finally:
        os.close(read_fd)
    return digests


def _write_file(source: str, to_fd: int, member: Member, path: str, batch: Batch | None) -> tuple[str, str]:
    """The same for a file whose bytes somebody has read already."""
    write_fd = files.new_file(member.name, dir_fd=to_fd)
    try:
        digests = _write(write_fd, member.read or b"", member.content, path, batch)
        _finish(source, write_fd, member.entry, path, digests)
    finally:
        os.close(write_fd)
    return digests


def _write(fd: int, old: bytes, content: Content | None, path: str, batch: Batch | None) -> tuple[str, str]:
    """Write old bytes, or the new content in their place; return the digests of both."""
    new = content(old) if callable(content) else content
    data = old if new is None else new
    files.write(fd, data, path)
    before = hash_bytes(old)
    after = before if new is None else hash_bytes(new)
    if batch:
        batch.add(path, data)
    return before, after


def _finish(source: int | str, write_fd: int, entry: Entry, path: str, digests: tuple[str, str]) -> None:
    """Give a copy the attributes of its file; its time too, where the bytes are the same."""
    try:
        files.copy_xattrs(source, write_fd)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise TryAgain(f"a file changed during the run: {error.strerror}", where=entry.path) from None
    files.finish(
        write_fd, path, entry.mode, owner_of(entry.uid, entry.gid), entry.mtime_ns if digests[0] == digests[1] else None
    )


def _link_file(from_fd: int, to_fd: int, member: Member, path: str, batch: Batch | None) -> tuple[str, str]:
    """Give a file its second name, read it under that where nobody has, and return its digest twice."""
    entry = member.entry
    try:
        files.link(entry.path.rpartition("/")[2], member.name, src_dir_fd=from_fd, dst_dir_fd=to_fd)
    except FileNotFoundError as error:
        raise TryAgain(f"a file changed during the run: {error.strerror}", where=entry.path) from None
    except OSError as error:
        if error.errno not in _UNLINKABLE:
            raise
        hint = "leave --link out: all is copied then"
        raise MigratorError(f"a file cannot be linked: {error.strerror}", where=entry.path, hint=hint) from None
    digest = member.digest
    if not digest:
        read_fd = os.open(member.name, READ, dir_fd=to_fd)
        try:
            digest = look_through(read_fd, entry.size, path, batch)
        finally:
            os.close(read_fd)
    return digest, digest


def finish_folder(source: str, target: str, entry: Entry, place: str) -> None:
    """Give the folder at `place` in the new tree what the old one had: attributes, owner, mode and time."""
    path = f"{target}/{place}" if place else target
    fd = os.open(path, READ_FOLDER)
    try:
        _finish_folder(f"{source}/{entry.path}", fd, path, entry)
    finally:
        os.close(fd)


def _finish_folder(source: int | str, fd: int, path: str, entry: Entry) -> None:
    files.copy_xattrs(source, fd)
    files.finish(fd, path, entry.mode, owner_of(entry.uid, entry.gid), entry.mtime_ns)


# -- files of its own


def add(target: Path, additions: Mapping[str, bytes], unfinished: Mapping[str, Entry] | None = None) -> None:
    """New files; their folders get the mode and owner of the folder they lie in, so that no umask decides.

    `unfinished` are folders of the tree that have their attributes not yet, with what they will have.
    """
    for path in sorted(additions):
        mode, owner = make_folders(target, path, unfinished)
        fd = files.new_file(target / path)
        try:
            files.write(fd, additions[path], path)
            files.finish(fd, path, mode & 0o666, owner, None)
        finally:
            os.close(fd)


def make_folders(
    target: Path, path: str, unfinished: Mapping[str, Entry] | None = None
) -> tuple[int, tuple[int, int] | None]:
    """Make the folders of a new file where they are missing; return the mode and owner that they have."""
    missing = []
    folder = path.rpartition("/")[0]
    while folder and not (target / folder).is_dir():
        missing.append(folder)
        folder = folder.rpartition("/")[0]
    mode, owner = _attributes(target, folder, unfinished or {})
    for new in reversed(missing):
        files.make_dir(target / new, mode & 0o777)
        fd = os.open(target / new, READ_FOLDER)
        try:
            files.finish(fd, target / new, mode, owner, None)
        finally:
            os.close(fd)
    return mode, owner


def _attributes(target: Path, folder: str, unfinished: Mapping[str, Entry]) -> tuple[int, tuple[int, int] | None]:
    """Mode of a folder, and its owner where that is not us."""
    if folder in unfinished:
        entry = unfinished[folder]
        return entry.mode & 0o2777, owner_of(entry.uid, entry.gid)
    status = os.stat(target / folder)
    return stat.S_IMODE(status.st_mode) & 0o2777, owner_of(status.st_uid, status.st_gid)


def owner_of(uid: int, gid: int) -> tuple[int, int] | None:
    """User and group, where that is not us."""
    return None if (uid, gid) == _ME else (uid, gid)
