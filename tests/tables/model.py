"""The three tables of a migrated store by brute force, from the contract (section 6) alone: loops over loops, no index.

Never import the package under test here. It takes a tree as a mapping of paths to bytes, with canonical keys only.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

AGGREGATED = "5_parsing/aggregated_scores.csv"
BY_ESSAY = "6_summary/generation_scores_pivot.csv"
BY_TASK = "7_cross_experiment/evaluation_scores_by_template_model.csv"
TABLES = (AGGREGATED, BY_ESSAY, BY_TASK)
TASK = ("combo_id", "draft_template", "generation_template", "generation_model")
COLUMNS = (
    "gen_id",
    "parent_gen_id",
    "evaluation_template",
    "evaluation_llm_model",
    "score",
    "error",
    "evaluation_response_path",
    "combo_id",
    "draft_template",
    "generation_template",
    "generation_model",
    "generation_response_path",
    "origin_cohort_id",
    "draft_replicate",
    "essay_replicate",
    "evaluation_replicate",
)


def tables(tree: Mapping[str, object]) -> dict[str, bytes]:
    """Path -> bytes of the three."""
    drafts, all_essays = stage(tree, "draft"), stage(tree, "essay")
    known = {gen_id: essay_row(gen_id, essay, drafts) for gen_id, essay in all_essays.items()}
    table = aggregated(tree, known)
    essays = pooled(list(known.values()))
    tasks = {essay["gen_id"]: {key: essay[key] for key in TASK} for essay in essays}
    rows = [row | tasks[row["parent_gen_id"]] for row in pooled(table)]
    by_task = {tuple(essay[key] for key in TASK): {key: essay[key] for key in TASK} for essay in essays}
    return {
        AGGREGATED: rendered(COLUMNS, table),
        BY_ESSAY: pivot((*TASK, "gen_id"), essays, rows, lambda row, essay: row["parent_gen_id"] == essay["gen_id"]),
        BY_TASK: pivot(
            TASK, list(by_task.values()), rows, lambda row, task: all(row[key] == task[key] for key in TASK)
        ),
    }


def pooled(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Rows for the pivots: texts of a column that signatures take for one are written like the first of them."""
    same = {}
    for column in (*TASK, "evaluation_template", "evaluation_llm_model"):
        for text in {row[column] for row in rows if column in row}:
            same[column, text] = min(
                other for other in (row[column] for row in rows) if other.strip().lower() == text.strip().lower()
            )
    return [{key: same.get((key, text), text) for key, text in row.items()} for row in rows]


def stage(tree: Mapping[str, object], name: str) -> dict[str, dict[str, Any]]:
    """id -> metadata of a stage."""
    found = {}
    for path, data in tree.items():
        match = re.fullmatch(rf"gens/{name}/([^./][^/]*)/metadata\.json", path)
        if match:
            assert isinstance(data, bytes)
            found[match[1]] = json.loads(data)
    return found


def essay_row(gen_id: str, essay: dict[str, Any], drafts: dict[str, dict[str, Any]]) -> dict[str, str]:
    """The columns that an essay gives to its row, and to its evaluations'."""
    draft = drafts[essay["parent_gen_id"]]
    return {
        "gen_id": gen_id,
        "combo_id": shown(draft["combo_id"]),
        "draft_template": shown(draft["template_id"]),
        "generation_template": shown(essay["template_id"]),
        "generation_model": shown(draft["llm_model_id"]),
        "draft_replicate": shown(draft["replicate"]),
        "essay_replicate": shown(essay["replicate"]),
    }


def shown(value: object) -> str:
    """A value as a cell."""
    text = "" if value is None or value != value else str(value).strip()
    return "" if text.lower() in ("nan", "unknown") else text


def aggregated(tree: Mapping[str, object], essays: dict[str, dict[str, str]]) -> list[dict[str, str]]:
    """A row for each evaluation, by id."""
    rows = []
    for gen_id, metadata in sorted(stage(tree, "evaluation").items()):
        parent = str(metadata["parent_gen_id"])
        path = f"gens/evaluation/{gen_id}/parsed.txt"
        score, error = judged(tree.get(path))
        cohorts = [shown(metadata.get(key)) for key in ("origin_cohort_id", "cohort_id")]
        rows.append(
            {
                **essays[parent],
                "gen_id": gen_id,
                "parent_gen_id": parent,
                "evaluation_template": shown(metadata["template_id"]),
                "evaluation_llm_model": shown(metadata["llm_model_id"]),
                "score": score,
                "error": error,
                "evaluation_response_path": path,
                "generation_response_path": f"gens/essay/{parent}/parsed.txt",
                "origin_cohort_id": cohorts[0] or cohorts[1],
                "evaluation_replicate": shown(metadata["replicate"]),
            }
        )
    return rows


def judged(data: object) -> tuple[str, str]:
    """Score and error of a parsed.txt."""
    if not isinstance(data, bytes):
        return "", "missing parsed.txt"
    try:
        text = data.decode("utf-8").strip()
    except UnicodeDecodeError:
        return "", "parsed.txt is not UTF-8"
    if text == "":
        return "", "parsed.txt is empty"
    digits = text[1:] if text[0] == "-" else text
    whole, point, fraction = digits.partition(".")
    if not all(part and set(part) <= set("0123456789") for part in ([whole, fraction] if point else [whole])):
        return "", "parsed.txt is not a decimal number"
    if text[0] == "-" or Fraction(text) > 9:
        return "", "parsed.txt is not from 0 to 9"
    return text, ""


def pivot(keys: tuple[str, ...], groups: list[dict[str, str]], rows: list[dict[str, str]], belongs: Any) -> bytes:
    """A row a group; each evaluator is looked for in all rows."""
    pairs = sorted({(row["evaluation_template"], row["evaluation_llm_model"]) for row in rows})
    columns, lines = list(keys), []
    for template, model in pairs:
        columns += [f"{template}__{model}{end}" for end in ("", "_min", "_max", "_n")]
    for group in sorted(groups, key=lambda group: [group[key] for key in keys]):
        line = {key: group[key] for key in keys}
        mine = [row for row in rows if row["score"] and belongs(row, group)]
        for template, model in pairs:
            scores = [
                Fraction(row["score"])
                for row in mine
                if (row["evaluation_template"], row["evaluation_llm_model"]) == (template, model)
            ]
            cells = [float(sum(scores) / len(scores)), float(min(scores)), float(max(scores))] if scores else [""] * 3
            for end, cell in zip(("", "_min", "_max", "_n"), [*cells, len(scores)], strict=True):
                line[f"{template}__{model}{end}"] = str(cell)
        lines.append(line)
    return rendered(columns, lines)


def rendered(columns: Sequence[str], rows: list[dict[str, str]]) -> bytes:
    """A CSV file."""
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, columns, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()
