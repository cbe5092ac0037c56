"""Old id -> new id: one run's file, all runs composed, and cells that no spreadsheet runs."""

from __future__ import annotations

import csv
import io
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.errors import CareNeeded
from migrator.store.layout import STAGES, gen_path, run_mappings
from migrator.store.mappings import (
    MAPPING,
    Names,
    Past,
    compose,
    follow,
    of_tree,
    read_mapping,
    render_issues,
    render_mapping,
    render_synthetic,
    sorted_rows,
)
from migrator.store.problems import COLUMNS, Problem, ordered
from migrator.store.records import Key

DRAFT, ESSAY = "draft", "essay"
SOME = ["a", "b", "c d", "e,f", 'g"h', "é", "d_1", "i\nj", " k"]
names_of_few = st.sampled_from(SOME)


def rows(data: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode(), newline="")))


def test_rows_stand_in_stage_order_then_by_old_id() -> None:
    unsorted = [
        ("evaluation", "a", "v_1"),
        ("essay", "b", "e_2"),
        ("draft", "é", "d_1"),
        ("draft", "Z", "d_2"),
    ]
    assert sorted_rows([*unsorted, ("essay", "a", "e_9")]) == [
        ("draft", "Z", "d_2"),
        ("draft", "é", "d_1"),
        ("essay", "a", "e_9"),
        ("essay", "b", "e_2"),
        ("evaluation", "a", "v_1"),
    ]


def test_mapping_csv() -> None:
    assert render_mapping([("draft", "007", "d_1"), ("essay", 'a,"b"', "e_1")]) == (
        b'stage,old_gen_id,new_gen_id\ndraft,007,d_1\nessay,"a,""b""",e_1\n'
    )
    assert render_mapping([]) == b"stage,old_gen_id,new_gen_id\n"


def test_a_mapping_is_read_back_by_the_letter(tmp_path: Path) -> None:
    odd = ["007", "1e5", "nan", "NA", " x ", 'a,"b"', "é 模板", "a\nb", "a\rb", "x'y", "x" * 255]
    (tmp_path / MAPPING).write_bytes(render_mapping([("draft", old, f"d_{n}") for n, old in enumerate(odd)]))
    assert read_mapping(tmp_path / MAPPING) == {("draft", old): f"d_{n}" for n, old in enumerate(odd)}


@pytest.mark.parametrize("data", [None, b"\xff", b"a,b\n1,2\n"])
def test_a_mapping_that_cannot_be_read_needs_care(tmp_path: Path, data: bytes | None) -> None:
    if data is not None:
        (tmp_path / MAPPING).write_bytes(data)
    with pytest.raises(CareNeeded, match="a mapping cannot be read"):
        read_mapping(tmp_path / MAPPING)


@pytest.mark.parametrize(
    ("maps", "total"),
    [
        ([], {}),
        ([{(DRAFT, "a"): "b"}], {(DRAFT, "a"): "b"}),
        ([{(DRAFT, "a"): "b"}, {(DRAFT, "b"): "c"}], {(DRAFT, "a"): "c", (DRAFT, "b"): "c"}),
        ([{(DRAFT, "a"): "b"}, {(ESSAY, "b"): "c"}], {(DRAFT, "a"): "b", (ESSAY, "b"): "c"}),
        # a cycle within one run, then the same name again for another generation
        (
            [{(DRAFT, "a"): "b", (DRAFT, "b"): "a"}, {(DRAFT, "a"): "x", (DRAFT, "b"): "y"}],
            {(DRAFT, "a"): "x", (DRAFT, "b"): "y"},
        ),
        # a name from before that a later run's generation bears means the later one
        (
            [{(DRAFT, "a"): "b"}, {(DRAFT, "b"): "b", (DRAFT, "a"): "n"}],
            {(DRAFT, "a"): "n", (DRAFT, "b"): "b"},
        ),
        (
            [{(DRAFT, "a"): "b"}, {(DRAFT, "b"): "b"}, {(DRAFT, "b"): "c"}],
            {(DRAFT, "a"): "c", (DRAFT, "b"): "c"},
        ),
    ],
)
def test_compose(maps: list[dict[tuple[str, str], str]], total: dict[tuple[str, str], str]) -> None:
    assert compose(maps) == total


def test_of_tree_composes_the_runs_in_the_order_given(tmp_path: Path) -> None:
    for run, old, new in (("r2", "a", "b"), ("r1", "b", "c")):
        folder = tmp_path / ".migrator/mappings" / run
        folder.mkdir(parents=True)
        (folder / MAPPING).write_bytes(render_mapping([("draft", old, new)]))
    assert of_tree(tmp_path, ["r2", "r1"]) == {("draft", "a"): "c", ("draft", "b"): "c"}
    with pytest.raises(CareNeeded):
        of_tree(tmp_path, ["r3"])


def test_synthetic_drafts_csv() -> None:
    row = {
        "replicate": 2,
        "draft_gen_id": "d_1",
        "how": "made",
        "essay_old_gen_id": "x",
        "essay_new_gen_id": "e_1",
        "combo_id": "c, d",
        "template_id": "t",
        "llm_model_id": 7,
        "more": "left out",
    }
    assert rows(render_synthetic([row])) == [
        [
            *("draft_gen_id", "how", "essay_old_gen_id", "essay_new_gen_id"),
            *("combo_id", "template_id", "llm_model_id", "replicate"),
        ],
        ["d_1", "made", "x", "e_1", "c, d", "t", "7", "2"],
    ]


def test_issues_csv() -> None:
    problem = Problem("missing-parent", "essay", "e1", "gens/essay/e1/metadata.json", "its parent, 'x', is gone")
    assert rows(render_issues([problem, Problem("stale-table", path="5_parsing/x.csv")])) == [
        ["kind", "blocking", "stage", "gen_id", "path", "message"],
        ["missing-parent", "True", "essay", "e1", "gens/essay/e1/metadata.json", "its parent, 'x', is gone"],
        ["stale-table", "False", "", "", "5_parsing/x.csv", ""],
    ]
    assert COLUMNS == ("kind", "blocking", "stage", "gen_id", "path", "message")


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_of_issues_is_a_formula(start: str) -> None:
    (_, row) = rows(render_issues([Problem("unsafe-path", "draft", f"{start}x", "gens/x", f"{start}y")]))
    assert row == ["unsafe-path", "True", "draft", f"'{start}x", "gens/x", f"'{start}y"]


def test_a_name_that_is_not_utf_8_can_be_told() -> None:
    assert b"\\udce9" in render_issues([Problem("unsafe-path", "draft", "\udce9")])


def test_problems_are_ordered_blocking_first_and_once() -> None:
    warning, late = Problem("stale-table", path="a"), Problem("unsafe-path", path="b")
    early = Problem("invalid-json", "draft", "x")
    assert ordered([warning, late, early, late]) == [early, late, warning]


def test_a_collision_blocks_until_it_is_accepted() -> None:
    collision = Problem("id-collision", "draft", "d_1")
    assert collision.blocking
    assert not collision.accept().blocking
    assert Problem("something-new").blocking


FIRST = ("r1", {(DRAFT, "a"): "d_1", (DRAFT, "b"): "d_2", (ESSAY, "a"): "e_1"})
SWAP = ("r2", {(DRAFT, "d_1"): "d_2", (DRAFT, "d_2"): "d_1", (DRAFT, "d_3"): "d_3"})


@pytest.mark.parametrize(
    ("name", "since", "now", "today"),
    [
        ("a", [], [], "a"),
        ("a", [], [FIRST], "d_1"),
        ("a", [], [FIRST, SWAP], "d_2"),
        ("d_1", [FIRST], [FIRST], "d_1"),
        ("d_1", [FIRST], [FIRST, SWAP], "d_2"),  # a name that means another one by now
        ("d_1", [FIRST], [], "a"),  # undone
        ("d_1", [FIRST, SWAP], [], "b"),
        ("d_1", [FIRST, SWAP], [("r3", {(DRAFT, "b"): "d_9"})], "d_9"),  # undone, and done in another way
        ("d_7", [FIRST], [], "d_7"),  # made after the run: no run knows it
    ],
)
def test_a_name_is_followed_from_then_to_now(name: str, since: list[Any], now: list[Any], today: str) -> None:
    """Runs that were undone are gone back, runs that came are gone forward; no name is taken for another's."""
    key = (DRAFT, name)
    assert follow([key], Past(tuple(since)), Past(tuple(now))) == {key: (DRAFT, today)}


def test_the_past_of_a_tree_is_read_in_the_order_of_its_runs(tmp_path: Path) -> None:
    for run_id, mapping in (FIRST, SWAP):
        folder = tmp_path / ".migrator" / "mappings" / run_id
        folder.mkdir(parents=True)
        (folder / MAPPING).write_bytes(render_mapping((stage, old, new) for (stage, old), new in mapping.items()))
    assert Past.of_tree(tmp_path, ["r1", "r2"]) == Past((FIRST, SWAP))
    assert Past.of_tree(tmp_path, ["r1", "r2"]).run_ids == ["r1", "r2"]


# -- a few names of a large store


@given(
    st.lists(st.dictionaries(st.tuples(st.sampled_from(STAGES), names_of_few), names_of_few, max_size=5), max_size=4),
    st.dictionaries(st.sampled_from(STAGES), st.frozensets(names_of_few)),
)
def test_a_look_up_says_what_all_mappings_say(maps: list[dict[Key, str]], there: dict[str, frozenset[str]]) -> None:
    """Chains, names used again, names with commas, quotes and blanks: whatever the runs were."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for stage in STAGES:
            for name in there.get(stage, ()):
                (root / gen_path(stage, name)).mkdir(parents=True)
        for number, one in enumerate(maps):
            rows = [(stage, old, new) for (stage, old), new in one.items()]
            path = root / run_mappings(str(number))
            path.mkdir(parents=True)
            (path / MAPPING).write_bytes(render_mapping(sorted_rows(rows)))
        runs = [str(number) for number in range(len(maps))]
        whole = Names.read(root, runs)
        few = Names.of(root, runs, SOME)
        for stage in STAGES:
            assert [few.today(name, stage) for name in SOME] == [whole.today(name, stage) for name in SOME]


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "n" * 300, ".hidden", "nul\0"])
def test_what_is_no_name_is_no_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "gens/draft/.hidden").mkdir(parents=True)
    assert Names.of(tmp_path, [], [name]).today(name) is None


def test_a_mapping_that_is_missing_is_no_empty_one(tmp_path: Path) -> None:
    with pytest.raises(CareNeeded):
        Names.of(tmp_path, ["20260101-000000"], ["a"])
