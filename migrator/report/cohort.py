"""Builds and members of cohorts for a screen and as JSON. Formatting only: opens no file, prints nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from migrator.report.machine import issues
from migrator.report.text import escape, grid, many, number
from migrator.store.layout import STAGES
from migrator.store.problems import ID_COLLISION

if TYPE_CHECKING:
    from rich.table import Table

    from migrator.cohorts.building import Building
    from migrator.store.records import Key

COUNTS = ("wanted", "reused_own", "reused_other", "created", "missing_outputs")
_SHOWN = 5


def no_counts() -> dict[str, dict[str, int]]:
    """The counts of a build that was not worked out."""
    return {stage: dict.fromkeys(COUNTS, 0) for stage in STAGES}


def counts(build: Building) -> dict[str, dict[str, Any]]:
    """Per stage what was wanted and where it comes from; `reused_from` says of which cohorts the others are."""
    if build.allocation is None:
        return {stage: {**found, "reused_from": {}} for stage, found in no_counts().items()}
    result = {}
    for stage in STAGES:
        found = asdict(build.allocation.counts[stage])
        sources = found.pop("sources")
        missing = (build.missing_outputs or {}).get(stage, 0)
        result[stage] = {**found, "missing_outputs": missing, "reused_from": dict(sorted(sources.items()))}
    return result


def machine(build: Building) -> dict[str, Any]:
    """What `cohort build --json` prints."""
    return {
        "cohort_id": build.cohort_id,
        "status": build.status,
        "mode": build.mode,
        "counts": counts(build),
        "added": keys(build.added),
        "gone": keys(build.gone),
        "issues": issues(build.problems),
    }


def keys(found: Sequence[Key]) -> list[dict[str, str]]:
    """Generations as stage and gen_id."""
    return [{"stage": stage, "gen_id": gen_id} for stage, gen_id in found]


def counts_table(build: Building) -> Table:
    """One line a stage: wanted, reused, created, still without outputs."""
    table = grid("Stage", ">Wanted", ">Own", ">Of others", ">Created", ">Without output")
    for stage, found in counts(build).items():
        values = [found[name] for name in COUNTS]
        table.add_row(stage, *(number(value) for value in values))
    return table


def sources(build: Building) -> str:
    """From which cohorts a build reuses, in one line, most first; empty where it reuses nothing of others."""
    total: dict[str, int] = {}
    for found in counts(build).values():
        for cohort, count in found["reused_from"].items():
            total[cohort] = total.get(cohort, 0) + count
    most = sorted(total.items(), key=lambda item: (-item[1], item[0]))
    parts = [f"{count:,} of {escape(cohort) if cohort else 'no cohort'}" for cohort, count in most[:_SHOWN]]
    more = f" and {many(len(most) - _SHOWN, 'cohort')} more" if len(most) > _SHOWN else ""
    return ", ".join(parts) + more


def difference(build: Building) -> list[str]:
    """What a build would change in an existing membership, as markup: the first few of each stage."""
    lines = []
    for sign, style, found in (("+", "green", build.added), ("-", "red", build.gone)):
        for stage in STAGES:
            ids = [gen_id for one, gen_id in found if one == stage]
            lines += [f"[{style}]{sign}[/] {stage:10}  {escape(gen_id)}" for gen_id in ids[:_SHOWN]]
            if len(ids) > _SHOWN:
                lines.append(f"[{style}]{sign}[/] {stage:10}  [dim]and {len(ids) - _SHOWN:,} more[/]")
    return lines


def verdict(build: Building) -> tuple[str, str, str]:
    """Why a build is refused: a message, a path, and the option or command to type next."""
    where = f"cohorts/{build.cohort_id}/membership.csv" if build.cohort_id else ""
    blocking = [problem for problem in build.problems if problem.blocking]
    if not blocking:
        message = f"the members of {build.cohort_id} would change: {len(build.added):,} more, {len(build.gone):,} less"
        return message, where, f"cohort build {build.cohort_id} --extend"
    if build.undecided:
        names = sorted({problem.gen_id for problem in blocking if problem.kind == ID_COLLISION})
        accepted = " ".join(f"--accept-collision {gen_id}" for gen_id in names[:_SHOWN])
        message = f"{many(len(names), 'collision')} to accept by name before the build"
        return message, "", f"cohort build {build.cohort_id} {accepted}"
    return f"{many(len(blocking), 'issue')} to settle before the build", blocking[0].path, ""
