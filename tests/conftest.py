"""Stores as literals."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from migrator.store.layout import STAGES

Write = Callable[..., Path]


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
