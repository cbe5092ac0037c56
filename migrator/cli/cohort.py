"""migrator cohort: build one, look at one, list what it lacks, refresh its manifest."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from migrator.cli import screen
from migrator.cli.settings import Settings, complete_cohorts
from migrator.errors import DecisionNeeded, MigratorError, UsageError
from migrator.report import cohort as report
from migrator.report import machine, text

if TYPE_CHECKING:
    from pathlib import Path

    from migrator.cohorts.building import Building
    from migrator.cohorts.membership import Membership
    from migrator.site import Site
    from migrator.store.index import Index
    from migrator.store.problems import Problem

REFUSED, UNDECIDED = MigratorError.exit_code, DecisionNeeded.exit_code
_wait = click.option(
    "--wait", metavar="SECONDS", type=click.FloatRange(min=0), default=0, help="Wait for another run to end."
)


@click.group()
def command() -> None:
    """Cohorts: selections of generations. They own nothing; building one reuses what there is."""


# -- build


@command.command("build")
@click.argument("name", required=False, shell_complete=complete_cohorts)
@click.option("--extend", is_flag=True, help="Let an existing cohort get more members. None is ever removed.")
@click.option(
    "--accept-collision", "accept", metavar="ID", multiple=True, help="Let this collision stand (repeatable)."
)
@_wait
@screen.json_option
@click.pass_obj
def build_command(settings: Settings, name: str | None, extend: bool, accept: Sequence[str], wait: float) -> int:
    """Build the cohort NAME from 1_raw/, 2_tasks/ and what the store already has.

    Without NAME it is DD_COHORT, else a name computed from what it is built from. Generations that exist are
    reused, missing ones get their metadata.json. Building the same again changes no byte.
    """
    from migrator import enrolment
    from migrator.cli.log import Log

    screen.error_defaults(cohort_id=name, counts=report.no_counts(), issues=[])
    with Log() as log:
        found = enrolment.build(settings.site(log.notify, wait=wait), name, extend=extend, accept=accept)
    refused = found.status == "refused"
    code = (UNDECIDED if found.undecided else REFUSED) if refused else 0
    message, where, hint = report.verdict(found) if refused else ("", "", "")
    message = f"{message}; nothing has been changed"
    hint = screen.typed(hint) if hint else "repair what is listed, then repeat the command"
    if screen.wants_json():
        told = {"error": message, "where": where or None, "hint": hint, "exit_code": code} if refused else {}
        screen.print_json(report.machine(found) | told)
    else:
        _show_build(found)
    if refused:
        screen.say_error(message, where, hint)
    return code


def _show_build(found: Building) -> None:
    from migrator.cli.screen import escape

    how = {"built": "[green]built[/]", "unchanged": "unchanged", "refused": "[red]refused[/]"}[found.status]
    screen.show(f"[bold]{escape(found.cohort_id or 'cohort')}[/]  {how}  [dim]{found.mode}[/]")
    if found.allocation is not None:
        screen.show("", report.counts_table(found))
        sources = report.sources(found)
        if sources:
            screen.show("", f"Reused of others: {sources}")
    _show_problems(found.problems)
    if found.status == "refused" and found.undecided:
        screen.show("", *report.difference(found))
    if found.status == "built":
        lacking = sum((found.missing_outputs or {}).values())
        screen.show(
            "", f"{text.many(lacking, 'member')} without output:" if lacking else "Every member has its output."
        )
        if lacking:
            screen.show_facts([("", screen.typed(f"cohort missing {shlex.quote(found.cohort_id)}"), "")])


def _show_problems(problems: Sequence[Problem]) -> None:
    if problems:
        screen.show("", *text.issue_lines(problems, sys.stdout.encoding or "ascii", blocking=20))


# -- show and missing


@command.command("show")
@click.argument("name", required=False, shell_complete=complete_cohorts)
@screen.json_option
@click.pass_obj
def show_command(settings: Settings, name: str | None) -> int:
    """Show the cohort NAME: members, whose they are, what lacks an output, its manifest. Without NAME list all."""
    site = settings.site()
    site.place.require()
    if name is None:
        return _list(site)
    from migrator.cohorts import manifest
    from migrator.store.index import Index, without_output
    from migrator.store.layout import STAGES

    root, table = site.place.real, _membership(site, name)
    index = Index.read(root, site.scheme)
    lacking = set(without_output(root, table.lines))
    stages = {}
    for stage in STAGES:
        keys = [key for key in table.lines if key[0] == stage]
        own = sum(key in index.gens and index.origin(key) == name for key in keys)
        known = sum(index.exists(key) for key in keys)
        stages[stage] = {
            "members": len(keys),
            "own": own,
            "reused": known - own,
            "missing_outputs": sum(key in lacking for key in keys),
            "unknown": len(keys) - known,
        }
    fresh = manifest.opened(manifest.load(root, name), table.data, manifest.last_run(root))
    state = fresh if isinstance(fresh, str) else "fresh"
    problems = _problems(table, index)
    if screen.wants_json():
        found = {"cohort_id": name, "members": stages, "manifest": state, "issues": machine.issues(problems)}
        screen.print_json(found)
        return 0
    screen.show(f"[bold]{screen.escape(name)}[/]  [dim]{screen.escape(root / table.path)}[/]", "")
    grid = screen.table("Stage", ">Members", ">Own", ">Of others", ">Without output")
    for stage, row in stages.items():
        values = (row[column] for column in ("members", "own", "reused", "missing_outputs"))
        grid.add_row(stage, *(text.number(value) for value in values))
    screen.show(grid, "", f"manifest: {state}")
    if state != "fresh":
        screen.show_facts([("", screen.typed(f"cohort manifest {shlex.quote(name)}"), "")])
    _show_problems(problems)
    return 0


def _list(site: Site) -> int:
    from migrator.cohorts import membership
    from migrator.store.layout import STAGES

    names, _ = membership.cohort_ids(site.place.real)
    counts = {
        name: [sum(key[0] == stage for key in _membership(site, name).lines) for stage in STAGES] for name in names
    }
    if screen.wants_json():
        rows = [{"cohort_id": name, **dict(zip(STAGES, found, strict=True))} for name, found in counts.items()]
        screen.print_json({"cohorts": rows})
        return 0
    grid = screen.table("Cohort", *(f">{stage.capitalize()}" for stage in STAGES))
    for name, found in counts.items():
        grid.add_row(screen.escape(name), *(text.number(count) for count in found))
    screen.show(grid if names else "There is no cohort.")
    return 0


def _problems(table: Membership, index: Index) -> list[Problem]:
    """What is wrong with the members: not in the store, or their metadata cannot be used."""
    unknown = [table.unknown(key) for key in table.lines if not index.exists(key)]
    return [*unknown, *(problem for key in table.lines for problem in index.unusable.get(key, ()))]


@command.command("missing")
@click.argument("name", shell_complete=complete_cohorts)
@screen.json_option
@click.pass_obj
def missing_command(settings: Settings, name: str) -> int:
    """List the members of NAME that have no parsed.txt yet: one a line, stage and id."""
    from migrator.store.index import without_output

    site = settings.site()
    site.place.require()
    lacking = without_output(site.place.real, _membership(site, name).lines)
    if screen.wants_json():
        screen.print_json({"cohort_id": name, "missing": report.keys(lacking)})
        return 0
    for stage, gen_id in lacking:
        click.echo(f"{screen.plain(stage):10}  {screen.plain(gen_id)}")
    if not lacking:
        click.echo("Every member has its output.", err=True)
    return 0


def _membership(site: Site, name: str) -> Membership:
    """A cohort's table. Raises MigratorError where there is none, or where it cannot be trusted."""
    from migrator.cohorts import membership
    from migrator.cohorts.membership import Membership

    root: Path = site.place.real
    found = membership.read(root, name) if membership.is_name(name) else None
    if isinstance(found, Membership):
        return found
    if found is None:
        raise MigratorError(f"there is no cohort {name!r}", where=site.place.root, hint="migrator cohort show")
    raise MigratorError(f"its table cannot be trusted: {found.message}", where=root / found.path)


# -- manifest


@command.command("manifest")
@click.argument("name", required=False, shell_complete=complete_cohorts)
@click.option("--all", "every", is_flag=True, help="The manifests of all cohorts.")
@_wait
@screen.json_option
@click.pass_obj
def manifest_command(settings: Settings, name: str | None, every: bool, wait: float) -> int:
    """Write the manifest of the cohort NAME, or of all. It is a cache: deleting it changes nothing."""
    from migrator import enrolment
    from migrator.cli.log import Log
    from migrator.store.problems import ordered

    screen.error_defaults(written=[], issues=[])
    if (name is None) != every:
        raise UsageError("which manifest?", hint="migrator cohort manifest NAME, or migrator cohort manifest --all")
    with Log() as log:
        site = settings.site(log.notify, wait=wait)
        site.place.require()
        if name is not None:
            _membership(site, name)
        rendered = enrolment.write_manifests(site, None if name is None else [name])
    problems = ordered(rendered.problems)
    blocking = any(problem.blocking for problem in problems)
    written = [path for path, _ in rendered.files]
    status = "refused" if blocking else "written" if written else "unchanged"
    if screen.wants_json():
        screen.print_json({"status": status, "written": written, "issues": machine.issues(problems)})
    else:
        what = (
            f"Wrote {text.many(len(written), 'manifest')}." if written else "Nothing to write: what is there is right."
        )
        screen.show(what if written or not blocking else "")
        screen.show_facts(("", path, "") for path in written)
        _show_problems(problems)
    if blocking:
        screen.say_error("some manifests cannot be made", None, screen.typed("check"))
    return REFUSED if blocking else 0
