"""The report's picture of a plan: one real id, bars per stage, chains, time line, checks. Formatting only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from migrator.report import markup
from migrator.report.charts import bar, chart, legend
from migrator.report.markup import code, e, section
from migrator.report.text import estimated_seconds, many, seconds
from migrator.store import ids
from migrator.store.layout import STAGES

if TYPE_CHECKING:
    from migrator.plan import Plan
    from migrator.site import Outcome
    from migrator.store.records import Gen

_VERBS = ("renamed", "created", "rewritten", "unchanged")
_SIDES = ("before", "after")
_HOLDS = '<span class="good">✓ holds</span>'


def one_id(plan: Plan) -> str:
    gen = example(plan)
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


def example(plan: Plan) -> Gen | None:
    """The first essay, else draft, else evaluation, that gets another name."""
    for stage in ("essay", "draft", "evaluation"):
        for gen in plan.after.generations(stage):
            if gen.gen_id != gen.origin:
                return gen
    return None


def _part(label: str, value: object, kind: str = "") -> str:
    return f'<li class="{kind}"><small>{e(label)}</small>{code(value)}</li>'


# -- charts


def stages(plan: Plan) -> str:
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


def lineage(plan: Plan) -> str:
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


def time_line(plan: Plan, outcome: Outcome | None, times: Sequence[tuple[str, float]]) -> str:
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


def proven(plan: Plan) -> str:
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


def checks(plan: Plan) -> str:
    rows = []
    for check in plan.checks:
        sign = _HOLDS if check.passed else '<span class="bad">✗ does not hold</span>'
        rows.append((e(check.name), sign, f"{check.right:,} of {check.total:,}", f"{check.today:,}"))
    table = markup.table("Checks on the planned result", ("Check", "Result", ">After", ">Before"), rows)
    return section("checks", table, note="on the planned result") if rows else ""
