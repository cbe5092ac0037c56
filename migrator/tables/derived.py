"""The three tables that are rebuilt, from records and scores. Pure: opens no file.

Everything is sorted, paths are relative to the data root, numbers are exact until they are written: the same store
gives the same bytes on any machine. Values stand as the records have them; the two pivots pool what differs in case
or outer blanks only, as signatures do, under the first of its spellings.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import MAX_PREC, Decimal, localcontext
from typing import NamedTuple

from migrator.store.ids import is_absent, normalise
from migrator.store.inventory import Inventory
from migrator.store.layout import (
    AGGREGATED_SCORES,
    ESSAY,
    EVALUATION,
    PARSED_TEXT,
    SCORES_BY_ESSAY,
    SCORES_BY_TASK,
)
from migrator.store.records import Gen, first_present
from migrator.tables.scores import Score


class Task(NamedTuple):
    """What was asked for, apart from replicates: the first columns of both pivots."""

    combo_id: str
    draft_template: str
    generation_template: str
    generation_model: str


class Evaluator(NamedTuple):
    """Who judged: a template and a model."""

    template: str
    model: str


class Row(NamedTuple):
    """A row of aggregated_scores.csv: an evaluation with its essay (the parent) and its draft."""

    gen_id: str
    parent_gen_id: str
    evaluation_template: str
    evaluation_llm_model: str
    score: str
    error: str
    evaluation_response_path: str
    combo_id: str
    draft_template: str
    generation_template: str
    generation_model: str
    generation_response_path: str
    origin_cohort_id: str
    draft_replicate: str
    essay_replicate: str
    evaluation_replicate: str

    @property
    def evaluator(self) -> Evaluator:
        """Who judged."""
        return Evaluator(self.evaluation_template, self.evaluation_llm_model)


Scored = dict[Evaluator, list[Decimal]]


def rebuild(store: Inventory, scores: Mapping[str, Score]) -> dict[str, bytes]:
    """The tables by their path; `scores` has each evaluation of the store by its id."""
    essays = {gen.gen_id: _essay(store, gen) for gen in store.generations(ESSAY)}
    rows = [_row(gen, essays.get(gen.parent or "", _LOST), scores[gen.gen_id]) for gen in store.generations(EVALUATION)]
    pooled = _pooled(essay.task for essay in essays.values())
    tasks = {gen_id: Task(*pooled[essay.task]) for gen_id, essay in essays.items()}
    evaluators = {pair: Evaluator(*same) for pair, same in _pooled(row.evaluator for row in rows).items()}
    by_essay: dict[tuple[str, ...], Scored] = {(*task, gen_id): {} for gen_id, task in tasks.items()}
    by_task: dict[tuple[str, ...], Scored] = {task: {} for task in tasks.values()}
    for row in rows:
        task = tasks.get(row.parent_gen_id)
        if row.score and task:  # an essay that is lost has no row
            evaluator, score = evaluators[row.evaluator], Decimal(row.score)
            for scored in (by_essay[(*task, row.parent_gen_id)], by_task[task]):
                scored.setdefault(evaluator, []).append(score)
    names = _evaluator_names(evaluators.values())
    return {
        AGGREGATED_SCORES: _csv(Row._fields, sorted(rows)),
        SCORES_BY_ESSAY: _pivot((*Task._fields, "gen_id"), by_essay, names),
        SCORES_BY_TASK: _pivot(Task._fields, by_task, names),
    }


# -- rows


class _Essay(NamedTuple):
    """What a row says of its essay and of that one's draft."""

    task: Task
    path: str
    draft_replicate: str
    replicate: str


_LOST = _Essay(Task("", "", "", ""), "", "", "")


def _essay(store: Inventory, essay: Gen) -> _Essay:
    """What a lost draft would have said is what the essay remembers of it."""
    draft = store.parent(essay)
    task = Task(
        _text(first_present(draft and draft.combo, essay.combo)),
        _text(first_present(draft and draft.template, essay.lost_draft_template)),
        _text(essay.template),
        _text(first_present(draft and draft.model, essay.model)),
    )
    return _Essay(task, f"{essay.path}/{PARSED_TEXT}", _replicate(draft), _replicate(essay))


def _row(gen: Gen, essay: _Essay, score: Score) -> Row:
    return Row(
        gen_id=gen.gen_id,
        parent_gen_id=gen.parent or "",
        evaluation_template=_text(gen.template),
        evaluation_llm_model=_text(gen.model),
        score=score.text,
        error=score.error,
        evaluation_response_path=f"{gen.path}/{PARSED_TEXT}",
        combo_id=essay.task.combo_id,
        draft_template=essay.task.draft_template,
        generation_template=essay.task.generation_template,
        generation_model=essay.task.generation_model,
        generation_response_path=essay.path,
        origin_cohort_id=_text(gen.origin_cohort),
        draft_replicate=essay.draft_replicate,
        essay_replicate=essay.replicate,
        evaluation_replicate=_replicate(gen),
    )


def _text(value: object) -> str:
    return "" if is_absent(value) else str(value).strip()


def _replicate(gen: Gen | None) -> str:
    """The first value on the replicate line, never as a float."""
    wishes = gen.replicate_wishes() if gen else ()
    value = next((wish for wish in wishes if not is_absent(wish)), None)
    return _text(int(value) if isinstance(value, float) and value.is_integer() else value)


# -- pivots


def _pooled(rows: Iterable[tuple[str, ...]]) -> dict[tuple[str, ...], tuple[str, ...]]:
    """Row -> the same with each text as the first, in code-point order, of those in its column that are one to ids."""
    distinct = set(rows)
    columns = [sorted(set(column), reverse=True) for column in zip(*distinct, strict=True)]
    first = [{normalise(text): text for text in column} for column in columns]
    return {row: tuple(first[n][normalise(text)] for n, text in enumerate(row)) for row in distinct}


def _evaluator_names(evaluators: Iterable[Evaluator]) -> dict[Evaluator, str]:
    """Evaluator -> `<template>__<model>`; one whose columns would be those of another gets a number behind it."""
    names: dict[Evaluator, str] = {}
    taken = {*Task._fields, "gen_id"}
    for evaluator in sorted(set(evaluators)):
        plain = name = "__".join(evaluator)
        number = 1
        while taken & set(_columns(name)):
            number += 1
            name = f"{plain}~{number}"
        taken |= set(_columns(name))
        names[evaluator] = name
    return names


def _columns(evaluator: str) -> tuple[str, str, str, str]:
    return evaluator, f"{evaluator}_min", f"{evaluator}_max", f"{evaluator}_n"


def _pivot(keys: Sequence[str], groups: Mapping[tuple[str, ...], Scored], names: Mapping[Evaluator, str]) -> bytes:
    """A row a group, sorted; for each evaluator the mean, least, greatest and number of its scores in the group."""
    header = [*keys, *(column for name in names.values() for column in _columns(name))]
    rows = ([*key, *_statistics(groups[key], names)] for key in sorted(groups))
    return _csv(header, rows)


def _statistics(scored: Scored, evaluators: Iterable[Evaluator]) -> Iterator[object]:
    for evaluator in evaluators:
        found = scored.get(evaluator)
        if found:
            yield from (_mean(found), float(min(found)), float(max(found)), len(found))
        else:
            yield from ("", "", "", 0)


def _mean(scores: Sequence[Decimal]) -> float:
    """The float next to the exact mean: no order of adding shows in it."""
    with localcontext(prec=MAX_PREC):  # a sum has the digits that it needs
        numerator, denominator = Decimal(sum(scores)).as_integer_ratio()
    return numerator / (denominator * len(scores))  # of two integers Python gives the float next to the quotient


def _csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    table = [header, *rows]
    plain = "".join([",".join(map(str, row)) + "\n" for row in table])
    if _is_plain(plain, table):  # as most are, and csv would look at each character
        return plain.encode()
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n").writerows(table)
    return out.getvalue().encode()


def _is_plain(text: str, table: Sequence[Sequence[object]]) -> bool:
    """Whether no cell has a comma, a quote or a line end in it: then none needs quotes."""
    commas = sum(len(row) - 1 for row in table)
    return '"' not in text and "\r" not in text and (text.count(","), text.count("\n")) == (commas, len(table))
