"""Whole programs, timed: wall seconds, CPU seconds of all their processes, the largest process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_PHASE = re.compile(r"timestamp='([^']+)'.* event='(?:phase|committed)'(?:.* name='(\w+)')?")


@dataclass(frozen=True)
class Run:
    """One run of a program: wall and CPU seconds, the largest process in MB, seconds a phase, what it printed."""

    wall: float
    cpu: float
    peak: float
    phases: dict[str, float] = field(default_factory=dict)
    out: str = ""


def run(command: Sequence[str | Path], cwd: Path = ROOT, *, log: bool = False, sync: bool = True) -> Run:
    """Run a program to its end; its failure ends the benchmark. With `log` its phases are read from its log."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    if log:
        env["MIGRATOR_LOG"] = "info"  # phases and their times go to standard error
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        if sync:
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


def migrator(base: Path, *args: str | Path, sync: bool = True) -> Run:
    """One command on base/data."""
    folders = ["--data-root", base / "data", "--backups", base / "b", "--mappings", base / "m"]
    command = [sys.executable, "-m", "migrator", *folders, "--migrations", ROOT / "migrations", *args]
    return run(command, log="upgrade" in args, sync=sync)
