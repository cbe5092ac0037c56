"""The report's lists: cohorts, drafts that were made, the mapping with all that its search needs. Formatting only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from migrator.report import markup
from migrator.report.markup import ROWS, code, e, folded, section
from migrator.report.text import many, number, plain
from migrator.store.layout import STAGES

if TYPE_CHECKING:
    from migrator.plan import Plan

MAPPING_ROWS = 200  # of the mapping that stand in the page; the search has all
_SHORT = 20  # rows that need no folding


def cohorts(plan: Plan) -> str:
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


def synthetic(plan: Plan) -> str:
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


def mapping(plan: Plan) -> str:
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
