"""Signatures and ids: the contract's section 2, rule by rule."""

from __future__ import annotations

import hashlib
import re
from itertools import count, product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator import (
    IdRegistry,
    IdScheme,
    SignatureError,
    canonical,
    compute_gen_id,
    compute_signature,
    is_absent,
    is_right_id,
)
from migrator.store.ids import FIELDS, Signature

DRAFT = {
    "combo_id": "combo_v1_0a1b2c3d4e5f",
    "draft_template_id": "creative-synthesis-v2",
    "generation_model_id": "gemini_25_pro",
    "replicate": 1,
}
ESSAY = {"draft_gen_id": "d_4py995ydm8lggqs", "essay_template_id": "parsed-from-links-v1", "replicate": 1}
EVALUATION = {
    "essay_gen_id": "e_4nyhf2w3mpgelz3h",
    "eval_template_id": "novelty",
    "eval_model_id": "qwen3_235b",
    "replicate": 1,
}
COMPLETE = {"draft": DRAFT, "essay": ESSAY, "evaluation": EVALUATION}
TEXT_FIELDS = [
    ("draft", "combo_id"),
    ("draft", "draft_template_id"),
    ("draft", "generation_model_id"),
    ("essay", "essay_template_id"),
    ("evaluation", "eval_template_id"),
    ("evaluation", "eval_model_id"),
]
PARENT_FIELDS = [("essay", "draft_gen_id"), ("evaluation", "essay_gen_id")]
EVERY_FIELD = [*TEXT_FIELDS, *PARENT_FIELDS, *((stage, "replicate") for stage in COMPLETE)]

VECTORS = [
    ("draft|combo_v1_0a1b2c3d4e5f|creative-synthesis-v2|gemini_25_pro|1", "d_4py995ydm8lggqs"),
    ("draft|combo_v1_0a1b2c3d4e5f|creative-synthesis-v2|gemini_25_pro|2", "d_3mtvk4yzrgz0mnql"),
    ("draft|combo_é|naïve-模板|sonnet-4|10", "d_3afdy7b6zt9p7pnt"),
    ("essay|d_4py995ydm8lggqs|parsed-from-links-v1|1", "e_4nyhf2w3mpgelz3h"),
    ("essay|d_4py995ydm8lggqs|novel-elaboration-v8|3", "e_2zphbbq0wxw4cx8v"),
    ("evaluation|e_4nyhf2w3mpgelz3h|novelty|qwen3_235b|1", "v_393dzd2gfe1kff1v"),
    ("evaluation|e_4nyhf2w3mpgelz3h|novelty|qwen3_235b|4", "v_1xlbj8zxolgoupve"),
]


@pytest.mark.parametrize(("text", "gen_id"), VECTORS)
def test_vectors_of_the_contract(text: str, gen_id: str) -> None:
    stage, *values = text.split("|")
    fields: dict[str, Any] = dict(zip(FIELDS[stage], values, strict=True))
    signature = compute_signature(stage, **{**fields, "replicate": int(fields["replicate"])})
    assert canonical(stage, signature) == text
    assert compute_gen_id(stage, signature) == gen_id
    assert compute_gen_id(stage, signature, IdScheme()) == gen_id


def test_field_names_are_the_contracts() -> None:
    contract = {
        "draft": ("combo_id", "draft_template_id", "generation_model_id", "replicate"),
        "essay": ("draft_gen_id", "essay_template_id", "replicate"),
        "evaluation": ("essay_gen_id", "eval_template_id", "eval_model_id", "replicate"),
    }
    assert contract == FIELDS


# -- normalisation


@pytest.mark.parametrize(("stage", "name"), TEXT_FIELDS)
@pytest.mark.parametrize(
    ("value", "text"),
    [
        (" Sonnet-4\t", "sonnet-4"),
        ("ÉTÉ", "été"),
        ("\u212a-2", "k-2"),  # the Kelvin sign lowers to k
        ("a B", "a b"),
        (25, "25"),
        (-1, "-1"),
        (10**30, "1" + "0" * 30),
        ("1.0", "1.0"),
        ("none", "none"),
        ("\u00a0x\u3000", "x"),  # whatever str.strip calls blank
        ("\nx\n", "x"),  # a control character that stripping takes away does no harm
    ],
)
def test_text_fields_are_stripped_and_lowered(stage: str, name: str, value: object, text: str) -> None:
    signature = compute_signature(stage, **{**COMPLETE[stage], name: value})
    assert signature[FIELDS[stage].index(name)] == text


def test_composed_and_decomposed_letters_stay_two_texts() -> None:
    one = compute_signature("draft", **{**DRAFT, "combo_id": "\u00e9"})
    other = compute_signature("draft", **{**DRAFT, "combo_id": "e\u0301"})
    assert one != other


@pytest.mark.parametrize(("stage", "name"), PARENT_FIELDS)
@pytest.mark.parametrize(("value", "text"), [("D_Abc ", "D_Abc "), (" x", " x"), (7, "7")])
def test_parents_are_used_as_they_are(stage: str, name: str, value: object, text: str) -> None:
    assert compute_signature(stage, **{**COMPLETE[stage], name: value})[0] == text


def test_signature_is_in_the_contracts_order_and_ends_in_an_int() -> None:
    assert compute_signature("evaluation", **dict(reversed(EVALUATION.items()))) == (
        "e_4nyhf2w3mpgelz3h",
        "novelty",
        "qwen3_235b",
        1,
    )


# -- what is no field


ABSENT = [None, "", " ", "\t\n", "nan", "NaN", " NAN ", "unknown", "UNKNOWN", " Unknown\n", float("nan")]


@pytest.mark.parametrize("value", ABSENT, ids=repr)
def test_absent(value: object) -> None:
    assert is_absent(value)


@pytest.mark.parametrize(
    "value",
    [0, False, 1, "0", "null", "None", "nano", "unknowns", "n/a", [], {}, 0.0, float("inf")],
    ids=repr,
)
def test_not_absent(value: object) -> None:
    assert not is_absent(value)


def kinds(stage: str, fields: dict[str, Any]) -> list[tuple[str, str]]:
    """(kind, field) of the faults."""
    with pytest.raises(SignatureError) as caught:
        compute_signature(stage, **fields)
    assert isinstance(caught.value, ValueError)
    assert all(fault.field in fault.message for fault in caught.value.faults)
    return [(fault.kind, fault.field) for fault in caught.value.faults]


@pytest.mark.parametrize(("stage", "name"), EVERY_FIELD)
@pytest.mark.parametrize("value", ABSENT, ids=repr)
def test_an_absent_field_is_missing(stage: str, name: str, value: object) -> None:
    assert kinds(stage, {**COMPLETE[stage], name: value}) == [("missing-field", name)]


@pytest.mark.parametrize(("stage", "name"), EVERY_FIELD)
def test_a_field_that_is_not_given_is_missing(stage: str, name: str) -> None:
    fields = {key: value for key, value in COMPLETE[stage].items() if key != name}
    assert kinds(stage, fields) == [("missing-field", name)]


BAD_VALUES = [True, False, 1.0, 1.5, float("inf"), [], ["x"], {}, {"a": 1}, (), b"x", object()]
BAD_TEXTS = ["a|b", "|", "a\nb", "a\tb", "a\0b", "a\x07b", "a\x1fb", "a\x7fb", "a\x80b", "a\x9fb"]


@pytest.mark.parametrize(("stage", "name"), [*TEXT_FIELDS, *PARENT_FIELDS])
@pytest.mark.parametrize("value", [*BAD_VALUES, *BAD_TEXTS, "a\ud800b", "\udfff"], ids=lambda value: repr(value)[:12])
def test_an_invalid_field(stage: str, name: str, value: object) -> None:
    assert kinds(stage, {**COMPLETE[stage], name: value}) == [("invalid-field", name)]


@pytest.mark.parametrize("text", ["a\x20b", "a\x7eb", "a\xa0b", "a\u2028b", "a\ue000b", "a\U0001f600b"], ids=repr)
def test_what_is_no_control_character_is_kept(text: str) -> None:
    assert compute_signature("draft", **{**DRAFT, "combo_id": text})[0] == text


@pytest.mark.parametrize(("stage", "name"), PARENT_FIELDS)
def test_a_parent_with_a_line_end_is_invalid_since_nothing_strips_it(stage: str, name: str) -> None:
    assert kinds(stage, {**COMPLETE[stage], name: "d1\n"}) == [("invalid-field", name)]


@pytest.mark.parametrize("value", [0, -1, True, False, 1.0, 1.9, "1", " 1 ", "1.0", "1_0", "１", [], {}], ids=repr)
@pytest.mark.parametrize("stage", FIELDS)
def test_a_replicate_is_an_int_of_1_or_more(stage: str, value: object) -> None:
    assert kinds(stage, {**COMPLETE[stage], "replicate": value}) == [("invalid-field", "replicate")]


@pytest.mark.parametrize("value", [1, 2, 10**20])
def test_replicates(value: int) -> None:
    assert compute_signature("draft", **{**DRAFT, "replicate": value})[-1] == value


@pytest.mark.parametrize("name", ["combo_id", "replicate"])
@pytest.mark.parametrize("sign", [1, -1])
def test_an_integer_that_python_does_not_print_is_invalid(name: str, sign: int) -> None:
    assert kinds("draft", {**DRAFT, name: sign * 10**5000}) == [("invalid-field", name)]


def test_all_faults_are_told_at_once() -> None:
    fields = {"combo_id": "nan", "draft_template_id": 1.5, "generation_model_id": "a|b", "replicate": "2"}
    assert kinds("draft", fields) == [
        ("missing-field", "combo_id"),
        ("invalid-field", "draft_template_id"),
        ("invalid-field", "generation_model_id"),
        ("invalid-field", "replicate"),
    ]


def test_a_message_shows_a_long_value_short() -> None:
    with pytest.raises(SignatureError) as caught:
        compute_signature("draft", **{**DRAFT, "combo_id": ["x" * 1000]})
    assert len(str(caught.value)) < 200


def test_unknown_stage_and_unknown_field() -> None:
    with pytest.raises(ValueError, match="unknown stage 'essays'"):
        compute_signature("essays", **ESSAY)
    with pytest.raises(TypeError, match="has no field combo_id"):
        compute_signature("essay", **ESSAY, combo_id="c")


# -- base 36


def independent_base36(data: bytes) -> str:
    """Long division by 36 over the bytes, as on paper."""
    digits, text = list(data), ""
    while any(digits):
        rest = 0
        for place, digit in enumerate(digits):
            digits[place], rest = divmod(rest * 256 + digit, 36)
        text = (chr(ord("0") + rest) if rest < 10 else chr(ord("a") + rest - 10)) + text
    return text or "0"


@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(1, 64))
def test_digest_is_blake2b_in_base_36(text: str, size: int) -> None:
    digest = hashlib.blake2b(text.encode("utf-8"), digest_size=size).digest()
    made = IdScheme(size).digest(text)
    assert made == independent_base36(digest)
    assert int(made, 36) == int.from_bytes(digest, "big")
    assert made == "0" or not made.startswith("0")


def test_zero_is_one_digit() -> None:
    digests = ((str(n), hashlib.blake2b(str(n).encode(), digest_size=1).digest()) for n in count())
    zero = next(text for text, digest in digests if digest == b"\0")
    assert IdScheme(1).digest(zero) == "0"


def test_ids_vary_in_length() -> None:
    """Without padding, about 18 % are shorter than 18 characters: nothing may judge an id by its length."""
    made = [compute_gen_id("draft", ("c", "t", "m", number)) for number in range(1, 2001)]
    assert 0.15 < sum(len(gen_id) < 18 for gen_id in made) / len(made) < 0.21
    assert max(map(len, made)) == 18


def test_the_default_scheme_is_80_bits() -> None:
    assert IdScheme() == IdScheme(digest_size=10)


# -- right ids and collisions


SMALL = IdScheme(digest_size=1)


def colliding(stage: str, wanted: int) -> list[Signature]:
    """Signatures that share one bare id under SMALL, sorted by canonical text."""
    groups: dict[str, list[Signature]] = {}
    for number in count():
        signature = (f"d{number}", "t", 1) if stage == "essay" else (f"c{number}", "t", "m", 1)
        group = groups.setdefault(compute_gen_id(stage, signature, SMALL), [])
        group.append(signature)
        if len(group) == wanted:
            return sorted(group, key=lambda each: canonical(stage, each))
    raise AssertionError


def test_is_right_id() -> None:
    signature = compute_signature("draft", **DRAFT)
    bare = "d_4py995ydm8lggqs"
    for right in (bare, f"{bare}-1", f"{bare}-2", f"{bare}-10", f"{bare}-999999999"):
        assert is_right_id(right, "draft", signature), right
    for wrong in ("", "x", bare[:-1], bare.upper(), f"x{bare}", f"{bare}1", f"{bare}_1"):
        assert not is_right_id(wrong, "draft", signature), wrong
    for tail in ("-", "-0", "-01", "-x", "--1", "-1-1", "-１", "-1\n"):
        assert not is_right_id(bare + tail, "draft", signature), tail
    assert not is_right_id(bare, "draft", (*signature[:-1], 2))
    assert not is_right_id(bare, "draft", signature, SMALL)
    assert is_right_id(compute_gen_id("draft", signature, SMALL), "draft", signature, SMALL)


def test_without_a_collision_everyone_gets_the_bare_id() -> None:
    claims = {("c", "t", "m", number): name for number, name in enumerate([None, "old", "d_x", ""], 1)}
    registry = IdRegistry("draft")
    assert registry.assign(claims) == {signature: compute_gen_id("draft", signature) for signature in claims}
    assert registry.collisions == []


@pytest.mark.parametrize("reverse", [False, True])
def test_a_collision_without_bearer_goes_by_canonical_text(reverse: bool) -> None:
    first, second, third = colliding("draft", 3)
    bare = compute_gen_id("draft", first, SMALL)
    order = [first, second, third][:: -1 if reverse else 1]
    registry = IdRegistry("draft", SMALL)
    assigned = registry.assign(dict.fromkeys(order, "legacy"))
    assert assigned == {first: bare, second: f"{bare}-1", third: f"{bare}-2"}
    (collision,) = registry.collisions
    assert (collision.stage, collision.gen_id) == ("draft", bare)
    assert collision.ids == {canonical("draft", signature): gen_id for signature, gen_id in assigned.items()}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("c!", "t", "m"), ("c", "t", "m")),  # ! sorts before |
        (("c(", "t", "m"), ("c", "t", "m")),  # and so does (, which sorts behind a quote
        (("c", "a", "m"), ("c", "b", "m")),
    ],
)
def test_canonical_order_is_that_of_the_whole_text(one: Signature, other: Signature) -> None:
    """Not that of the fields one by one, nor of numbers: replicate 10 sorts before 2."""
    wanted: dict[str, list[Signature]] = {}
    for number, task in product(range(1, 400), (other, one)):
        wanted.setdefault(compute_gen_id("draft", (*task, number), SMALL), []).append((*task, number))
    for bare, members in wanted.items():
        in_order = sorted(members, key=lambda signature: canonical("draft", signature))
        expected = {signature: f"{bare}-{n}" if n else bare for n, signature in enumerate(in_order)}
        assert IdRegistry("draft", SMALL).assign(dict.fromkeys(members)) == expected
    assert any(len({signature[:3] for signature in members}) == 2 for members in wanted.values())


def test_whoever_bears_the_bare_id_keeps_it() -> None:
    first, second, third = colliding("essay", 3)
    bare = compute_gen_id("essay", first, SMALL)
    assigned = IdRegistry("essay", SMALL).assign({first: "a", second: "b", third: bare})
    assert assigned == {third: bare, first: f"{bare}-1", second: f"{bare}-2"}


def test_suffixes_are_stable() -> None:
    """A second assignment changes nothing, and a newcomer takes the next suffix, wherever it sorts."""
    first, second, third, fourth = colliding("draft", 4)
    bare = compute_gen_id("draft", first, SMALL)
    once = IdRegistry("draft", SMALL).assign({second: "x", third: "y", fourth: "z"})
    assert once == {second: bare, third: f"{bare}-1", fourth: f"{bare}-2"}
    assert IdRegistry("draft", SMALL).assign(once) == once
    assert IdRegistry("draft", SMALL).assign({first: None, **once}) == {first: f"{bare}-3", **once}
    assert IdRegistry("draft", SMALL).assign({first: "new", **once}) == {first: f"{bare}-3", **once}


def test_a_suffix_stays_when_the_bearer_of_the_bare_id_is_gone() -> None:
    first, second = colliding("draft", 2)
    bare = compute_gen_id("draft", first, SMALL)
    assert IdRegistry("draft", SMALL).assign({second: f"{bare}-1"}) == {second: f"{bare}-1"}
    assert IdRegistry("draft", SMALL).assign({first: "x", second: f"{bare}-2"}) == {
        first: bare,
        second: f"{bare}-2",
    }


def test_taken_names_are_given_to_nobody() -> None:
    first, second = colliding("draft", 2)
    bare = compute_gen_id("draft", first, SMALL)
    registry = IdRegistry("draft", SMALL, taken={bare, f"{bare}-2"})
    assert registry.assign({first: None, second: None}) == {first: f"{bare}-1", second: f"{bare}-3"}
    assert IdRegistry("draft", SMALL, taken={bare}).assign({first: None}) == {first: f"{bare}-1"}


@given(st.lists(st.tuples(st.integers(0, 40), st.sampled_from([None, "old", "bare", "1", "3"])), max_size=30))
def test_ids_are_distinct_and_right_whatever_is_claimed(wanted: list[tuple[int, str | None]]) -> None:
    claims: dict[Signature, str | None] = {}
    borne: set[str] = set()
    for number, how in wanted:
        signature = ("c", "t", "m", number + 1)
        bare = compute_gen_id("draft", signature, SMALL)
        name = {"bare": bare, "1": f"{bare}-1", "3": f"{bare}-3"}.get(how or "", how)
        if signature not in claims and (name in (None, "old") or name not in borne):
            claims[signature] = name
            borne |= {name} if name else set()
    assigned = IdRegistry("draft", SMALL).assign(claims)
    assert len(set(assigned.values())) == len(assigned) == len(claims)
    for signature, gen_id in assigned.items():
        assert is_right_id(gen_id, "draft", signature, SMALL)
        assert re.fullmatch(r"d_[0-9a-z]+(-[1-9][0-9]*)?", gen_id)
        if is_right_id(claims[signature] or "", "draft", signature, SMALL):
            assert gen_id == claims[signature]
