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
    verdict = _verdict(done)
    if screen.wants_json():
        status = "regenerated" if done.written else "unchanged" if done.unchanged else "refused"
        result = machine.regenerated(status, done.written, done.unchanged, done.problems)
        if verdict:
            result |= {"error": verdict[0], "where": None, "hint": verdict[1], "exit_code": REFUSED}
        screen.print_json(result)
    else:
        _print(done)
    if verdict:
        screen.say_error(verdict[0], None, verdict[1])
        return REFUSED
    return 0


def _verdict(done: Regenerated) -> tuple[str, str] | None:
    """What could not be made and what to type next, or None."""
    if not done.problems:
        return None
    count = text.many(len(done.problems), "blocking issue")
    if not done.written and not done.unchanged:
        return f"{count} in the way; nothing has been changed", screen.typed("plan --out next-plan")
    return f"{count} in the way of some manifests, which are as before", screen.typed("upgrade")


def _print(done: Regenerated) -> None:
    if done.written:
        rest = f" [dim]{text.many(len(done.unchanged), 'other')} as before.[/]" if done.unchanged else ""
        screen.show(f"[green]Made anew:[/] {text.many(len(done.written), 'file')}.{rest}")
        screen.show_facts(("", path, "") for path in done.written)
    elif done.unchanged:
        screen.show(f"[green]Nothing to do.[/] {text.many(len(done.unchanged), 'file')} as they should be.")
    if done.problems:
        screen.show(*text.issue_lines(done.problems, sys.stdout.encoding or "ascii"))
