"""migrator rollback: undo the latest run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from migrator import undo
from migrator.cli import dagster, screen
from migrator.cli.plan import name_of
from migrator.cli.settings import Settings, complete_runs
from migrator.report import text

if TYPE_CHECKING:
    from migrator.cli.log import Log
    from migrator.engine.snapshots import Run
    from migrator.site import Outcome, Site

DECLINED = 1
_SHOWN = 10


@click.command()
@click.argument("run_id", metavar="[RUN]", required=False, shell_complete=complete_runs)
@click.option("--set-aside-new", is_flag=True, help="Later work stays in the run's folder; `adopt` brings it back.")
@click.option("--full", is_flag=True, help="Read every byte of the snapshot before going back.")
@click.option("--wait", metavar="SECONDS", type=click.FloatRange(min=0), default=0, help="Wait for another run to end.")
@screen.yes_option
@click.option("--confirm", metavar="NAME", help="The env's name, where the settings want it typed.")
@screen.json_option
@click.pass_obj
def command(
    settings: Settings,
    run_id: str | None,
    set_aside_new: bool,
    full: bool,
    wait: float,
    yes: bool,
    confirm: str | None,
) -> int:
    """Undo the latest run: the tree from before comes back, byte for byte.

    A run that failed or was killed has changed nothing: its recovery is completed, and nothing older is
    touched. RUN must be the newest run of the ledger. Work that came after the run is never dropped: see
    --set-aside-new.
    """
    from migrator.cli.log import Log

    screen.error_defaults(run_id=run_id, set_aside=[], tree=None, notes=[])
    screen.require_name(settings.chosen, confirm)
    with Log() as log:
        site = settings.site(log.notify, wait=wait)
        outcome = undo.rollback(
            site,
            run_id,
            set_aside_new=set_aside_new,
            full=full,
            confirm=lambda run, later: _agreed(run, later, site, settings, log, yes, confirm),
        )
    _report(outcome, site)
    return DECLINED if outcome.status == "refused" else 0


def _agreed(
    run: Run,
    later: Sequence[tuple[str, str]],
    site: Site,
    settings: Settings,
    log: Log,
    yes: bool,
    name: str | None,
) -> bool:
    log.pause()
    if not screen.wants_json():
        when = f"{text.moment(run.started)} UTC"
        screen.show(f"Run [bold]{run.run_id}[/] of {when} will be undone: {screen.escape(', '.join(run.steps))}.")
        if later:
            screen.show(f"{text.many(len(later), 'thing')} came later and will be set aside in the run's folder:")
            screen.show_facts((what, path, "") for path, what in later[:_SHOWN])
            if len(later) > _SHOWN:
                screen.show(f"  and {len(later) - _SHOWN:,} more")
    return screen.consent(settings.chosen, f"Roll {name_of(site)} back?", yes=yes, name=name)


def _report(outcome: Outcome, site: Site) -> None:
    run = outcome.run
    assert run is not None
    undone = outcome.status == "rolled-back"
    set_aside = list(outcome.details) if undone else []
    if screen.wants_json():
        screen.print_json(
            {
                "status": outcome.status,
                "run_id": run.run_id,
                "steps": run.steps,
                "set_aside": set_aside,
                "tree": run.tree if undone else None,
                "notes": list(outcome.details) if outcome.status == "as-before" else [],
            }
        )
    elif undone:
        _undone(run, set_aside, site)
    elif outcome.status == "as-before":
        why = f" ({screen.escape(run.reason)})" if run.reason else ""
        screen.show(
            f"[green]As before.[/] Run [bold]{run.run_id}[/] is {run.state}{why}; "
            f"{screen.escape(name_of(site))} is the tree from before it. Nothing older was touched."
        )
    else:
        click.echo("Nothing has been changed.", err=True)


def _undone(run: Run, set_aside: list[str], site: Site) -> None:
    applied = site.ledger()
    at = applied[-1].number if applied else "0000"
    screen.show(f"[green]Rolled back[/] run [bold]{run.run_id}[/]. {screen.escape(name_of(site))} is at {at} again.")
    facts = [("tree", run.tree, "the tree from after, kept until it is pruned")]
    if set_aside:
        facts.append(
            (
                "later",
                screen.typed(f"adopt {run.run_id}"),
                "brings new generations and cohorts back, after the next upgrade",
            )
        )
    if dagster.is_configured():
        facts.append(("dagster", screen.typed("dagster sync --history"), "lets the instance follow"))
    facts.append(("again", screen.typed("upgrade"), ""))
    screen.show_facts(facts)
    screen.show("[dim]A container or a shell that holds the old folder keeps it until it is restarted.[/]")
