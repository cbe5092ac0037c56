"""The demo store's folders beside gens/: cohorts, selections, older task tables and derived tables, as text.

Pure: returns contents by path and writes nothing.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from typing import Any

from migrator.demo import texts
from migrator.demo.eras import CAFE, OLD_ROOT, STAGES, Gen, Legacy

Row = dict[str, Any]

# The three generations of membership.csv; a cohort that is not named has the last.
_LONG = (
    "stage,gen_id,cohort_id,combo_id,draft_template,generation_model,generation_model_name,essay_task_id,"
    "parent_gen_id,essay_template,evaluation_template,evaluation_model,evaluation_model_name,parser"
)
_WIDE = "stage,gen_id,cohort_id,parent_gen_id,combo_id,template_id,llm_model_id,replicate"
_NARROW = "stage,gen_id"
_SCHEMAS = {
    "unsplit-old": _LONG,
    "fusion-a": _WIDE,
    "nocombo-old": _WIDE,
    "theme-b": _WIDE,
    "novelty-fillup": _WIDE,
    CAFE: _WIDE,
}

_TASK_TABLES = {
    "draft": (
        "draft_generation_tasks",
        "draft_task_id,combo_id,draft_template,generation_model,generation_model_name,gen_id,cohort_id",
    ),
    "essay": (
        "essay_generation_tasks",
        "essay_task_id,parent_gen_id,draft_task_id,combo_id,draft_template,essay_template,generation_model,"
        "generation_model_name,gen_id,cohort_id",
    ),
    "evaluation": (
        "evaluation_tasks",
        "evaluation_task_id,parent_gen_id,document_id,essay_task_id,evaluation_template,evaluation_model,"
        "evaluation_model_name,parser,file_path,gen_id,cohort_id",
    ),
}

_SCORES = (
    "gen_id,parent_gen_id,evaluation_template,evaluation_llm_model,score,error,evaluation_response_path,"
    "combo_id,draft_template,generation_template,generation_model,generation_response_path,origin_cohort_id,"
    "input_mode,copied_from"
)


def _table(columns: Iterable[str], rows: Iterable[Row], line_end: str = "\n") -> str:
    """Return CSV; columns that a row lacks are blank, those that the table lacks are left out."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(columns), "", "ignore", lineterminator=line_end)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _row(gen: Gen, cohort: str) -> Row:
    """Return what any table of members or tasks says of a generation, in the words of all eras."""
    draft_task = f"{gen.combo}__{gen.draft_template}__{gen.model}"
    model_name = texts.PROVIDER_NAMES[gen.model]
    row = {
        "stage": gen.stage,
        "gen_id": gen.gen_id,
        "cohort_id": cohort,
        "parent_gen_id": gen.parent,
        "combo_id": gen.combo,
        "template_id": gen.template,
        "llm_model_id": gen.model,
        "replicate": gen.replicate,
        f"{gen.stage}_template": gen.template,
    }
    if gen.stage == "evaluation":
        models = {"evaluation_model": gen.model, "evaluation_model_name": model_name}
        return row | models | {"parser": "in_last_line"}
    models = {"generation_model": gen.model, "generation_model_name": model_name}
    tasks = {"draft_task_id": draft_task, "draft_template": gen.draft_template}
    if gen.stage == "essay":
        tasks["essay_task_id"] = f"{draft_task}__{gen.template}"
    return row | models | tasks


def _membership(cohort: str, members: list[Gen]) -> str:
    rows = [_row(gen, cohort) for stage in STAGES for gen in members if gen.stage == stage]
    if cohort == "fusion-a":
        for row in rows[::5]:
            row["parent_gen_id"] = ""
    if cohort == "novelty-fillup":
        for row in rows:
            row["replicate"] = float(row["replicate"])
    if cohort == CAFE:
        for row in rows:
            row["replicate"] = "nan"
    columns = _SCHEMAS.get(cohort, _NARROW).split(",")
    if cohort == "unsplit-old":
        return "\ufeff" + _table(columns, rows, "\r\n")
    return _table(columns, rows)


def _manifest(members: list[Gen]) -> str:
    def models(*stages: str) -> list[str]:
        return sorted({gen.model for gen in members if gen.stage in stages})

    templates = {stage: sorted({gen.template for gen in members if gen.stage == stage}) for stage in STAGES}
    llms = {"generation": models("draft", "essay"), "evaluation": models("evaluation")}
    combos = sorted({gen.combo for gen in members})
    return json.dumps({"combos": combos, "templates": templates, "llms": llms}, indent=2)


def _combo_mappings(legacy: Legacy, combos: Iterable[str]) -> str:
    facts = {
        "version": "v1",
        "description_level": "paragraph",
        "k_max": 3,
        "created_at": "2025-09-12T08:30:00",
    }
    rows = ({"combo_id": combo, "concept_id": concept} | facts for combo in combos for concept in legacy.combos[combo])
    columns = ("combo_id", "version", "concept_id", "description_level", "k_max", "created_at")
    return _table(columns, rows)


def _selections(legacy: Legacy) -> Iterator[tuple[str, str]]:
    best = [gen.gen_id for gen in legacy.of("essay", "cohort-main")[::4]]
    filled = [gen.gen_id for gen in legacy.of("essay", "theme-b")[::2]]
    drafts = [gen.gen_id for gen in legacy.of("draft", "fusion-a")[::3]]
    yield "selected_essays.txt", "# Mode: reuse-essays\n# fill-up\n\n" + "\n".join(best) + "\n"
    head = "# mode: evaluation-only\n# skip-existing-evaluations\n# chosen by Zoë\n"
    yield "selected_essays.novelty-fillup.txt", head + "".join(f"  {gen_id}  \r\n" for gen_id in filled)
    yield "selected_drafts.txt", "\n".join([drafts[0], "", "gone-with-the-disk", *drafts[1:]])


def _scores(legacy: Legacy) -> list[Row]:
    """Return one row for each evaluation, as the old pipeline aggregated them."""
    rows = []
    for gen in legacy.gens.values():
        if gen.stage != "evaluation":
            continue
        essay = legacy.gens[gen.parent]
        text = str(gen.files.get("parsed.txt", "")).strip()
        good = text == gen.text.strip()
        row = {
            "evaluation_llm_model": gen.model,
            "score": text if good else "",
            "error": "" if good else "invalid score" if text else "missing parsed.txt",
            "evaluation_response_path": f"{OLD_ROOT}/gens/evaluation/{gen.gen_id}/parsed.txt",
            "draft_template": gen.draft_template,
            "generation_template": essay.template,
            "generation_model": essay.model,
            "generation_response_path": f"{OLD_ROOT}/gens/essay/{essay.gen_id}/parsed.txt",
            "origin_cohort_id": gen.cohort,
            "input_mode": "copy" if "source_file" in gen.meta else "prompt",
            "copied_from": gen.meta.get("source_file"),
        }
        rows.append(_row(gen, gen.cohort) | row)
    return sorted(rows, key=lambda row: str(row["gen_id"]))


def _pivot(scores: list[Row], keys: tuple[str, ...], evaluator: str) -> tuple[list[str], list[Row]]:
    """Return the columns and rows of the mean score per group and evaluator, named by a format string."""
    groups: dict[tuple[str, ...], dict[str, list[float]]] = {}
    for row in scores:
        if row["score"]:
            name = evaluator.format(**row)
            group = groups.setdefault(tuple(row[key] for key in keys), {})
            group.setdefault(name, []).append(float(row["score"]))
    names = sorted({name for group in groups.values() for name in group})
    rows = [
        dict(zip(keys, group, strict=True))
        | {name: round(sum(values) / len(values), 2) for name, values in sorted(means.items())}
        for group, means in sorted(groups.items())
    ]
    return [*keys, *names], rows


def _derived(legacy: Legacy) -> Iterator[tuple[str, str]]:
    scores = _scores(legacy)
    yield "5_parsing/aggregated_scores.csv", _table(_SCORES.split(","), scores)
    task = ("combo_id", "draft_template", "generation_template", "generation_model")
    columns, rows = _pivot(scores, (*task, "generation_response_path"), "{evaluation_llm_model}_{evaluation_template}")
    yield "6_summary/generation_scores_pivot.csv", _table(columns, rows)
    for row in scores:
        row["essay_gen_id"] = row["parent_gen_id"]
    keys = ("essay_gen_id", *task, "origin_cohort_id")
    columns, rows = _pivot(scores, keys, "{evaluation_template}__{evaluation_llm_model}")
    yield "7_cross_experiment/evaluation_scores_by_template_model.csv", _table(columns, rows)
    scored = (row for row in scores if row["score"])
    yield "7_cross_experiment/filtered_evaluation_results.csv", _table(_SCORES.split(","), scored)


def surroundings(legacy: Legacy) -> Iterator[tuple[str, str]]:
    """Yield path and content of every text file outside gens/."""
    for name, text in texts.RAW_TABLES.items():
        yield f"1_raw/{name}", text
    yield "combo_mappings.csv", _combo_mappings(legacy, legacy.combos)
    main = sorted({gen.combo for gen in legacy.of("draft", "cohort-main")})
    yield "2_tasks/selected_combo_mappings.csv", _combo_mappings(legacy, main)
    for stage, (name, columns) in _TASK_TABLES.items():
        rows = (_row(gen, gen.cohort) for gen in legacy.of(stage, "unsplit-old"))
        yield f"2_tasks/{name}.csv", _table(columns.split(","), rows)
    for name, text in _selections(legacy):
        yield f"2_tasks/{name}", text
    for gen in legacy.of("essay", "cohort-main")[::4]:
        yield f"selected_essays/{gen.gen_id}.txt", gen.text
    for gen in legacy.of("essay", CAFE)[::4]:
        yield str(gen.meta["source_file"]), gen.text
    for cohort, members in legacy.members.items():
        yield f"cohorts/{cohort}/membership.csv", _membership(cohort, members)
        yield f"cohorts/{cohort}/manifest.json", _manifest(members)
    yield from _derived(legacy)
