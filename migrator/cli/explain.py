"""`migrator explain ID`: all that is known of one id, old or new. Reads only."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from migrator.cli.known import STAGE_NAMES, Known, Past
from migrator.cli.screen import (
    escape,
    json_option,
    mark,
    plain,
    print_json,
    say_error,
    show,
    symbol,
    table,
    typed,
    wants_json,
)
from migrator.cli.settings import complete_ids
from migrator.report.text import many

if TYPE_CHECKING:
    from migrator.cli.settings import Settings
    from migrator.site import Site


@click.command(short_help="One id, old or new: signature, lineage, runs.")
@click.argument("gen_id", metavar="ID", shell_complete=complete_ids)
@click.option("--stage", type=click.Choice(STAGE_NAMES), help="Where one name stands for two generations.")
@json_option
@click.pass_context
def command(ctx: click.Context, gen_id: str, stage: str | None) -> None:
    """Explain an id of today, of the past, or one that the pending steps would make.

    Shows the signature, the canonical text, the way from there to the id, the lineage up to the draft, the
    children, the names it bore, the runs that touched it, and where it lies. Exit 1: no such name.
    """
    settings: Settings = ctx.obj
    site = settings.site()
    site.place.require()
    known = Known(site, Past.read(site))
    found = known.find(gen_id, stage)
    if wants_json():
        print_json(
            {
                "asked": gen_id,
                "found": bool(found),
                "generations": [known.facts(store, gen) for store, gen in found],
                "close": [] if found else known.close(gen_id),
            }
        )
    elif found:
        _print(site, gen_id, [known.facts(store, gen) for store, gen in found])
    else:
        _print_unknown(site, gen_id, known.close(gen_id))
    ctx.exit(0 if found else 1)


# -- saying it


def _print(site: Site, asked: str, found: Sequence[dict[str, Any]]) -> None:
    env = f"{escape(site.env)}  " if site.env else ""
    show(f"[bold]migrator explain[/]  {env}[dim]{escape(site.place.root)}[/]")
    if len(found) > 1:
        computed = {facts["computed_id"] for facts in found}
        collide = len(computed) == 1 and None not in computed
        why = "share this id: their signatures collide" if collide else f"are meant by this name; {_by_stage(found)}"
        show(f"\n[yellow]{len(found)} generations[/] {escape(why)}")
        _print_beside(found)
    for facts in found:
        _print_one(asked, facts)


def _by_stage(found: Sequence[dict[str, Any]]) -> str:
    return "--stage " + ", --stage ".join(dict.fromkeys(facts["stage"] for facts in found)) + " tells them apart"


def _print_beside(found: Sequence[dict[str, Any]]) -> None:
    """The signatures of several generations, one column each, with a mark where they differ."""
    rows = table("", *(escape(f"{facts['stage']} {facts['gen_id']}") for facts in found))
    for name in dict.fromkeys(name for facts in found for name in facts["signature"]):
        values = [_shown(facts["signature"].get(name)) for facts in found]
        differs = len(set(values)) > 1
        rows.add_row(f"[dim]{escape(name)}[/]", *(f"[yellow]{value}[/]" if differs else value for value in values))
    rows.add_row("[dim]canonical[/]", *(_shown(facts["canonical"]) for facts in found))
    show(rows)


def _print_one(asked: str, facts: dict[str, Any]) -> None:
    show(f"\n[bold]{facts['stage']} {escape(facts['gen_id'])}[/]{_remark(asked, facts)}")
    rows = table("", "")
    rows.add_row("[dim]lies in[/]", _shown(facts["path"]))
    for name, value in facts["signature"].items():
        rows.add_row(f"[dim]{escape(name)}[/]", _shown(value))
    show(rows)
    _print_way(facts)
    _print_family(facts)
    _print_past(facts)
    for problem in facts["problems"]:
        show(f"{mark('bad')} {escape(problem['kind'])}: {escape(problem['message'])}")


def _remark(asked: str, facts: dict[str, Any]) -> str:
    if not facts["exists"]:
        origin = facts["path"].rpartition("/")[2] if facts["path"] else None
        return f"  would be the id of {escape(origin)}" if origin else "  would be made by the pending steps"
    if facts["gen_id"] != asked and asked in facts["old_names"]:
        return f"  was called {escape(asked)}"
    return f"  will be {escape(facts['becomes']['gen_id'])} after the pending steps" if facts["becomes"] else ""


def _print_way(facts: dict[str, Any]) -> None:
    then = "[dim], after the pending steps[/]" if facts["becomes"] else ""
    show(f"\n[bold]From signature to id[/]{then}")
    facts = facts["becomes"] or facts
    if facts["canonical"] is None:
        show(f"{mark('bad')} a field is missing or invalid: there is no canonical text")
        return
    rows = table("", "", "")
    rows.add_row("[dim]canonical[/]", escape(facts["canonical"]), "[dim]UTF-8[/]")
    rows.add_row("[dim]digest[/]", facts["digest"], f"[dim]BLAKE2b, {len(facts['digest']) // 2} bytes[/]")
    rows.add_row("[dim]number[/]", facts["number"], "[dim]big-endian[/]")
    rows.add_row("[dim]base 36[/]", facts["base36"], "[dim]without padding[/]")
    suffix = f"with the suffix {facts['suffix']} of a collision" if facts["suffix"] else "is its id"
    verdict = f"{mark('done')} {suffix}" if facts["right"] else f"{mark('bad')} not the name it bears"
    rows.add_row("[dim]id[/]", escape(facts["computed_id"]), verdict)
    show(rows)


def _print_family(facts: dict[str, Any]) -> None:
    show("\n[bold]Lineage[/]")
    rows = table("", "", "", "", "")
    for column in rows.columns[:2]:  # ids stay whole as long as there is anything else to fold
        column.no_wrap = True
    for number, one in enumerate(reversed(facts["lineage"])):
        name = escape(one["gen_id"])
        if one["missing"]:
            rows.add_row("  " * number + one["stage"], name, f"{mark('bad')} not in the store", "", "")
        else:
            cells = (
                _shown(one["template"]),
                _shown(one["model"]) if one["model"] else "",
                f"#{_shown(one['replicate'])}",
            )
            rows.add_row(
                "  " * number + one["stage"],
                f"[bold]{name}[/]" if one is facts["lineage"][0] else name,
                *cells,
            )
    show(rows)
    below = {"draft": "essay", "essay": "evaluation"}.get(facts["stage"])
    if below:
        show(f"{many(facts['children'], below)} below it")
    if facts["cohorts"]:
        show(f"[dim]cohorts[/]  {escape(', '.join(facts['cohorts']))}")


def _print_past(facts: dict[str, Any]) -> None:
    if not facts["runs"]:
        return
    show("\n[bold]Runs[/]")
    rows = table("", "", "", "")
    for run in facts["runs"]:
        names = (
            escape(run["new"]) if run["old"] is None else f"{escape(run['old'])} {symbol('to')} {escape(run['new'])}"
        )
        numbers = ", ".join(step.partition(" ")[0] for step in run["steps"])
        rows.add_row(escape(run["run_id"]), f"[dim]{escape(numbers)}[/]", run["what"], names)
    show(rows)


def _shown(value: object) -> str:
    return "[dim]missing[/]" if value is None else escape(value)


def _print_unknown(site: Site, asked: str, close: Sequence[str]) -> None:
    message = f"nothing in the store bears or ever bore the name {asked!r}"
    commands = [typed(f"explain {shlex.quote(name)}") for name in close]
    if commands:
        say_error(message, str(site.place.root), commands[0])
    else:
        say_error(message, str(site.place.root), "ids are the names of the folders in gens/<stage>/", typed("status"))
    for command in commands[1:]:
        click.echo(f"        {plain(command)}", err=True)
