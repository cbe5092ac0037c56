"""Test trees as literals: made on disk, and read back with everything that a build must keep."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from migrator.engine.tree import Building, Built

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts and owners")


class To(NamedTuple):
    """A symbolic link in a literal."""

    target: str


def make(root: Path, content: Mapping[str, bytes | To | None]) -> Path:
    """Make a tree: bytes are a file, None is a folder, To is a symbolic link; folders above are made."""
    root.mkdir(parents=True, exist_ok=True)
    for path, what in content.items():
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if what is None:
            place.mkdir(exist_ok=True)
        elif isinstance(what, To):
            place.symlink_to(what.target)
        else:
            place.write_bytes(what)
    return root


def build(*values: Any, **options: Any) -> Built:
    """A tree that is built at once."""
    with Building(*values, **options) as building:
        return building.finish()


def names(root: Path) -> dict[str, bytes | To | None]:
    """A tree as such a literal, folders included."""
    found: dict[str, bytes | To | None] = {}
    for folder, folders, files in os.walk(root):
        for name in sorted([*folders, *files]):
            path = Path(folder, name)
            key = str(path.relative_to(root))
            if path.is_symlink():
                found[key] = To(os.readlink(path))
            else:
                found[key] = None if path.is_dir() else path.read_bytes()
    return found


def everything(root: Path) -> dict[str, tuple[object, ...]]:
    """Path -> kind, mode, owner, time in ns, extended attributes, content: what a byte-exact copy has."""
    found: dict[str, tuple[object, ...]] = {}
    for path, what in {"": None, **names(root)}.items():
        status = os.lstat(root / path)
        marks: dict[str, bytes] = {}
        if not stat.S_ISLNK(status.st_mode):
            marks = {name: os.getxattr(root / path, name) for name in os.listxattr(root / path)}
        found[path] = (status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns, marks, what)
    return found
