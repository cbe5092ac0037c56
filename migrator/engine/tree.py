"""Trees of files, built beside one another from their listings, as a recipe says. Knows no generations.

The pass is a map over chunks of folders; workers decide no order.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate, pairwise
from math import ceil
from pathlib import Path
from types import TracebackType
from typing import Any

from migrator.engine import files
from migrator.engine.folders import Content, Folder, Member, Pairs, add, copy_members, finish_folder
from migrator.engine.listing import FILE, FOLDER, SPINE_DEPTH, Entry, children, place_of, unit_from
from migrator.engine.tokens import Batch, Hit, Tokens
from migrator.engine.workers import Jobs, Shared, borders, cut
from migrator.errors import MigratorError, TryAgain

_LARGEST_CHUNK = 40_000  # of cost, about 20,000 files: so that progress moves on large stores
_FINER = 4  # times as many parts as of other work: the last one may be long in coming, and a range costs nothing


# -- what to build


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
) -> list[Folder]:
    """What is to be done for some entries of a listing; a folder of the spine is there already."""
    folders: dict[str, Folder] = {}
    contents, read, moves = recipe.contents, recipe.read, recipe.moves
    for entry in entries:
        path, kind = entry[:2]
        if kind == FOLDER:
            folders[path] = Folder(path, places[path], None if _is_spine(path) else entry, [])
            continue
        folder, _, name = path.rpartition("/")
        if path in moves:
            name = moves[path].rpartition("/")[2]
        content = contents.get(path)
        known = digests.get(path, "") if content is None else ""
        by_link = content is None and linked is not None and kind == FILE and linked(path)
        if folder not in folders:
            folders[folder] = Folder(folder, places[folder], None, [])
        folders[folder].members.append(Member(entry, name, content, read.get(path), known, by_link))
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


_Copied = tuple[Pairs, list[tuple[str, int, str]], int, int]  # and the hits; how many files, and bytes


def _copy_chunk(source: str, target: str, tokens: Tokens | None, folders: list[Folder]) -> _Copied:
    """Copy some folders; of each member that was not surveyed its path today and its digests before and after."""
    digests: Pairs = []
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
            copy_members(f"{source}/{folder.path}", place, folder, batch, digests, ends)
    for entry, there in reversed(unfinished):
        finish_folder(source, target, entry, there)
    sizes = [member.entry.size for folder in folders for member in folder.members]
    return digests, [(*hit,) for hit in batch.close()] if batch else [], len(sizes), sum(sizes)


def _copy_once(copy: Callable[[list[Folder]], _Copied], target: Path, folders: list[Folder]) -> _Copied:
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
