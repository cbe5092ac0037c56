"""A plan, or what a run did, as one HTML page: offline, dark or light, printable, readable without scripts.

Formatting only: opens nothing but the style and the script that lie beside it. All data goes through `markup.e`.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from migrator.report import findings, listings, markup, picture
from migrator.report.markup import TITLES, code, e, section
from migrator.report.text import many, size
from migrator.store.problems import ID_COLLISION

if TYPE_CHECKING:
    from migrator.plan import Plan
    from migrator.site import Outcome, Site


def render_plan(
    plan: Plan,
    site: Site | None = None,
    *,
    outcome: Outcome | None = None,
    times: Sequence[tuple[str, float]] = (),
    machine: Sequence[tuple[str, str]] = (),
) -> str:
    """The page of a plan; with `outcome` that of the run that it became. Equal input gives an equal page.

    `times` are (phase, seconds) as measured, in order; `machine` is (name, value) of what it ran on.
    """
    problems = outcome.problems if outcome and outcome.problems else plan.problems
    sections = (
        picture.one_id(plan),
        picture.stages(plan),
        f'<div class="two">{picture.lineage(plan)}\n{picture.time_line(plan, outcome, times)}</div>',
        picture.proven(plan) if _happened(outcome) else picture.checks(plan),
        findings.collisions(plan, problems),
        findings.issues(problems),
        listings.cohorts(plan),
        listings.synthetic(plan),
        listings.mapping(plan),
        _facts(plan, site, outcome, machine),
    )
    top = (_head(plan, site, outcome), _verdict(plan, outcome), _numbers(plan, outcome), _contents(sections))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_policy()}">\n'
        f"<title>{e(_title(plan, outcome))}</title>\n<style>\n{_asset('page.css')}</style>\n</head>\n<body>\n"
        '<a class="skip" href="#details">Skip to the details</a>\n<main>\n'
        + "\n".join(top)
        + '\n<div id="details">\n'
        + "\n".join(section for section in sections if section)
        + f"\n</div>\n</main>\n<script>{_asset('page.js')}</script>\n</body>\n</html>\n"
    )


@cache
def _asset(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


@cache
def _policy() -> str:
    """Nothing is loaded, and nothing runs but the page's own script."""
    digest = base64.b64encode(hashlib.sha256(_asset("page.js").encode()).digest()).decode()
    return f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"


def _contents(sections: Iterable[str]) -> str:
    """Links to the sections that are there."""
    page = "".join(sections)
    links = (f'<a href="#{name}">{title}</a>' for name, title in TITLES.items() if f'<section id="{name}"' in page)
    return f'<nav aria-label="Sections">{"".join(links)}</nav>'


# -- what it comes to


def _happened(outcome: Outcome | None) -> bool:
    return outcome is not None and outcome.run is not None and outcome.status == "committed"


def _title(plan: Plan, outcome: Outcome | None) -> str:
    return f"Run {outcome.run.run_id}" if outcome and outcome.run else f"Plan {plan.fingerprint[:6]}"


def _head(plan: Plan, site: Site | None, outcome: Outcome | None) -> str:
    env = f" · {e(site.env)}" if site and site.env else ""
    since = plan.ledger[-1].number if plan.ledger else "0000"
    to = f" · step {e(since)} → {e(plan.steps[-1][0].number)}" if plan.steps else ""
    when = (
        f" · {e(outcome.run.started[:16].replace('T', ' '))} UTC"
        if outcome and outcome.run
        else " · nothing has been changed"
    )
    return (
        f"<header>\n<h1>{e(_title(plan, outcome))}<span>{env}{to}</span></h1>\n"
        f'<p class="dim">{code(site.place.root if site else plan.before.root)}{when}</p>\n</header>'
    )


def _verdict(plan: Plan, outcome: Outcome | None) -> str:
    blocking = len(plan.blocking)
    if outcome and outcome.run and not _happened(outcome):
        return _said("bad", outcome.status, f"{e(outcome.run.reason)} The tree is as before.")
    if _happened(outcome):
        return _said("", "Committed", "The new tree is in place; the one from before is kept as a snapshot.")
    if blocking:
        return _said("bad", "Blocked", f"{many(blocking, 'issue')} to settle first; see below.")
    warnings = many(len(plan.problems), "warning")
    return _said("", "Ready", f"Nothing stands against this plan; {warnings}.")


def _said(kind: str, word: str, text: str) -> str:
    return f'<p class="verdict {kind}"><b>{e(word)}</b> {text}</p>'


def _numbers(plan: Plan, outcome: Outcome | None) -> str:
    done = _happened(outcome)
    collisions = sum(problem.kind == ID_COLLISION for problem in plan.problems)
    cards = (
        (plan.counts["created"], "good", "created" if done else "to create"),
        (plan.counts["renamed"], "warn", "renamed" if done else "to rename"),
        (0, "", "deleted" if done else "to delete"),
        (collisions, "bad" if collisions else "", "collision" if collisions == 1 else "collisions"),
    )
    boxes = "\n".join(f'<li><b class="{kind}">{n:,}</b>{label}</li>' for n, kind, label in cards)
    return f'<ul class="cards">\n{boxes}\n</ul>'


# -- at the end


def _facts(plan: Plan, site: Site | None, outcome: Outcome | None, machine: Sequence[tuple[str, str]]) -> str:
    from migrator import __version__

    steps = markup.table(
        "Steps",
        ("Step", "Title", "Digest"),
        ((code(step), e(step.title), code(step.digest)) for step, _ in plan.steps),
    )
    facts = [
        ("data root", str(site.place.root if site else plan.before.root)),
        ("generations after", f"{plan.counts['generations']:,}"),
        ("disk for the new tree", f"{size(plan.bytes_needed)}, {len(plan.entries):,} files and folders"),
    ]
    if outcome and outcome.run:
        run = outcome.run
        facts += [("run", run.run_id), ("started", run.started), ("ended", run.ended), ("snapshot", run.tree)]
        facts += [("mapping", run.mapping), ("digest before", run.before), ("digest after", run.after)]
        facts += [("recorded reason", run.note)]
    else:  # a run has the digests of both trees, and a fingerprint of a large store is not free
        facts.append(("fingerprint", plan.fingerprint))
    facts += [("migrator", __version__), *machine]
    lines = "\n".join(
        f'<tr><th scope="row" class="dim">{e(name)}</th><td>{code(value)}</td></tr>' for name, value in facts if value
    )
    return section("facts", steps, markup.wide("Facts", "", lines))
