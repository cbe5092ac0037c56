"""migrator regenerate: make the derived tables and the manifests anew."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from migrator import upkeep
from migrator.cli import screen
from migrator.cli.settings import Settings
from migrator.report import machine, text

if TYPE_CHECKING:
    from migrator.upkeep import Regenerated

REFUSED = 1


@click.command()
@click.option("--wait", metavar="SECONDS", type=click.FloatRange(min=0), default=0, help="Wait for another run to end.")
@screen.json_option
@click.pass_obj
def command(settings: Settings, wait: float) -> int:
    """Make aggregated scores, both score pivots and every cohort's manifest anew from the store.

    An upgrade does so by itself; do it after work that came later, or after adopt. Other derived tables are
    yours. A file that would not change is not written. Exits 1 when a generation cannot be read.
    """
    from migrator.cli.log import Log

    screen.error_defaults(**machine.regenerated("refused"))
    with Log() as log:
        done = upkeep.regenerate(settings.site(log.notify, wait=wait))
    if done.problems:
        return _refused(done)
    if screen.wants_json():
        status = "regenerated" if done.written else "unchanged"
        screen.print_json(machine.regenerated(status, done.written, done.unchanged))
    elif not done.written:
        screen.show(f"[green]Nothing to do.[/] {text.many(len(done.unchanged), 'file')} as they should be.")
    else:
        rest = f" [dim]{len(done.unchanged):,} are as they should be.[/]" if done.unchanged else ""
        screen.show(f"[green]Made anew:[/] {text.many(len(done.written), 'file')}.{rest}")
        screen.show_facts(("", path, "") for path in done.written)
    return 0


def _refused(done: Regenerated) -> int:
    message = f"{text.many(len(done.problems), 'blocking issue')} in the way; nothing has been changed"
    hint = screen.typed("plan") + "   (shows all of them, and how to set a generation aside)"
    if screen.wants_json():
        result = machine.regenerated("refused", problems=done.problems)
        screen.print_json({**result, "error": message, "where": None, "hint": hint, "exit_code": REFUSED})
        return REFUSED
    screen.show(*text.issue_lines(done.problems, sys.stdout.encoding or "ascii"))
    screen.say_error(message, None, hint)
    return REFUSED
