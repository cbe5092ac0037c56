"""The report of a plan or a run as a file: where it lies, what it says of the machine. It never fails a run."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING

from migrator.engine import files, lock

if TYPE_CHECKING:
    from migrator.cli.log import Log
    from migrator.plan import Plan
    from migrator.site import Outcome, Site

REPORT = "report.html"


def render(plan: Plan, site: Site, log: Log, outcome: Outcome | None = None) -> bytes:
    """The page, with the times of the log and the facts of this machine."""
    from migrator.report.html import render_plan

    return render_plan(plan, site, outcome=outcome, times=log.times, machine=_machine()).encode()


def keep(outcome: Outcome, site: Site, log: Log) -> Path | None:
    """Put a run's report into its folder; None where that cannot be done, which is told and is no failure."""
    if outcome.plan is None or outcome.run is None:
        return None
    path = site.folder(outcome.run.run_id) / REPORT
    try:
        files.write_new(path, render(outcome.plan, site, log, outcome))
    except OSError as error:
        log.notify("report-not-written", level="warning", path=str(path), reason=str(error))
        return None
    return path


def _machine() -> list[tuple[str, str]]:
    cores = len(os.sched_getaffinity(0))
    system = f"{platform.system()} {platform.release()} {platform.machine()}, {cores} cores"
    return [("machine", system), ("Python", platform.python_version()), ("who", lock.who())]
