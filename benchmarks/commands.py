"""Short commands on a store with many names: what somebody waits for at a prompt, or a hook at each commit."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path

from benchmarks.stores import make_store
from benchmarks.timing import MIGRATOR, Run, migrator, run
from migrator.store.layout import GENS, METADATA, STAGES, run_mappings
from migrator.store.mappings import MAPPING

_REAL = 300  # generations with files: those that `check` reads
_TIMES = 7
_WANTED = {"--help": 0.15, "check, 10 files": 0.2, "map, one id": 0.3, "status": 0.5}  # wall seconds, two idle cores


def make_names(base: Path, names: int) -> str:
    """A migrated store of few generations, with folders and mapping rows for many; an old id of one of them."""
    make_store(base / "data", _REAL, payload=False)
    migrator(base, "upgrade", "--yes", "--json")
    (mapping,) = (base / "data").glob(f"{run_mappings('*')}/{MAPPING}")
    rows = []
    for number in range(names - _REAL):
        stage = STAGES[min(number % 20, 2)]
        (base / "data" / GENS / stage / f"x_{number:016}").mkdir()
        rows.append(f"{stage},old{number:013},x_{number:016}\n")
    with mapping.open("a") as file:
        file.writelines(rows)
    return f"old{(names - _REAL) * 2 // 3:013}"


def measure(base: Path, names: int) -> dict[str, Run]:
    """Run each command some times and print medians; a wrong answer ends the benchmark."""
    base.mkdir()
    old = make_names(base, names)
    files = [path / METADATA for path in islice((base / "data/gens/evaluation").glob("v_*"), 10)]
    commands: dict[str, Callable[[], Run]] = {
        "--help": lambda: run([MIGRATOR, "--help"], sync=False),
        "check, 10 files": lambda: migrator(base, "check", *files, sync=False),
        "map, one id": lambda: migrator(base, "map", old, sync=False),
        "status": lambda: migrator(base, "status", "--json", sync=False),
    }
    print(f"\nshort commands, {names:,} names\n{'':24}{'wall s':>8}{'CPU s':>8}{'wanted':>8}")
    found: dict[str, Run] = {}
    for name, command in commands.items():
        runs = sorted((command() for _ in range(_TIMES)), key=lambda one: one.cpu)
        found[name] = middle = runs[_TIMES // 2]
        print(f"{name:24}{statistics.median(one.wall for one in runs):8.2f}{middle.cpu:8.2f}{_WANTED[name]:8.2f}")
    if found["map, one id"].out != f"x_{old[3:].zfill(16)}\n":
        sys.exit(f"wrong result: {found['map, one id'].out}")
    if sum(json.loads(found["status"].out)["generations"].values()) != names:
        sys.exit(f"wrong result: {found['status'].out}")
    return found
