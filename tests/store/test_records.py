"""The reading order of the contract's section 1, line by line: the first value that is not absent."""

from __future__ import annotations

from typing import Any

import pytest

from migrator.store.documents import Number, values_of
from migrator.store.inventory import Inventory
from migrator.store.records import Gen, first_present
from tests.conftest import Write

METADATA, RAW, PARSED = "metadata.json", "raw_metadata.json", "parsed_metadata.json"
LEGACY, ROW = "legacy_fields", "row"
NOTHING = (None, "", "  ", "nan", "NaN", "unknown", "UNKNOWN", float("nan"))
Place = tuple[str, str]  # (file, key); `row` and `legacy_fields` stand for what lies there

LADDERS: list[tuple[str, str, list[Place]]] = [
    ("draft", "template", [(METADATA, "template_id"), (METADATA, "draft_template")]),
    ("essay", "template", [(METADATA, "template_id"), (METADATA, "essay_template")]),
    ("evaluation", "template", [(METADATA, "template_id"), (METADATA, "evaluation_template")]),
    *(
        (
            stage,
            "model",
            [
                (METADATA, "llm_model_id"),
                (METADATA, "model_id"),
                (LEGACY, "model_id"),
                (ROW, "llm_model_id"),
                (ROW, "evaluation_model" if stage == "evaluation" else "generation_model"),
            ],
        )
        for stage in ("draft", "essay", "evaluation")
    ),
    *((stage, "combo", [(METADATA, "combo_id"), (ROW, "combo_id")]) for stage in ("draft", "essay")),
    ("essay", "parent_value", [(METADATA, "parent_gen_id"), (METADATA, "draft_gen_id")]),
    ("evaluation", "parent_value", [(METADATA, "parent_gen_id"), (METADATA, "essay_gen_id")]),
    *(
        (stage, "origin_cohort", [(METADATA, "origin_cohort_id"), (METADATA, "cohort_id")])
        for stage in ("draft", "essay", "evaluation")
    ),
    ("essay", "lost_draft_template", [(METADATA, "draft_template"), (METADATA, "draft_template_id")]),
]
STEPS = [(stage, meaning, places, at) for stage, meaning, places in LADDERS for at in range(len(places))]


def gen_of(stage: str, values: dict[Place, Any], gen_id: str = "g") -> Gen:
    """A generation that has these values and no others."""
    documents: dict[str, dict[str, Any]] = {METADATA: {}}
    row: dict[str, str] = {}
    for (place, key), value in values.items():
        if place == ROW:
            if isinstance(value, str):
                row[key] = value
        elif place == LEGACY:
            documents[METADATA].setdefault(LEGACY, {})[key] = value
        else:
            documents.setdefault(place, {})[key] = value
    return Gen(stage, gen_id, gen_id, documents, row)


@pytest.mark.parametrize(("stage", "meaning", "places", "at"), STEPS)
@pytest.mark.parametrize("nothing", NOTHING, ids=repr)
def test_the_first_value_that_is_not_absent(
    stage: str, meaning: str, places: list[Place], at: int, nothing: object
) -> None:
    """Absent before it, other values behind it."""
    before = {place: nothing for place in places[:at] if place[0] != ROW}  # the inventory leaves such cells out
    gen = gen_of(stage, before | {place: f"value {n}" for n, place in enumerate(places) if n >= at})
    assert getattr(gen, meaning) == f"value {at}"


@pytest.mark.parametrize(("stage", "meaning", "places"), LADDERS)
def test_nothing_anywhere_is_none(stage: str, meaning: str, places: list[Place]) -> None:
    assert getattr(gen_of(stage, {}), meaning) is None
    assert getattr(gen_of(stage, {place: "nan" for place in places if place[0] != ROW}), meaning) is None


@pytest.mark.parametrize(("stage", "meaning", "places"), LADDERS)
def test_a_value_is_as_read(stage: str, meaning: str, places: list[Place]) -> None:
    for value in (" Mixed Case ", 25, 0):
        assert getattr(gen_of(stage, {places[0]: value}), meaning) == value


@pytest.mark.parametrize(
    ("stage", "meaning", "places"),
    [
        (
            "draft",
            "template",
            [(METADATA, "essay_template"), (METADATA, "template"), (ROW, "draft_template")],
        ),
        ("essay", "template", [(METADATA, "draft_template"), (ROW, "essay_template"), (RAW, "template_id")]),
        ("draft", "model", [(ROW, "evaluation_model"), (RAW, "llm_model_id"), (ROW, "model_id")]),
        ("evaluation", "model", [(ROW, "generation_model"), (PARSED, "model_id"), (LEGACY, "llm_model_id")]),
        ("draft", "combo", [(RAW, "combo_id"), (LEGACY, "combo_id")]),
        ("draft", "parent_value", [(METADATA, "parent_gen_id"), (METADATA, "draft_gen_id")]),
        (
            "essay",
            "parent_value",
            [(METADATA, "essay_gen_id"), (ROW, "parent_gen_id"), (RAW, "parent_gen_id")],
        ),
        ("evaluation", "parent_value", [(METADATA, "draft_gen_id"), (LEGACY, "parent_gen_id")]),
        ("draft", "origin_cohort", [(ROW, "cohort_id"), (ROW, "origin_cohort_id")]),
    ],
)
def test_no_other_place_is_read(stage: str, meaning: str, places: list[Place]) -> None:
    assert getattr(gen_of(stage, {place: "elsewhere" for place in places}), meaning) is None


@pytest.mark.parametrize("legacy", [None, "nan", [], 3, [{"model_id": "x"}]], ids=repr)
def test_legacy_fields_that_are_no_object_say_nothing(legacy: object) -> None:
    gen = Gen("draft", "g", "g", {METADATA: {"legacy_fields": legacy}}, {"llm_model_id": "row"})
    assert gen.model == "row"


def test_replicate_wishes_stand_in_reading_order() -> None:
    documents = {PARSED: {"replicate": 3}, METADATA: {"replicate": "x"}, RAW: {"replicate": None}}
    assert list(Gen("draft", "g", "g", documents, {"replicate": "4"}).replicate_wishes()) == [
        "x",
        None,
        3,
        "4",
    ]
    assert list(Gen("draft", "g", "g", {METADATA: {}}).replicate_wishes()) == [None, None, None, None]


@pytest.mark.parametrize(
    ("value", "parent"), [("d1", "d1"), (" D1 ", " D1 "), (7, "7"), (True, None), (1.5, None), ([], None)]
)
def test_a_parent_is_text_or_an_integer_as_it_stands(value: object, parent: str | None) -> None:
    gen = gen_of("essay", {(METADATA, "parent_gen_id"): value})
    assert gen.parent == parent
    assert gen.parent_key == (None if parent is None else ("draft", parent))


def test_a_draft_has_no_parent() -> None:
    gen = gen_of("draft", {(METADATA, "parent_gen_id"): "x"})
    assert (gen.parent, gen.parent_key) == (None, None)


# -- the membership rows


def test_rows_give_the_first_present_cell_per_column_cohorts_in_code_point_order(store: Write) -> None:
    columns = "stage,gen_id,combo_id,llm_model_id,note\n"
    root = store(
        {
            "draft": {"d1": {METADATA: {}}, "d2": {METADATA: {}}},
            "cohorts": {
                "a": {"membership.csv": "stage,gen_id\ndraft,d1\n"},
                "Z": {"membership.csv": columns + "draft,d1,nan,,x\ndraft,d1,first,unknown,y\ndraft,d2,,,\n"},
                "b": {"membership.csv": columns + "essay,d1,other,other,\ndraft,d1,second, m ,\n"},
                "é": {"membership.csv": columns + "draft,d1,third,third,\n"},
                "ß": {"membership.csv": columns + "draft,d2,fourth,fourth,\n"},
            },
        }
    )
    inventory = Inventory.read(root)
    d1, d2 = inventory.gens["draft", "d1"], inventory.gens["draft", "d2"]
    assert d1.row == {"combo_id": "first", "llm_model_id": " m "}
    assert (d1.combo, d1.model) == ("first", " m ")
    assert (d2.combo, d2.model) == ("fourth", "fourth")


def test_a_table_of_stage_and_gen_id_alone_says_nothing(store: Write) -> None:
    root = store({"draft": {"d1": {METADATA: {}}}, "cohorts": {"a": {"membership.csv": "stage,gen_id\ndraft,d1\n"}}})
    assert Inventory.read(root).gens["draft", "d1"].row == {}


# -- signatures


def test_signature_reads_every_field_and_takes_overrides() -> None:
    draft = gen_of(
        "draft",
        {
            (METADATA, "draft_template"): "T1",
            (METADATA, "model_id"): 25,
            (METADATA, "replicate"): 2,
            (ROW, "combo_id"): " C ",
        },
    )
    assert draft.signature() == ("c", "t1", "25", 2)
    assert draft.signature(replicate=3) == ("c", "t1", "25", 3)
    essay = gen_of(
        "essay", {(METADATA, "draft_gen_id"): "D", (METADATA, "template_id"): "T", (METADATA, "replicate"): 1}
    )
    assert essay.signature() == ("D", "t", 1)
    assert essay.signature(draft_gen_id="d_x") == ("d_x", "t", 1)


def test_faults_leave_the_replicate_out_and_judge_a_parents_name_only_by_its_presence() -> None:
    assert [(f.kind, f.field) for f in gen_of("draft", {}).faults()] == [
        ("missing-field", "combo_id"),
        ("missing-field", "draft_template_id"),
        ("missing-field", "generation_model_id"),
    ]
    odd = gen_of("evaluation", {(METADATA, "parent_gen_id"): "a|b\n", (METADATA, "template_id"): 1.5})
    assert [(f.kind, f.field) for f in odd.faults()] == [
        ("invalid-field", "eval_template_id"),
        ("missing-field", "eval_model_id"),
    ]
    for value, kind in ((None, "missing-field"), (True, "invalid-field"), ([], "invalid-field")):
        essay = gen_of("essay", {(METADATA, "parent_gen_id"): value, (METADATA, "template_id"): "t"})
        assert [(f.kind, f.field) for f in essay.faults()] == [(kind, "draft_gen_id")]


def test_missing_canonical_is_what_was_read_elsewhere() -> None:
    draft = gen_of(
        "draft",
        {(METADATA, "template_id"): "nan", (METADATA, "draft_template"): "T", (METADATA, "model_id"): 7},
    )
    draft = Gen("draft", "g", "g", draft.documents, {"combo_id": "C"})
    assert list(draft.missing_canonical().items()) == [
        ("template_id", "T"),
        ("combo_id", "C"),
        ("llm_model_id", 7),
    ]
    essay = gen_of("essay", {(METADATA, "draft_gen_id"): 5, (METADATA, "essay_template"): "t"})
    assert essay.missing_canonical() == {"template_id": "t", "parent_gen_id": 5}
    full = {"template_id": "t", "parent_gen_id": "e", "llm_model_id": "m"}
    assert Gen("evaluation", "g", "g", {METADATA: full}).missing_canonical() == {}


# -- small parts


def test_first_present_and_values_of() -> None:
    assert first_present(None, "nan", 0, "x") == 0
    assert first_present(None, " ") is None
    node = {"k": 1, "a": [{"k": [2, {"k": 3}]}, [[{"k": None}]]], "b": {"c": {"k": "4"}}, "kk": 5}
    assert sorted(values_of(node, "k"), key=str) == sorted([1, [2, {"k": 3}], 3, None, "4"], key=str)
    assert values_of("k", "k") == []


def test_a_generation_knows_its_key_and_its_folder() -> None:
    gen = Gen("draft", "g", "g", {METADATA: {}})
    assert (gen.key, gen.path) == (("draft", "g"), "gens/draft/g")


@pytest.mark.parametrize("value", [1, True, 1.0, "1", -0.0, 0, False, 1 << 70, None])
def test_a_value_of_a_sidecar_stays_what_it_was_beside_its_likes(store: Write, value: object) -> None:
    """Equal to Python, but not the same in a file."""
    likes = (True, 1, 1.0, "1", 0, False, 0.0, 1 << 70, value)
    raw = {
        f"d{n}": {METADATA: {}, RAW: {"replicate": like, "x": [{"replicate": like}]}} for n, like in enumerate(likes)
    }
    gen = Inventory.read(store({"draft": raw})).get("draft", f"d{len(likes) - 1}")
    assert gen
    assert repr(gen.values_at_top("replicate")[RAW]) == repr(value)
    assert repr(gen.values_under("replicate")) == repr([value, value])


def test_a_signature_has_no_other_fields() -> None:
    """Not even where metadata.json has them all."""
    whole = {"combo_id": "c", "template_id": "t", "llm_model_id": "m", "replicate": 1}
    gen = gen_of("draft", {(METADATA, key): value for key, value in whole.items()})
    assert gen.signature() == ("c", "t", "m", 1)
    assert gen.signature(replicate=2, draft_template_id="T ") == ("c", "t", "m", 2)
    with pytest.raises(TypeError, match="no field essay_gen_id"):
        gen.signature(essay_gen_id="e1")


def test_a_signature_follows_a_new_replicate() -> None:
    """It is worked out once; with another replicate it is another."""
    whole = {"combo_id": "c", "template_id": "t", "llm_model_id": "m", "replicate": 1}
    gen = gen_of("draft", {(METADATA, key): value for key, value in whole.items()})
    assert gen.signature() == ("c", "t", "m", 1)
    assert gen.renumbered(gen.documents.revise(Number(2))).signature() == ("c", "t", "m", 2)
