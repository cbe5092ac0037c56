"""Time a whole upgrade against `cp -a` of the same tree, in turn (A B A B), and print ratios; seconds say little.

    python -m benchmarks [--generations N] [--pairs N] [--naive] [--smoke] [--folder DIR]

Fails on wrong results only, never on a time.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks import cohorts
from benchmarks.stores import make_store

ROOT = Path(__file__).resolve().parent.parent
NAIVE = ROOT / "benchmarks" / "naive.py"


def timed(action: Callable[[], object]) -> float:
    """Seconds that an action takes."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def run(command: list[str]) -> None:
    """Run a program quietly; its failure ends the benchmark."""
    subprocess.run(command, check=True, capture_output=True)


def fresh(work: Path, store: Path, name: str) -> Path:
    """A copy of the store in an empty folder, not timed."""
    base = work / name
    shutil.rmtree(base, ignore_errors=True)
    base.mkdir()
    subprocess.run(["cp", "-a", str(store), str(base / "data")], check=True)
    return base


def migrator(base: Path, *args: str) -> dict[str, object]:
    """The JSON answer of one command on base/data."""
    folders = ["--data-root", str(base / "data"), "--backups", str(base / "b"), "--mappings", str(base / "m")]
    command = [
        sys.executable,
        "-m",
        "migrator",
        *folders,
        "--migrations",
        str(ROOT / "migrations"),
        *args,
        "--json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        sys.exit(f"{' '.join(args)} failed with {done.returncode}: {done.stdout}{done.stderr}")
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def proven(base: Path, generations: int) -> None:
    """The result is right: every generation is there and the guardrail passes."""
    answer = migrator(base, "check")
    if answer.get("generations", generations) != generations:
        sys.exit(f"wrong result: {answer}")


def compare(name: str, ours: list[float], rival: list[float]) -> str:
    """One row: medians in seconds and the ratio pair by pair."""
    ratios = sorted(a / b for a, b in zip(ours, rival, strict=True))
    return (
        f"{name:34} {statistics.median(ours):7.2f} s {statistics.median(rival):7.2f} s   "
        f"{statistics.median(ratios):5.2f} x   ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    )


def main() -> None:
    """Run the pairs and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--generations", type=int, default=5000)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--naive", action="store_true", help="also time the migration that anyone would write")
    parser.add_argument("--cohorts", action="store_true", help="time building and looking up cohorts instead")
    parser.add_argument("--smoke", action="store_true", help="small and once: only the results count")
    shm = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    parser.add_argument("--folder", default=shm, help="where to work (default: tmpfs at /dev/shm)")
    options = parser.parse_args()
    if options.smoke:
        options.generations, options.pairs = 300, 1
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="bench-") as folder:
        work = Path(folder)
        if options.cohorts:
            cohorts.measure(work, options.generations)
            return
        store = work / "store"
        make_store(store, options.generations)
        size = sum(path.stat().st_size for path in store.rglob("*") if path.is_file())
        print(f"{options.generations:,} generations, {size / 1e6:,.0f} MB, {os.cpu_count()} cores, in {folder}")
        print(f"{'':34} {'ours':>9} {'rival':>9}   {'ratio':>7}")
        copies: list[float] = []
        times: dict[str, list[float]] = {"plan": [], "upgrade": [], "rollback": [], "naive": []}
        for _ in range(options.pairs):
            shutil.rmtree(work / "copy", ignore_errors=True)
            copies.append(timed(partial(run, ["cp", "-a", str(store), str(work / "copy")])))
            base = fresh(work, store, "ours")
            times["plan"].append(timed(partial(migrator, base, "plan")))
            times["upgrade"].append(timed(partial(migrator, base, "upgrade", "--yes")))
            proven(base, options.generations)
            times["rollback"].append(timed(partial(migrator, base, "rollback", "--yes")))
            if options.naive:
                rival = fresh(work, store, "naive") / "data"
                times["naive"].append(timed(partial(run, [sys.executable, str(NAIVE), str(rival)])))
        for name in ("plan", "upgrade", "rollback"):
            print(compare(f"{name} against cp -a", times[name], copies))
        if options.naive:
            print(compare("upgrade against the naive script", times["upgrade"], times["naive"]))


if __name__ == "__main__":
    main()
