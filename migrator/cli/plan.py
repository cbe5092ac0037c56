"""migrator plan: what an upgrade would do. Writes nothing, but for --out."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from migrator import __version__, runner, upkeep
from migrator.cli import page, proof, screen
from migrator.cli.settings import Settings, complete_steps
from migrator.errors import DecisionNeeded, UsageError
from migrator.report import machine, text
from migrator.store import mappings
from migrator.store.problems import ID_COLLISION

if TYPE_CHECKING:
    from migrator.cli.log import Log
    from migrator.plan import Plan
    from migrator.site import Site

PLAN_FILE = "plan.json"
PENDING, BLOCKED = 3, 4


@click.command()
@click.option("--to", metavar="NNNN", shell_complete=complete_steps, help="Up to and including this step.")
@click.option(
    "--accept-collision", "accept", metavar="ID", multiple=True, help="Let this collision stand (repeatable)."
)
@click.option("--out", metavar="DIR", help="Keep the plan there: plan.json, mapping.csv, issues.csv, report.html.")
@click.option("--exit-code", is_flag=True, help="Exit 3 when steps are pending.")
@screen.json_option
@click.pass_obj
def command(settings: Settings, to: str | None, accept: Sequence[str], out: str | None, exit_code: bool) -> int:
    """Show what an upgrade would do: steps, counts, checks, all issues, disk and time.

    Nothing is changed. With --out the plan is kept: look at report.html, then `migrator upgrade --plan DIR`.
    Exits 4 when blocking issues stand against the upgrade.
    """
    from migrator.cli.log import Log

    with Log() as log:
        site = settings.site(log.notify)
        site.place.require()
        folder = _out_folder(site, out) if out else None
        plan = runner.read_plan(site, to, accept)
        screen.keep_to_the_end(plan)
        log.pause()
    if plan is None:
        return _nothing_to_do(site, folder)
    if folder:
        keep(plan, site, folder, log, accept)
    if screen.wants_json():
        screen.print_json(machine.plan(plan) | _kept(folder))
    else:
        _print(plan, site, folder)
    return BLOCKED if plan.blocking else PENDING if exit_code else 0


def _kept(folder: Path | None) -> dict[str, str | None]:
    """Where the plan and its report are kept, for JSON."""
    return {"out": str(folder), "report": str(folder / page.REPORT)} if folder else {"out": None, "report": None}


def _nothing_to_do(site: Site, folder: Path | None) -> int:
    count = generations(site)
    if screen.wants_json():
        screen.print_json(machine.no_plan(count) | _kept(None))
    else:
        screen.show(up_to_date(site, count))
        if folder:
            screen.show("There is no plan to keep.")
    return 0


def _out_folder(site: Site, out: str) -> Path:
    """The folder for a kept plan. Raises UsageError where it lies in the data root or is a file."""
    folder = Path(out).absolute()
    real, root = folder.resolve(), site.place.real.resolve()
    if real == root or root in real.parents:
        raise UsageError("the plan cannot be kept inside the data root", where=folder, hint="--out plans/next")
    if folder.exists() and not folder.is_dir():
        raise UsageError("--out names a file, not a folder", where=folder)
    return folder


def keep(plan: Plan, site: Site, folder: Path, log: Log, accept: Sequence[str] = ()) -> None:
    """Write plan.json, mapping.csv, synthetic_drafts.csv, issues.csv and report.html into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / mappings.MAPPING).write_bytes(mappings.render_mapping(plan.mapping))
    (folder / mappings.SYNTHETIC).write_bytes(mappings.render_synthetic(plan.synthetic))
    (folder / mappings.ISSUES).write_bytes(mappings.render_issues(plan.problems))
    (folder / page.REPORT).write_bytes(page.render(plan, site, log))
    kept = machine.kept_plan(plan, accept, __version__)
    (folder / PLAN_FILE).write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")


# -- the screen, also for upgrade


def generations(site: Site) -> int:
    """How many generations the live tree has."""
    return sum(upkeep.status(site).generations.values())


def name_of(site: Site) -> str:
    """What the operator calls this data root: its env, else its path."""
    return site.env or str(site.place.root)


def up_to_date(site: Site, count: int) -> str:
    """The calm sentence."""
    applied = site.ledger()
    at = applied[-1].number if applied else "0000"
    return f"[green]Up to date.[/] {screen.escape(name_of(site))} is at {at}; {text.many(count, 'generation')}."


def head(plan: Plan, site: Site, verb: str) -> str:
    """The first line of the screen: command, env, path, from which step to which."""
    now = plan.ledger[-1].number if plan.ledger else "0000"
    path = str(site.place.root)
    env = f"  {screen.escape(site.env)}" if site.env else ""
    return (
        f"[bold]migrator {verb}[/]{env}  [dim]{screen.escape(path)}[/]"
        f"   step [bold]{now}[/] {screen.symbol('to')} [bold]{plan.steps[-1][0].number}[/]"
    )


def show_plan(plan: Plan, site: Site, verb: str, warnings: int = 2) -> None:
    """Head, steps, checks and issues of a plan; so many examples of each kind of warning."""
    encoding = sys.stdout.encoding or "ascii"
    screen.show(head(plan, site, verb), "", text.steps_table(plan, encoding), "")
    screen.show("[bold]Checks[/] [dim]on the planned result[/]", text.checks_table(plan, free(site), encoding), "")
    if plan.rebuilt:
        screen.show(f"{screen.mark('change')}  {text.rebuilt(plan)}", "")
    if plan.problems:
        screen.show("[bold]Issues[/]", *text.issue_lines(plan.problems, encoding, warnings), "")


def free(site: Site) -> int:
    """Bytes that are free where the new tree will be built."""
    folder = site.place.real.parent if site.place.linked else site.backups
    while not folder.is_dir():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _print(plan: Plan, site: Site, folder: Path | None) -> None:
    show_plan(plan, site, "plan")
    screen.show(
        f"[bold]Plan {plan.fingerprint[:6]}[/]: {text.totals(plan.counts)}. About {text.estimate(plan)}. "
        "Nothing has been changed."
    )
    if folder:
        names = (page.REPORT, mappings.MAPPING, mappings.ISSUES)
        screen.show_facts((name.partition(".")[0], str(folder / name), "") for name in names)
    if plan.blocking:
        blocked(plan, site, folder)
        return
    try:
        runner.require_proof(site, plan)
    except DecisionNeeded as error:
        screen.say_error(error.message, error.where, error.hint)
        return
    screen.show(*proof.lines(plan, site))
    kept = f"--plan {folder}" if folder else ""
    screen.show_facts([("next", screen.typed(f"upgrade {kept}").rstrip(), "")])


def blocked(plan: Plan, site: Site, folder: Path | None = None) -> None:
    """Say on standard error what a person must decide; on the screen also how to set things aside."""
    commands = text.set_aside(site.place.root, plan.blocking)
    if commands and not screen.wants_json():
        screen.show("What cannot be repaired is set aside by hand, with what hangs below it:")
        screen.show_facts(("", line, "") for line in commands)
    screen.say_error(*verdict(plan, folder))


def verdict(plan: Plan, folder: Path | None = None) -> tuple[str, None, str]:
    """What stands against an upgrade, and what to type next; `folder` is where the plan is kept already."""
    collisions = sorted({problem.gen_id for problem in plan.blocking if problem.kind == ID_COLLISION})
    others = len(plan.blocking) - sum(problem.kind == ID_COLLISION for problem in plan.blocking)
    if not others:
        message = f"{text.many(len(collisions), 'collision')} to accept by name before the upgrade"
        accepted = " ".join(f"--accept-collision {gen_id}" for gen_id in collisions[:5])
        hint = screen.typed(f"upgrade {accepted}")
    else:
        message = f"{text.many(len(plan.blocking), 'blocking issue')} to settle before the upgrade"
        out = shlex.quote(str(folder)) if folder else "next-plan"
        remark = "again, when they are settled" if folder else "issues.csv lists all of them"
        hint = f"{screen.typed(f'plan --out {out}')}   ({remark})"
    return f"{message}; nothing has been changed", None, hint
