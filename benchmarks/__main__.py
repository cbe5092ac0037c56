"""Time whole commands against what anyone else would do with the same tree, in turn (A B A B), and print ratios.

    python -m benchmarks [--generations N ...] [--pairs N] [--tiny] [--few] [--folder DIR] [--write] [--smoke]
                         [--commands]

Seconds say little, on a shared machine least of all: CPU seconds, of all processes of a command, say more.
Fails on wrong results only, never on a time.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks import cohorts, commands, page
from benchmarks.stores import make_store
from benchmarks.timing import ROOT, Run, migrator, run

SHORT = 5_000  # generations of the store on which everything runs, and the script once; so the short form ends soon
NAIVE = ROOT / "benchmarks" / "naive.py"
COPY, SYNC = "cp -a", "cp -a; sync"
SCRIPT, BOUND = "the naive script", "it without its backup"
OURS = ("plan", "upgrade", "upgrade --link", "upgrade, 1 step", "rollback")
# what is compared with what; a ratio below 1 is in our favour
RATIOS = [("plan", COPY), ("rollback", COPY), ("upgrade", "upgrade, 1 step")]
RIVALS = ("upgrade", "upgrade --link")


@dataclass(frozen=True)
class Measured:
    """All runs on stores of one size, by name, in the order of the pairs."""

    generations: int
    tiny: bool
    runs: dict[str, list[Run]]

    def ratios(self) -> list[tuple[str, str, list[float], list[float]]]:
        """(ours, theirs, wall ratios, CPU ratios), pair by pair."""
        rivals = [name for name in self.runs if name not in OURS]
        pairs = [*((ours, rival) for ours in RIVALS for rival in rivals), *RATIOS]
        pairs = [pair for pair in pairs if self.runs.keys() >= {*pair}]
        return [
            (
                ours,
                theirs,
                sorted(a.wall / b.wall for a, b in self._pairs(ours, theirs)),
                sorted(a.cpu / b.cpu for a, b in self._pairs(ours, theirs)),
            )
            for ours, theirs in pairs
        ]

    def _pairs(self, ours: str, theirs: str) -> Iterable[tuple[Run, Run]]:
        return zip(self.runs[ours], self.runs[theirs], strict=False)  # the naive script runs once


def rivals(naive: bool, few: bool) -> dict[str, list[str]]:
    """Name -> command, which is given the store and a folder that does not exist; scripts only a copy of the store."""
    found = {COPY: 'cp -a "$1" "$2"', SYNC: 'cp -a "$1" "$2" && sync -f "$2"'}
    if few:
        del found[SYNC]
    elif shutil.which("rsync"):
        found["rsync -a"] = 'rsync -a "$1/" "$2"'
    commands = {name: ["sh", "-c", text, "sh"] for name, text in found.items()}
    if naive and not few:
        commands |= {SCRIPT: [sys.executable, str(NAIVE)], BOUND: [sys.executable, str(NAIVE), "--no-backup"]}
    return commands


def fresh(base: Path, store: Path) -> Path:
    """A copy of the store at base/data in an empty folder, not timed; returns base."""
    shutil.rmtree(base, ignore_errors=True)
    base.mkdir()
    subprocess.run(["cp", "-a", store, base / "data"], check=True)
    return base


def measure(work: Path, generations: int, pairs: int, naive: bool, payload: bool, few: bool) -> Measured:
    """Make a store, run everything on it in turn and print the tables."""
    store = work / "store"
    make_store(store, generations, payload=payload)
    sizes = [path.stat().st_size for path in store.rglob("*") if path.is_file()]
    print(f"\n{generations:,} generations, {len(sizes):,} files, {sum(sizes) / 1e6:,.0f} MB, {os.cpu_count()} cores")
    naive = naive and generations <= SHORT
    found: dict[str, list[Run]] = {name: [] for name in rivals(naive, few)}
    for pair in range(pairs):
        for name, command in reversed(rivals(naive and pair == 0, few).items()):  # so that `cp -a` stands beside ours
            if command[0] == sys.executable:
                arguments = [str(fresh(work / "naive", store) / "data")]
            else:
                arguments = [str(store), str(work / "copy")]
            found[name].append(run([*command, *arguments]))
            shutil.rmtree(work / "copy", ignore_errors=True)
            shutil.rmtree(work / "naive", ignore_errors=True)
        for name, one in ours(work / "ours", store, generations, few):
            found.setdefault(name, []).append(one)
    shutil.rmtree(store)
    measured = Measured(generations, not payload, found)
    show(measured)
    return measured


def ours(base: Path, store: Path, generations: int, few: bool) -> Iterable[tuple[str, Run]]:
    """Our commands, each upgrade on a copy of its own and proven right."""
    fresh(base, store)
    yield "plan", migrator(base, "plan", "--json")
    upgrades: dict[str, list[str]] = {"upgrade": [], "upgrade --link": ["--link"], "upgrade, 1 step": ["--to", "0001"]}
    for name, options in upgrades.items():
        if options and (few or ("--to" in options and generations > SHORT)):
            continue
        if name != "upgrade":
            fresh(base, store)
        yield name, migrator(base, "upgrade", *options, "--yes", "--json")
        if "--to" not in options:
            proven(base, generations)
        if name == "upgrade":
            yield "rollback", migrator(base, "rollback", "--yes", "--json")
    shutil.rmtree(base)


def proven(base: Path, generations: int) -> None:
    """The result is right: every generation is there and the guardrail passes."""
    answer = json.loads(migrator(base, "check", "--json").out)
    if answer["status"] != "ok" or answer["generations"] != generations:
        sys.exit(f"wrong result: {answer}")


def show(measured: Measured) -> None:
    """Seconds of everything, our ratios to each rival pair by pair, the phases of an upgrade."""
    found = measured.runs
    print(f"\n{'':24}{'wall s':>8}{'CPU s':>8}{'largest process, MB':>21}")
    for name, runs in found.items():
        wall, cpu = statistics.median(one.wall for one in runs), statistics.median(one.cpu for one in runs)
        peak = f"{max(one.peak for one in runs):21.0f}" if name in OURS else ""
        print(f"{name:24}{wall:8.2f}{cpu:8.2f}{peak}")
    print(f"\n{'':44}{'wall':>7}{'(min to max)':>18}{'CPU':>9}{'(min to max)':>18}")
    for mine, theirs, wall_ratios, cpu_ratios in measured.ratios():
        print(f"{mine + ' / ' + theirs:44}{spread(wall_ratios)}  {spread(cpu_ratios)}")
    names = list(dict.fromkeys(name for one in found["upgrade"] for name in one.phases))
    medians = {name: statistics.median(one.phases.get(name, 0) for one in found["upgrade"]) for name in names}
    print("\nphases of an upgrade, s: " + ", ".join(f"{name} {value:.2f}" for name, value in medians.items()))


def spread(values: list[float]) -> str:
    """Median, least and largest of some ratios."""
    return f"{statistics.median(values):6.2f}x{f'({values[0]:.2f} to {values[-1]:.2f})':>18}"


def pairs_of(generations: int, asked: int | None) -> int:
    """How often everything runs: thrice on a small store, so that the short form takes under three minutes."""
    return asked or (3 if generations <= SHORT else 1)


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--generations", type=int, nargs="+", default=[5_000, 20_000], help="sizes, such as 200000")
    parser.add_argument("--pairs", type=int, help="runs of everything (default: 3, or 1 of large stores)")
    parser.add_argument("--no-naive", action="store_true", help="leave out the migration that anyone would write")
    parser.add_argument("--cohorts", action="store_true", help="time building and looking up cohorts instead")
    parser.add_argument("--commands", action="store_true", help="time short commands on 200,000 names instead")
    parser.add_argument("--tiny", action="store_true", help="payload of a few bytes: for very large stores")
    parser.add_argument("--few", action="store_true", help="only cp -a, plan, upgrade and rollback")
    parser.add_argument("--write", action="store_true", help="put the result into docs/performance.md, with a plot")
    parser.add_argument("--smoke", action="store_true", help="small and once: only the results count")
    shm = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    parser.add_argument("--folder", default=shm, help="where to work (default: tmpfs at /dev/shm)")
    options = parser.parse_args()
    if options.smoke:
        options.generations, options.pairs = [300], 1
    compileall.compile_dir(ROOT / "migrator", quiet=2)  # as it is where it has been installed or run before
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="bench-") as folder:
        work = Path(folder)
        if options.commands or options.smoke:
            commands.measure(work / "names", 1_000 if options.smoke else 200_000)
        if options.commands:
            return
        if options.cohorts:
            for generations in options.generations:
                cohorts.measure(work, generations)
            return
        found = [
            measure(work, size, pairs_of(size, options.pairs), not options.no_naive, not options.tiny, options.few)
            for size in options.generations
        ]
        if options.write:
            page.write([(one.generations, one.runs, one.ratios()) for one in found], tiny=options.tiny)


if __name__ == "__main__":
    main()
