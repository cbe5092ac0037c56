"""A plan, or what a run did, as one HTML page: offline, dark or light, printable, readable without scripts.

Formatting only: opens nothing but the style and the script that lie beside it. All data goes through `markup.e`.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from migrator.report import markup
from migrator.report.charts import bar, chart, legend
from migrator.report.markup import TITLES, code, e, folded, section
from migrator.report.text import estimated_seconds, many, number, plain, seconds, size
from migrator.store import ids
from migrator.store.layout import STAGES
from migrator.store.problems import ID_COLLISION, Problem

if TYPE_CHECKING:
    from migrator.plan import Plan
    from migrator.site import Outcome, Site
    from migrator.store.inventory import Inventory
    from migrator.store.records import Gen, Key

ROWS = 500  # of a table: a page of 100,000 rows opens in no browser; the CSV files have all
MAPPING_ROWS = 200  # of the mapping that stand in the page; the search has all
_SHORT = 20  # rows that need no folding
_VERBS = ("renamed", "created", "rewritten", "unchanged")
_SIDES = ("before", "after")


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
        _one_id(plan),
        _stages(plan),
        f'<div class="two">{_lineage(plan)}\n{_time_line(plan, outcome, times)}</div>',
        _proven(plan) if _happened(outcome) else _checks(plan),
        _collisions(plan, problems),
        _issues(problems),
        _cohorts(plan),
        _synthetic(plan),
        _mapping(plan),
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
    return (resources.files("migrator.report") / name).read_text(encoding="utf-8")


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
    return f"Run {outcome.run.run_id}" if outcome and outcome.run else f"Plan {plan.fingerprint[:8]}"


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


# -- one id


def _one_id(plan: Plan) -> str:
    gen = _example(plan)
    if gen is None:
        return ""
    try:
        signature = gen.signature()
    except ids.SignatureError:
        return ""
    parts = [
        _part(name.removesuffix("_id").removesuffix("_gen").replace("_", " "), value)
        for name, value in zip(ids.FIELDS[gen.stage], signature, strict=True)
    ]
    arrow = '<li class="to" aria-hidden="true">→</li>'
    steps = [
        _part("before", gen.origin or "not there"),
        arrow,
        *parts,
        arrow,
        _part(
            f"canonical, BLAKE2b-{8 * plan.after.scheme.digest_size}, base 36",
            ids.canonical(gen.stage, signature),
        ),
        arrow,
        _part("after: the task itself", gen.gen_id, "new"),
    ]
    article = "a draft" if gen.stage == "draft" else f"an {gen.stage}"
    lead = f'<p class="dim">A generation of this store, {article}: its id is a function of what was asked.</p>'
    return section("ids", lead, '<ol class="way">' + "\n".join(steps) + "</ol>")


def _example(plan: Plan) -> Gen | None:
    """The first essay, else draft, else evaluation, that gets another name."""
    for stage in ("essay", "draft", "evaluation"):
        for gen in plan.after.generations(stage):
            if gen.gen_id != gen.origin:
                return gen
    return None


def _part(label: str, value: object, kind: str = "") -> str:
    return f'<li class="{kind}"><small>{e(label)}</small>{code(value)}</li>'


# -- charts


def _stages(plan: Plan) -> str:
    stages = plan.stages
    most = max((sum(verbs.values()) for verbs in stages.values()), default=0) or 1
    used = [verb for verb in _VERBS if any(stages[stage][verb] for stage in STAGES)]
    rows = []
    for stage in STAGES:
        verbs = stages[stage]
        numbers = ", ".join(f"{verbs[verb]:,} {verb}" for verb in used if verbs[verb]) or "none"
        rows.append((stage, bar((verb, 100 * verbs[verb] / most) for verb in used), numbers))
    names = legend((verb, verb) for verb in used)
    return section("stages", names, chart("Generations of each stage by what happens to them", rows))


def _lineage(plan: Plan) -> str:
    before, after = plan.reaching
    rows = []
    for stage in STAGES:
        shares = [100 * right / total if total else 0 for right, total in (before[stage], after[stage])]
        drawn = "".join(bar([(kind, share)], thin=True, track=True) for kind, share in zip(_SIDES, shares, strict=True))
        texts = [f"{right:,} of {total:,}" for right, total in (before[stage], after[stage])]
        rows.append((stage, drawn, "<br>".join(dict.fromkeys(texts))))
    lead = '<p class="dim">Generations whose chain of parents reaches a draft.</p>'
    names = legend((kind, kind) for kind in _SIDES)
    return section("lineage", lead, names, chart("Generations that reach a draft, before and after", rows))


def _time_line(plan: Plan, outcome: Outcome | None, times: Sequence[tuple[str, float]]) -> str:
    """As measured; what has not happened yet is one bar more, and says that it is a guess."""
    phases = [(name, spent, "spent") for name, spent in times]
    if outcome is None:
        phases.append(("build, verify, commit", estimated_seconds(plan), "guess"))
    total = sum(spent for _, spent, _ in phases) or 1
    rows, begun = [], 0.0
    for name, spent, kind in phases:
        words = f"about {seconds(spent)}" if kind == "guess" else seconds(spent) if spent >= 0.05 else "under 0.1 s"
        rows.append((e(name), bar([(kind, 100 * spent / total)], start=100 * begun / total), words))
        begun += spent
    lead = '<p class="dim">The store can be read all the time; it is exchanged in one act at the end.</p>'
    note = "estimate" if outcome is None else f"{seconds(total)} in all"
    return section("time", lead, chart("Seconds of each phase", rows), note=note) if rows else ""


def _proven(plan: Plan) -> str:
    """What a committed run has proven on the tree that was read back: else it would not have been committed."""
    kept, made = len(plan.mapping), plan.counts["created"]
    rows = (
        ("every old generation is in the new tree, once", _HOLDS, f"{many(kept, 'generation')}, {made:,} made"),
        ("every record says what was planned", _HOLDS, many(len(plan.after.gens), "record")),
        ("what no step rewrites has the bytes that it had", _HOLDS, f"{len(plan.entries):,} files and folders"),
        ("each step's own checks", _HOLDS, many(len(plan.steps), "step")),
    )
    table = markup.table("Checks on the tree that was read back", ("Check", "Result", ">Number"), rows)
    return section("checks", table, note="on the tree that was read back")


_HOLDS = '<span class="good">✓ holds</span>'


def _checks(plan: Plan) -> str:
    rows = []
    for check in plan.checks:
        sign = _HOLDS if check.passed else '<span class="bad">✗ does not hold</span>'
        rows.append((e(check.name), sign, f"{check.right:,} of {check.total:,}", f"{check.today:,}"))
    table = markup.table("Checks on the planned result", ("Check", "Result", ">After", ">Before"), rows)
    return section("checks", table, note="on the planned result") if rows else ""


# -- findings


def _collisions(plan: Plan, problems: Sequence[Problem]) -> str:
    found = [problem for problem in problems if problem.kind == ID_COLLISION]
    if not found:
        return ""
    lead = (
        "<p>Different signatures, one id. Whoever bears the bare id keeps it, else the smaller canonical "
        f"text gets it; the others get a suffix. To accept one: {code('upgrade --accept-collision ID')}</p>"
    )
    bearers = _by_bare_id(plan.after, {(problem.stage, problem.gen_id) for problem in found})
    pairs = (_collision(problem, bearers.get((problem.stage, problem.gen_id), [])) for problem in found[:ROWS])
    return section("collisions", lead, *pairs)


def _collision(problem: Problem, gens: Sequence[Gen]) -> str:
    accepted = "accepted" if problem.accepted else "not accepted"
    remark = f'<span class="dim">{e(problem.stage)}, {accepted}</span>'
    title = f"<h3>{code(problem.gen_id)} {remark}</h3>"
    if len(gens) < 2:
        return title + f"<p>{e(problem.message)}</p>"
    columns = [dict(zip(ids.FIELDS[gen.stage], gen.signature(), strict=True)) for gen in gens]
    lines = [("today", [gen.origin or "not there" for gen in gens])]
    lines += [(name, [str(column[name]) for column in columns]) for name in columns[0]]
    body = "\n".join(
        f'<tr><th scope="row" class="dim">{e(name)}</th>'
        + "".join(f"<td{_differs(values)}>{code(value)}</td>" for value in values)
        + "</tr>"
        for name, values in lines
    )
    head = "".join(f'<th scope="col">{code(gen.gen_id)}</th>' for gen in gens)
    return title + markup.wide(f"Signatures that collide on {e(problem.gen_id)}", f"<td></td>{head}", body)


def _differs(values: Sequence[str]) -> str:
    return ' class="differs"' if len(set(values)) > 1 else ""


def _by_bare_id(store: Inventory, wanted: Collection[Key]) -> dict[Key, list[Gen]]:
    """For each bare id that is asked for, the generations whose signatures give it, by id."""
    found: dict[Key, list[Gen]] = {}
    for key in sorted(store.gens):
        gen = store.gens[key]
        try:
            bare = (gen.stage, ids.compute_gen_id(gen.stage, gen.signature(), store.scheme))
        except ids.SignatureError:
            continue
        if bare in wanted:
            found.setdefault(bare, []).append(gen)
    return found


def _issues(problems: Sequence[Problem]) -> str:
    if not problems:
        return section("issues", '<p class="dim">None.</p>')
    kinds = Counter((problem.kind, problem.blocking) for problem in problems)
    digest = markup.table(
        "Issues by kind",
        ("Kind", "Severity", ">Number"),
        ((e(kind), _severity(blocking), number(count)) for (kind, blocking), count in kinds.items()),
    )
    rows = (
        (
            _kind(problem),
            code(problem.path or problem.gen_id or "the store"),
            e(problem.message),
        )
        for problem in problems[:ROWS]
    )
    more = f"the first {ROWS} of {len(problems):,}; all are in issues.csv" if len(problems) > ROWS else "all"
    table = markup.table("Each issue", ("Kind", "Where", "What"), rows)
    listed = folded(f"Each of them ({more})", table, opened=any(problem.blocking for problem in problems))
    return section("issues", f'<div class="narrow">{digest}</div>', listed)


def _kind(problem: Problem) -> str:
    """The kind in the colour of what it means; the digest above says it in words."""
    return f'<span class="kind {"bad" if problem.blocking else "warn"}">{e(problem.kind)}</span>'


def _severity(blocking: bool) -> str:
    return '<span class="bad">blocking</span>' if blocking else '<span class="warn">warning</span>'


# -- what changes where


def _cohorts(plan: Plan) -> str:
    rows = []
    after = plan.after.tables
    for cohort, path, old in plan.before.cohorts():
        new = after[path]
        known = {row.cells for row in old.rows}
        added = len(new.rows) - len(old.rows)
        changed = sum(bool(row.cells) and row.cells not in known for row in new.rows) - added
        members = sum(bool(row.cells) for row in old.rows)
        rows.append((code(cohort), number(members), number(changed), number(added), number(members + added)))
    headers = ("Cohort", ">Rows before", ">Rewritten", ">Added", ">Rows after")
    table = markup.table("Cohorts: rows of each membership.csv", headers, rows)
    return section("cohorts", table, note="rows of each membership.csv") if rows else ""


def _synthetic(plan: Plan) -> str:
    if not plan.synthetic:
        return ""
    names: Mapping[str, str] = {
        "draft_gen_id": "Draft",
        "how": "How",
        "essay_old_gen_id": "Essay before",
        "essay_new_gen_id": "Essay after",
        "template_id": "Template",
        "llm_model_id": "Model",
        "replicate": ">Replicate",
    }
    rows = ([code(row[name]) if name != "how" else e(row[name]) for name in names] for row in plan.synthetic[:ROWS])
    note = _first(len(plan.synthetic), "synthetic_drafts.csv")
    table = markup.table("Essays that got a draft", tuple(names.values()), rows)
    listed = folded("Each essay that got a draft", table, opened=len(plan.synthetic) <= _SHORT)
    return section("drafts", listed, note=note)


def _mapping(plan: Plan) -> str:
    """The first rows, and behind them all of them as text for the search."""
    rows = (
        (e(stage), code(old), code(new) if new != old else '<span class="dim">keeps its name</span>')
        for stage, old, new in plan.mapping[:MAPPING_ROWS]
    )
    find = (
        '<div class="find" id="find" hidden><label for="query">Find an id, old or new</label>'
        '<input id="query" type="search" autocomplete="off" spellcheck="false">'
        '<span id="told" class="dim" role="status"></span></div>'
    )
    table = markup.table("Old and new ids", ("Stage", "Old id", "New id"), rows, ' id="mapping-rows"')
    shown = min(len(plan.mapping), MAPPING_ROWS)
    without = f'<noscript><p class="dim">The first {shown:,} are here; the search needs scripts.</p></noscript>'
    note = f"{many(len(plan.mapping), 'generation')}; mapping.csv has every one"
    return section("mapping", find, without, table, *_searched(plan.mapping), note=note)


def _searched(mapping: Iterable[tuple[str, str, str]]) -> list[str]:
    """The mapping as text, a block a stage: `old TAB new`, or the old id alone where it stays."""
    lines: dict[str, list[str]] = {stage: [] for stage in STAGES}
    for stage, old, new in mapping:
        lines[stage].append(plain(old) if old == new else f"{plain(old)}\t{plain(new)}")
    return [
        f'<script type="text/plain" data-stage="{stage}" data-count="{len(found)}">\n'
        + "\n".join(found).replace("<", "\\x3c")  # nothing in it can end the block
        + "\n</script>"
        for stage, found in lines.items()
        if found
    ]


def _first(count: int, file: str) -> str:
    shown = f"the first {ROWS} of {count:,}" if count > ROWS else f"all {count:,}"
    return f"{shown}; {file} has every one"


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
