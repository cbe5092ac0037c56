"""What a rehearsal has not seen is named: stages, keys, eras, columns, kinds of issues."""

from __future__ import annotations

from typing import Any

import pytest

from migrator import runner
from migrator.engine import snapshots
from migrator.rehearsal import shape_of, united, unrehearsed
from tests.conftest import Write
from tests.faults import site

DRAFT = {"combo_id": "c", "template_id": "t", "llm_model_id": "m", "replicate": 1}
BASE: dict[str, Any] = {
    "draft": {"d": {"metadata.json": DRAFT}},
    "essay": {"e": {"metadata.json": {"template_id": "t", "draft_gen_id": "d", "replicate": 1}}},
    "cohorts/one": {"membership.csv": "stage,gen_id\ndraft,d\n"},
}


def shape(store: Write, literal: dict[str, Any], name: str) -> dict[str, dict[str, int]]:
    """The shape of a store."""
    plan = runner.read_plan(site(store(literal, name).parent, name))
    assert plan is not None
    return shape_of(plan)


def test_a_shape_is_counts(store: Write) -> None:
    assert shape(store, BASE, "data") == {
        "stages": {"draft": 1, "essay": 1},
        "keys": {
            "draft combo_id": 1,
            "draft llm_model_id": 1,
            "draft replicate": 1,
            "draft template_id": 1,
            "essay draft_gen_id": 1,
            "essay replicate": 1,
            "essay template_id": 1,
        },
        "eras": {
            "draft combo_id,llm_model_id,replicate,template_id": 1,
            "essay draft_gen_id,replicate,template_id": 1,
        },
        "columns": {"gen_id": 1, "stage": 1},
        "issues": {},
    }


@pytest.mark.parametrize(
    ("more", "found"),
    [
        ({}, []),
        ({"draft/x": {"metadata.json": {**DRAFT, "combo_id": "other"}}}, []),
        (
            {"draft/x": {"metadata.json": {**DRAFT, "combo_id": "other", "mood": 1}}},
            ["the key 'mood' in the metadata.json of 1 draft"],
        ),
        (
            {"essay/x": {"metadata.json": {"template_id": "u", "draft_gen_id": "d"}}},
            ["an era: 1 essay with just the keys draft_gen_id, template_id", "1 issue of the kind replicate-assigned"],
        ),
        (
            {"evaluation/v": {"metadata.json": {**DRAFT, "essay_gen_id": "e"}}},
            ["1 evaluation: it had none"],
        ),
        ({"cohorts/two": {"membership.csv": "stage,gen_id,mood\n"}}, ["the column 'mood' in 1 membership.csv"]),
    ],
    ids=["the same", "another of the same kind", "key", "era and issue", "stage", "column"],
)
def test_what_is_new_is_named(store: Write, more: dict[str, Any], found: list[str]) -> None:
    seen = shape(store, BASE, "staging")
    literal = dict(BASE)
    for path, value in more.items():
        stage, _, name = path.partition("/")
        literal |= (
            {stage: {**BASE.get(stage, {}), name: value}}
            if stage in ("draft", "essay", "evaluation")
            else {path: value}
        )
    assert unrehearsed(shape(store, literal, "prod"), seen) == found


def test_two_runs_have_seen_both_their_shapes() -> None:
    assert united([{"stages": {"draft": 3}}, {"stages": {"draft": 1, "essay": 2}}]) == {
        "stages": {"draft": 3, "essay": 2}
    }


def test_the_run_keeps_the_shape_that_it_met(store: Write) -> None:
    root = store(BASE)
    plan = runner.read_plan(site(root.parent))
    assert plan is not None
    before = shape_of(plan)
    run = runner.upgrade(site(root.parent)).run
    assert run is not None
    assert snapshots.read(root.parent / "b" / run.run_id).shape == before
