"""Run folders: what a run leaves behind, and the proof that a snapshot is what it was.

<backups>/<run id>/run.json            root, steps, state, where the trees lie, digests of both
                   before.manifest     every entry of the tree from before, with the digest of its content
                   after.manifest      the same for the tree from after
                   tree/               built here; after the commit the tree from before: the snapshot
                   log.jsonl, report.html
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from migrator.engine import files
from migrator.engine.ledger import is_run_id
from migrator.engine.listing import FILE, Entry, Row, hash_bytes, hash_files, new_digest, walk_shared
from migrator.errors import CareNeeded, UsageError

COPIED, LINKED = "copied", "linked"
BUILDING, COMMITTED, FAILED, ROLLED_BACK = "building", "committed", "failed", "rolled-back"
_TOGETHER = 1_000  # lines: what an allocator gives again and again, without asking the system for it
_PLAIN = bytes(range(0x20, 0x7F)).replace(b'"', b"")  # bytes that stand in a line as they are, wherever
BEFORE, AFTER = "before.manifest", "after.manifest"
RUN_FILE, LOG = "run.json", "log.jsonl"


@dataclass(frozen=True)
class Run:
    """run.json. `tree` is where the run's other tree lies: the new one while it is built, then the one from before,
    after a rollback the one from after. `number` counts the runs of a root, whatever the clock said."""

    run_id: str
    root: str
    number: int
    state: str
    tree: str
    linked: bool = False
    link: str = ""  # what the link said before the run
    steps: list[str] = field(default_factory=list)
    started: str = ""
    ended: str = ""
    reason: str = ""  # why it failed
    counts: dict[str, int] = field(default_factory=dict)
    before: str = ""  # digests of the two trees
    after: str = ""
    mapping: str = ""
    pruned: bool = False
    note: str = ""
    payload: str = COPIED  # or LINKED: then both trees share the files that no step rewrites
    executor: str = ""  # who copied, where not forked children of the run
    shape: dict[str, dict[str, int]] = field(default_factory=dict)  # of the store that the run met

    def with_(self, **values: Any) -> Run:
        """The same with other values."""
        return replace(self, **values)

    @property
    def has_snapshot(self) -> bool:
        """Whether the tree from before is there to go back to."""
        return self.state == COMMITTED and not self.pruned


_EXAMPLE = Run("", "", 0, "", "")


def write(folder: Path, run: Run) -> None:
    """Put run.json in its place, durably."""
    files.replace_file(
        folder / RUN_FILE,
        json.dumps(asdict(run), indent=2, ensure_ascii=False).encode(errors="backslashreplace") + b"\n",
    )


def read(folder: Path) -> Run:
    """A run's run.json. Raises CareNeeded where it cannot be read, UsageError where there is no such run."""
    try:
        return _proven(Run(**json.loads((folder / RUN_FILE).read_bytes())), folder)
    except FileNotFoundError:
        raise UsageError(
            f"there is no run {folder.name}", where=folder, hint="migrator history   (lists them)"
        ) from None
    except (OSError, ValueError, TypeError) as error:
        raise CareNeeded(f"run.json cannot be read: {error}", where=folder / RUN_FILE) from None


def _proven(run: Run, folder: Path) -> Run:
    """The record with values of the right types, in its own folder. Raises TypeError or ValueError."""
    for one in fields(Run):
        if type(getattr(run, one.name)) is not type(getattr(_EXAMPLE, one.name)):
            raise TypeError(f"{one.name} is {getattr(run, one.name)!r}")
    for path in (run.root, run.tree, run.link, run.mapping):
        if b"\0" in os.fsencode(path):
            raise ValueError(f"{path!r} is no path")
    if run.run_id != folder.name or run.state not in (BUILDING, COMMITTED, FAILED, ROLLED_BACK):
        raise ValueError(f"it says {run.run_id!r}, {run.state!r}")
    return run


def of_root(backups: Path, root: Path) -> list[Run]:
    """The runs of one data root, oldest first."""
    try:
        names = sorted(path for path in backups.iterdir() if is_run_id(path.name) and path.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    found = [read(folder) for folder in names if (folder / RUN_FILE).exists()]
    return sorted((run for run in found if run.root == str(root)), key=lambda run: (run.number, run.run_id))


# -- manifests


Texts = tuple[bytes, str]  # a manifest as it is written, the digest of its tree
Lines = tuple[int, bytes, bytes]  # how many; as they are written; as they count for the digest of the tree


@dataclass(frozen=True)
class Manifest:
    """Entries of a tree with the digests of their contents, by path."""

    entries: Sequence[Entry]
    digests: Mapping[str, str]

    @cached_property
    def _texts(self) -> Texts:
        """The manifest's file, and the digest of the tree."""
        starts = range(0, len(self.entries), _TOGETHER)  # a line is four times its bytes while it stands alone
        return sealed(lines_of(self.entries[start : start + _TOGETHER], self.digests) for start in starts)

    def texts(self) -> Texts:
        """The manifest as it is written, and the digest of the tree, as plain values."""
        return self._texts

    def digest(self) -> str:
        """One digest for the tree: paths, kinds, modes, contents; no times, so equal trees have equal digests."""
        return self._texts[1]

    def render(self) -> bytes:
        """A line an entry (kind, mode, owner, group, size, times in ns, digest, path, link), then their seal."""
        return self._texts[0]


def lines_of(entries: Sequence[Row], digests: Mapping[str, str]) -> Lines:
    """The lines of some entries of a manifest, and the shorter ones that the digest of the tree is made of."""
    names = "".join([entry[0] + entry[8] for entry in entries])
    plain = not names.encode(errors="surrogateescape").translate(None, _PLAIN)
    heads: dict[tuple[str, int, int, int], tuple[str, str]] = {}  # most entries have one of a few
    lines: list[str] = []
    timeless: list[str] = []
    for path, kind, mode, uid, gid, size, mtime, ctime, target in entries:
        head = heads.get((kind, mode, uid, gid))
        if head is None:
            head = heads[kind, mode, uid, gid] = (f"{kind}\t{mode:o}\t{uid}\t{gid}\t", f"{kind}\t{mode:o}\t")
        if plain:
            rest = f"{digests.get(path) or '-'}\t{path}\t{target}\n"
        else:
            rest = f"{digests.get(path) or '-'}\t{_text(path)}\t{_text(target)}\n"
        lines.append(f"{head[0]}{size}\t{mtime}\t{ctime}\t{rest}")
        timeless.append(head[1] + rest)
    return len(lines), "".join(lines).encode(), "".join(timeless).encode()


def sealed(parts: Iterable[Lines]) -> Texts:
    """A manifest from all its lines, in order, and the digest of the tree."""
    count = 0
    bodies: list[bytes] = []
    whole, tree = new_digest(), new_digest()
    for lines, body, timeless in parts:
        count += lines
        bodies.append(body)
        whole.update(body)
        tree.update(timeless)
    seal = json.dumps({"entries": count, "sha256": whole.hexdigest()}).encode()
    return b"".join([*bodies, seal, b"\n"]), tree.hexdigest()


def _text(text: str) -> str:
    """A path or link for a line: as JSON where it holds what a line cannot (control characters, bytes of no text)."""
    return text if text.isprintable() and not text.startswith('"') else json.dumps(text)


def _parsed(line: str) -> tuple[Entry, str]:
    kind, mode, uid, gid, size, mtime, ctime, digest, path, target = line.split("\t")
    if path[:1] == '"':
        path = json.loads(path)
    if target[:1] == '"':
        target = json.loads(target)
    return Entry(path, kind, int(mode, 8), int(uid), int(gid), int(size), int(mtime), int(ctime), target), digest


def read_manifest(path: Path) -> Manifest:
    """A manifest from its file. Raises CareNeeded where it is missing, torn or altered."""
    try:
        data = path.read_bytes()
        cut = data.rstrip(b"\n").rfind(b"\n") + 1
        body, seal = data[:cut], json.loads(data[cut:])
        rows = [_parsed(line) for line in body.decode().split("\n")[:-1]]
        if seal != {"entries": len(rows), "sha256": hash_bytes(body)}:
            raise ValueError("its seal does not fit")
        return Manifest([entry for entry, _ in rows], {entry.path: digest for entry, digest in rows if digest != "-"})
    except (OSError, ValueError, TypeError, IndexError) as error:
        raise CareNeeded(
            f"the manifest of a snapshot cannot be trusted: {error}",
            where=path,
            hint="the trees are where they were; compare them by hand before you go back",
        ) from None


def damages(
    root: Path,
    manifest: Manifest,
    *,
    full: bool,
    ignore: Iterable[str] = (),
    entries: Sequence[Entry] | None = None,
) -> list[str]:
    """What differs between a tree and its manifest, one sentence each, sorted; `ignore` are paths left out.

    `entries` is the tree's listing, where somebody has it already.

    Sizes, modes, owners, times and link targets are always compared. A file is read where its change time is not the
    one noted, and every file with `full`: the change time is set by the kernel alone.
    """
    entries = walk_shared(root) if entries is None else entries
    if not full and entries == manifest.entries:
        return []  # to the letter what it was, change times too
    left_out = set(ignore)
    then = {entry.path: entry for entry in manifest.entries if entry.path not in left_out}
    now = {entry.path: entry for entry in entries if entry.path not in left_out}
    found = [f"{path} is missing" for path in then.keys() - now.keys()]
    found += [f"{path} was added" for path in now.keys() - then.keys()]
    doubtful = []
    for path in then.keys() & now.keys():
        old, new = then[path], now[path]
        if old.kind != new.kind or old.size != new.size or old.target != new.target:
            found.append(f"{path or '.'} has changed")
        elif old[2:5] != new[2:5]:
            found.append(f"{path or '.'} has another mode or owner")
        elif old.mtime_ns != new.mtime_ns:
            found.append(f"{path or '.'} has another time")
        elif new.kind == FILE and (full or old.ctime_ns != new.ctime_ns):
            doubtful.append(path)
    digests = hash_files(root, sorted(doubtful))
    found += [f"{path} has another content" for path in doubtful if digests[path] != manifest.digests.get(path, "")]
    return sorted(found)


def changed_content(root: Path, manifest: Manifest) -> list[tuple[str, str]]:
    """(path, what) of everything in a tree whose content is not that of the manifest: added, changed or removed.

    Times do not count: a file that was touched is read and compared.
    """
    then = {entry.path: entry for entry in manifest.entries}
    entries = walk_shared(root)
    now = {entry.path: entry for entry in entries}
    found = [(path, "removed") for path in then.keys() - now.keys()]
    found += [(path, "added") for path in now.keys() - then.keys()]
    doubtful = []
    for path in then.keys() & now.keys():
        old, new = then[path], now[path]
        if (old.kind, old.size, old.target, old.mode) != (new.kind, new.size, new.target, new.mode):
            found.append((path, "changed"))
        elif new.kind == FILE and (old.mtime_ns, old.ctime_ns) != (new.mtime_ns, new.ctime_ns):
            doubtful.append(path)
    digests = hash_files(root, sorted(doubtful))
    found += [(path, "changed") for path in doubtful if digests[path] != manifest.digests.get(path, "")]
    return sorted(found)


def manifest_of(entries: Sequence[Entry], digests: Mapping[str, str]) -> Manifest:
    """A manifest of a listing and the digests of its files."""
    blank = not all(digests.values())
    return Manifest(entries, {path: digest for path, digest in digests.items() if digest} if blank else digests)
