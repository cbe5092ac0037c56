"""Trees of files, built beside one another from their listings. Knows no generations.

A build copies and hashes on the way; it hard-links only what it is told to, since who rewrites a linked file in place
changes both trees.
Modes, owners, times, extended attributes and symbolic links stay; what a recipe rewrites keeps mode and owner.
The pass is a map over chunks of folders; workers decide no order.
"""

from __future__ import annotations

import errno
import os
import stat
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate, pairwise
from math import ceil
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from migrator.engine import files
from migrator.engine.listing import (
    BLOCK,
    FILE,
    FOLDER,
    LINK,
    READ,
    READ_FOLDER,
    SPINE_DEPTH,
    Entry,
    children,
    hash_bytes,
    place_of,
    unit_from,
)
from migrator.engine.survey import in_blocks, look_through
from migrator.engine.tokens import Batch, Hit, Tokens
from migrator.engine.workers import Jobs, Shared, borders, cut
from migrator.errors import MigratorError, TryAgain

_LARGEST_CHUNK = 40_000  # of cost, about 20,000 files: so that progress moves on large stores
_FINER = 4  # times as many parts as of other work: the last one may be long in coming, and a range costs nothing
_UNLINKABLE = (errno.EPERM, errno.EXDEV, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS)


# -- what to build


Content = bytes | Callable[[bytes], bytes | None]


@dataclass(frozen=True)
class Recipe:
    """How the new tree differs from the old one.

    `moves`: path today -> path then (what lies below a folder moves with it); `contents`: path today -> new bytes, or
    a function from the old bytes to the new ones (None: they stay), called where the file is copied; `additions`:
    path then -> bytes, their folders are made. All else is copied as it is. `read`: path today -> the bytes that
    somebody has read since the tree was listed; such a file is not opened again.
    """

    moves: Mapping[str, str] = field(default_factory=dict)
    contents: Mapping[str, Content] = field(default_factory=dict)
    additions: Mapping[str, bytes] = field(default_factory=dict)
    read: Mapping[str, bytes] = field(default_factory=dict)


class _Member(NamedTuple):
    """What is to be done with a file or link: its name then, its new content (None: it stays), what is known of it."""

    entry: Entry
    name: str
    content: Content | None
    read: bytes | None  # its bytes
    digest: str  # of its bytes, where it stays and is known; it is not searched then either
    linked: bool


class _Folder(NamedTuple):
    """One folder's share of the work: itself, unless it is there already (no `entry`), and what lies directly in it."""

    path: str
    target: str
    entry: Entry | None
    members: list[_Member]


@dataclass(frozen=True)
class Built:
    """A finished copy: by its path today the digests before and after of all but folders ("" of a link); the hits."""

    digests: dict[str, tuple[str, str]]
    hits: list[Hit]


class Targets:
    """Path today -> path then, of everything in a listing; what lies below a folder moves with it.

    Raises MigratorError where two things would share one path, or a move leaves its folder.
    """

    def __init__(self, entries: Sequence[Entry], moves: Mapping[str, str]) -> None:
        self._moves = moves
        self._folders = {"": ""}
        for entry in entries:
            if entry.kind == FOLDER:
                self._folders[entry.path] = self[entry.path]
        for folder in sorted({path.rpartition("/")[0] for path in moves}):  # where names change, two could be one
            taken: set[str] = set()
            for entry in children(entries, folder):
                then = self[entry.path]
                if then.rpartition("/")[0] != self._folders[folder]:
                    raise MigratorError("a recipe renames within a folder only", where=then)
                if then in taken:
                    raise MigratorError("two things would get one name", where=then, hint="rename one of them by hand")
                taken.add(then)

    def __getitem__(self, path: str) -> str:
        then = self._folders.get(path) or self._moves.get(path)
        if then is not None:
            return then
        folder, slash, name = path.rpartition("/")
        return f"{self._folders[folder]}/{name}" if slash else name


def copy(
    entries: Sequence[Entry],
    source: Path,
    target: Path,
    *,
    jobs: Jobs = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write the tree as it is at `target`, which must not exist."""
    with Building(entries, source, target, Recipe(), jobs=jobs, progress=progress) as building:
        building.finish()


class Building:
    """A build that is under way: children have begun to copy, this process joins them in `finish`.

    A context manager: who does not come to `finish` leaves a part of a tree and no children.

    `places` are the Targets, where they are known; `linked` says which files, by their path today, are
    hard-linked where the recipe does not rewrite them: see `as_linked`; `digests` are those of files that were
    surveyed: where the recipe does not rewrite them they are copied by the kernel, neither hashed nor searched.
    `later` are paths of files that come last, so that `finish` can say what they hold; they lie in the spine.
    `progress` is called with (files, bytes) done so far.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        source: Path,
        target: Path,
        recipe: Recipe,
        *,
        places: Targets | None = None,
        tokens: Tokens | None = None,
        linked: Callable[[str], bool] | None = None,
        digests: Mapping[str, str] | None = None,
        later: Iterable[str] = (),
        jobs: Jobs = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self._source, self._target, self._recipe = source, target, recipe
        self._places = places or Targets(entries, recipe.moves)
        self._spine = [entry for entry in entries if entry.kind == FOLDER and _is_spine(entry.path)]
        found = {place_of(entries, path) for path in later}
        held = sorted(place for place in found if place is not None and entries[place].kind != FOLDER)
        self._later = [entries[place] for place in held]
        sooner = list(entries)
        for place in reversed(held):
            del sooner[place]
        for entry in self._spine:
            files.make_dir(target / self._places[entry.path], 0o700)
        self._surveyed = digests or {}
        self._folders = partial(_folders, places=self._places, linked=linked, digests=self._surveyed)
        self._copy = partial(_copy_chunk, str(source), str(target), tokens)
        ranges = _ranges(sooner, jobs)
        self._done = _Progress(progress)
        self._work: Shared[Any, _Copied]
        if isinstance(jobs, Executor):  # it is sent what a part needs, and no more
            parts = [self._folders(sooner[first:last], recipe) for first, last in ranges]
            self._work = Shared(partial(_copy_once, self._copy, target), parts, len(sooner), jobs)
        else:
            self._work = Shared(
                lambda part: self._copy(self._folders(sooner[slice(*part)], recipe)), ranges, len(sooner), jobs
            )

    def __enter__(self) -> Building:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._work.__exit__(kind, error, at)

    def finish(self, recipe: Recipe | None = None) -> Built:
        """Copy the rest. `recipe` says what the later files hold, and what is added; of all else it says the same."""
        recipe = recipe or self._recipe
        digests = {path: (one, one) for path, one in self._surveyed.items()}
        copied = self._work.results(self._done)
        copied.append(self._copy(self._folders(self._later, recipe)))
        self._done(copied[-1])
        unfinished = {self._places[entry.path]: entry for entry in self._spine}
        add(self._target, recipe.additions, unfinished)
        for entry in reversed(self._spine):
            finish_folder(str(self._source), str(self._target), entry, self._places[entry.path])
        for pairs, *_ in copied:
            digests.update(pairs)
        return Built(digests, sorted(Hit(*hit) for _, hits, *_ in copied for hit in hits))


class _Progress:
    """Adds up what is finished, for who wants to hear it."""

    def __init__(self, tell: Callable[[int, int], None] | None) -> None:
        self._tell = tell
        self._files = self._bytes = 0

    def __call__(self, copied: _Copied) -> None:
        *_, number, size = copied
        self._files, self._bytes = self._files + number, self._bytes + size
        if self._tell:
            self._tell(self._files, self._bytes)


def _is_spine(path: str) -> bool:
    return path.count("/") < SPINE_DEPTH


def _folders(
    entries: Iterable[Entry],
    recipe: Recipe,
    places: Targets,
    linked: Callable[[str], bool] | None,
    digests: Mapping[str, str],
) -> list[_Folder]:
    """What is to be done for some entries of a listing; a folder of the spine is there already."""
    folders: dict[str, _Folder] = {}
    contents, read, moves = recipe.contents, recipe.read, recipe.moves
    for entry in entries:
        path, kind = entry[:2]
        if kind == FOLDER:
            folders[path] = _Folder(path, places[path], None if _is_spine(path) else entry, [])
            continue
        folder, _, name = path.rpartition("/")
        if path in moves:
            name = moves[path].rpartition("/")[2]
        content = contents.get(path)
        known = digests.get(path, "") if content is None else ""
        by_link = content is None and linked is not None and kind == FILE and linked(path)
        if folder not in folders:
            folders[folder] = _Folder(folder, places[folder], None, [])
        folders[folder].members.append(_Member(entry, name, content, read.get(path), known, by_link))
    return list(folders.values())


def _ranges(entries: Sequence[Entry], jobs: Jobs) -> list[tuple[int, int]]:
    """A listing cut between units (what lies in the spine, with all below it) into shares of about equal cost."""
    costs = list(accumulate([2 + entry.size / 20_000 for entry in entries]))
    total = costs[-1] if costs else 0
    parts = cut(len(entries), jobs)
    if parts > 1 and not isinstance(jobs, Executor):
        parts *= _FINER
    parts = max(parts, ceil(1.5 * total / _LARGEST_CHUNK))  # the first share is half as large again as the mean
    cuts = {unit_from(entries, bisect_left(costs, total * border)) for border in borders(parts)[:-1]}
    return list(pairwise(sorted({*cuts, len(entries)})))


_Pairs = list[tuple[str, tuple[str, str]]]  # (path today, digests before and after)
_Copied = tuple[_Pairs, list[tuple[str, int, str]], int, int]  # and the hits; how many files, and bytes


def _copy_chunk(source: str, target: str, tokens: Tokens | None, folders: list[_Folder]) -> _Copied:
    """Copy some folders; of each member that was not surveyed its path today and its digests before and after."""
    digests: _Pairs = []
    batch = Batch(tokens) if tokens else None
    holders = {folder.path.rpartition("/")[0] for folder in folders}
    unfinished: list[tuple[Entry, str]] = []
    for folder in folders:
        place = f"{target}/{folder.target}" if folder.target else target
        ends = folder.entry is not None and bool(folder.members) and folder.path not in holders
        if folder.entry is not None:
            files.make_dir(place, 0o700)
            if not ends:
                unfinished.append((folder.entry, folder.target))
        if folder.members:
            _copy_members(f"{source}/{folder.path}", place, folder, batch, digests, ends)
    for entry, there in reversed(unfinished):
        finish_folder(source, target, entry, there)
    sizes = [member.entry.size for folder in folders for member in folder.members]
    return digests, [(*hit,) for hit in batch.close()] if batch else [], len(sizes), sum(sizes)


def _copy_once(copy: Callable[[list[_Folder]], _Copied], target: Path, folders: list[_Folder]) -> _Copied:
    """Copy some folders for an executor: durably, where the caller's own sync may not reach, and never a second time.

    A worker that is taken for lost may still write. So nobody writes over what another has begun: then the run ends.
    """
    try:
        copied = copy(folders)
    except FileExistsError as error:
        text = "a worker was lost: what it had begun is not copied a second time"
        raise TryAgain(text, where=error.filename, hint="repeat the command") from None
    files.sync_file_system(target)
    return copied


def _copy_members(source: str, target: str, folder: _Folder, batch: Batch | None, digests: _Pairs, ends: bool) -> None:
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
                    files.set_link_attributes(name, _owner(entry), entry.mtime_ns, dir_fd=to_fd)
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
    old_name: str, from_fd: int, to_fd: int, member: _Member, path: str, batch: Batch | None
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


def _write_file(source: str, to_fd: int, member: _Member, path: str, batch: Batch | None) -> tuple[str, str]:
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
    files.finish(write_fd, path, entry.mode, _owner(entry), entry.mtime_ns if digests[0] == digests[1] else None)


def _link_file(from_fd: int, to_fd: int, member: _Member, path: str, batch: Batch | None) -> tuple[str, str]:
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


_ME = (os.geteuid(), os.getegid())


def _owner(entry: Entry) -> tuple[int, int] | None:
    """The owner, where that is not us."""
    owner = (entry.uid, entry.gid)
    return None if owner == _ME else owner


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
    files.finish(fd, path, entry.mode, _owner(entry), entry.mtime_ns)


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
        return entry.mode & 0o2777, None if (entry.uid, entry.gid) == _ME else (entry.uid, entry.gid)
    status = os.stat(target / folder)
    return stat.S_IMODE(status.st_mode) & 0o2777, owner_of(status)


def owner_of(status: os.stat_result) -> tuple[int, int] | None:
    """User and group of a file where that is not us."""
    return None if (status.st_uid, status.st_gid) == _ME else (status.st_uid, status.st_gid)
