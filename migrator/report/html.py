"""A plan, or what a run did, as one HTML page: offline, without scripts, dark or light, printable.

Formatting only: opens no file. All data goes through `_e`; charts are inline SVG with numbers as text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from migrator.plan import per_stage
from migrator.report.text import many, number, plain
from migrator.store import ids
from migrator.store.layout import STAGES
from migrator.store.problems import ID_COLLISION, Problem

if TYPE_CHECKING:
    from migrator.plan import Plan
    from migrator.site import Outcome, Site
    from migrator.store.inventory import Inventory
    from migrator.store.records import Gen, Key

ROWS = 500  # of a table: a page of 100,000 rows opens in no browser; the CSV files have all
_SHORT = 20  # rows that need no folding
_VERBS = ("renamed", "created", "rewritten", "unchanged")
_WIDTH, _LEFT, _BAR = 1000, 110, 620  # of a chart, in its own units; the rest is for numbers

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"  # nothing is loaded, nothing runs

_CSS = """
:root { color-scheme: light dark; --fg: #1a202c; --dim: #5b667d; --bg: #fff; --card: #f7f9fb;
  --line: #e1e7ef; --renamed: #dd8a28; --created: #14855c; --rewritten: #3b7ddd; --unchanged:
  #9aa3b5; --bad: #b42318; --good: #14855c; --warn: #b45309; --chip: #eef2f7; }
@media (prefers-color-scheme: dark) { :root { --fg: #e6eaf1; --dim: #97a3b8; --bg: #12161d; --card:
  #1a2029; --line: #2b3442; --renamed: #e0973f; --created: #3fb98a; --rewritten: #6ea3f0;
  --unchanged: #667085; --bad: #f97066; --good: #3fb98a; --warn: #f0a94a; --chip: #242c38; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2.2rem 1.2rem 4rem; max-width: 1080px; background: var(--bg); color:
  var(--fg); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
h1 { font-size: 1.55rem; margin: 0; }
h1 span, h2 span { color: var(--dim); font-weight: 600; }
h2 { font-size: 1.12rem; margin: 2.6rem 0 .5rem; }
p { margin: .4rem 0; }
.dim { color: var(--dim); }
code { font: .87em ui-monospace, "DejaVu Sans Mono", Menlo, monospace; overflow-wrap: anywhere; }
.verdict { margin: 1.2rem 0; padding: .75rem 1rem; background: var(--card); border-left: 4px solid
  var(--good); border-radius: 0 8px 8px 0; }
.verdict.bad { border-color: var(--bad); color: inherit; }
.verdict b { color: var(--good); }
.verdict.bad b { color: var(--bad); }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(180px, 1fr)); gap: .75rem; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: .8rem
  1rem; }
.card b { display: block; font-size: 1.7rem; line-height: 1.25; }
.created { color: var(--created); }
.renamed { color: var(--renamed); }
.bad { color: var(--bad); }
.good { color: var(--good); }
.warn { color: var(--warn); }
.way { display: flex; flex-wrap: wrap; align-items: center; gap: .5rem; margin-top: .6rem; }
.part { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: .35rem
  .65rem; }
.part small { display: block; color: var(--dim); }
.part.new code { color: var(--created); font-weight: 600; }
svg { display: block; width: 100%; height: auto; margin-top: .4rem; }
svg text { fill: var(--fg); font-size: 15px; }
svg text.dim { fill: var(--dim); }
svg .track { fill: var(--line); }
rect.renamed { fill: var(--renamed); }
rect.created { fill: var(--created); }
rect.rewritten { fill: var(--rewritten); }
rect.unchanged { fill: var(--unchanged); }
.legend span { display: inline-block; margin-right: 1.1rem; color: var(--dim); }
.legend i { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin-right:
  .4em; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; margin-top: .4rem; }
.narrow table { width: auto; }
.narrow th, .narrow td { padding-right: 2.4rem; }
.kind { white-space: nowrap; }
.pair { margin-top: 1.4rem; }
th { text-align: left; color: var(--dim); font-weight: 500; }
th, td { padding: .34rem .9rem .34rem 0; border-bottom: 1px solid var(--line); vertical-align: top;
  }
.n { text-align: right; font-variant-numeric: tabular-nums; }
td.differs code { background: color-mix(in srgb, var(--renamed) 22%, transparent); border-radius:
  3px; padding: 0 .2em; }
details > summary { cursor: pointer; color: var(--dim); margin-top: .6rem; }
@media print { body { max-width: none; padding: 0; font-size: 11px; } h2 { margin-top: 1.4rem;
  break-after: avoid; } tr, .card, svg, .way { break-inside: avoid; } .wide { overflow: visible; }
  thead { display: table-header-group; } .card, .verdict, .part, rect { print-color-adjust: exact;
  -webkit-print-color-adjust: exact; } }
"""


def render_plan(plan: Plan, site: Site | None = None, *, outcome: Outcome | None = None) -> str:
    """The page of a plan; with `outcome` that of the run that it became. Equal input gives an equal page."""
    problems = outcome.problems if outcome and outcome.problems else plan.problems
    sections = (
        _head(plan, site, outcome),
        _verdict(plan, outcome),
        _numbers(plan, outcome),
        _one_id(plan),
        _stages(plan),
        _checks(plan),
        _collisions(plan, problems),
        _issues(problems),
        _cohorts(plan),
        _synthetic(plan),
        _mapping(plan),
        _facts(plan, site, outcome),
    )
    title = _e(_title(plan, outcome))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f"<title>{title}</title>\n<style>{_CSS}</style>\n</head>\n<body>\n"
        + "\n".join(section for section in sections if section)
        + "\n</body>\n</html>\n"
    )


# -- small parts


def _e(value: object) -> str:
    """Data as text of the page: no markup in it, and control characters and lone surrogates are visible."""
    return escape(plain(value))


def _code(value: object) -> str:
    return f"<code>{_e(value)}</code>"


def _section(title: str, *parts: str, note: str = "") -> str:
    dim = f" <span>{note}</span>" if note else ""
    return f"<section>\n<h2>{title}{dim}</h2>\n" + "\n".join(part for part in parts if part) + "\n</section>"


def _table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are HTML already; a header that starts with `>` is one of numbers."""
    classes = [' class="n"' if header.startswith(">") else "" for header in headers]
    head = "".join(f"<th{kind}>{_e(name.removeprefix('>'))}</th>" for kind, name in zip(classes, headers, strict=True))
    body = "\n".join(
        "<tr>" + "".join(f"<td{kind}>{cell}</td>" for kind, cell in zip(classes, row, strict=True)) + "</tr>"
        for row in rows
    )
    return _wide(head, body)


def _wide(head: str, body: str) -> str:
    """A table that scrolls in its own box where the window is narrow."""
    table = f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"
    return f'<div class="wide">{table}</div>'


# -- what it comes to


def _happened(outcome: Outcome | None) -> bool:
    return outcome is not None and outcome.run is not None and outcome.status == "committed"


def _title(plan: Plan, outcome: Outcome | None) -> str:
    return f"Run {outcome.run.run_id}" if outcome and outcome.run else f"Plan {plan.fingerprint[:8]}"


def _head(plan: Plan, site: Site | None, outcome: Outcome | None) -> str:
    env = f" · {_e(site.env)}" if site and site.env else ""
    since = plan.ledger[-1].number if plan.ledger else "0000"
    to = f" · step {_e(since)} → {_e(plan.steps[-1][0].number)}" if plan.steps else ""
    when = (
        f" · {_e(outcome.run.started[:16].replace('T', ' '))} UTC"
        if outcome and outcome.run
        else " · nothing has been changed"
    )
    return (
        f"<header>\n<h1>{_e(_title(plan, outcome))}<span>{env}{to}</span></h1>\n"
        f'<p class="dim">{_code(site.place.root if site else plan.before.root)}{when}</p>\n</header>'
    )


def _verdict(plan: Plan, outcome: Outcome | None) -> str:
    blocking = len(plan.blocking)
    if outcome and outcome.run and not _happened(outcome):
        return _said("bad", outcome.status, f"{_e(outcome.run.reason)} The tree is as before.")
    if _happened(outcome):
        return _said("", "Committed", "The new tree is in place; the one from before is kept as a snapshot.")
    if blocking:
        return _said("bad", "Blocked", f"{many(blocking, 'issue')} must be settled first. All are listed below.")
    warnings = many(len(plan.problems), "warning")
    return _said("", "Ready", f"Nothing stands against this plan; {warnings}.")


def _said(kind: str, word: str, text: str) -> str:
    return f'<p class="verdict {kind}"><b>{_e(word)}</b> {text}</p>'


def _numbers(plan: Plan, outcome: Outcome | None) -> str:
    done = _happened(outcome)
    collisions = sum(problem.kind == ID_COLLISION for problem in plan.problems)
    cards = (
        (plan.counts["created"], "created", "created" if done else "to create"),
        (plan.counts["renamed"], "renamed", "renamed" if done else "to rename"),
        (0, "", "deleted" if done else "to delete"),
        (collisions, "bad" if collisions else "", "collision" if collisions == 1 else "collisions"),
    )
    boxes = "\n".join(f'<div class="card"><b class="{kind}">{n:,}</b>{label}</div>' for n, kind, label in cards)
    return f'<div class="cards">\n{boxes}\n</div>'


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
    arrow = '<span class="dim">→</span>'
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
    return _section("How ids change", lead, '<div class="way">' + "\n".join(steps) + "</div>")


def _example(plan: Plan) -> Gen | None:
    """The first essay, else draft, else evaluation, that gets another name."""
    for stage in ("essay", "draft", "evaluation"):
        for gen in plan.after.generations(stage):
            if gen.gen_id != gen.origin:
                return gen
    return None


def _part(label: str, value: object, kind: str = "") -> str:
    return f'<span class="part {kind}"><small>{_e(label)}</small>{_code(value)}</span>'


# -- charts


def _stages(plan: Plan) -> str:
    stages = per_stage(plan.before, plan.after)
    most = max((sum(verbs.values()) for verbs in stages.values()), default=0) or 1
    rows = [(stage, [(verb, stages[stage][verb]) for verb in _VERBS]) for stage in STAGES]
    used = [verb for verb in _VERBS if any(stages[stage][verb] for stage in STAGES)]
    legend = "".join(f'<span><i style="background: var(--{verb})"></i>{verb}</span>' for verb in used)
    return _section("What happens to each stage", f'<p class="legend">{legend}</p>', _bars(rows, most, "stages"))


def _bars(rows: Sequence[tuple[str, Sequence[tuple[str, int]]]], most: int, name: str) -> str:
    """One stacked bar a row, `most` being the longest, with the numbers as text at its end."""
    height = 38
    lines = []
    for index, (label, values) in enumerate(rows):
        top, x = index * height, float(_LEFT)
        lines.append(f'<text class="dim" x="{_LEFT - 12}" y="{top + 24}" text-anchor="end">{_e(label)}</text>')
        for verb, count in values:
            if count:
                width = max(count / most * _BAR, 1.5)  # one in a million must be seen
                lines.append(f'<rect class="{verb}" x="{x:.1f}" y="{top + 8}" width="{width:.1f}" height="22"/>')
                x += width
        numbers = ", ".join(f"{count:,} {verb}" for verb, count in values if count) or "none"
        lines.append(f'<text x="{x + 10:.1f}" y="{top + 24}">{numbers}</text>')
    box = f"0 0 {_WIDTH} {height * len(rows)}"
    return f'<svg viewBox="{box}" role="img" aria-label="{_e(name)}">\n' + "\n".join(lines) + "\n</svg>"


def _checks(plan: Plan) -> str:
    rows = []
    for check in plan.checks:
        sign = '<span class="good">✓</span>' if check.passed else '<span class="bad">✗</span>'
        share = f"{check.right / check.total:.1%}" if check.total else "none"
        rows.append((sign, _e(check.name), f"{check.right:,} of {check.total:,}", share, f"{check.today:,}"))
    table = _table(("", "Check", ">Planned", ">Share", ">Right today"), rows)
    return _section("Checks", table, note="on the planned result") if rows else ""


# -- findings


def _collisions(plan: Plan, problems: Sequence[Problem]) -> str:
    found = [problem for problem in problems if problem.kind == ID_COLLISION]
    if not found:
        return ""
    lead = (
        "<p>Different signatures, one id. Whoever bears the bare id keeps it, else the smaller canonical "
        f"text gets it; the others get a suffix. To accept one: {_code('upgrade --accept-collision ID')}</p>"
    )
    bearers = _by_bare_id(plan.after, {(problem.stage, problem.gen_id) for problem in found})
    pairs = (_collision(problem, bearers.get((problem.stage, problem.gen_id), [])) for problem in found[:ROWS])
    return _section("Collisions", lead, *pairs)


def _collision(problem: Problem, gens: Sequence[Gen]) -> str:
    accepted = "accepted" if problem.accepted else "not accepted"
    remark = f'<span class="dim">{_e(problem.stage)}, {accepted}</span>'
    title = f'<p class="pair"><b>{_code(problem.gen_id)}</b> {remark}</p>'
    if len(gens) < 2:
        return title + f"<p>{_e(problem.message)}</p>"
    columns = [dict(zip(ids.FIELDS[gen.stage], gen.signature(), strict=True)) for gen in gens]
    lines = [("today", [gen.origin or "not there" for gen in gens])]
    lines += [(name, [str(column[name]) for column in columns]) for name in columns[0]]
    body = "\n".join(
        f'<tr><td class="dim">{_e(name)}</td>'
        + "".join(f"<td{_differs(values)}>{_code(value)}</td>" for value in values)
        + "</tr>"
        for name, values in lines
    )
    head = "".join(f"<th>{_code(gen.gen_id)}</th>" for gen in gens)
    return title + _wide(f"<th></th>{head}", body)


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
        return _section("Issues", '<p class="dim">None.</p>')
    kinds = Counter((problem.kind, problem.blocking) for problem in problems)
    digest = _table(
        ("Kind", "", ">Number"),
        ((_e(kind), _severity(blocking), number(count)) for (kind, blocking), count in kinds.items()),
    )
    rows = (
        (
            _kind(problem),
            _code(problem.path or problem.gen_id or "the store"),
            _e(problem.message),
        )
        for problem in problems[:ROWS]
    )
    more = f"the first {ROWS} of {len(problems):,}; all are in issues.csv" if len(problems) > ROWS else "all"
    table = _table(("Kind", "Where", "What"), rows)
    listed = _folded(f"Each of them ({more})", table, opened=any(problem.blocking for problem in problems))
    return _section("Issues", f'<div class="narrow">{digest}</div>', listed)


def _folded(summary: str, content: str, *, opened: bool) -> str:
    """Something long that opens with a click; a browser's search finds what is in it."""
    return f"<details{' open' if opened else ''}><summary>{summary}</summary>\n{content}\n</details>"


def _kind(problem: Problem) -> str:
    """The kind in the colour of what it means; the digest above says it in words."""
    return f'<span class="kind {"bad" if problem.blocking else "warn"}">{_e(problem.kind)}</span>'


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
        rows.append((_code(cohort), number(members), number(changed), number(added), number(members + added)))
    headers = ("Cohort", ">Rows before", ">Rewritten", ">Added", ">Rows after")
    return _section("Cohorts", _table(headers, rows), note="rows of each membership.csv") if rows else ""


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
    rows = ([_code(row[name]) if name != "how" else _e(row[name]) for name in names] for row in plan.synthetic[:ROWS])
    note = _first(len(plan.synthetic), "synthetic_drafts.csv")
    table = _table(tuple(names.values()), rows)
    listed = _folded("Each essay that got a draft", table, opened=len(plan.synthetic) <= _SHORT)
    return _section("Drafts that were lost", listed, note=note)


def _mapping(plan: Plan) -> str:
    rows = (
        (_e(stage), _code(old), _code(new) if new != old else '<span class="dim">keeps its name</span>')
        for stage, old, new in plan.mapping[:ROWS]
    )
    table = _table(("Stage", "Old id", "New id"), rows)
    listed = _folded("Old and new ids", table, opened=len(plan.mapping) <= _SHORT)
    return _section("Mapping", listed, note=_first(len(plan.mapping), "mapping.csv"))


def _first(count: int, file: str) -> str:
    shown = f"the first {ROWS} of {count:,}" if count > ROWS else f"all {count:,}"
    return f"{shown}; {file} has every one"


def _facts(plan: Plan, site: Site | None, outcome: Outcome | None) -> str:
    from migrator import __version__

    steps = _table(
        ("Step", "Title", "Digest"),
        ((_code(step), _e(step.title), _code(step.digest)) for step, _ in plan.steps),
    )
    facts = [
        ("data root", str(site.place.root if site else plan.before.root)),
        ("fingerprint", plan.fingerprint),
    ]
    facts += [
        ("generations after", f"{plan.counts['generations']:,}"),
        ("disk for the new tree", _disk(plan)),
    ]
    if outcome and outcome.run:
        run = outcome.run
        facts += [("run", run.run_id), ("started", run.started), ("ended", run.ended), ("snapshot", run.tree)]
        facts += [("mapping", run.mapping), ("digest before", run.before), ("digest after", run.after)]
    facts.append(("migrator", __version__))
    return _section("Facts", steps, _table(("", ""), ((_e(name), _code(value)) for name, value in facts)))


def _disk(plan: Plan) -> str:
    return f"{plan.bytes_needed / 1e6:,.1f} MB, {len(plan.entries):,} files and folders"
