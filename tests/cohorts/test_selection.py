"""selected_essays.txt: directives, aliases, comments, names of today and of the past."""

from __future__ import annotations

from pathlib import Path

import pytest

from migrator.cohorts import selection
from migrator.cohorts.selection import CARTESIAN, REGENERATE, REUSE_DRAFTS, REUSE_ESSAYS
from migrator.store.index import Index
from tests.cohorts.stores import draft, essay, select, tables


@pytest.mark.parametrize(
    ("text", "mode", "fill_up"),
    [
        ("e1", REGENERATE, False),
        ("# mode: regenerate\ne1", REGENERATE, False),
        ("# mode: reuse-drafts\ne1", REUSE_DRAFTS, False),
        ("# mode: reuse_drafts\ne1", REUSE_DRAFTS, False),
        ("#MODE:Reuse-Essays\ne1", REUSE_ESSAYS, False),
        ("## Mode : reuse_essays   # why\ne1", REUSE_ESSAYS, False),
        ("# mode: evaluation-only\ne1", REUSE_ESSAYS, False),
        ("# mode: EVALUATIONS-ONLY\ne1", REUSE_ESSAYS, False),
        ("# mode: reuse-drafts\ne1\n# mode: reuse-essays", REUSE_ESSAYS, False),
        ("# mode: reuse-essays\n# fill-up\ne1", REUSE_ESSAYS, True),
        ("# fillup\ne1\n# mode: reuse-essays", REUSE_ESSAYS, True),
        ("#Skip-Existing-Evaluations\n# mode: evaluation-only\r\ne1\r\n", REUSE_ESSAYS, True),
        ("\ufeff# mode: reuse-drafts\ne1", REUSE_DRAFTS, False),
        ("# mode: reuse-drafts\n# nobody is listed\n\n", CARTESIAN, False),
        ("", CARTESIAN, False),
    ],
)
def test_modes(text: str, mode: str, fill_up: bool) -> None:
    found, problems = selection.parse(text)
    assert (found.mode, found.fill_up, problems) == (mode, fill_up, [])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("e1\n# mode: again", "line 2: there is no mode 'again'"),
        ("# mode:\ne1", "line 1: there is no mode ''"),
        ("# mode: again\n# mode: reuse-drafts\ne1", "line 1: there is no mode 'again'"),
        ("# fill-up\ne1", "line 1: fill-up goes with the mode reuse-essays, and this is regenerate"),
        ("# mode: reuse-drafts\n# fill-up\ne1", "line 2: fill-up goes with the mode reuse-essays"),
    ],
)
def test_wrong_directives(text: str, message: str) -> None:
    _, problems = selection.parse(text)
    assert [problem.path for problem in problems] == ["2_tasks/selected_essays.txt"]
    assert problems[0].message.startswith(message)


def test_ids_and_comments() -> None:
    found, _ = selection.parse("# a list\n  e1  \n\ne2 # the best\ne1\na#b\n")
    assert found.essays == {"e1": 2, "e2": 4, "a#b": 6}


def test_names_of_the_past_are_followed_and_each_essay_counts_once(tmp_path: Path) -> None:
    root = tables(tmp_path)
    parent = draft(root)
    one, two = essay(root, parent, 1), essay(root, parent, 2)
    chosen, _ = selection.parse(f"old-two\n{two}\n{one}\n")
    past = {("essay", "old-two"): two}
    assert selection.resolve(chosen, Index.read(root), past) == (sorted([one, two]), [])


def test_lines_that_name_no_essay(tmp_path: Path) -> None:
    root = tables(tmp_path)
    parent = draft(root)
    chosen, _ = selection.parse(f"{parent}\n../../x\ngone\n")
    _, problems = selection.resolve(chosen, Index.read(root), {("essay", "gone"): "e_not-there"})
    assert [problem.message for problem in problems] == [
        f"line 1: {parent!r} is a draft: list the essays below it",
        "line 2: '../../x' is no essay of the store, by no name it ever had",
        "line 3: 'gone' is no essay of the store, by no name it ever had",
    ]


def test_a_file_that_cannot_be_read_as_one(tmp_path: Path) -> None:
    root = tables(tmp_path)
    (root / "2_tasks/selected_essays.txt").write_bytes(b"\xff\xfe")
    assert [problem.message for problem in selection.read(root)[1]] == ["line 1 is not UTF-8"]
    (root / "2_tasks/selected_essays.txt").unlink()
    assert selection.read(root) == (selection.Selection(), [])
    select(root, "e1")
    assert selection.read(root)[0].curated
