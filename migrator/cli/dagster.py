"""migrator dagster: a Dagster instance follows the store after an upgrade or a rollback."""

from __future__ import annotations

import csv
import gc
import importlib.util
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from migrator.cli import screen
from migrator.cli.settings import Settings
from migrator.engine import ledger, lock
from migrator.errors import CareNeeded, UsageError
from migrator.report import text
from migrator.store import mappings
from migrator.store.layout import DRAFT, ESSAY, LEDGER, MAPPINGS, run_mappings
from migrator.store.mappings import MAPPING, SYNTHETIC, Past
from migrator.store.records import Key

if TYPE_CHECKING:
    import dagster

    from migrator.cli.log import Log
    from migrator.pipeline.sync import Keys, World
    from migrator.site import Site

HOME = "DAGSTER_HOME"  # where Dagster looks for its instance
_SHOWN = 5


@click.group()
def command() -> None:
    """Bring a Dagster instance up to the store, or rehearse its pipeline."""


@command.command("sync")
@click.option("--history", is_flag=True, help="Also what is known to be materialized.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--wait", metavar="SECONDS", type=click.FloatRange(min=0), default=0, help="Wait for a run to end.")
@screen.json_option
@click.pass_obj
def sync_command(settings: Settings, history: bool, dry_run: bool, wait: float) -> int:
    """Let the partition keys of the instance in DAGSTER_HOME follow the last upgrade or rollback.

    With --history the generations whose files are there count as materialized under their names of today, so that
    AutomationCondition.missing() asks for nothing. Can be stopped and repeated at any point; a second time there
    is nothing to do.
    """
    from migrator.cli.log import Log

    screen.error_defaults(keys={}, history={})
    site = settings.site(wait=wait)
    site.place.require()
    with _instance() as instance, lock.hold(site.place.state, "dagster sync", shared=True, wait=wait), Log() as log:
        from migrator.pipeline import sync

        world = world_of(site)
        keys = sync.plan_keys(instance, world)
        owed = sync.plan_history(instance, world, keys) if history else {}
        if not dry_run:
            told = _progress(log)
            sync.apply_keys(instance, world, keys, told)
            sync.apply_history(instance, world, owed, told)
    _report(keys, {asset.to_user_string(): len(names) for asset, names in owed.items()}, history, dry_run)
    return 0


@command.command("rehearse")
@click.option("--most", metavar="N", type=click.IntRange(min=1), default=24, help="How many members; 24 by default.")
@click.option("--wait", metavar="SECONDS", type=click.FloatRange(min=0), default=0, help="Wait for a run to end.")
@screen.json_option
@click.pass_obj
def rehearse_command(settings: Settings, most: int, wait: float) -> int:
    """Build a sample cohort and materialize it twice with a stub model, on a copy that is removed in the end.

    Says what a pipeline would do on this store: the ids, which are the same twice, and what is skipped. The data
    root itself is only read. Exits 1 when the second time was not all skips.
    """
    import logging

    require_dagster()
    from migrator.cli.log import Log

    screen.error_defaults(ids=[], passes=[])
    logging.disable(logging.CRITICAL)  # Dagster's own log of every event
    with Log() as log:
        site = settings.site(log.notify, wait=wait)
        from migrator.pipeline.rehearsal import rehearse

        found = rehearse(site, most, _progress(log))
    faults = found.faults
    if screen.wants_json():
        passes = [
            {"calls": one.calls, "steps": one.steps, "skipped": one.skipped} for one in (found.first, found.second)
        ]
        ids = [gen_id for _, gen_id in found.first.sample]
        members = len(found.first.members)
        status = "failed" if faults else "passed"
        screen.print_json({"status": status, "members": members, "ids": ids, "passes": passes, "faults": faults})
        return int(bool(faults))
    table = screen.table("", ">Members", ">Materialized", ">Model calls", ">Steps", ">Skipped")
    for name, one in (("first", found.first), ("second", found.second)):
        numbers = (len(one.members), len(one.sample), one.calls, one.steps, one.skipped)
        table.add_row(name, *(f"{number:,}" for number in numbers))
    screen.show(table)
    for fault in faults:
        screen.show(f"[red]{screen.symbol('bad')}[/] {screen.escape(fault)}")
    if not faults:
        screen.show("[green]Passed.[/] The same ids twice, and the second time nothing was made and nothing written.")
        screen.show_facts((stage, gen_id, "") for stage, gen_id in found.first.sample[:_SHOWN])
    return int(bool(faults))


def require_dagster() -> None:
    """Raise UsageError where the extra is not installed; let go again of what Dagster leaves to the collector."""
    gc.enable()  # connections to PostgreSQL, some of them: a server has a hundred
    if importlib.util.find_spec("dagster") is None:
        raise UsageError("Dagster is not installed", hint="pip install 'migrator[dagster]'")


def _instance() -> dagster.DagsterInstance:
    """The instance that the environment names. Raises UsageError where it names none."""
    require_dagster()
    if not is_configured():
        raise UsageError(
            "no Dagster instance is named",
            hint=f"{HOME}=/path/to/its/folder {screen.typed('dagster sync')}",
        )
    from dagster import DagsterError, DagsterInstance

    try:
        return DagsterInstance.get()
    except DagsterError as error:
        raise UsageError(f"the Dagster instance cannot be opened: {error}", where=os.environ[HOME]) from None


def is_configured() -> bool:
    """Whether the environment names a Dagster instance."""
    return os.path.isabs(os.environ.get(HOME, ""))


def _progress(log: Log) -> Callable[[str, int, int], None]:
    def told(what: str, done: int, total: int) -> None:
        log.notify("sync", what=what, done=done, total=total)
        if not screen.wants_json() and (done == total or screen.error_console().is_terminal):
            click.echo(f"  {what}: {done:,} of {total:,}", err=True)

    return told


# -- what the store says


def world_of(site: Site) -> World:
    """The tree's own runs, and those that were undone, whose mappings lie outside it."""
    from migrator.pipeline.sync import World

    root = site.place.real
    run_ids = ledger.runs(ledger.read(root / LEDGER))
    folders = {run_id: root / run_mappings(run_id) for run_id in run_ids}
    undone = {}
    for run in reversed(site.runs()):
        places = [site.mappings / run.run_id, *([Path(run.tree) / MAPPINGS / run.run_id] if run.tree else [])]
        found = next((place for place in places if run.run_id not in folders and (place / MAPPING).is_file()), None)
        if found is not None:
            undone[run.run_id] = found
    made: dict[Key, set[Key]] = {}
    for folder in (*folders.values(), *undone.values()):
        for draft, essay in _made(folder / SYNTHETIC):
            made.setdefault(draft, set()).add(essay)
    return World(
        name=str(site.place.root),
        root=root,
        now=Past.of_tree(root, run_ids),
        undone=Past(tuple((run_id, mappings.read_mapping(folder / MAPPING)) for run_id, folder in undone.items())),
        made={draft: frozenset(essays) for draft, essays in made.items()},
    )


def _made(path: Path) -> Iterator[tuple[Key, Key]]:
    """(draft, essay) of every draft that a run made."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                if row["how"] == "made":
                    yield (DRAFT, row["draft_gen_id"]), (ESSAY, row["essay_new_gen_id"])
    except FileNotFoundError:
        return
    except (OSError, KeyError, UnicodeDecodeError, csv.Error) as error:
        raise CareNeeded(f"a list of drafts cannot be read: {error}", where=path) from None


# -- what was done


def _report(keys: list[Keys], history: dict[str, int], wanted: bool, dry_run: bool) -> None:
    changed = any(plan.add or plan.remove for plan in keys) or bool(history)
    status = "up-to-date" if not changed else "planned" if dry_run else "synced"
    if screen.wants_json():
        screen.print_json({"status": status, "keys": {plan.stage: _counts(plan) for plan in keys}, "history": history})
        return
    for plan in keys:
        if plan.unknown:
            names = ", ".join(plan.unknown[:_SHOWN]) + (", ..." if len(plan.unknown) > _SHOWN else "")
            count = text.many(len(plan.unknown), f"{plan.stage} key")
            screen.show(
                f"[yellow]{screen.symbol('warning')}[/] {count} left alone: "
                f"neither the store nor a run knows {screen.escape(names)}."
            )
    if not changed:
        screen.show("[green]Nothing to do.[/] The instance says what the store says.")
        return
    table = screen.table("Stage", ">Kept", ">Added", ">Removed")
    for plan in keys:
        table.add_row(plan.stage, *(f"{len(names):,}" for names in (plan.kept, plan.add, plan.remove)))
    screen.show(table)
    if history:
        screen.show(f"{text.many(sum(history.values()), 'materialization')} {'to be ' if dry_run else ''}recorded.")
    if dry_run:
        screen.show("Nothing has been changed.")
        return
    screen.show(
        "[dim]What Dagster cannot do: old runs and events stay under the old keys; a run that waits in the queue"
        " keeps its old key and is led to the new id by the store.[/]"
    )
    if not wanted and any(plan.add for plan in keys):
        screen.show_facts([("history", screen.typed("dagster sync --history"), "so that nothing counts as missing")])


def _counts(plan: Keys) -> dict[str, Any]:
    return {
        "kept": len(plan.kept),
        "added": len(plan.add),
        "removed": len(plan.remove),
        "unknown": list(plan.unknown),
    }
