"""Flags, numbers and ids of the tables: read as the contract says, or told with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from migrator.cohorts import axes
from tests.cohorts.stores import tables, write


def wrong(root: Path, *, curated: bool = False) -> list[tuple[str, str]]:
    return [(problem.path, problem.message) for problem in axes.read(root, curated=curated)[1]]


@pytest.mark.parametrize("flag", ["true", "True", "TRUE", "1", "yes", "YES", " yes "])
def test_in(tmp_path: Path, flag: str) -> None:
    found, problems = axes.read(tables(tmp_path, draft={"dt": flag, "other": "no"}), curated=False)
    assert (found.templates["draft"], problems) == (("dt",), [])


@pytest.mark.parametrize("flag", ["false", "FALSE", "0", "no", "No"])
def test_out(tmp_path: Path, flag: str) -> None:
    found, problems = axes.read(tables(tmp_path, draft={"dt": "true", "other": flag}), curated=False)
    assert (found.templates["draft"], problems) == (("dt",), [])


@pytest.mark.parametrize("flag", ["", "maybe", "2", "t", "nan", "on"])
@pytest.mark.parametrize("stage", ["draft", "essay", "evaluation"])
def test_any_other_text_is_an_error_with_its_line(tmp_path: Path, flag: str, stage: str) -> None:
    root = tables(tmp_path, **{stage: {"first": True, "odd": flag}})  # type: ignore[arg-type]
    message = f"line 3: active is {flag!r}: write true or false"
    assert wrong(root) == [(f"1_raw/{stage}_templates.csv", message)]


def test_the_flags_of_models_read_the_same(tmp_path: Path) -> None:
    root = tables(tmp_path, models={"a": ("yes", "0"), "b": (1, "TRUE"), "c": ("no", "maybe")})
    assert wrong(root) == [("1_raw/llm_models.csv", "line 4: for_evaluation is 'maybe': write true or false")]
    found, _ = axes.read(tables(tmp_path, models={"a": ("yes", "0"), "b": (1, "TRUE")}), curated=False)
    assert (found.generation_models, found.evaluation_models) == (("a", "b"), ("b",))


def test_combinations_stand_once_in_the_order_of_their_first_appearance(tmp_path: Path) -> None:
    found, _ = axes.read(tables(tmp_path, combos=["b", "a", "b", "B", "a"]), curated=False)
    assert found.combos == ("b", "a")


@pytest.mark.parametrize("count", ["0", "-1", "1.5", "2.0", "two", "", "１"])
def test_a_replication_that_is_no_integer_of_one_or_more_names_its_row(tmp_path: Path, count: str) -> None:
    root = tables(tmp_path, replication=(1, count, 1))
    message = f"line 3: replicates of essay is {count!r}: write an integer of 1 or more"
    assert wrong(root) == [("1_raw/replication_config.csv", message)]


def test_a_replication_that_is_missing_or_told_twice(tmp_path: Path) -> None:
    root = tables(tmp_path)
    write(root, "1_raw/replication_config.csv", ["stage,replicates", "draft,1", "draft,2", "essay,1"])
    assert wrong(root) == [
        ("1_raw/replication_config.csv", "line 3 names draft again (line 2 does already)"),
        ("1_raw/replication_config.csv", "there is no row for evaluation: add evaluation,1"),
    ]


def test_the_same_template_twice(tmp_path: Path) -> None:
    root = tables(tmp_path)
    write(root, "1_raw/essay_templates.csv", ["template_id,active", "et,True", "ET,False"])
    assert wrong(root) == [("1_raw/essay_templates.csv", "line 3: template_id 'ET' stands in line 2 already")]


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        ("1_raw/draft_templates.csv", "template_id\ndt\n", "the header lacks the column active"),
        ("1_raw/llm_models.csv", "id,for_generation\nm,1\n", "the header lacks the column for_evaluation"),
        ("1_raw/draft_templates.csv", "template_id,active\na|b,1\n", "contains '|'"),
        ("1_raw/draft_templates.csv", "template_id,active\n,1\n", "template_id is missing"),
        ("1_raw/evaluation_templates.csv", 'template_id,active\n"a,1\n', "a quote is never closed"),
        ("2_tasks/selected_combo_mappings.csv", "combo_id\n", "lists no combination"),
        ("1_raw/draft_templates.csv", "template_id,active\ndt,0\n", "no template is active"),
    ],
)
def test_tables_that_cannot_be_built_from(tmp_path: Path, path: str, text: str, message: str) -> None:
    root = tables(tmp_path)
    (root / path).write_text(text)
    found = wrong(root)
    assert [one for one, _ in found] == [path]
    assert message in found[0][1]


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    root = tables(tmp_path, draft={"dt": "x"}, replication=(0, 1, 1))
    (root / "1_raw/llm_models.csv").unlink()
    assert {path for path, _ in wrong(root)} == {
        "1_raw/draft_templates.csv",
        "1_raw/llm_models.csv",
        "1_raw/replication_config.csv",
    }


def test_a_curated_build_does_without_what_it_does_not_need(tmp_path: Path) -> None:
    root = tables(tmp_path)
    for path in ("2_tasks/selected_combo_mappings.csv", "1_raw/draft_templates.csv", "1_raw/essay_templates.csv"):
        (root / path).unlink()
    assert wrong(root, curated=True) == []
    assert len(wrong(root)) == 3


def test_generators(tmp_path: Path) -> None:
    found, _ = axes.read(tables(tmp_path, essay={"copy-it": True, "et": True}), curated=False)
    assert found.generator("essay", "Copy-It") == "copy"
    assert found.generator("essay", "et") == found.generator("essay", "never-heard-of") == "llm"
