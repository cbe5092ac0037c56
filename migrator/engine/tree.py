"""Trees of files: listed, built beside one another, hashed. Knows no generations.

A build copies (never hard-links: a pipeline that rewrites in place would change both trees) and hashes on the way.
Modes, owners, times, extended attributes and symbolic links stay; what a recipe rewrites keeps mode and owner.
Both passes are maps over chunks of folders; workers decide no order.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

from migrator.engine import files
from migrator.engine.tokens import Hit, Tokens
from migrator.engine.workers import Beside, cores, spread
from migrator.errors import MigratorError, TryAgain

FOLDER, FILE, LINK, OTHER = "d", "f", "l", "?"
_KINDS = {stat.S_IFREG: FILE, stat.S_IFDIR: FOLDER, stat.S_IFLNK: LINK}
_SPINE_DEPTH = 2  # folders down to here are made first, by one process; what lies below is shared out
_CHUNKS_PER_WORKER = 4
_SEARCHED_AT_ONCE = 1 << 20  # larger files are searched piece by piece
_LARGEST_CHUNK = 40_000  # of cost, about 20,000 files: so that progress moves on large stores
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_BLOCK = 1 << 20


class Entry(NamedTuple):
    """One thing in a tree. `path` is relative, times are in ns; folders have size 0, links their target."""

    path: str
    kind: str
    mode: int
    uid: int
    gid: int
    size: int
    mtime_ns: int
    ctime_ns: int
    target: str = ""


def new_digest() -> hashlib.blake2b:
    """The hash of file contents: BLAKE2b-160."""
    return hashlib.blake2b(digest_size=20)


def walk(root: Path, start: str = "", stop: str = "") -> list[Entry]:
    """Everything below a folder and the folder itself (path ""), parents first, names sorted. Reads no content.

    Of this order only what comes from the path `start` on and before the path `stop`, where they are given.
    """
    entries: list[Entry] = []
    try:
        fd = os.open(root, _OPEN_FOLDER)
    except OSError as error:
        raise MigratorError(f"the folder cannot be read: {error.strerror}", where=root) from error
    try:
        top = os.fstat(fd)
        if not start:
            mode = stat.S_IMODE(top.st_mode)
            entries.append(Entry("", FOLDER, mode, top.st_uid, top.st_gid, 0, top.st_mtime_ns, 0))
        _walk(fd, "", entries, start.split("/") if start else [], stop.split("/") if stop else [])
    except FileNotFoundError as error:
        raise TryAgain(
            "a file vanished while the tree was being read", where=error.filename, hint="repeat the command"
        ) from None
    except OSError as error:
        raise MigratorError(f"the tree cannot be read: {error.strerror}", where=error.filename) from error
    finally:
        os.close(fd)
    return entries


def _walk(fd: int, prefix: str, entries: list[Entry], start: list[str], stop: list[str]) -> None:
    make = tuple.__new__  # a third of the cost of Entry(...), and a walk makes millions
    for name in sorted(os.listdir(fd)):
        if start and name < start[0]:
            continue
        if stop and (name > stop[0] or [name] == stop):
            break
        above = len(start) > 1 and name == start[0]  # what lies in it may count, itself does not
        status = os.stat(name, dir_fd=fd, follow_symlinks=False)
        mode = status.st_mode
        kind = _KINDS.get(stat.S_IFMT(mode), OTHER)
        path = prefix + name
        if not above:
            size = 0 if kind == FOLDER else status.st_size
            target = os.readlink(name, dir_fd=fd) if kind == LINK else ""
            numbers = (
                mode & 0o7777,
                status.st_uid,
                status.st_gid,
                size,
                status.st_mtime_ns,
                status.st_ctime_ns,
            )
            entries.append(make(Entry, (path, kind, *numbers, target)))
        if kind == FOLDER:
            child = os.open(name, _OPEN_FOLDER, dir_fd=fd)
            try:
                rest = stop[1:] if stop and name == stop[0] else []
                _walk(child, path + "/", entries, start[1:] if above else [], rest)
            finally:
                os.close(child)


def differences(root: Path, before: Sequence[Entry], jobs: int | None = None) -> list[str]:
    """Paths of a tree that are not the very same as in its listing from before (any attribute, change times too)."""
    places = range(len(before) // 2, len(before))
    middle = next((place for place in places if before[place].path.count("/") == _SPINE_DEPTH), None)
    if middle is None:
        return _differing(before, walk(root))
    border = before[middle].path
    rest = Beside(lambda: _differing(before[middle:], walk(root, start=border)), len(before), jobs)
    try:
        return _differing(before[:middle], walk(root, stop=border)) + rest.result()
    finally:
        rest.abandon()


def _differing(before: Sequence[Entry], after: Sequence[Entry]) -> list[str]:
    if before == after:
        return []
    old, new = {entry.path: entry for entry in before}, {entry.path: entry for entry in after}
    return sorted(path for path in old.keys() | new.keys() if old.get(path) != new.get(path))


# -- what to build


Content = bytes | Callable[[bytes], bytes | None]


@dataclass(frozen=True)
class Recipe:
    """How the new tree differs from the old one.

    `moves`: path today -> path then (what lies below a folder moves with it); `contents`: path today -> new bytes, or
    a function from the old bytes to the new ones (None: they stay), called where the file is copied; `additions`:
    path then -> bytes, their folders are made. All else is copied as it is.
    """

    moves: Mapping[str, str] = field(default_factory=dict)
    contents: Mapping[str, Content] = field(default_factory=dict)
    additions: Mapping[str, bytes] = field(default_factory=dict)


class Placed(NamedTuple):
    """One file or link of a build: where it came from, where it went, and the digests of both contents."""

    source: str
    target: str
    before: str
    after: str


@dataclass(frozen=True)
class _Folder:
    """One folder's share of the work: itself (unless `made`) and what lies directly in it."""

    entry: Entry
    target: str
    made: bool
    members: list[tuple[Entry, str, Content | None]]  # entry, new name, new content


@dataclass(frozen=True)
class Built:
    """A finished copy: what was placed, sorted by source, and where tokens were found."""

    placed: list[Placed]
    hits: list[Hit]


def targets(entries: Iterable[Entry], moves: Mapping[str, str]) -> dict[str, str]:
    """Path today -> path then, for every entry. Raises MigratorError where two would share one path."""
    result = {"": ""}
    for entry in entries:
        if not entry.path:
            continue
        folder, slash, name = entry.path.rpartition("/")
        parent = result[folder]
        if entry.path in moves:
            result[entry.path] = moves[entry.path]
            if moves[entry.path].rpartition("/")[0] != parent:
                raise MigratorError("a recipe renames within a folder only", where=moves[entry.path])
            continue
        result[entry.path] = f"{parent}/{name}" if slash else name
    if len(set(result.values())) != len(result):
        seen: set[str] = set()
        twice = next(path for path in result.values() if path in seen or seen.add(path))  # type: ignore[func-returns-value]
        raise MigratorError("two things would get one name", where=twice, hint="rename one of them by hand")
    return result


def build(
    entries: Sequence[Entry],
    source: Path,
    target: Path,
    recipe: Recipe,
    *,
    tokens: Tokens | None = None,
    jobs: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Built:
    """Write the new tree at `target`, which must not exist; `progress` is called with (files, bytes) done so far."""
    places = targets(entries, recipe.moves)
    folders = _folders(entries, places, recipe)
    for folder in folders:
        if folder.made:
            files.make_dir(target / folder.target if folder.target else target, 0o700)
    placed: list[Placed] = []
    hits: list[Hit] = []
    done_files = done_bytes = 0
    count = sum(len(folder.members) for folder in folders)

    def finished(chunk: tuple[list[Placed], list[Hit], int]) -> None:
        nonlocal done_files, done_bytes
        done_files, done_bytes = done_files + len(chunk[0]), done_bytes + chunk[2]
        if progress:
            progress(done_files, done_bytes)

    copy = partial(_copy_chunk, str(source), str(target), tokens)
    for part, found, _ in spread(copy, _chunks(folders, jobs), count, jobs, finished):
        placed += part
        hits += found
    add(target, recipe.additions, {folder.target: folder.entry for folder in folders if folder.made})
    for folder in reversed(folders):
        if folder.made:
            finish_folder(source, target, folder.entry, folder.target)
    placed.sort()
    hits.sort()
    return Built(placed, hits)


def _folders(entries: Sequence[Entry], places: Mapping[str, str], recipe: Recipe) -> list[_Folder]:
    folders: dict[str, _Folder] = {}
    for entry in entries:
        if entry.kind == FOLDER:
            made = entry.path.count("/") < _SPINE_DEPTH
            folders[entry.path] = _Folder(entry, places[entry.path], made, [])
        if entry.path and entry.kind != FOLDER:
            parent = folders[entry.path.rpartition("/")[0]]
            target = places[entry.path]
            content = recipe.contents.get(entry.path)
            parent.members.append((entry, target.rpartition("/")[2], content))
    return list(folders.values())


def _chunks(folders: list[_Folder], jobs: int | None) -> list[list[_Folder]]:
    """Folders in order, cut between units (what lies below the spine) into shares of about equal cost."""
    units: list[list[_Folder]] = []
    for folder in folders:
        if folder.made or folder.entry.path.count("/") == _SPINE_DEPTH or not units:
            units.append([folder])
        else:
            units[-1].append(folder)
    costs = [sum(2 + 2 * len(f.members) + sum(m[0].size for m in f.members) // 20_000 for f in unit) for unit in units]
    share = min(sum(costs) / ((jobs or cores()) * _CHUNKS_PER_WORKER) + 1, _LARGEST_CHUNK)
    chunks: list[list[_Folder]] = [[]]
    cost = 0.0
    for unit, weight in zip(units, costs, strict=True):
        if cost >= share:
            chunks.append([])
            cost = 0
        chunks[-1] += unit
        cost += weight
    return chunks


def _copy_chunk(
    source: str, target: str, tokens: Tokens | None, folders: list[_Folder]
) -> tuple[list[Placed], list[Hit], int]:
    placed: list[Placed] = []
    hits: list[Hit] = []
    for folder in folders:
        if not folder.made:
            files.make_dir(f"{target}/{folder.target}", 0o700)
        if not folder.members:
            continue
        texts: list[tuple[str, bytes]] = []
        from_fd = _open_folder(f"{source}/{folder.entry.path}")
        try:
            to_fd = os.open(f"{target}/{folder.target}", _OPEN_FOLDER)
            try:
                for member in folder.members:
                    placed.append(_copy(folder, *member, from_fd, to_fd, tokens, texts, hits))
            finally:
                os.close(to_fd)
        finally:
            os.close(from_fd)
        if tokens:
            hits += tokens.look(texts)
    for folder in reversed(folders):
        if not folder.made:
            finish_folder(Path(source), Path(target), folder.entry, folder.target)
    return placed, hits, sum(entry.size for folder in folders for entry, _, _ in folder.members)


def _open_folder(path: str) -> int:
    try:
        return os.open(path, _OPEN_FOLDER)
    except OSError as error:
        raise TryAgain(f"a folder changed during the run: {error.strerror}", where=path) from None


def _copy(
    folder: _Folder,
    entry: Entry,
    name: str,
    content: Content | None,
    from_fd: int,
    to_fd: int,
    tokens: Tokens | None,
    texts: list[tuple[str, bytes]],
    hits: list[Hit],
) -> Placed:
    """Copy one member of a folder, or write its new content; what is small goes into `texts`, to be searched later."""
    path = f"{folder.target}/{name}" if folder.target else name
    owner = None if (entry.uid, entry.gid) == _ME else (entry.uid, entry.gid)
    if entry.kind == LINK:
        files.symlink(entry.target, name, dir_fd=to_fd)
        files.set_link_attributes(name, owner, entry.mtime_ns, dir_fd=to_fd)
        return Placed(entry.path, path, "", "")
    try:
        read_fd = os.open(entry.path.rpartition("/")[2], _READ, dir_fd=from_fd)
    except OSError as error:
        raise TryAgain(f"a file changed during the run: {error.strerror}", where=entry.path) from None
    try:
        write_fd = files.new_file(name, dir_fd=to_fd)
        rewritten = False
        try:
            if content is None:
                old = new = _copy_bytes(read_fd, write_fd, path, entry.size, tokens, texts, hits)
            else:
                data = os.read(read_fd, entry.size + 1)
                old = new = hash_bytes(data)
                changed = content if isinstance(content, bytes) else content(data)
                rewritten = changed is not None
                if changed is not None:
                    data, new = changed, hash_bytes(changed)
                files.write(write_fd, data, path)
                texts.append((path, data))
            files.copy_xattrs(read_fd, write_fd)
            files.finish(write_fd, path, entry.mode, owner, None if rewritten else entry.mtime_ns)
        finally:
            os.close(write_fd)
    finally:
        os.close(read_fd)
    return Placed(entry.path, path, old, new)


def _copy_bytes(
    read_fd: int,
    write_fd: int,
    path: str,
    size: int,
    tokens: Tokens | None,
    texts: list[tuple[str, bytes]],
    hits: list[Hit],
) -> str:
    """Copy a file's bytes and return their digest."""
    search = tokens.search(path) if tokens and size > _SEARCHED_AT_ONCE else None
    digest = new_digest()
    left = size + 1  # one more than it had, to see its end
    while left > 0 and (data := os.read(read_fd, min(left, _BLOCK))):
        digest.update(data)
        files.write(write_fd, data, path)
        if search:
            search.feed(data)
        elif tokens:
            texts.append((path, data))
        left -= len(data)
        if left == 1 and len(data) < _BLOCK:
            break
    if search:
        hits += search.close()
    return digest.hexdigest()


_ME = (os.geteuid(), os.getegid())


def hash_bytes(data: bytes) -> str:
    """The digest of some bytes."""
    digest = new_digest()
    digest.update(data)
    return digest.hexdigest()


def finish_folder(source: Path, target: Path, entry: Entry, place: str) -> None:
    """Give the folder at `place` in the new tree what the old one had: attributes, owner, mode and time."""
    path = str(target / place) if place else str(target)
    fd = os.open(path, _OPEN_FOLDER)
    try:
        files.copy_xattrs(str(source / entry.path), fd)
        owner = None if (entry.uid, entry.gid) == _ME else (entry.uid, entry.gid)
        files.finish(fd, path, entry.mode, owner, entry.mtime_ns)
    finally:
        os.close(fd)


def kind_at(root: Path, path: str) -> str | None:
    """What is at a path of a tree (FOLDER, FILE, LINK, OTHER), or None; a link is not followed."""
    try:
        return _KINDS.get(stat.S_IFMT(os.lstat(root / path).st_mode), OTHER)
    except (FileNotFoundError, NotADirectoryError):
        return None


def has_content(path: Path, data: bytes) -> bool:
    """Whether there is a file with exactly these bytes."""
    return hash_file(str(path)) == hash_bytes(data)


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
        fd = os.open(target / new, _OPEN_FOLDER)
        try:
            files.finish(fd, target / new, mode, owner, None)
        finally:
            os.close(fd)
    return mode, owner


def _attributes(target: Path, folder: str, unfinished: Mapping[str, Entry]) -> tuple[int, tuple[int, int] | None]:
    """Mode of a folder, and its owner where that is not us."""
    if folder in unfinished:
        entry = unfinished[folder]
        return entry.mode & 0o2777, None if (entry.uid, entry.gid) == _ME else (entry.uid, entry.gid)
    status = os.stat(target / folder)
    return stat.S_IMODE(status.st_mode) & 0o2777, owner_of(status)


def owner_of(status: os.stat_result) -> tuple[int, int] | None:
    """User and group of a file where that is not us."""
    return None if (status.st_uid, status.st_gid) == _ME else (status.st_uid, status.st_gid)


# -- hashing


def hash_files(root: Path, paths: Sequence[str], jobs: int | None = None) -> dict[str, str]:
    """Path -> digest of its content, read now; "" for a file that cannot be read."""
    share = max(1, len(paths) // ((jobs or cores()) * _CHUNKS_PER_WORKER) + 1)
    parts = [paths[start : start + share] for start in range(0, len(paths), share)]
    found = spread(partial(_hash_chunk, str(root)), parts, len(paths), jobs)
    return {path: digest for part in found for path, digest in part}


def _hash_chunk(root: str, paths: Sequence[str]) -> list[tuple[str, str]]:
    return [(path, hash_file(f"{root}/{path}")) for path in paths]


def hash_file(path: str) -> str:
    """The digest of one file, "" where it cannot be read."""
    try:
        fd = os.open(path, _READ)
    except OSError:
        return ""
    try:
        digest = new_digest()
        while data := os.read(fd, _BLOCK):
            digest.update(data)
            if len(data) < _BLOCK:
                break
        return digest.hexdigest()
    except OSError:
        return ""
    finally:
        os.close(fd)
