"""Whole programs, timed: wall seconds, CPU seconds of all their processes, the largest process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MIGRATOR = Path(sys.executable).with_name("migrator")  # what anyone types


@dataclass(frozen=True)
class Run:
    """One run of a program: wall and CPU seconds, the largest process in MB, what it printed, its Unix time of start.

    `phases` are the seconds of an upgrade's, where the run is one.
    """

    wall: float
    cpu: float
    peak: float
    out: str
    began: float
    phases: dict[str, float] = field(default_factory=dict)


def run(command: Sequence[str | Path], cwd: Path = ROOT, *, sync: bool = True) -> Run:
    """Run a program to its end; its failure ends the benchmark."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        if sync:
            os.sync()  # what is left of the run before is not ours to write
        clock, began = time.time(), time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=err, cwd=cwd, env=env)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0), err.seek(0)
        printed, told = out.read(), err.read()
    if process.returncode:
        sys.exit(f"{' '.join(map(str, command))} failed with {process.returncode}: {printed}{told}")
    return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, printed, clock)


def _phases(log: Path, began: float, ended: float) -> dict[str, float]:
    """Seconds between the events of a run's log; what comes before the first is `plan`, after the last `end`."""
    marks = [("plan", began)]
    for event in map(json.loads, log.read_text().splitlines()):
        if event["event"] in ("phase", "committed"):
            marks.append((event.get("name", "end"), datetime.fromisoformat(event["timestamp"]).timestamp()))
    marks.append(("", ended))
    return {name: after - then for (name, then), (_, after) in pairwise(marks)}


def migrator(base: Path, *args: str | Path, sync: bool = True) -> Run:
    """One command on base/data."""
    folders: list[str | Path] = ["--data-root", base / "data", "--backups", base / "b", "--mappings", base / "m"]
    command = [MIGRATOR, *folders, "--migrations", ROOT / "migrations", *args]
    done = run(command, sync=sync)
    if "upgrade" not in args:
        return done
    (log,) = (base / "b").glob("*/log.jsonl")
    return replace(done, phases=_phases(log, done.began, done.began + done.wall))
