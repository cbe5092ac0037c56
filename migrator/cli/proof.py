"""The story from staging to production: what a run on staging has proven, and what of production it never met."""

from __future__ import annotations

from typing import TYPE_CHECKING

from migrator import rehearsal
from migrator.cli import screen
from migrator.engine import ledger, snapshots
from migrator.report import text
from migrator.store.layout import LEDGER

if TYPE_CHECKING:
    from migrator.cli.settings import Settings
    from migrator.engine.snapshots import Run
    from migrator.plan import Plan
    from migrator.site import Site

_SHOWN = 8


def of(run: Run, settings: Settings) -> list[str]:
    """What a committed run proves for other envs, and what to type there; nothing where none asks for it."""
    here = settings.chosen.name
    waiting = [name for name, env in settings.file.get("env", {}).items() if here and env.get("proved_on") == here]
    if not waiting:
        return []
    names = screen.escape(", ".join(waiting))
    steps = text.many(len(run.steps), "step")
    return [
        f"[green]Proven for {names}[/]: {steps} on {_met(run.shape)}. Next: check it, then",
        *(f"  migrator --env {screen.escape(name)} upgrade" for name in waiting),
    ]


def lines(plan: Plan, site: Site) -> list[str]:
    """What the rehearsal has proven, shown again, and what it has not; nothing where the settings want none."""
    if site.proved_on is None:
        return []
    digests = {step.digest for step, _ in plan.steps}
    passed = [entry for entry in ledger.read(site.proved_on.real / LEDGER) if entry.digest in digests]
    if not passed:
        return []
    name, last = screen.escape(site.proved_on_name), passed[-1]
    runs = {run.run_id: run for run in snapshots.of_root(site.backups, site.proved_on.root)}
    shapes = [runs[run_id].shape for run_id in ledger.runs(passed) if run_id in runs and runs[run_id].shape]
    head = f"The same steps passed on [bold]{name}[/] at {text.moment(last.end)} UTC (run {screen.escape(last.run_id)})"
    if not shapes:
        return [f"{head}; what that store was like is not recorded."]
    seen = rehearsal.united(shapes)
    found = rehearsal.unrehearsed(rehearsal.shape_of(plan), seen)
    shown = [f"  {screen.escape(line)}" for line in found[:_SHOWN]]
    if len(found) > _SHOWN:
        shown.append(f"  and {len(found) - _SHOWN:,} more")
    verdict = (
        f"{screen.mark('warning')}  [yellow]Not rehearsed on {name}[/]; look at these before you go on:"
        if found
        else f"{screen.mark('done')}  Rehearsed: {name} had every stage, key, era and kind of issue that is here."
    )
    return [f"{head}, on {_met(seen)}.", verdict, *shown]


def _met(shape: rehearsal.Shape) -> str:
    """What a run met, in words."""
    stages = shape.get(rehearsal.STAGES, {})
    counts = ", ".join(text.many(number, stage) for stage, number in stages.items()) or "an empty store"
    eras, issues = len(shape.get(rehearsal.ERAS, {})), len(shape.get(rehearsal.ISSUES, {}))
    kinds = text.many(issues, "kind of issue", "kinds of issues") if issues else "no issues"
    return f"{counts} of {text.many(eras, 'era')}, with {kinds}"
