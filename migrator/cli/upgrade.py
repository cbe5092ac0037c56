"""migrator upgrade: the run. Plans, shows, asks, then does all of it or nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from migrator import runner, upkeep
from migrator.cli import dagster, page, proof, screen
from migrator.cli import plan as plan_screen
from migrator.cli.settings import Settings, complete_envs, complete_steps
from migrator.engine import ledger, snapshots
from migrator.engine.exchange import Place
from migrator.engine.snapshots import RUN_FILE
from migrator.errors import UsageError
from migrator.report import machine, text
from migrator.site import Outcome, RunFailed
from migrator.store.layout import MAPPINGS
from migrator.store.mappings import MAPPING
from migrator.store.problems import STALE_TABLE
from migrator.undo import LINK_HAZARD

if TYPE_CHECKING:
    from migrator.cli.log import Log
    from migrator.engine.snapshots import Run
    from migrator.engine.workers import Jobs
    from migrator.plan import Plan
    from migrator.site import Site

BLOCKED, DECLINED = 4, 1


@dataclass(frozen=True)
class Kept:
    """What a run needs to know of a kept plan."""

    fingerprint: str
    to: str
    accepted: tuple[str, ...]


@click.command()
@click.option("--to", metavar="NNNN", shell_complete=complete_steps, help="Up to and including this step.")
@click.option("--plan", "plan_file", metavar="FILE", help="Do exactly this kept plan (its folder, or plan.json).")
@click.option(
    "--accept-collision", "accept", metavar="ID", multiple=True, help="Let this collision stand (repeatable)."
)
@click.option("--override-staging", metavar="REASON", default="", help="Do without the proof on staging; is recorded.")
@click.option("--wait", metavar="SECONDS", type=click.FloatRange(min=0), default=0, help="Wait for another run to end.")
@click.option("--jobs", metavar="N", type=click.IntRange(min=1), help="Worker processes; by default the cores.")
@click.option("--link", is_flag=True, help="Hard-link payload: quicker, but old and new tree then share those files.")
@click.option("--scheduler", metavar="ADDRESS", help="Share the work out to Dask workers, such as tcp://HOST:8786.")
@screen.yes_option
@click.option("--confirm", metavar="NAME", help="The env's name, where the settings want it typed.")
@click.option(
    "--from",
    "origin",
    metavar="ENV",
    shell_complete=complete_envs,
    help="Copy the data root from this env where it is not there yet.",
)
@screen.json_option
@click.pass_obj
def command(
    settings: Settings,
    to: str | None,
    plan_file: str | None,
    accept: Sequence[str],
    override_staging: str,
    wait: float,
    jobs: int | None,
    link: bool,
    scheduler: str | None,
    yes: bool,
    confirm: str | None,
    origin: str | None,
) -> int:
    """Bring the data root to the newest step (or --to), all or nothing.

    Plans, shows the plan and asks; then the new tree is built beside the live one, checked, and exchanged
    with it in one act. The tree from before stays as a snapshot: `migrator rollback` brings it back.
    """
    from migrator.cli.log import Log

    screen.error_defaults(**machine.upgrade("refused"))
    kept = read_kept(Path(plan_file)) if plan_file else None
    if kept and to is not None and to != kept.to:
        raise UsageError(f"the kept plan goes to {kept.to}, --to says {to}", hint="leave --to out")
    screen.require_name(settings.chosen, confirm)
    with Log() as log, _hands(settings, jobs, scheduler) as hands:
        site = replace(settings.site(log.notify, wait=wait), jobs=hands, link=link)
        if origin:
            _stage(settings, site, origin, log)
        try:
            outcome = runner.upgrade(
                site,
                to=kept.to if kept else to,
                accept=[*accept, *(kept.accepted if kept else ())],
                kept=kept.fingerprint if kept else None,
                override=override_staging,
                confirm=lambda plan: _agreed(plan, site, settings, log, yes, confirm),
            )
        except (KeyboardInterrupt, click.Abort):
            screen.note_interrupt(_standing(site, log))
            raise
        except RunFailed as error:
            kept_report = page.keep(Outcome("rolled-back", error.plan, error.run), site, log)
            record = site.folder(error.run.run_id) / RUN_FILE
            screen.error_defaults(**machine.upgrade("rolled-back", report=kept_report, record=record))
            raise
        screen.keep_to_the_end(outcome)
        spent = log.spent
        kept_report = page.keep(outcome, site, log)
    return _report(outcome, settings, site, spent, kept_report)


@contextmanager
def _hands(settings: Settings, jobs: int | None, scheduler: str | None) -> Iterator[Jobs]:
    """Who does the work: so many processes, or the workers of a scheduler while the run lasts."""
    if scheduler is None:
        yield jobs
        return
    if jobs is not None:
        raise UsageError("--jobs says how many processes, --scheduler whose", hint="leave one of the two out")
    from migrator import cluster

    with cluster.connected(scheduler, Place.at(settings.data_root)) as workers:
        yield workers


def _standing(site: Site, log: Log) -> str:
    """How an interrupted run stands: the live tree's ledger decides."""
    if log.folder is None:
        return "refused"
    return "committed" if log.folder.name in ledger.runs(site.ledger()) else "rolled-back"


def read_kept(path: Path) -> Kept:
    """A kept plan from its folder or its plan.json. Raises UsageError where that is none."""
    file = path / plan_screen.PLAN_FILE if path.is_dir() else path
    try:
        content: dict[str, Any] = json.loads(file.read_bytes())
        return Kept(str(content["fingerprint"]), str(content["to"]), tuple(map(str, content["accepted"])))
    except OSError as error:
        message = f"the plan cannot be read: {error.strerror}"
    except (ValueError, KeyError, TypeError):
        message = "this is not a kept plan"
    raise UsageError(message, where=file, hint="migrator plan --out next-plan")


def _stage(settings: Settings, site: Site, origin: str, log: Log) -> None:
    """Make a missing data root as a copy of another env's."""
    place = Place.at(settings.root_of(origin))
    if place.root == site.place.root:
        raise UsageError(f"--from {origin} is this very data root", where=place.root)
    if upkeep.stage(site, place):
        log.pause()
        if not screen.wants_json():
            name = screen.escape(plan_screen.name_of(site))
            screen.show(f"Made [bold]{name}[/] as a copy of {screen.escape(origin)}.", "")


def _agreed(plan: Plan, site: Site, settings: Settings, log: Log, yes: bool, name: str | None) -> bool:
    """Show the plan and ask; called with the lock held, before anything is written."""
    log.pause()
    if not screen.wants_json():
        plan_screen.show_plan(plan, site, "upgrade", warnings=0)
        screen.show(f"{text.totals(plan.counts)}. About {text.estimate(plan)}.", *proof.lines(plan, site))
        screen.show("The live tree is replaced in one act; the one from before is kept as a snapshot.")
        if site.link:
            screen.show(f"[yellow]{screen.symbol('warning')}[/] --link: {LINK_HAZARD}")
    return screen.consent(settings.chosen, f"Upgrade {plan_screen.name_of(site)}?", yes=yes, name=name)


# -- how it ended


def _report(outcome: Outcome, settings: Settings, site: Site, spent: float, report: Path | None) -> int:
    plan, run = outcome.plan, outcome.run
    steps = run.steps if run else [str(step) for step, _ in plan.steps] if plan else []
    mapping = mapping_path(site, run) if run else None
    if screen.wants_json():
        counts = plan.counts if plan else machine.counts(plan_screen.generations(site))
        result = machine.upgrade(
            outcome.status,
            run=run,
            steps=steps,
            mapping=mapping,
            counts_=counts,
            problems=outcome.problems,
            report=report,
            record=site.folder(run.run_id) / RUN_FILE if run else None,
            undo=screen.typed("rollback") if run else None,
        )
        if plan and plan.blocking:
            result["error"], result["where"], result["hint"] = plan_screen.verdict(plan)
            result["exit_code"] = BLOCKED
        screen.print_json(result)
    elif outcome.status == "up-to-date":
        screen.show(plan_screen.up_to_date(site, plan_screen.generations(site)))
    elif run and mapping:
        _committed(outcome, run, mapping, site, spent, report)
        screen.show(*proof.of(run, settings))
    if outcome.status != "refused":
        return 0
    assert plan is not None
    return _refused(plan, site)


def _refused(plan: Plan, site: Site) -> int:
    if not plan.blocking:
        click.echo("Nothing has been changed.", err=True)
        return DECLINED
    if not screen.wants_json():
        plan_screen.show_plan(plan, site, "upgrade", warnings=0)
    plan_screen.blocked(plan, site)
    return BLOCKED


def mapping_path(site: Site, run: Run) -> str:
    """The mapping of a run: the copy outside, or the one in the tree where that could not be made."""
    copy = site.mappings / run.run_id / MAPPING
    return str(copy if copy.is_file() else site.place.root / MAPPINGS / run.run_id / MAPPING)


def _committed(outcome: Outcome, run: Run, mapping: str, site: Site, spent: float, report: Path | None) -> None:
    screen.show(
        "",
        f"[green]Committed[/] run [bold]{run.run_id}[/] in {text.seconds(spent)}. "
        f"{screen.escape(plan_screen.name_of(site))} is at {run.steps[-1][:4]}; "
        f"{text.many(run.counts['generations'], 'generation')}.",
    )
    facts = [
        *([("report", str(report), "")] if report else []),
        ("mapping", mapping, ""),
        ("snapshot", run.tree, "the tree from before"),
        ("undo", screen.typed("rollback"), ""),
    ]
    if dagster.is_configured():
        facts.append(("dagster", screen.typed("dagster sync --history"), "lets the instance follow"))
    if run.payload == snapshots.LINKED:
        facts.append(("linked", screen.typed("snapshots verify"), LINK_HAZARD))
    stale = [problem.path for problem in outcome.problems if problem.kind == STALE_TABLE]
    if stale:
        facts.append(
            (
                "stale",
                screen.typed("status"),
                f"lists {text.many(len(stale), 'table')} still speaking of old ids",
            )
        )
    screen.show_facts(facts)
    warnings = text.kinds(outcome.problems)
    if warnings:
        screen.show(f"[yellow]{screen.symbol('warning')}[/] {warnings} [dim](issues.csv beside the mapping)[/]")
    screen.show("[dim]A container or a shell that holds the old folder keeps it until it is restarted.[/]")
