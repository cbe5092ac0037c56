"""A data root as tables: shapes, types, what is kept, and that nothing is written."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import migrator
from migrator import UnknownIds
from migrator.engine import listing
from migrator.errors import UsageError
from migrator.runner import upgrade
from migrator.view import View
from tests.conftest import Write

DRAFT = {"stage": "draft", "combo_id": "c", "template_id": "t", "llm_model_id": "m", "replicate": 1}
STORE: dict[str, Any] = {
    "draft": {
        "007": {"metadata.json": {**DRAFT, "gen_id": "007"}},
        "same": {"metadata.json": {**DRAFT, "gen_id": "same", "replicate": 2}},
    },
    "essay": {
        "1": {"metadata.json": {"stage": "essay", "gen_id": "1", "template_id": "e", "parent_gen_id": "007"}},
        "same": {"metadata.json": {"stage": "essay", "gen_id": "same", "template_id": "f", "parent_gen_id": "007"}},
    },
    "evaluation": {
        "v": {
            "metadata.json": {
                "stage": "evaluation",
                "gen_id": "v",
                "template_id": "novelty",
                "llm_model_id": "m",
                "parent_gen_id": "1",
            }
        }
    },
}


@pytest.fixture
def before(store: Write) -> View:
    """Two drafts, two essays of the first, one evaluation; not migrated."""
    return migrator.open(store(STORE))


@pytest.fixture
def view(before: View) -> View:
    """The same, upgraded."""
    upgrade(before.site)
    return migrator.open(before.site.place.root)


def ids(view: View, stage: str) -> dict[str, str]:
    """Old id -> new id of a stage."""
    table = view.mapping()
    rows = table[table["stage"] == stage]
    return dict(zip(rows["old_gen_id"], rows["new_gen_id"], strict=True))


def test_importing_and_opening_load_no_pandas(before: View) -> None:
    code = (
        "import sys, migrator; assert 'migrator.view' not in sys.modules; "
        f"migrator.open({str(before.site.place.root)!r}).plan(); assert 'pandas' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_nothing_is_written(before: View) -> None:
    base = before.site.place.root.parent
    listed = listing.walk(base)
    before.plan().mapping, before.gens(), before.lineage(), before.mapping()
    before.remap(pd.DataFrame({"essay_gen_id": ["1"]}), columns="essay_gen_id")
    assert listing.walk(base) == listed


def test_the_plan_is_what_the_upgrade_then_does(before: View) -> None:
    plan = before.plan()
    assert plan.steps[0].startswith("0001") and plan.counts["renamed"] == 5
    outcome = upgrade(before.site)
    assert outcome.run is not None
    path = Path(outcome.run.mapping) / "mapping.csv"
    pd.testing.assert_frame_equal(plan.mapping, pd.read_csv(path, dtype=str), check_dtype=False)


def test_an_up_to_date_plan_keeps_every_name(view: View) -> None:
    plan = view.plan()
    assert plan.steps == []
    assert list(plan.mapping["old_gen_id"]) == list(plan.mapping["new_gen_id"]) == list(view.gens()["gen_id"])


def test_issues_are_rows(store: Write) -> None:
    literal = {"draft": {"d": {"parsed.txt": "no record"}}}
    issues = migrator.open(store(literal)).plan().issues
    assert issues.dtypes["blocking"] == "bool"
    assert issues[["kind", "blocking", "gen_id"]].to_numpy().tolist() == [["missing-metadata", True, "d"]]


def test_generations_have_text_and_a_nullable_replicate(before: View) -> None:
    table = before.gens()
    assert table["gen_id"].tolist() == ["007", "same", "1", "same", "v"]
    assert table.dtypes["replicate"] == pd.Int64Dtype()
    assert table["replicate"].dropna().tolist() == [1, 2]
    assert before.gens("essay")["parent_gen_id"].tolist() == ["007", "007"]


def test_a_generation_without_a_record_is_a_row_all_the_same(store: Write) -> None:
    row = migrator.open(store({"draft": {"d": {"metadata.json": "broken"}}})).gens("draft").iloc[0]
    assert (row["gen_id"], row["path"]) == ("d", "gens/draft/d")
    assert row.drop(["stage", "gen_id", "path"]).isna().all()


def test_the_lineage_has_every_generation(before: View) -> None:
    rows = before.lineage().fillna("-").to_numpy().tolist()
    assert rows == [["v", "1", "007"], ["-", "same", "007"], ["-", "-", "same"]]


def test_the_mapping_of_an_unmigrated_store_is_empty(before: View) -> None:
    assert before.mapping().empty
    assert list(before.mapping().columns) == ["stage", "old_gen_id", "new_gen_id"]


def test_remap_keeps_index_types_missing_values_and_the_table_itself(view: View) -> None:
    drafts = ids(view, "draft")
    table = pd.DataFrame({"draft_gen_id": ["007", None, "007"], "n": [1, 2, 3]}, index=[7, 7, 9])
    result = view.remap(table, columns=["draft_gen_id"])
    assert result["draft_gen_id"].tolist()[::2] == [drafts["007"]] * 2
    assert result["draft_gen_id"].isna().tolist() == [False, True, False]
    assert result.index.tolist() == [7, 7, 9] and result.dtypes["n"] == table.dtypes["n"]
    assert table["draft_gen_id"].tolist()[::2] == ["007", "007"]


def test_an_id_of_today_is_its_own(view: View) -> None:
    today = view.gens()["gen_id"]
    assert view.remap(today.to_frame(), columns="gen_id")["gen_id"].tolist() == today.tolist()


@pytest.mark.parametrize("values", [[1, 1], [1.0, float("nan")]], ids=["numbers", "numbers beside NaN"])
def test_whole_numbers_are_ids(view: View, values: list[float]) -> None:
    table = pd.DataFrame({"essay_gen_id": values})
    assert view.remap(table, columns="essay_gen_id")["essay_gen_id"][0] == ids(view, "essay")["1"]


def test_categories_become_text(view: View) -> None:
    table = pd.DataFrame({"gen_id": pd.Categorical(["v", "v"])})
    assert view.remap(table, columns="gen_id")["gen_id"].tolist() == [ids(view, "evaluation")["v"]] * 2


def test_unknown_ids_are_kept_and_told_once(view: View) -> None:
    table = pd.DataFrame({"a": ["x", "v", "x"], "b": ["y", " ", None]})
    with pytest.warns(UnknownIds) as told:
        result = view.remap(table, columns=("a", "b"))
    message = told[0].message
    assert isinstance(message, UnknownIds)
    assert message.ids == ("x", "y")
    assert result["a"].tolist() == ["x", ids(view, "evaluation")["v"], "x"]
    assert result["b"].tolist()[:2] == ["y", " "] and result["b"].isna()[2]


def test_all_known_is_silent(view: View) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        view.remap(pd.DataFrame({"gen_id": ["v"]}), columns="gen_id")


def test_a_name_of_two_stages_wants_the_stage(view: View) -> None:
    table = pd.DataFrame({"gen_id": ["same"]})
    with pytest.raises(UsageError, match="a draft and of an essay") as refused:
        view.remap(table, columns="gen_id")
    assert refused.value.hint == "columns={'gen_id': STAGE}"
    assert view.remap(table, columns={"gen_id": "essay"})["gen_id"].tolist() == [ids(view, "essay")["same"]]
    named = table.rename(columns={"gen_id": "draft_gen_id"})
    assert view.remap(named, columns="draft_gen_id")["draft_gen_id"].tolist() == [ids(view, "draft")["same"]]


@pytest.mark.parametrize(
    ("columns", "text"), [("nothing", "no column 'nothing'"), ({"gen_id": "drafts"}, "'drafts' is no stage")]
)
def test_what_does_not_fit_is_refused(view: View, columns: Any, text: str) -> None:
    with pytest.raises(UsageError, match=text):
        view.remap(pd.DataFrame({"gen_id": ["v"]}), columns=columns)


def test_a_stage_that_is_none_is_refused(view: View) -> None:
    with pytest.raises(UsageError, match="'drafts' is no stage"):
        view.gens("drafts")


def test_no_data_root_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such data root"):
        migrator.open(tmp_path / "nothing")


def test_steps_beside_the_root_count_and_can_be_named(store: Write, tmp_path: Path) -> None:
    root = store(STORE)
    (tmp_path / "steps").mkdir()
    assert migrator.open(root, migrations=tmp_path / "steps").plan().steps == []
    (tmp_path / "migrations").mkdir()
    assert migrator.open(root).plan().steps == []


def test_names_follow_over_two_runs(before: View) -> None:
    """The first run stops after 0001; what it saw is renamed by the second."""
    upgrade(before.site, to="0001")
    upgrade(before.site)
    view = migrator.open(before.site.place.root)
    assert view.remap(pd.DataFrame({"gen_id": ["v"]}), columns="gen_id").equals(view.gens("evaluation")[["gen_id"]])
