"""Trees of files as they lie on a disk: listed, compared, hashed. Reads and never writes; knows no generations.

Every pass is a map over parts of the tree, which several processes share out; who did what decides no order.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from functools import partial
from itertools import chain, pairwise
from operator import call
from pathlib import Path
from typing import Any, NamedTuple

from migrator.engine.workers import Jobs, borders, cut, spread
from migrator.errors import MigratorError, TryAgain

FOLDER, FILE, LINK, OTHER = "d", "f", "l", "?"
SPINE_DEPTH = 2  # folders down to here are one process's; what lies below is shared out
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
READ_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
BLOCK = 1 << 20  # larger files are read piece by piece
_KINDS = {stat.S_IFREG: FILE, stat.S_IFDIR: FOLDER, stat.S_IFLNK: LINK}
_MODES = {kind: bits for bits, kind in _KINDS.items()}
_SECOND = 1_000_000_000  # ns
_TICK = _SECOND // 10  # of the clock that stamps files: a hundredth of a second at most, and to spare
_COARSE = 3 * _SECOND  # the same where times are whole seconds, or even ones
_SHOWN = 10  # paths in a message
_FILES_PER_UNIT = 6  # in what lies below the spine, about


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


Row = tuple[str, str, int, int, int, int, int, int, str]  # an Entry as a plain value


class Listing(list[Entry]):
    """What a walk found, in its order; `began` says when it did, in ns."""

    def __init__(self, entries: Iterable[Entry], began: int) -> None:
        super().__init__(entries)
        self.began = began


def walk(root: Path, start: str = "", stop: str = "") -> Listing:
    """Everything below a folder and the folder itself (path ""), parents first, names sorted. Reads no content.

    Of this order only what comes from the path `start` on and before the path `stop`, where they are given.
    """
    began = time.time_ns()
    return Listing(map(Entry._make, _rows(root, start, stop)), began)


def walk_shared(root: Path, jobs: Jobs = None) -> Listing:
    """What `walk` gives, by several processes where the tree is large."""
    began = time.time_ns()
    parts, count = _parts(root, jobs)
    found = spread(partial(_list_part, root), parts, count, jobs)
    return Listing(map(Entry._make, chain.from_iterable(found)), began)


Digests = dict[str, str]  # of files' contents, by path
Look = Callable[[list[Row], Digests], Any]
Task = Callable[[], Any]


def read_back(root: Path, jobs: Jobs, look: Look, tasks: Sequence[Task] = ()) -> tuple[list[Any], list[Any]]:
    """Read every file of a tree; `look` gets the rows and digests of each part, in the process that has read it.

    Returns the plain values that it makes of them, in the order of a walk, and those of `tasks`, which whoever is free
    does meanwhile. The digest of what cannot be read is "".
    """
    parts, count = _parts(root, jobs)
    read = partial(_read_part, root)
    if isinstance(jobs, Executor):  # what is looked for, and the tasks, may know more than one likes to send
        return [look(*part) for part in spread(read, parts, count, jobs)], [task() for task in tasks]
    looks: list[Task] = [partial(_looked, look, read, part) for part in parts]
    found = spread(call, [*tasks, *looks], count, jobs)
    return found[len(tasks) :], found[: len(tasks)]


_Part = tuple[str, str]  # from the first path on, before the second


def _parts(root: Path, jobs: Jobs) -> tuple[list[_Part], int]:
    """A tree cut for several processes, and how many files it has, about."""
    units = _units(root)
    count = len(units) * _FILES_PER_UNIT
    cuts = {int(len(units) * border) for border in borders(cut(count, jobs))[1:-1]} - {0}
    return list(pairwise(["", *(units[place] for place in sorted(cuts)), ""])), count


def _looked(look: Look, read: Callable[[_Part], tuple[list[Row], Digests]], part: _Part) -> Any:
    return look(*read(part))


def _list_part(root: Path, part: _Part) -> list[Row]:
    return _rows(root, *part)


def _read_part(root: Path, part: _Part) -> tuple[list[Row], Digests]:
    digests: Digests = {}
    return _rows(root, *part, digests), digests


def _units(root: Path) -> list[str]:
    """Paths of what lies directly below the spine, in the order of a walk: where a walk may be cut."""
    folders = [""]
    try:
        for _ in range(SPINE_DEPTH):
            folders = [f"{folder}{name}/" for folder in folders for name in _folder_names(root / folder)]
        return [folder + name for folder in folders for name in sorted(os.listdir(root / folder))]
    except OSError:
        return []  # the walk itself will say what is wrong


def _folder_names(path: Path) -> list[str]:
    with os.scandir(path) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))


def _rows(root: Path, start: str = "", stop: str = "", digests: Digests | None = None) -> list[Row]:
    """The rows of a walk; `digests` gets that of each file's content, where it is given."""
    rows: list[Row] = []
    try:
        fd = os.open(root, READ_FOLDER)
    except OSError as error:
        raise MigratorError(f"the folder cannot be read: {error.strerror}", where=root) from error
    try:
        if not start:
            rows.append(_top(fd))
        _walk(fd, "", rows, start.split("/") if start else [], stop.split("/") if stop else [], digests)
    except FileNotFoundError as error:
        raise TryAgain(
            "a file vanished while the tree was being read", where=error.filename, hint="repeat the command"
        ) from None
    except OSError as error:
        raise MigratorError(f"the tree cannot be read: {error.strerror}", where=error.filename) from error
    finally:
        os.close(fd)
    return rows


def _top(fd: int) -> Row:
    """The row of the tree itself: without its change time, which an exchange alters."""
    top = os.fstat(fd)
    return ("", FOLDER, stat.S_IMODE(top.st_mode), top.st_uid, top.st_gid, 0, top.st_mtime_ns, 0, "")


def _walk(fd: int, prefix: str, rows: list[Row], start: list[str], stop: list[str], digests: Digests | None) -> None:
    names = sorted(os.listdir(fd))
    if stop:  # first, since it cuts at the end
        del names[bisect_left(names, stop[0]) if len(stop) == 1 else bisect_right(names, stop[0]) :]
    if start:
        del names[: bisect_left(names, start[0])]
    for name in names:
        above = len(start) > 1 and name == start[0]  # what lies in it may count, itself does not
        status = os.stat(name, dir_fd=fd, follow_symlinks=False)
        mode = status.st_mode
        kind = _KINDS.get(stat.S_IFMT(mode), OTHER)
        path = prefix + name
        if not above:
            size = 0 if kind == FOLDER else status.st_size
            target = os.readlink(name, dir_fd=fd) if kind == LINK else ""
            owner, group, changed = status.st_uid, status.st_gid, status.st_ctime_ns
            rows.append((path, kind, mode & 0o7777, owner, group, size, status.st_mtime_ns, changed, target))
            if digests is not None and kind == FILE:
                digests[path] = hash_file(name, fd, status.st_size)
        if kind == FOLDER:
            child = os.open(name, READ_FOLDER, dir_fd=fd)
            try:
                rest = stop[1:] if stop and name == stop[0] else []
                _walk(child, path + "/", rows, start[1:] if above else [], rest, digests)
            finally:
                os.close(child)


def place_of(entries: Sequence[Entry], path: str) -> int | None:
    """Where a path stands in a listing, if it does."""
    place = _begin(entries, path)
    return place if place < len(entries) and entries[place].path == path else None


def children(entries: Sequence[Entry], folder: str) -> list[Entry]:
    """What a listing has directly in a folder."""
    first, last = _range(entries, folder)
    start = len(folder) + 1 if folder else 0
    return [entry for entry in entries[first + 1 : last] if "/" not in entry.path[start:]]


def outside(entries: Sequence[Entry], folder: str) -> list[Entry]:
    """A listing without a folder and all that lies below it."""
    first, last = _range(entries, folder)
    return [*entries[:first], *entries[last:]]


def _range(entries: Sequence[Entry], folder: str) -> tuple[int, int]:
    """Where a folder begins in a listing, and what comes after it and all that lies below it."""
    return _begin(entries, folder), _begin(entries, f"{folder}\0") if folder else len(entries)


def _begin(entries: Sequence[Entry], path: str) -> int:
    """Where a path stands in a listing, or would stand."""
    return bisect_left(entries, path.split("/"), key=lambda entry: entry.path.split("/"))


def unit_from(entries: Sequence[Entry], place: int) -> int:
    """Where the first unit of a listing begins, at a place or behind it: what lies in the spine, with all below it."""
    while place < len(entries) and entries[place].path.count("/") > SPINE_DEPTH:
        place += 1
    return min(place, len(entries))


def differences(root: Path, before: Sequence[Entry], jobs: Jobs = None, *, by_times: bool = False) -> list[str]:
    """Paths of a tree that are not the very same as in its listing from before (any attribute, change times too).

    With `by_times` a folder is not listed again whose times say that its names are those of the listing; not every
    file system sets them (`exchange.folders_tell`). What has changed is found by listing all.
    """
    cuts = {unit_from(before, int(len(before) * border)) for border in borders(cut(len(before), jobs))}
    parts: list[_Listed] = [
        (before[first:last], before[first].path if first else "", before[last].path if last < len(before) else "")
        for first, last in pairwise(sorted(cuts))
    ]
    if by_times and isinstance(before, Listing) and _is_untouched(root, before, parts, jobs):
        return []
    found = spread(partial(_part_differing, root), parts, len(before), jobs)
    return sorted(path for paths in found for path in paths)


def require_unchanged(root: Path, before: Sequence[Entry], jobs: Jobs = None, *, by_times: bool = False) -> None:
    """Raise TryAgain where a tree is not the very same as in its listing from before; see `differences`."""
    changed = differences(root, before, jobs, by_times=by_times)
    if changed:
        raise _changed(root, changed)


def _changed(root: Path, paths: Sequence[str]) -> TryAgain:
    return TryAgain(
        f"somebody changed the data root during the run: {some(paths)}",
        where=root,
        hint="stop the pipeline (or let it take the lock), then repeat the command",
    )


def some(paths: Sequence[str]) -> str:
    """A few of many paths, for a message; the tree itself is a dot."""
    more = len(paths) - _SHOWN
    return ", ".join(path or "." for path in paths[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


_Listed = tuple[Sequence[Entry], str, str]  # some of a listing, the paths from which on and before which it goes


def _part_differing(root: Path, part: _Listed) -> list[str]:
    before, start, stop = part
    return _differing(before, _rows(root, start, stop))


def _is_untouched(root: Path, before: Listing, parts: Sequence[_Listed], jobs: Jobs) -> bool:
    """Whether everything of a listing is there as it was, and nothing else; False too where that cannot be told."""
    names = {entry.path for entry in before if "/" not in entry.path}
    try:
        fd = os.open(root, READ_FOLDER)
        try:
            if _top(fd) != before[0] or {"", *os.listdir(fd)} != names:  # its times may have been put back
                return False
        finally:
            os.close(fd)
    except OSError:
        return False
    return all(spread(partial(_part_untouched, root, before.began), parts, len(before), jobs))


def _part_untouched(root: Path, began: int, part: _Listed) -> bool:
    settled, coarse = began - _TICK, began - _COARSE
    try:
        fd = os.open(root, READ_FOLDER)
        try:
            for path, kind, mode, uid, gid, size, modified, changed, target in part[0]:
                if not path:
                    continue
                now = os.stat(path, dir_fd=fd, follow_symlinks=False)
                if now.st_ctime_ns != changed or now.st_mtime_ns != modified:
                    return False
                if now.st_uid != uid or now.st_gid != gid or now.st_mode != _MODES.get(kind, 0) | mode:
                    return False
                if kind == FOLDER:
                    if changed >= (settled if changed % _SECOND else coarse):
                        return False  # it could have changed again within the same tick, after it was listed
                elif now.st_size != size or (kind == LINK and os.readlink(path, dir_fd=fd) != target):
                    return False
        finally:
            os.close(fd)
    except OSError:
        return False
    return True


def _differing(before: Sequence[Entry], after: Sequence[Row]) -> list[str]:
    if before == after:
        return []
    old, new = {entry.path: entry for entry in before}, {row[0]: row for row in after}
    return sorted(path for path in old.keys() | new.keys() if old.get(path) != new.get(path))


def as_linked(root: Path, before: Sequence[Entry], linked: Callable[[str], bool], jobs: Jobs = None) -> Listing:
    """The listing of a tree after some of its files were hard-linked, which gives them another change time.

    Raises TryAgain where anything else differs from the listing before.
    """
    now = walk_shared(root, jobs)
    if len(now) == len(before) and all(map(partial(_same_but_linked, linked), before, now)):
        return now
    raise _changed(root, [path for path in _differing(before, now) if not linked(path)] or _differing(before, now))


def _same_but_linked(linked: Callable[[str], bool], old: Entry, new: Entry) -> bool:
    return old == new or (old[:7] == new[:7] and old.target == new.target and linked(new.path))


def kind_at(root: Path, path: str) -> str | None:
    """What is at a path of a tree (FOLDER, FILE, LINK, OTHER), or None; a link is not followed."""
    try:
        return _KINDS.get(stat.S_IFMT(os.lstat(root / path).st_mode), OTHER)
    except (FileNotFoundError, NotADirectoryError):
        return None


def has_content(path: Path, data: bytes) -> bool:
    """Whether there is a file with exactly these bytes."""
    return hash_file(str(path)) == hash_bytes(data)


# -- hashing


new_digest = hashlib.sha256  # of file contents: what sha256sum prints, and half the cost of BLAKE2b here


def hash_bytes(data: bytes) -> str:
    """The digest of some bytes."""
    return new_digest(data).hexdigest()


def hash_files(root: Path, paths: Sequence[str], jobs: Jobs = None) -> dict[str, str]:
    """Path -> digest of its content, read now; "" for a file that cannot be read."""
    step = len(paths) // cut(len(paths), jobs) + 1
    parts = [paths[start : start + step] for start in range(0, len(paths), step)]
    found = spread(partial(_hash_chunk, str(root)), parts, len(paths), jobs)
    return dict(zip(paths, (digest for part in found for digest in part), strict=True))


def _hash_chunk(root: str, paths: Sequence[str]) -> list[str]:
    return [hash_file(f"{root}/{path}") for path in paths]


def hash_file(path: str, dir_fd: int | None = None, size: int | None = None) -> str:
    """The digest of one file, "" where it cannot be read; `size` is what it has, where that is known."""
    try:
        fd = os.open(path, READ, dir_fd=dir_fd)
    except OSError:
        return ""
    try:
        if size is None:
            size = os.fstat(fd).st_size
        data = os.read(fd, min(size + 1, BLOCK))  # to allocate a whole block costs more than to read most files
        if len(data) == size:
            return hash_bytes(data)
        digest = new_digest(data)
        while data := os.read(fd, BLOCK):
            digest.update(data)
        return digest.hexdigest()
    except OSError:
        return ""
    finally:
        os.close(fd)
