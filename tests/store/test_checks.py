"""What must hold for a store of deterministic ids."""

from __future__ import annotations

from typing import Any

import pytest

from migrator.store.checks import check, faults, judge, missing_parent, signature_of
from migrator.store.ids import IdScheme, compute_gen_id
from migrator.store.inventory import Inventory
from tests.conftest import Write

METADATA = "metadata.json"
D = "d_4py995ydm8lggqs"
E = "e_4nyhf2w3mpgelz3h"
V = "v_393dzd2gfe1kff1v"
DRAFT = {
    "template_id": "creative-synthesis-v2",
    "combo_id": "combo_v1_0a1b2c3d4e5f",
    "llm_model_id": "gemini_25_pro",
    "replicate": 1,
}
ESSAY = {"parent_gen_id": D, "template_id": "parsed-from-links-v1", "replicate": 1}
EVALUATION = {"parent_gen_id": E, "template_id": "novelty", "llm_model_id": "qwen3_235b", "replicate": 1}


def kinds(inventory: Inventory) -> list[tuple[str, str, str]]:
    return [(problem.kind, problem.stage, problem.gen_id) for problem in check(inventory)]


def read(store: Write, draft: Any = None, essay: Any = None, evaluation: Any = None) -> Inventory:
    """The vectors' three generations, with changes."""
    return Inventory.read(
        store(
            {
                "draft": {D: {METADATA: {"stage": "draft", "gen_id": D, **DRAFT, **(draft or {})}}},
                "essay": {E: {METADATA: {"stage": "essay", "gen_id": E, **ESSAY, **(essay or {})}}},
                "evaluation": {V: {METADATA: {**EVALUATION, **(evaluation or {})}}},
            }
        )
    )


def test_a_right_store_has_no_problem(store: Write) -> None:
    assert kinds(read(store)) == []


@pytest.mark.parametrize("change", [{"replicate": 2}, {"template_id": "other"}, {"llm_model_id": "other"}], ids=str)
def test_an_id_that_is_not_its_signatures(store: Write, change: dict[str, Any]) -> None:
    assert kinds(read(store, draft=change)) == [("gen-id-mismatch", "draft", D)]


@pytest.mark.parametrize("change", [{"combo_id": " COMBO_V1_0A1B2C3D4E5F"}, {"synthetic": True, "x": [1]}], ids=str)
def test_what_is_no_part_of_the_signature_or_normalised_away(store: Write, change: dict[str, Any]) -> None:
    assert kinds(read(store, draft=change)) == []


def test_every_fault_of_every_generation_is_listed(store: Write) -> None:
    inventory = read(
        store,
        draft={"combo_id": None, "replicate": "1"},
        essay={"parent_gen_id": "gone", "template_id": "a|b"},
        evaluation={"parent_gen_id": "gone"},
    )
    assert kinds(inventory) == [
        ("missing-field", "draft", D),
        ("invalid-field", "draft", D),
        ("invalid-field", "essay", E),
        ("missing-parent", "essay", E),
        ("missing-parent", "evaluation", V),
        ("gen-id-mismatch", "evaluation", V),
    ]


def test_the_inventorys_own_findings_come_first_and_once(store: Write) -> None:
    root = store({"draft": {"a": {METADATA: b""}, "b": {METADATA: {"gen_id": "x"}}, "c": {METADATA: DRAFT}}})
    assert kinds(Inventory.read(root)) == [
        ("invalid-json", "draft", "a"),
        ("gen-id-mismatch", "draft", "b"),
        ("gen-id-mismatch", "draft", "c"),
    ]


def test_missing_parent(store: Write) -> None:
    root = store(
        {
            "draft": {"unread": {METADATA: b""}, "d1": {METADATA: {}}},
            "essay": {
                "a": {METADATA: {"draft_gen_id": "unread"}},
                "b": {METADATA: {"parent_gen_id": "D1"}},
                "c": {METADATA: {"parent_gen_id": "c"}},
                "d": {METADATA: {}},
                "e": {METADATA: {"parent_gen_id": "d1"}},
            },
            "evaluation": {"v": {METADATA: {"parent_gen_id": "d1"}}, "w": {METADATA: {"parent_gen_id": "w"}}},
        }
    )
    inventory = Inventory.read(root)
    orphans = [missing_parent(inventory, gen) for gen in inventory.generations()]
    assert [(p.kind, p.gen_id, p.path) for p in orphans if p] == [
        ("missing-parent", "b", "gens/essay/b/metadata.json"),
        ("missing-parent", "c", "gens/essay/c/metadata.json"),
        ("missing-parent", "v", "gens/evaluation/v/metadata.json"),
        ("missing-parent", "w", "gens/evaluation/w/metadata.json"),
    ]


def test_faults_name_the_record(store: Write) -> None:
    inventory = Inventory.read(store({"essay": {"e": {METADATA: {"template_id": 1.5}}}}))
    gen = inventory.gens["essay", "e"]
    assert [(p.kind, p.path) for p in faults(gen)] == [
        ("missing-field", "gens/essay/e/metadata.json"),
        ("invalid-field", "gens/essay/e/metadata.json"),
    ]
    problems = signature_of(gen)
    assert isinstance(problems, list)
    assert [problem.message for problem in problems] == [
        "draft_gen_id is missing",
        "essay_template_id is 1.5: neither text nor an integer",
        "replicate is missing",
    ]


def test_ids_are_judged_by_the_stores_own_scheme_suffixes_included(store: Write) -> None:
    small = IdScheme(digest_size=1)
    bare = compute_gen_id("draft", ("combo_v1_0a1b2c3d4e5f", "creative-synthesis-v2", "gemini_25_pro", 1), small)
    root = store({"draft": {bare: {METADATA: DRAFT}, f"{bare}-2": {METADATA: DRAFT}, f"{bare}-0": {METADATA: DRAFT}}})
    inventory = Inventory.read(root, small)
    assert [(gen.gen_id, len(judge(inventory, gen))) for gen in inventory.generations()] == [
        (bare, 0),
        (f"{bare}-0", 1),
        (f"{bare}-2", 0),
    ]
    assert len(kinds(Inventory.read(root))) == 3
