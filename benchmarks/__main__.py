"""Time whole commands against what anyone else would do with the same tree, in turn (A B A B), and print ratios.

    python -m benchmarks [--generations N ...] [--pairs N] [--naive] [--smoke] [--folder DIR] [--tiny]

Seconds say little, on a shared machine least of all: CPU seconds, of all processes of a command, say more.
Fails on wrong results only, never on a time.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from benchmarks import cohorts
from benchmarks.stores import make_store

ROOT = Path(__file__).resolve().parent.parent
NAIVE = ROOT / "benchmarks" / "naive.py"
COPY = "cp -a"
OURS = ("plan", "upgrade", "rollback")
_PHASE = re.compile(r"timestamp='([^']+)'.* event='(?:phase|committed)'(?:.* name='(\w+)')?")


@dataclass(frozen=True)
class Run:
    """One run of a program: wall and CPU seconds, the largest process in MB, seconds a phase, what it printed."""

    wall: float
    cpu: float
    peak: float
    phases: dict[str, float] = field(default_factory=dict)
    out: str = ""


def run(command: Sequence[str | Path], cwd: Path = ROOT) -> Run:
    """Run a program to its end; its failure ends the benchmark."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    if "upgrade" in command:
        env["MIGRATOR_LOG"] = "info"  # phases and their times go to standard error
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        os.sync()  # what is left of the run before is not ours to write
        began, began_utc = time.perf_counter(), time.time()
        process = subprocess.Popen(command, stdout=out, stderr=err, cwd=cwd, env=env)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0), err.seek(0)
        printed, told = out.read(), err.read()
    if process.returncode:
        sys.exit(f"{' '.join(map(str, command))} failed with {process.returncode}: {printed}{told}")
    phases = _phases(told, began_utc, began_utc + wall)
    return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, phases, printed)


def _phases(log: str, began: float, ended: float) -> dict[str, float]:
    """Seconds between the events of a log; what comes before the first is `start`, after the last `end`."""
    marks = [("start", began)]
    for stamp, name in _PHASE.findall(log):
        marks.append((name or "end", datetime.fromisoformat(stamp).timestamp()))
    marks.append(("", ended))
    return {name: after - then for (name, then), (_, after) in pairwise(marks)}


def migrator(base: Path, *args: str) -> Run:
    """One command on base/data."""
    folders = ["--data-root", base / "data", "--backups", base / "b", "--mappings", base / "m"]
    return run([sys.executable, "-m", "migrator", *folders, "--migrations", ROOT / "migrations", *args, "--json"])


def rivals(naive: bool) -> dict[str, list[str]]:
    """Name -> shell command with the store as $1 and a folder that does not exist as $2."""
    found = {COPY: 'cp -a "$1" "$2"', "cp -a; sync": 'cp -a "$1" "$2" && sync -f "$2"'}
    if shutil.which("rsync"):
        found["rsync -a"] = 'rsync -a "$1/" "$2"'
    commands = {name: ["sh", "-c", text, "sh"] for name, text in found.items()}
    return commands | ({"the naive script": [sys.executable, str(NAIVE)]} if naive else {})


def fresh(base: Path, store: Path) -> Path:
    """A copy of the store at base/data in an empty folder, not timed; returns base."""
    shutil.rmtree(base, ignore_errors=True)
    base.mkdir()
    subprocess.run(["cp", "-a", store, base / "data"], check=True)
    return base


def measure(work: Path, generations: int, pairs: int, naive: bool, payload: bool) -> None:
    """Make a store, run everything on it in turn and print the tables."""
    store = work / "store"
    make_store(store, generations, payload=payload)
    sizes = [path.stat().st_size for path in store.rglob("*") if path.is_file()]
    print(f"\n{generations:,} generations, {len(sizes):,} files, {sum(sizes) / 1e6:,.0f} MB, {os.cpu_count()} cores")
    found: dict[str, list[Run]] = {}
    for _ in range(pairs):
        for name, command in rivals(naive).items():
            if command[0] == sys.executable:
                arguments = [str(fresh(work / "naive", store) / "data")]
            else:
                arguments = [str(store), str(work / "copy")]
            found.setdefault(name, []).append(run([*command, *arguments]))
            shutil.rmtree(work / "copy", ignore_errors=True)
            shutil.rmtree(work / "naive", ignore_errors=True)
        base = fresh(work / "ours", store)
        for name in OURS:
            found.setdefault(name, []).append(migrator(base, name, *(["--yes"] if name != "plan" else [])))
            if name == "upgrade":
                proven(base, generations)
        shutil.rmtree(base)
    shutil.rmtree(store)
    show(found)


def proven(base: Path, generations: int) -> None:
    """The result is right: every generation is there and the guardrail passes."""
    answer = json.loads(migrator(base, "check").out)
    if answer["status"] != "ok" or answer["generations"] != generations:
        sys.exit(f"wrong result: {answer}")


def show(found: dict[str, list[Run]]) -> None:
    """Seconds of everything, our ratios to each rival pair by pair, the phases of an upgrade."""
    print(f"\n{'':24}{'wall s':>8}{'CPU s':>8}{'largest process, MB':>21}")
    for name, runs in found.items():
        wall, cpu = statistics.median(one.wall for one in runs), statistics.median(one.cpu for one in runs)
        peak = f"{max(one.peak for one in runs):21.0f}" if name in OURS else ""
        print(f"{name:24}{wall:8.2f}{cpu:8.2f}{peak}")
    print(f"\n{'':36}{'wall':>7}{'(min to max)':>18}{'CPU':>9}{'(min to max)':>18}")
    for ours in OURS:
        for rival, theirs in found.items():
            if rival not in OURS and (ours == "upgrade" or rival == COPY):
                wall = spread(a.wall / b.wall for a, b in zip(found[ours], theirs, strict=True))
                cpu = spread(a.cpu / b.cpu for a, b in zip(found[ours], theirs, strict=True))
                print(f"{ours + ' / ' + rival:36}{wall}  {cpu}")
    names = list(dict.fromkeys(name for one in found["upgrade"] for name in one.phases))
    medians = {name: statistics.median(one.phases.get(name, 0) for one in found["upgrade"]) for name in names}
    print("\nphases of an upgrade, s: " + ", ".join(f"{name} {value:.2f}" for name, value in medians.items()))


def spread(ratios: Iterable[float]) -> str:
    """Median, least and largest of some ratios."""
    values = sorted(ratios)
    return f"{statistics.median(values):6.2f}x{f'({values[0]:.2f} to {values[-1]:.2f})':>18}"


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--generations", type=int, nargs="+", default=[5000], help="one or more sizes, such as 20000")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--naive", action="store_true", help="also time the migration that anyone would write")
    parser.add_argument("--cohorts", action="store_true", help="time building and looking up cohorts instead")
    parser.add_argument("--tiny", action="store_true", help="payload of a few bytes: for very large stores")
    parser.add_argument("--smoke", action="store_true", help="small and once: only the results count")
    shm = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    parser.add_argument("--folder", default=shm, help="where to work (default: tmpfs at /dev/shm)")
    options = parser.parse_args()
    if options.smoke:
        options.generations, options.pairs = [300], 1
    compileall.compile_dir(ROOT / "migrator", quiet=2)  # as it is where it has been installed or run before
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="bench-") as folder:
        for generations in options.generations:
            if options.cohorts:
                cohorts.measure(Path(folder), generations)
            else:
                measure(Path(folder), generations, options.pairs, options.naive, not options.tiny)


if __name__ == "__main__":
    main()
