"""Stores as literals; where tests write."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from migrator.store.layout import STAGES

Write = Callable[..., Path]

# In memory, where there is room: else most tests wait for a disk. What only a disk has is tried on images of disks.
MEMORY = Path("/dev/shm")
if "TMPDIR" not in os.environ and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > 4 << 30:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


def _children() -> set[int]:
    """The children of this process, those that have ended and wait to be seen off among them."""
    lists = Path("/proc/self/task").glob("*/children")
    return {int(child) for text in lists for child in text.read_text().split()}


@pytest.fixture
def childless() -> Iterator[None]:
    """Nothing is left of the children of a test."""
    before = _children()
    yield
    assert _children() <= before


def write_literal(folder: Path, literal: dict[str, Any]) -> None:
    """Text, bytes and documents (a dict whose name ends in .json) become files, other dicts folders."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in literal.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(value, bytes):
            target.write_bytes(value)
        elif isinstance(value, str):
            target.write_bytes(value.encode())
        elif name.endswith(".json"):
            target.write_bytes(json.dumps(value, indent=2, ensure_ascii=False).encode())
        else:
            write_literal(target, value)


@pytest.fixture
def store(tmp_path: Path) -> Write:
    """Write {"draft": {"d1": {"metadata.json": {...}, "parsed.txt": "text"}}, "2_tasks/x.csv": "..."}.

    A stage's name stands for its folder in gens/. Returns the root.
    """

    def write(literal: dict[str, Any], name: str = "data") -> Path:
        root = tmp_path / name
        (root / "gens").mkdir(parents=True, exist_ok=True)
        write_literal(root, {f"gens/{key}" if key in STAGES else key: literal[key] for key in literal})
        return root

    return write


@pytest.fixture
def other_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system than the one of tmp_path; skips where there is none."""
    folders = [path for path in (MEMORY, Path("/var/tmp"), Path("/tmp")) if os.access(path, os.W_OK)]
    other = next((path for path in folders if path.stat().st_dev != tmp_path.stat().st_dev), None)
    if other is None:
        pytest.skip("there is no second file system that can be written to")
    with tempfile.TemporaryDirectory(dir=other) as folder:
        yield Path(folder)
