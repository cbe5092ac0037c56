"""The report's findings: collisions side by side, issues by kind and each of them. Formatting only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from migrator.report import markup
from migrator.report.markup import ROWS, code, e, folded, section
from migrator.report.text import number
from migrator.store import ids
from migrator.store.problems import ID_COLLISION, Problem

if TYPE_CHECKING:
    from migrator.plan import Plan
    from migrator.store.inventory import Inventory
    from migrator.store.records import Gen, Key


def collisions(plan: Plan, problems: Sequence[Problem]) -> str:
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


def issues(problems: Sequence[Problem]) -> str:
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
