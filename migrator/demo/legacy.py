"""Writes the embedded legacy store: for demos and tests, and for nothing that anybody keeps.

The same seed and scale give equal bytes, modes and mtimes anywhere. Never writes where anything already is.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from random import Random

from migrator.demo.eras import LOST_LINKED, LOST_MADE, LOST_NAMES, STAGES, Gen, Json, Legacy, grow
from migrator.demo.habits import HABITS
from migrator.demo.tables import surroundings

_DS_STORE = b"\x00\x00\x00\x01Bud1" + bytes(24)  # how such a file begins
_FIRST_MTIME = 1_757_491_200 * 10**9  # 2025-09-10 08:00 UTC, in ns
_MTIME_STEP = 7_000_000_123  # seven seconds a file, and digits in the ns so that a rounded copy shows


def make_legacy_store(root: Path, *, seed: int = 2025, scale: int = 1) -> dict[str, int]:
    """Make a legacy store of some 320 generations times `scale` in `root`, which may not hold anything yet.

    Returns the generations by stage, the number of cohorts, and what the backfill has to find: `lost_names`
    of drafts that do not exist, `lost_made` drafts to be made, `lost_linked` texts that a draft there has.
    Raises FileExistsError when `root` is not an empty folder, ValueError when `scale` is below 1.
    """
    if scale < 1:
        raise ValueError(f"The scale of a demo store must be 1 or more, not {scale}.")
    if os.path.lexists(root) and not (root.is_dir() and not any(root.iterdir())):
        raise FileExistsError(f"{root} is there and not an empty folder; name another place for the demo store.")
    legacy = Legacy(Random(seed))
    for _ in range(scale):
        grow(legacy)
    for habit in HABITS:
        habit(legacy)
    for gen in legacy.gens.values():
        _write_generation(root, gen)
    for path, text in surroundings(legacy):
        _write(root / path, text.encode())
    for path in (".DS_Store", "gens/.DS_Store", "gens/draft/.DS_Store"):
        _write(root / path, _DS_STORE)
    _write(root / "gens/links/0001/parsed.txt", b"A stage that was given up.\n")
    _settle(root)
    stages = Counter(gen.stage for gen in legacy.gens.values())
    return {stage: stages[stage] for stage in STAGES} | {
        "cohorts": len(legacy.members),
        "lost_names": LOST_NAMES * scale,
        "lost_made": LOST_MADE * scale,
        "lost_linked": LOST_LINKED * scale,
    }


def _write_generation(root: Path, gen: Gen) -> None:
    folder = root / "gens" / gen.stage / gen.gen_id
    for name, value in gen.json.items():
        _write(folder / name, _encode(gen, value).encode())
    for name, content in gen.files.items():
        if isinstance(content, Path):
            (folder / name).symlink_to(content)
        else:
            _write(folder / name, content.encode() if isinstance(content, str) else content)


def _encode(gen: Gen, value: Json) -> str:
    if gen.cohort == "unsplit-old":  # the first era wrote one line, and escapes
        return json.dumps(value)
    return json.dumps(value, indent=2, ensure_ascii=False)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _settle(root: Path) -> None:
    """Set modes and mtimes below `root` by what each thing is and its place among the sorted paths."""
    for number, path in enumerate(sorted(root.rglob("*"))):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o600 if path.name == "notes.md" else 0o644)
        time = _FIRST_MTIME + number * _MTIME_STEP
        os.utime(path, ns=(time, time), follow_symlinks=False)
    os.utime(root, ns=(_FIRST_MTIME, _FIRST_MTIME))
