"""migrator history: the runs of a data root, the newest last. Writes nothing."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import click

from migrator.cli import screen
from migrator.cli.settings import Settings
from migrator.engine import ledger, snapshots
from migrator.report import machine, text

if TYPE_CHECKING:
    from migrator.engine.ledger import Applied
    from migrator.engine.snapshots import Run

_NARROW = 80  # columns: below that the time goes, which a run id says too
_SIGNS = {
    snapshots.COMMITTED: "done",
    snapshots.FAILED: "bad",
    snapshots.ROLLED_BACK: "none",
    snapshots.BUILDING: "change",
}


@click.command()
@screen.json_option
@click.pass_obj
def command(settings: Settings) -> int:
    """Show the runs of the data root and what became of them, the newest last."""
    site = settings.site()
    site.place.require()
    applied, runs = site.ledger(), site.runs()
    lost = [run_id for run_id in ledger.runs(applied) if run_id not in {run.run_id for run in runs}]
    if screen.wants_json():
        screen.print_json(
            {
                "runs": [machine.run(run) for run in runs],
                "applied": [machine.applied(entry) for entry in applied],
                "without_record": lost,
            }
        )
    elif not runs and not applied:
        screen.show("No run yet.")
        screen.show_facts([("look", screen.typed("plan"), "")])
    else:
        _print(runs, applied, lost)
    return 0


def _print(runs: list[Run], applied: list[Applied], lost: list[str]) -> None:
    narrow = screen.console().width < _NARROW
    began = [] if narrow else ["Began (UTC)"]
    table = screen.table("", "Run", *began, ">Took", "State", "Steps", "What")
    table.columns[1].no_wrap = True  # an id in two pieces cannot be copied
    for run_id in lost:
        entries = [entry for entry in applied if entry.run_id == run_id]
        steps = _span([entry.number for entry in entries])
        table.add_row(
            screen.mark("done"),
            run_id,
            *(text.moment(entries[0].start) for _ in began),
            "",
            "committed",
            steps,
            "its folder is gone",
        )
    for run in runs:
        table.add_row(
            screen.mark(_SIGNS.get(run.state, "none")),
            run.run_id,
            *(text.moment(run.started) for _ in began),
            _took(run),
            run.state + (", pruned" if run.pruned else ""),
            _span([step[:4] for step in run.steps]),
            _what(run),
        )
    screen.show(table)


def _span(numbers: list[str]) -> str:
    return "" if not numbers else numbers[0] if len(numbers) == 1 else f"{numbers[0]}-{numbers[-1]}"


def _took(run: Run) -> str:
    if not run.ended:
        return ""
    return text.seconds((datetime.fromisoformat(run.ended) - datetime.fromisoformat(run.started)).total_seconds())


def _what(run: Run) -> str:
    """Why it failed, or what it did; a recorded reason of the operator's stands behind."""
    if run.reason:
        return f"[red]{screen.escape(run.reason)}[/]"
    done = ", ".join(f"{run.counts[verb]:,} {verb}" for verb in machine.VERBS[:3] if run.counts.get(verb))
    return done + (f" [dim]({screen.escape(run.note)})[/]" if run.note else "")
