"""`migrator check`: the guardrail for CI and pre-commit. Reads only; with PATHS only what they name."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from migrator.cli.screen import (
    JSON,
    console,
    escape,
    json_option,
    mark,
    plain,
    print_json,
    show,
    show_facts,
    table,
    typed,
    wants_json,
)
from migrator.report.text import many

if TYPE_CHECKING:
    from migrator.cli.settings import Settings
    from migrator.engine.exchange import Place
    from migrator.store.problems import Problem
    from migrator.store.records import Key

_SHOWN = 20  # findings of one kind on a terminal; a pipe, a file and --json get all


@dataclass
class _Wanted:
    """What PATHS name, relative to the data root; `whole` where that is everything."""

    gens: dict[Key, None] = field(default_factory=dict)
    tables: dict[str, None] = field(default_factory=dict)
    others: int = 0
    whole: bool = False


@click.command(short_help="Guardrail: ids match signatures, parents and members exist.")
@click.argument("paths", nargs=-1, type=click.Path(exists=True))
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "github", "json"]),
    default="text",
    show_default=True,
    help="github prints annotations for a pull request.",
)
@json_option
@click.pass_context
def command(ctx: click.Context, paths: tuple[str, ...], form: str) -> None:
    """Check that every id is the function of its metadata, that parents are there and that members exist.

    Without PATHS the whole store is read. With PATHS (files or folders of generations, membership.csv files)
    only the generations and cohorts that they name; the data root may be left out then, it is above them.
    Of steps among the PATHS it checks that they are numbered, and as they were when they were applied.
    Exit 0: all is well. Exit 1: something is not.
    """
    from migrator.engine.exchange import Place

    if form == "json":
        ctx.meta[JSON] = True
    mine = _steps_among(ctx.obj, paths)
    others = tuple(path for path in paths if path not in mine)
    found = _faults_of_steps(ctx.obj) if mine else []
    wanted, checked = _Wanted(), 0
    if others or not mine:
        place = _place(ctx.obj, others)
        place.require()
        wanted = _wanted(place, others)
        checked, more = _whole(place.real) if wanted.whole else _some(place.real, wanted)
        found += more
    else:
        place = Place.at(ctx.obj.migrations)
    failing = _failing(found)
    if wants_json():
        _as_json(checked, wanted, failing)
    elif form == "github":
        _as_annotations(place, checked, failing)
    else:
        _as_text(place, checked, wanted, failing, steps=bool(mine))
    ctx.exit(1 if failing else 0)


# -- steps


def _steps_among(settings: Settings, paths: tuple[str, ...]) -> list[str]:
    """Those paths that lie directly in the folder of steps."""
    from migrator.errors import UsageError

    try:
        folder = os.path.realpath(settings.migrations)
    except UsageError:  # no data root is named, so nothing says where steps lie
        return []
    return [path for path in paths if path.endswith(".py") and os.path.dirname(os.path.realpath(path)) == folder]


def _faults_of_steps(settings: Settings) -> list[Problem]:
    """What is wrong with the steps: their numbers, their code, and whether a data root has applied another text."""
    from migrator.engine import ledger, steps
    from migrator.errors import MigratorError
    from migrator.store.layout import LEDGER
    from migrator.store.problems import INVALID_STEP, Problem

    found = []
    try:
        present = steps.discover(settings.migrations)
    except MigratorError as error:
        return [Problem(INVALID_STEP, path=error.where or "", message=error.message)]
    for root in settings.data_roots():
        try:
            ledger.pending(present, ledger.read(root / LEDGER))
        except MigratorError as error:
            found.append(Problem(INVALID_STEP, path=str(settings.migrations), message=f"{error.message} ({root})"))
    return found


# -- what to look at


def _place(settings: Settings, paths: tuple[str, ...]) -> Place:
    """The data root that is named, else the folder with gens/ above the first path that has one."""
    from migrator.engine.exchange import Place
    from migrator.store.layout import GENS

    if not paths or settings.flags.get("data_root") or settings.chosen.data_root:
        return Place.at(settings.data_root)
    for path in paths:
        absolute = Path(os.path.abspath(path))
        for folder in (absolute, *absolute.parents):
            if (folder / GENS).is_dir():
                return Place.at(folder)
    return Place.at(settings.data_root)


def _wanted(place: Place, paths: tuple[str, ...]) -> _Wanted:
    wanted = _Wanted(whole=not paths)
    for path in paths:
        relative = _relative(place, path)
        if relative is None:
            wanted.others += 1
        elif not relative:
            wanted.whole = True
        else:
            _add(place.real, relative, wanted)
    return wanted


def _relative(place: Place, path: str) -> tuple[str, ...] | None:
    """The parts of a path below the data root, or None where it lies elsewhere."""
    absolute = os.path.abspath(path)
    named = os.path.join(os.path.realpath(os.path.dirname(absolute)), os.path.basename(absolute))
    for candidate in (absolute, named, os.path.realpath(absolute)):
        for root in (place.root, place.real):
            if Path(candidate).is_relative_to(root):
                return Path(candidate).relative_to(root).parts
    return None


def _add(root: Path, parts: tuple[str, ...], wanted: _Wanted) -> None:
    """Note the generations and cohorts that a path below the root belongs to, or that lie below it."""
    from migrator.store.layout import COHORTS, GENS, MEMBERSHIP, STAGES

    top, *rest = parts
    if top == GENS and rest and rest[0] in STAGES and len(rest) > 1 and (root / GENS / rest[0] / rest[1]).is_dir():
        if not rest[1].startswith("."):
            wanted.gens[rest[0], rest[1]] = None
    elif top == GENS and (not rest or (len(rest) == 1 and rest[0] in STAGES)):
        for stage in rest or STAGES:
            wanted.gens |= dict.fromkeys((stage, name) for name in _names(root / GENS / stage) if name[0] != ".")
    elif top == COHORTS and (len(rest) <= 1 or rest[1:] == [MEMBERSHIP]):
        for cohort in rest[:1] or _names(root / COHORTS):
            wanted.tables[f"{COHORTS}/{cohort}/{MEMBERSHIP}"] = None
    else:
        wanted.others += 1


def _names(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        return []


# -- looking


def _whole(root: Path) -> tuple[int, list[Problem]]:
    from migrator.store import checks
    from migrator.store.inventory import Inventory

    store = Inventory.read(root)
    return len(store.gens) + len(store.unread), checks.check(store)


def _some(root: Path, wanted: _Wanted) -> tuple[int, list[Problem]]:
    """Read only what is asked for; of parents and members only that their folders exist."""
    from migrator.store import checks
    from migrator.store.inventory import Inventory

    store = Inventory.read_some(root, wanted.gens, wanted.tables)
    return len(wanted.gens), checks.check(store)


def _failing(found: Iterable[Problem]) -> list[Problem]:
    """What counts here: whatever would block a run, and members that do not exist."""
    from migrator.store.problems import UNKNOWN_MEMBER, ordered

    return ordered(problem for problem in found if problem.blocking or problem.kind == UNKNOWN_MEMBER)


# -- saying it


def _as_json(checked: int, wanted: _Wanted, failing: list[Problem]) -> None:
    print_json(
        {
            "status": "failed" if failing else "ok",
            "generations": checked,
            "not_looked_at": wanted.others,
            "issues": [problem.row() for problem in failing],
        }
    )


def _as_annotations(place: Place, checked: int, failing: list[Problem]) -> None:
    """Workflow commands of GitHub: one annotation a finding, on its file."""
    for problem in failing:
        file = os.path.relpath(place.root / problem.path) if problem.path else ""
        where = f"file={_property(file)}," if file else ""
        title = " ".join(part for part in (problem.kind, problem.stage, problem.gen_id) if part)
        click.echo(f"::error {where}title={_property(title)}::{_data(problem.message or problem.kind)}")
    if not failing:
        click.echo(f"{many(checked, 'generation')} checked: ids, parents and members are right")


def _data(text: str) -> str:
    """A text for a workflow command: no line of data can start a command of its own."""
    return plain(text).replace("%", "%25")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _as_text(place: Place, checked: int, wanted: _Wanted, failing: list[Problem], *, steps: bool) -> None:
    show(f"[bold]migrator check[/]  [dim]{escape(place.root)}[/]\n")
    if wanted.others:
        show(f"[dim]{many(wanted.others, 'path')} outside of generations and cohorts: not looked at[/]")
    if not failing:
        scope = "" if wanted.whole else f", {many(len(wanted.tables), 'cohort')}"
        if checked or wanted.whole or wanted.tables or not steps:
            show(f"{mark('done')} {many(checked, 'generation')}{scope}: ids, parents and members are right")
        if steps:
            show(f"{mark('done')} steps: numbered, and as they were when they were applied")
        return
    rows = table("", "What", "Where", "")
    for kind, path, message in _lines(failing, _SHOWN if console().is_terminal else None):
        rows.add_row(mark("bad") if kind else "", escape(kind), escape(path), escape(message))
    show(rows)
    kinds = ", ".join(f"{number:,} {kind}" for kind, number in _kinds(failing).items())
    show(f"\n[red]not right[/]: {escape(kinds)}; {many(checked, 'generation')} checked")
    facts = [("next", typed("status"), "tells whether steps are pending")]
    one = next((problem.gen_id for problem in failing if problem.gen_id), "")
    if one:
        facts.insert(0, ("look", typed(f"explain {shlex.quote(one)}"), "the first of them"))
    show_facts(facts)


def _lines(failing: list[Problem], limit: int | None) -> Iterator[tuple[str, str, str]]:
    """(kind, path, message) of each finding; of one kind at most `limit`, and then how many more."""
    seen: dict[str, int] = {}
    total = _kinds(failing)
    for problem in failing:
        seen[problem.kind] = seen.get(problem.kind, 0) + 1
        if limit is None or seen[problem.kind] <= limit:
            yield problem.kind, problem.path, problem.message
        elif seen[problem.kind] == limit + 1:
            yield "", f"and {total[problem.kind] - limit:,} more of {problem.kind}", "--json lists all"


def _kinds(failing: list[Problem]) -> dict[str, int]:
    kinds: dict[str, int] = {}
    for problem in failing:
        kinds[problem.kind] = kinds.get(problem.kind, 0) + 1
    return kinds
