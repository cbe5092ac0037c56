"""Whole files into a live tree: made beside it, made durable, then renamed to their places.

What a kill leaves behind lies outside the tree and is swept by recovery. Knows no generations.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from migrator.engine import files, folders
from migrator.engine.exchange import Place
from migrator.errors import CareNeeded, UsageError, described


def opened(place: Place) -> Path:
    """An empty folder on the file system of the tree. Raises UsageError where there cannot be one."""
    workshop = place.workshop
    if os.stat(workshop.parent).st_dev != os.stat(place.real).st_dev:
        raise UsageError(
            "the data root is on another file system than the folder it lies in: nothing could be renamed into it",
            where=place.root,
            hint="move its content one level down and name a link to that folder as the data root",
        )
    files.remove_tree(workshop)
    files.make_dir(workshop)
    return workshop


def put(place: Place, contents: Sequence[tuple[str, bytes]]) -> None:
    """Put whole files, given as (path below the root, bytes), into their places; each is a rename of its own.

    Raises CareNeeded where it fails after the first one: then some are the new ones.
    """
    if not contents:
        return
    workshop = opened(place)
    copies = []
    for number, (path, data) in enumerate(contents):
        copy, target = workshop / f"{number:06}", place.real / path
        mode, owner = folders.make_folders(place.real, path)
        write_like(copy, data, target, mode & 0o666, owner)
        copies.append((copy, target))
    files.sync_file_system(workshop)
    files.rename(*copies[0])
    try:
        for copy, target in copies[1:]:
            files.rename(copy, target)
        for folder in dict.fromkeys(target.parent for _, target in copies):
            files.sync_dir(folder)
        files.remove_tree(workshop)
    except (OSError, MemoryError) as error:
        raise CareNeeded(
            f"not all files are replaced, or not durably (in all: {len(copies)}): {described(error)}",
            where=place.root,
            hint="mend the cause, then repeat the command; each file is whole",
        ) from error


def write_like(copy: Path, data: bytes, other: Path, mode: int = 0o644, owner: tuple[int, int] | None = None) -> None:
    """A new file with mode and owner of the one whose place it will take, else with those given."""
    with contextlib.suppress(FileNotFoundError):
        status = os.lstat(other)
        if stat.S_ISREG(status.st_mode):
            mode, owner = stat.S_IMODE(status.st_mode), folders.owner_of(status.st_uid, status.st_gid)
    fd = files.new_file(copy)
    try:
        files.write(fd, data, copy)
        files.finish(fd, copy, mode, owner, None)
    finally:
        os.close(fd)
