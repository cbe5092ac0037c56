"""migrator status: where a data root stands. Writes nothing and takes no lock."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

import click

from migrator import upkeep
from migrator.cli import screen
from migrator.cli.settings import Settings
from migrator.engine import steps
from migrator.errors import MigratorError
from migrator.report import machine, text
from migrator.store.layout import REBUILT_TABLES, is_derived

if TYPE_CHECKING:
    from pathlib import Path

    from rich.table import Table

    from migrator.engine.ledger import Applied
    from migrator.engine.steps import Step
    from migrator.site import Site
    from migrator.upkeep import Status

PENDING, FAULTS = 3, 4
_SHOWN = 5


@click.command()
@click.option("--exit-code", is_flag=True, help="Exit 3 when steps are pending, 4 when steps and ledger do not fit.")
@screen.json_option
@click.pass_obj
def command(settings: Settings, exit_code: bool) -> int:
    """Show which steps are applied and pending, what an interrupted run owes, and what is out of date."""
    site = settings.site()
    state = upkeep.status(site)
    edited = edited_since(site, state.applied)
    stale = stale_tables(site.place.real, state.applied)
    if screen.wants_json():
        screen.print_json(machine.status(state, stale, edited))
    else:
        _print(site, state, stale, edited)
    if not exit_code:
        return 0
    return FAULTS if state.faults else PENDING if state.pending else 0


def edited_since(site: Site, applied: list[Applied]) -> list[str]:
    """Numbers of applied steps whose file is not what it was."""
    try:
        today = {step.number: step.digest for step in steps.discover(site.migrations)}
    except MigratorError:
        return []
    return [entry.number for entry in applied if today.get(entry.number, entry.digest) != entry.digest]


def stale_tables(root: Path, applied: list[Applied]) -> list[str]:
    """The user's derived tables that are not newer than the newest run that renamed something, as paths."""
    renaming = [entry for entry in applied if entry.counts.get("rename")]
    if not renaming:
        return []
    end = datetime.fromisoformat(renaming[-1].end).timestamp()
    return [path for path, mtime in _tables(root) if mtime <= end and path not in REBUILT_TABLES]


def _tables(root: Path) -> Iterator[tuple[str, float]]:
    for top in sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and is_derived(entry.name + "/")):
        for folder, folders, names in os.walk(root / top):
            folders.sort()
            for name in sorted(names):
                path = os.path.join(folder, name)
                if name.endswith(".csv") and os.path.isfile(path):
                    yield os.path.relpath(path, root), os.stat(path).st_mtime


# -- the screen


def _print(site: Site, state: Status, stale: list[str], edited: list[str]) -> None:
    env = f"[bold]{screen.escape(site.env)}[/]  " if site.env else ""
    counts = ", ".join(text.many(count, stage) for stage, count in state.generations.items())
    screen.show(f"{env}[dim]{screen.escape(site.place.root)}[/]   {counts}", "")
    if state.applied or state.pending:
        screen.show(_steps(state.applied, state.pending, edited), "")
    _print_cares(state)
    _print_tables(stale)
    _print_next(state)


def _steps(applied: list[Applied], pending: list[Step], edited: list[str]) -> Table:
    table = screen.table("", "Step", "Applied (UTC)", "Run")
    for entry in applied:
        changed = entry.number in edited
        note = "  [red]edited since[/]" if changed else ""
        table.add_row(
            screen.mark("bad" if changed else "done"),
            f"{entry.number} {screen.escape(entry.name)}{note}",
            text.moment(entry.end),
            screen.escape(entry.run_id),
        )
    for step in pending:
        table.add_row(screen.mark("none"), screen.escape(step), "[yellow]pending[/]", "")
    return table


def _print_cares(state: Status) -> None:
    """What is under way, owed or not as it should be: a line each."""
    lines = []
    if state.faults:
        lines.append(("bad", state.faults))
    if state.run_in_progress:
        lines.append(("change", f"in use by {state.run_in_progress}"))
    if state.owed:
        lines.append(("warning", f"{state.owed} (by the next writing command, or {screen.typed('rollback')})"))
    if state.missing_mappings:
        runs = ", ".join(state.missing_mappings)
        lines.append(("warning", f"the copy of the mapping is missing and will be made again: {runs}"))
    if state.late_writes:
        shown = "; ".join(state.late_writes[:_SHOWN])
        more = len(state.late_writes) - _SHOWN
        rest = f"; and {more} more" if more > 0 else ""
        lines.append(("warning", f"somebody wrote into the newest snapshot after its run: {shown}{rest}"))
        lines.append(("none", "a container or a shell that still holds the old folder must be restarted"))
    if state.late_unknown:
        lines.append(
            ("none", f"the newest snapshot is large; {screen.typed('snapshots verify')} looks for late writes")
        )
    for name, line in lines:
        screen.show(f"{screen.mark(name)}  {screen.escape(line)}")


def _print_tables(stale: list[str]) -> None:
    if stale:
        screen.show(f"{screen.mark('warning')}  {text.many(len(stale), 'table')} older than the newest run:")
        screen.show_facts(("", path, "") for path in stale)


def _print_next(state: Status) -> None:
    if state.faults:
        screen.show("Restore the steps from version control; a change goes into a new step.")
    elif state.pending:
        screen.show(f"{text.many(len(state.pending), 'step')} pending.")
        screen.show_facts([("look", screen.typed("plan"), ""), ("do", screen.typed("upgrade"), "")])
    else:
        screen.show("[green]Up to date.[/]")
