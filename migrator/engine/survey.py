"""What files hold, looked up before they are copied: their digests, and where tokens stand in them. Writes nothing.

Hashing and searching need no plan, so a child does it while the plan is made; whoever needs the answer ends the look
and does the rest while copying. A file that changes afterwards is no danger: its copy is read back and compared.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from migrator.engine.listing import BLOCK, READ, Entry, hash_bytes, new_digest
from migrator.engine.tokens import Batch, Hit

_AT_ONCE = 64  # files between two questions whether to go on


@dataclass(frozen=True)
class Surveyed:
    """What is known of some files before they are copied: digests by path, and the hits in them."""

    digests: Mapping[str, str] = field(default_factory=dict)
    hits: Sequence[Hit] = ()


def survey(
    root: Path,
    entries: Sequence[Entry],
    batch: Batch,
    ended: Callable[[], bool],
) -> tuple[dict[str, str], list[tuple[str, int, str]]]:
    """Path -> digest of these files of a tree, in their order and until `ended` says so; and the hits in them.

    A file that cannot be read is left out. The batch, which is closed then, is given each that is not a large one.
    """
    digests: dict[str, str] = {}
    for start in range(0, len(entries), _AT_ONCE):
        if ended():
            break
        for entry in entries[start : start + _AT_ONCE]:
            digest = _read(root, entry, batch)
            if digest:
                digests[entry.path] = digest
    return digests, [(*hit,) for hit in batch.close()]


def _read(root: Path, entry: Entry, batch: Batch) -> str:
    try:
        fd = os.open(f"{root}/{entry.path}", READ)
        try:
            return look_through(fd, entry.size, entry.path, batch)
        finally:
            os.close(fd)
    except OSError:
        return ""


def look_through(fd: int, size: int, path: str, batch: Batch | None) -> str:
    """The digest of an open file that had this size; its tokens go to the batch, under this path."""
    if size > BLOCK:
        return in_blocks(fd, size, path, batch)
    data = os.read(fd, size + 1)  # one more than it had, to see its end
    if batch:
        batch.add(path, data)
    return hash_bytes(data)


def in_blocks(fd: int, size: int, path: str, batch: Batch | None, take: Callable[[bytes], object] | None = None) -> str:
    """The same block by block, for a large file; `take` gets each block."""
    search = batch.tokens.search(path) if batch else None
    digest = new_digest()
    left = size + 1
    while left > 0 and (data := os.read(fd, min(left, BLOCK))):
        digest.update(data)
        if take:
            take(data)
        if search:
            search.feed(data)
        left -= len(data)
    if batch and search:
        batch.hits += search.close()
    return digest.hexdigest()
