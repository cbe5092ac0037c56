"""migrator adopt: bring back what a rollback set aside."""

from __future__ import annotations

import click

from migrator import undo
from migrator.cli import screen
from migrator.cli.settings import Settings, complete_runs
from migrator.report import text

_SHOWN = 10


@click.command()
@click.argument("run_id", metavar="RUN", shell_complete=complete_runs)
@click.option("--wait", metavar="SECONDS", type=click.FloatRange(min=0), default=0, help="Wait for another run to end.")
@screen.json_option
@click.pass_obj
def command(settings: Settings, run_id: str, wait: float) -> int:
    """Copy in the generations and cohorts of a rolled-back run that the store does not have.

    For work that was done after RUN and set aside by its rollback. Upgrade first: the ids are those of the
    upgraded store. What is there already stays as it is; what was set aside stays there too.
    """
    from migrator.cli.log import Log

    screen.error_defaults(run_id=run_id, adopted=[])
    with Log() as log:
        outcome = undo.adopt(settings.site(log.notify, wait=wait), run_id)
    brought = list(outcome.details)
    if screen.wants_json():
        screen.print_json({"status": outcome.status, "run_id": run_id, "adopted": brought})
    elif not brought:
        screen.show(f"[green]Nothing to do.[/] Everything of run {screen.escape(run_id)} is there already.")
    else:
        count = text.many(len(brought), "folder")
        screen.show(f"[green]Adopted[/] {count} from run [bold]{screen.escape(run_id)}[/]:")
        screen.show_facts(("", path, "") for path in brought[:_SHOWN])
        if len(brought) > _SHOWN:
            screen.show(f"  and {len(brought) - _SHOWN:,} more")
    return 0
