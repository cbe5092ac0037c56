"""Plan, run and state as JSON objects. Formatting only: opens no file, prints nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from migrator.engine.ledger import Applied
    from migrator.engine.snapshots import Run
    from migrator.engine.steps import Step
    from migrator.plan import Plan
    from migrator.store.problems import Problem
    from migrator.upkeep import Status

Object = dict[str, Any]

VERBS = ("created", "renamed", "rewritten", "unchanged")


def issues(problems: Iterable[Problem]) -> list[Object]:
    """The findings: kind, blocking, stage, gen_id, path, message."""
    return [problem.row() for problem in problems]


def counts(generations: int) -> dict[str, int]:
    """The counts of a run that would change nothing."""
    return {"generations": generations, **dict.fromkeys(VERBS, 0), "unchanged": generations}


def step(one: Step) -> Object:
    """A step: number, name, title, digest."""
    return {"number": one.number, "name": one.name, "title": one.title, "digest": one.digest}


def plan(one: Plan) -> Object:
    """What `plan --json` prints of a plan that has something to do."""
    return {
        "pending": [
            step(pending) | {"touched": {stage: dict(verbs) for stage, verbs in effect.touched.items()}}
            for pending, effect in one.steps
        ],
        "counts": dict(one.counts),
        "issues": issues(one.problems),
        "checks": [asdict(check) | {"passed": check.passed} for check in one.checks],
        "fingerprint": one.fingerprint,
        "bytes_needed": one.bytes_needed,
        "rebuilt": list(one.rebuilt),
    }


def no_plan(generations: int) -> Object:
    """The same where nothing is pending."""
    return {
        "pending": [],
        "counts": counts(generations),
        "issues": [],
        "checks": [],
        "fingerprint": None,
        "bytes_needed": 0,
        "rebuilt": [],
    }


def kept_plan(one: Plan, accepted: Iterable[str], version: str) -> Object:
    """plan.json: enough to know the plan again, and to show it."""
    shown = plan(one)
    shown["issues"] = {"blocking": len(one.blocking), "warnings": len(one.problems) - len(one.blocking)}
    return {
        "version": version,
        "fingerprint": shown.pop("fingerprint"),
        "to": one.steps[-1][0].number,
        "accepted": sorted(accepted),
        "steps": shown.pop("pending"),
        **shown,
    }


def upgrade(
    status: str,
    *,
    run: Run | None = None,
    steps: Sequence[str] = (),
    mapping: str | None = None,
    counts_: Mapping[str, int] | None = None,
    problems: Iterable[Problem] = (),
    report: Path | None = None,
    record: Path | None = None,
    undo: str | None = None,
) -> Object:
    """What `upgrade --json` prints; the keys are the same however it ended.

    `report` and `record` are paths (report.html, run.json), `undo` the command that undoes it.
    """
    return {
        "status": status,
        "run_id": run.run_id if run else None,
        "steps": list(steps),
        "mapping": mapping,
        "snapshot": run.tree if run else None,
        "counts": dict(counts_ or counts(0)),
        "issues": issues(problems),
        "report": str(report) if report else None,
        "record": str(record) if record else None,
        "undo": undo,
    }


def regenerated(
    status: str, written: Sequence[str] = (), unchanged: Sequence[str] = (), problems: Iterable[Problem] = ()
) -> Object:
    """What `regenerate --json` prints: `status` is regenerated, unchanged or refused; files as paths."""
    return {"status": status, "written": list(written), "unchanged": list(unchanged), "issues": issues(problems)}


def applied(entry: Applied) -> Object:
    """One entry of the ledger."""
    return {**asdict(entry), "counts": dict(entry.counts)}


def run(one: Run) -> Object:
    """One run's record; `snapshot` is its tree, where that is one."""
    return asdict(one) | {"snapshot": one.tree if one.has_snapshot else None}


def status(state: Status, stale: Sequence[str], edited: Sequence[str]) -> Object:
    """What `status --json` prints."""
    return {
        "applied": [applied(entry) | {"edited": entry.number in edited} for entry in state.applied],
        "pending": [step(one) for one in state.pending],
        "run_in_progress": state.run_in_progress,
        "owed": state.owed,
        "faults": state.faults or None,
        "generations": dict(state.generations),
        "stale_tables": list(stale),
        "missing_mappings": list(state.missing_mappings),
        "late_writes": list(state.late_writes),
        "runs": len(state.runs),
    }
