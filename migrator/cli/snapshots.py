"""migrator snapshots: the trees from before each run, listed, proven, pruned."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from migrator import upkeep
from migrator.cli import screen
from migrator.cli.settings import Settings, complete_runs
from migrator.engine import ledger, snapshots
from migrator.errors import CareNeeded, MigratorError, UsageError
from migrator.report import text
from migrator.undo import LINK_HAZARD

if TYPE_CHECKING:
    from migrator.engine.snapshots import Run
    from migrator.site import Site

DAMAGED, DECLINED = CareNeeded.exit_code, 1
_SHOWN = 5


@click.group()
def command() -> None:
    """List, verify or prune the trees from before each run."""


# -- list


@command.command("list")
@screen.json_option
@click.pass_obj
def list_command(settings: Settings) -> int:
    """List the snapshots, and what undone runs left behind, the newest last."""
    site = settings.site()
    found = [(run, volume(site, run)) for run in site.runs() if run.tree and Path(run.tree).is_dir()]
    if screen.wants_json():
        screen.print_json({"snapshots": [_entry(run, size) for run, size in found]})
        return 0
    if not found:
        screen.show("There is no snapshot: no run has been committed, or all are pruned.")
        return 0
    table = screen.table("", "Run", "Tree", ">Size", "Path")
    for run, size in found:
        kind = (
            "from before"
            if run.has_snapshot
            else "from after, set aside"
            if run.state == snapshots.ROLLED_BACK
            else run.state
        )
        shown = "[red]unreadable[/]" if size is None else text.size(size)
        table.add_row(
            screen.mark("done" if run.has_snapshot else "none"),
            run.run_id,
            kind,
            shown,
            screen.escape(run.tree),
        )
    screen.show(table)
    return 0


def volume(site: Site, run: Run) -> int | None:
    """Bytes of the files in a run's tree, from its manifest; None where that cannot be read."""
    name = snapshots.AFTER if run.state == snapshots.ROLLED_BACK else snapshots.BEFORE
    try:
        return sum(entry.size for entry in snapshots.read_manifest(site.folder(run.run_id) / name).entries)
    except CareNeeded:
        return None


def _entry(run: Run, size: int | None) -> dict[str, object]:
    return {
        "run_id": run.run_id,
        "state": run.state,
        "is_snapshot": run.has_snapshot,
        "tree": run.tree,
        "bytes": size,
        "started": run.started,
    }


# -- verify


@command.command("verify")
@click.argument("run_ids", metavar="[RUN]...", nargs=-1, shell_complete=complete_runs)
@screen.json_option
@click.pass_obj
def verify_command(settings: Settings, run_ids: Sequence[str]) -> int:
    """Read every byte of the snapshots (or of those named) and compare it with what was noted.

    Exits 10 when one is not what it was.
    """
    site = settings.site()
    _require_snapshots(site, run_ids)
    results = []
    for run, damages in upkeep.verify_snapshots(site, run_ids):
        results.append((run, damages))
        if not screen.wants_json():
            _print_verified(run, damages)
    if screen.wants_json():
        entries = [
            {"run_id": run.run_id, "tree": run.tree, "sound": not found, "payload": run.payload, "damages": found}
            for run, found in results
        ]
        screen.print_json({"snapshots": entries})
    elif not results:
        screen.show("There is no snapshot to verify.")
    return DAMAGED if any(damages for _, damages in results) else 0


def _require_snapshots(site: Site, run_ids: Sequence[str]) -> None:
    known = {run.run_id: run for run in site.runs()}
    for run_id in run_ids:
        ledger.check_run_id(run_id)
        if run_id not in known:
            raise UsageError(f"there is no run {run_id}", where=site.backups, hint="migrator snapshots list")
        if not known[run_id].has_snapshot:
            state = "pruned" if known[run_id].pruned else known[run_id].state
            raise MigratorError(f"run {run_id} has no snapshot: it is {state}", hint="migrator snapshots list")


def _print_verified(run: Run, damages: Sequence[str]) -> None:
    if not damages:
        screen.show(f"{screen.mark('done')}  {run.run_id}  is what it was, every byte")
        return
    count = text.many(len(damages), "damage")
    screen.show(f"{screen.mark('bad')}  {run.run_id}  [red]{count}[/] in {screen.escape(run.tree)}")
    for damage in damages[:_SHOWN]:
        screen.show(f"     {screen.escape(damage)}")
    if len(damages) > _SHOWN:
        screen.show(f"     [dim]and {len(damages) - _SHOWN:,} more; --json lists all[/]")
    if run.payload == snapshots.LINKED:
        screen.show(f"     [dim]--link: {LINK_HAZARD}[/]")


# -- prune


@command.command("prune")
@click.option(
    "--keep",
    metavar="N",
    type=click.IntRange(min=1),
    help="Snapshots to keep; else the env's keep_snapshots.",
)
@click.option("--rolled-back", is_flag=True, help="Also delete what undone runs set aside.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@click.option("--wait", metavar="SECONDS", type=click.FloatRange(min=0), default=0, help="Wait for another run to end.")
@screen.yes_option
@click.option("--confirm", metavar="NAME", help="The env's name, where the settings want it typed.")
@screen.json_option
@click.pass_obj
def prune_command(
    settings: Settings,
    keep: int | None,
    rolled_back: bool,
    dry_run: bool,
    wait: float,
    yes: bool,
    confirm: str | None,
) -> int:
    """Delete all but the newest snapshots.

    The newest is verified first and always stays; records and mappings stay too.
    """
    from migrator.cli.log import Log

    screen.error_defaults(pruned=[], freed=0)
    kept = keep if keep is not None else settings.chosen.keep_snapshots
    if kept is None:
        raise UsageError("how many snapshots shall stay?", hint="migrator snapshots prune --keep 3")
    screen.require_name(settings.chosen, confirm)
    with Log() as log:
        site = settings.site(log.notify, wait=wait)
        doomed = upkeep.prune(site, kept, rolled_back=rolled_back, really=False)
        sizes = {run.run_id: volume(site, run) or 0 for run in doomed}
        if not screen.wants_json():
            _print_doomed(doomed, sizes, kept)
        if not doomed or dry_run:
            return _pruned("dry-run" if dry_run else "up-to-date", doomed, sizes)
        if not screen.consent(settings.chosen, "Delete them for good?", yes=yes, name=confirm):
            click.echo("Nothing has been deleted.", err=True)
            return DECLINED
        gone = upkeep.prune(site, kept, rolled_back=rolled_back)
    return _pruned("pruned", gone, sizes)


def _print_doomed(doomed: Sequence[Run], sizes: dict[str, int], kept: int) -> None:
    if not doomed:
        screen.show(f"Nothing to prune: there are no more than {text.many(kept, 'snapshot')}.")
        return
    table = screen.table("Run", "State", ">Size", "Path")
    for run in doomed:
        table.add_row(run.run_id, run.state, text.size(sizes[run.run_id]), screen.escape(run.tree))
    screen.show(table, "")


def _pruned(status: str, runs: Sequence[Run], sizes: dict[str, int]) -> int:
    total = sum(sizes.get(run.run_id, 0) for run in runs)
    if screen.wants_json():
        screen.print_json({"status": status, "pruned": [run.run_id for run in runs], "freed": total})
    elif status == "pruned":
        screen.show(f"[green]Pruned[/] {text.many(len(runs), 'tree')}, {text.size(total)} freed.")
    elif status == "dry-run" and runs:
        screen.show(f"{text.many(len(runs), 'tree')}, {text.size(total)} would go. Nothing has been deleted.")
    return 0
