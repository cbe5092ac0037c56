"""Every place of the contract's 0003 that mentions an id, and look-alikes that must stay."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.store.references import (
    follow_copy,
    follow_document,
    follow_selection,
    is_selection,
    stage_of_row,
)

NAMES = {
    "draft": {"d1": "D1", "x": "DX", "7": "D7"},
    "essay": {"e1": "E1", "e1__a": "E1A", "x": "EX", "7": "E7"},
    "evaluation": {"v1": "V1", "x": "VX"},
}


def followed(node: Any, stage: str = "essay") -> Any:
    return follow_document(node, stage, NAMES)


@pytest.mark.parametrize(
    ("stage", "node", "after"),
    [
        # three keys name their stage
        ("essay", {"draft_gen_id": "x"}, {"draft_gen_id": "DX"}),
        ("draft", {"essay_gen_id": "x"}, {"essay_gen_id": "EX"}),
        ("draft", {"evaluation_gen_id": "x"}, {"evaluation_gen_id": "VX"}),
        (
            "draft",
            {"stage": "evaluation", "draft_gen_id": "x"},
            {"stage": "evaluation", "draft_gen_id": "DX"},
        ),
        # gen_id: the sibling's stage, else the file's own
        ("draft", {"gen_id": "x"}, {"gen_id": "DX"}),
        ("essay", {"gen_id": "x"}, {"gen_id": "EX"}),
        ("evaluation", {"gen_id": "x"}, {"gen_id": "VX"}),
        ("essay", {"stage": "draft", "gen_id": "x"}, {"stage": "draft", "gen_id": "DX"}),
        ("essay", {"stage": "summary", "gen_id": "x"}, {"stage": "summary", "gen_id": "EX"}),
        ("essay", {"stage": None, "gen_id": "x"}, {"stage": None, "gen_id": "EX"}),
        ("essay", {"stage": ["draft"], "gen_id": "x"}, {"stage": ["draft"], "gen_id": "EX"}),
        # parent_gen_id: that stage's parent stage
        ("essay", {"parent_gen_id": "x"}, {"parent_gen_id": "DX"}),
        ("evaluation", {"parent_gen_id": "x"}, {"parent_gen_id": "EX"}),
        ("draft", {"parent_gen_id": "x"}, {"parent_gen_id": "x"}),
        (
            "draft",
            {"stage": "evaluation", "parent_gen_id": "x"},
            {"stage": "evaluation", "parent_gen_id": "EX"},
        ),
        ("essay", {"stage": "draft", "parent_gen_id": "x"}, {"stage": "draft", "parent_gen_id": "x"}),
        # the sibling counts in its own object only
        (
            "essay",
            {"stage": "draft", "inner": {"gen_id": "x"}, "gen_id": "x"},
            {"stage": "draft", "inner": {"gen_id": "EX"}, "gen_id": "DX"},
        ),
        # at any depth, in lists too
        (
            "evaluation",
            {
                "a": [[{"b": {"essay_gen_id": "e1"}}, {"gen_id": "v1"}]],
                "c": [{"stage": "draft", "gen_id": "d1"}],
            },
            {
                "a": [[{"b": {"essay_gen_id": "E1"}}, {"gen_id": "V1"}]],
                "c": [{"stage": "draft", "gen_id": "D1"}],
            },
        ),
        # an id that is a number
        ("essay", {"gen_id": 7, "draft_gen_id": 7}, {"gen_id": "E7", "draft_gen_id": "D7"}),
        # task ids
        ("draft", {"task_id": "e1__novelty__m"}, {"task_id": "E1__novelty__m"}),
        ("draft", {"evaluation_task_id": "e1__novelty"}, {"evaluation_task_id": "E1__novelty"}),
        ("draft", {"task_id": "e1__a__b"}, {"task_id": "E1A__b"}),
        ("draft", {"task_id": "e1__ab__c"}, {"task_id": "E1__ab__c"}),
        ("draft", {"task_id": "e1__"}, {"task_id": "E1__"}),
        ("draft", {"task_id": "x___b"}, {"task_id": "EX___b"}),
        ("essay", {"task_id": "e1__x/gens/draft/d1/y"}, {"task_id": "E1__x/gens/draft/D1/y"}),
        # paths, in any text
        ("essay", {"raw_path": "gens/draft/d1/raw.txt"}, {"raw_path": "gens/draft/D1/raw.txt"}),
        (
            "essay",
            {"files": {"raw": "/srv/data/gens/essay/e1/raw.txt"}},
            {"files": {"raw": "/srv/data/gens/essay/E1/raw.txt"}},
        ),
        ("essay", {"copied_from": "gens/draft/x"}, {"copied_from": "gens/draft/DX"}),
        ("essay", {"a": "gens/draft/x/"}, {"a": "gens/draft/DX/"}),
        ("essay", ["file:///gens/evaluation/v1"], ["file:///gens/evaluation/V1"]),
        ("essay", {"a": "gens/draft/x/gens/essay/x/y"}, {"a": "gens/draft/DX/gens/essay/EX/y"}),
        ("essay", {"a": "gens/draft/x/y/gens/draft/d1"}, {"a": "gens/draft/DX/y/gens/draft/D1"}),
        ("essay", {"a": "/gens/draft/gens/draft/d1/y"}, {"a": "/gens/draft/gens/draft/D1/y"}),
        ("essay", {"gen_id": "gens/draft/d1/y"}, {"gen_id": "gens/draft/D1/y"}),
        ("essay", {"task_id": "gens/draft/d1/y"}, {"task_id": "gens/draft/D1/y"}),
        ("essay", {"draft_gen_id": ["gens/draft/d1", "d1"]}, {"draft_gen_id": ["gens/draft/D1", "d1"]}),
        ("essay", {"draft_gen_id": {"gen_id": "e1"}}, {"draft_gen_id": {"gen_id": "E1"}}),
    ],
)
def test_every_mention_follows(stage: str, node: Any, after: Any) -> None:
    assert followed(node, stage) == after


@pytest.mark.parametrize(
    "node",
    [
        {"draft_gen_id": "e1"},  # an id of another stage
        {"gen_id": "d1"},
        {"draft_gen_id": "D1"},
        {"draft_gen_id": " d1"},
        {"draft_gen_id": "d10"},
        {"draft_gen_id": None, "gen_id": True, "parent_gen_id": 1.5},
        {"id": "x", "name": "x", "gen_ids": ["x"], "xgen_id": "x", "GEN_ID": "x"},
        {"x": "x", "d1": {"e1": "v1"}},  # keys are no mentions
        {"essay_task_id": "e1__is-not-followed", "parent_task_id": "e1__x"},
        {"task_id": "e1"},
        {"task_id": "e1_a"},
        {"task_id": "ae1__b"},
        {"task_id": "d1__b"},
        {"task_id": "__e1__"},
        {"task_id": 7},
        {"a": "gens/draft/d1.txt"},
        {"a": "gens/draft/d1 "},
        {"a": "mygens/draft/d1/raw.txt"},
        {"a": "see gens/draft/d1/raw.txt"},
        {"a": "gens/drafts/d1/raw.txt"},
        {"a": "gens/summary/x/raw.txt"},
        {"a": "gens/draft/e1/raw.txt"},
        {"a": "gens//draft/d1"},
        {"a": "gens/draft//d1"},
        {"a": "gens/draft/"},
        {"a": "GENS/draft/d1"},
        {"a": "gens\\draft\\d1"},
        {"gens/draft/d1/raw.txt": 1},
    ],
    ids=str,
)
@pytest.mark.parametrize("stage", ["essay"])
def test_look_alikes_stay_the_very_same_object(node: Any, stage: str) -> None:
    assert followed(node, stage) is node


def test_what_does_not_change_is_shared_and_the_order_of_keys_stays() -> None:
    node = {"z": {"deep": [1]}, "gen_id": "e1", "a": [{"b": 2}], "stage": "essay"}
    after = followed(node)
    assert list(after.items()) == [
        ("z", {"deep": [1]}),
        ("gen_id", "E1"),
        ("a", [{"b": 2}]),
        ("stage", "essay"),
    ]
    assert after["z"] is node["z"]
    assert after["a"] is node["a"]
    assert node["gen_id"] == "e1"


def test_chains_and_cycles_are_followed_once() -> None:
    names = {"draft": {"a": "b", "b": "c", "p": "q", "q": "p"}, "essay": {"a": "b", "b": "a"}}
    node = {
        "draft_gen_id": "a",
        "gen_id": "b",
        "task_id": "a__x",
        "paths": ["gens/draft/a/gens/draft/b/c", "gens/draft/p", "gens/draft/q"],
    }
    assert follow_document(node, "essay", names) == {
        "draft_gen_id": "b",
        "gen_id": "a",
        "task_id": "b__x",
        "paths": ["gens/draft/b/gens/draft/c/c", "gens/draft/q", "gens/draft/p"],
    }
    assert follow_selection("a\nb\np\nq\n", names) == "b\na\nq\np\n"


def test_a_name_with_the_signs_of_a_pattern_is_taken_by_the_letter() -> None:
    names = {"draft": {r"a.b\1 (c)": r"\g<0>"}}
    assert follow_document({"p": r"gens/draft/a.b\1 (c)/raw"}, "draft", names) == {"p": r"gens/draft/\g<0>/raw"}
    assert followed({"p": "gens/draft/xx/raw"}) == {"p": "gens/draft/xx/raw"}


IDS = st.sampled_from(["d1", "e1", "x", "7", "other", "D1", ""])
PIECES = st.lists(st.sampled_from(["gens", "draft", "essay", "summary", "d1", "x", "e1", "", "raw.txt"]), max_size=8)


@given(PIECES)
def test_paths_by_the_letter(pieces: list[str]) -> None:
    """Each `gens`, `<stage>`, `<id>` in a row between slashes."""
    expected = list(pieces)
    for at in range(len(pieces) - 2):
        if pieces[at] == "gens" and pieces[at + 1] in NAMES:
            expected[at + 2] = NAMES[pieces[at + 1]].get(pieces[at + 2], pieces[at + 2])
    assert followed("/".join(pieces)) == "/".join(expected)


@given(st.lists(IDS, max_size=3), st.sampled_from(["essay", "evaluation", "draft"]))
def test_following_to_oneself_changes_nothing(ids: list[str], stage: str) -> None:
    """A second pass, in which every name is a new one, gives the very same object."""
    after = follow_document([{"gen_id": one, "p": f"gens/{stage}/{one}"} for one in ids], stage, NAMES)
    new = {stage: {name: name for name in names.values()} for stage, names in NAMES.items()}
    assert follow_document(after, stage, new) == after


# -- lists, copies, rows


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("e1\nd1\n", "E1\nD1\n"),
        ("x\n", "EX\n"),  # an essay before a draft
        ("v1\n", "v1\n"),  # an evaluation is never selected
        ("  e1\t\r\nd1  ", "E1\r\nD1"),
        ("e1\rd1\n\r\n e1", "E1\rD1\n\r\nE1"),
        ("# e1\n#e1\n# mode: regenerate\n# fill-up\n", "# e1\n#e1\n# mode: regenerate\n# fill-up\n"),
        ("never-was\n  never-was \n\n   \n", "never-was\n  never-was \n\n   \n"),
        ("e1.txt\ne1 # why\ne1 d1\n", "e1.txt\ne1 # why\ne1 d1\n"),
        ("\ufeffe1\ne1\n", "\ufeffE1\nE1\n"),
        ("\ufeff\n", "\ufeff\n"),
        ("e1\u2028d1\n", "e1\u2028d1\n"),
        ("e1\ne1\n", "E1\nE1\n"),
        ("", ""),
    ],
)
def test_lines_of_a_selection(text: str, after: str) -> None:
    assert follow_selection(text, NAMES) == after


def test_which_files_are_selections() -> None:
    for path in ("2_tasks/selected_essays.txt", "2_tasks/selected_.txt", "2_tasks/selected_x.é.txt"):
        assert is_selection(path)
    for path in (
        "2_tasks/selected.txt",
        "2_tasks/selected_essays.csv",
        "2_tasks/old/selected_essays.txt",
        "selected_essays.txt",
        "2_tasks/my_selected_x.txt",
    ):
        assert not is_selection(path)


def test_copies_are_called_after_essays() -> None:
    assert [follow_copy(name, NAMES) for name in ("e1.txt", "x.txt", "d1.txt", "e1.md", "e1", "e1.txt.txt")] == [
        "E1.txt",
        "EX.txt",
        "d1.txt",
        "e1.md",
        "e1",
        "e1.txt.txt",
    ]


@pytest.mark.parametrize(
    ("path", "record", "stage"),
    [
        ("cohorts/a/membership.csv", {"stage": "draft", "gen_id": "x"}, "draft"),
        ("cohorts/a/membership.csv", {"stage": " essay ", "gen_id": "x"}, "essay"),
        ("cohorts/a/membership.csv", {"stage": "summary", "gen_id": "d1"}, None),
        ("2_tasks/draft_generation_tasks.csv", {"gen_id": "x"}, "draft"),
        ("2_tasks/evaluation_tasks.csv", {"gen_id": "d1"}, "evaluation"),
        ("2_tasks/essay_generation_tasks.csv", {"stage": "draft", "gen_id": "x"}, "draft"),
        ("2_tasks/other.csv", {"gen_id": " d1 "}, "draft"),
        ("2_tasks/other.csv", {"gen_id": "v1"}, "evaluation"),
        ("2_tasks/other.csv", {"gen_id": "x"}, None),  # three stages have it
        ("2_tasks/other.csv", {"gen_id": "never-was"}, None),
        ("2_tasks/other.csv", {"other": "d1"}, None),
    ],
)
def test_the_stage_that_a_row_speaks_of(path: str, record: dict[str, str], stage: str | None) -> None:
    own = record.get("stage")
    assert stage_of_row(path, own and own.strip(), record.get("gen_id", "").strip(), NAMES) == stage
