"""What is made anew from a store, as bytes: the derived tables that are ours, and every cohort's manifest.

An upgrade takes it into the recipe of its tree, `regenerate` puts it into the live one. Writes nothing.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from migrator.cohorts import manifest, membership
from migrator.engine.tree import Recipe
from migrator.engine.workers import Beside, Jobs, spare
from migrator.plan import Plan
from migrator.store.index import Index
from migrator.store.inventory import Inventory
from migrator.store.layout import EVALUATION, PARSED_TEXT, gen_path, manifest_path
from migrator.store.problems import Problem
from migrator.tables import derived
from migrator.tables.scores import MISSING, Score, read_scores, score_of

Scores = Mapping[str, Score]  # by the evaluation's id


def scores_of(store: Inventory, known: Scores | None = None) -> Scores:
    """The scores of a store that lies on the disk, by id, read now where they are not `known`."""
    known = known or {}
    return {**known, **read_scores(store.root, (gen_id for gen_id in store.ids(EVALUATION) if gen_id not in known))}


def tables_of(store: Inventory) -> dict[str, bytes]:
    """The tables of a store that lies on the disk, by path."""
    return derived.rebuild(store, scores_of(store))


def manifests_of(store: Inventory, steps: Iterable[tuple[str, str]]) -> tuple[dict[str, bytes], list[Problem]]:
    """The manifests of a store's cohorts, by path; a cohort with a blocking problem has none.

    `steps` are number and digest of all that were applied. Of each manifest that is there what it alone knows is kept.
    """
    index = Index.of(replace(store, problems=()))  # nothing of what was found so far stops a generation
    last_run = manifest.run_digest(steps)
    made: dict[str, bytes] = {}
    problems: list[Problem] = []
    for cohort_id, _, table in store.cohorts():
        members = membership.of_table(cohort_id, table, table.render())
        data, found = manifest.compute(index, members, last_run, manifest.load(store.root, cohort_id))
        problems += found
        if data is not None:
            made[manifest_path(cohort_id)] = data
    return made, problems


def in_plan(plan: Plan, before: Scores, *, jobs: Jobs = None) -> Plan:
    """The plan with tables and manifests of the result in its recipe, instead of a copy of those that are there.

    A manifest that cannot be made yet, since a later step completes its members, is carried over as it is.
    """
    scores = {new: before[old] for stage, old, new in plan.mapping if stage == EVALUATION}
    for gen in plan.after.generations(EVALUATION):
        if not gen.origin:  # one that a step makes
            text = gen.texts.get(PARSED_TEXT)
            scores[gen.gen_id] = MISSING if text is None else score_of(text)
    steps = [(entry.number, entry.digest) for entry in plan.ledger]
    steps += [(step.number, step.digest) for step, _ in plan.steps]
    count = len(plan.entries)
    tables = Beside(lambda: derived.rebuild(plan.after, scores), count, spare(count, jobs))  # others copy meanwhile
    try:
        manifests, _ = manifests_of(plan.after, steps)
        made, wanted = tables.result() | manifests, set(plan.rebuilt)
    finally:
        tables.abandon()
    new = {path: data for path, data in made.items() if path in wanted}
    there = new.keys() & {entry.path for entry in plan.entries}
    recipe = Recipe(
        plan.recipe.moves,
        {**plan.recipe.contents, **{path: new[path] for path in there}},
        {**plan.recipe.additions, **{path: new[path] for path in new.keys() - there}},
        plan.recipe.read,
    )
    return replace(plan, recipe=recipe)


def changed_scores(plan: Plan, before: Scores, root: Path, surveyed: Container[str] = ()) -> Iterator[str]:
    """Evaluations whose score or error in the new tree, read from it, is not the one that they had.

    Texts that were `surveyed`, by their path today, are left out: their copies are proven to be the very same bytes.
    """
    pairs = []
    for stage, old, new in plan.mapping:
        path = f"{gen_path(stage, old)}/{PARSED_TEXT}"
        if stage == EVALUATION and (path not in surveyed or path in plan.recipe.contents):
            pairs.append((old, new))
    after = read_scores(root, [new for _, new in pairs])
    for old, new in pairs:
        if after[new] != before[old]:
            path = f"{gen_path(EVALUATION, new)}/{PARSED_TEXT}"
            yield f"{path} says {_told(after[new])}, and as {old} it said {_told(before[old])}"


def _told(score: Score) -> str:
    return score.text or score.error
