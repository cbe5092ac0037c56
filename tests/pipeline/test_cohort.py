"""A cohort through Dagster: built, checked, registered, made once, and then never again (contract, section 7)."""

from __future__ import annotations

import json
from pathlib import Path

import dagster as dg
import pytest

from migrator.engine.exchange import Place
from migrator.engine.lock import hold
from tests.pipeline.conftest import Line, axes, location, mtimes, tree


def checks(events: object) -> dict[str, bool]:
    """Name of each check -> whether it passed."""
    found = events.result.get_asset_check_evaluations()  # type: ignore[attr-defined]
    return {evaluation.check_name: evaluation.passed for evaluation in found}


def test_a_cohort_is_made_once(root: Path, instance: dg.DagsterInstance) -> None:
    """On every kind of instance: a call a member; again: the same ids, no call, no file touched, every step skipped."""
    axes(root)
    line = Line(root, instance)
    line.build("first")
    keys = line.registered()
    assert [stage for stage, _ in keys] == ["draft", "essay", "evaluation"]
    line.make_all()
    assert line.model.calls == [gen_id for _, gen_id in keys]
    before, written = tree(root), mtimes(root)
    line.build("first")
    again = line.make_all()
    assert line.registered() == keys
    assert len(line.model.calls) == 3
    assert [len(events.skipped) for events in again] == [4, 4, 4]
    assert (tree(root), mtimes(root)) == (before, written)


def test_a_deleted_text_is_parsed_again(root: Path, line: Line) -> None:
    """Delete one parsed.txt: one parse, no call, the same text."""
    axes(root)
    line.build()
    line.make_all()
    before, (stage, gen_id) = tree(root), line.registered()[-1]
    (root / "gens" / stage / gen_id / "parsed.txt").unlink()
    line.model.calls.clear()
    again = line.make_all()
    assert [events.steps("ASSET_MATERIALIZATION") for events in again] == [[], [], ["evaluation.parsed"]]
    assert line.model.calls == []
    after = tree(root)
    assert {path for path in after if after[path] != before[path]} == {f"gens/{stage}/{gen_id}/parsed_metadata.json"}


def test_a_second_cohort_pays_for_the_other_half(root: Path, line: Line) -> None:
    """Shared tasks are reused, the diagnostics say so, and only the rest is made."""
    axes(root, combos=["c1"])
    line.build("first")
    line.make_all()
    line.model.calls.clear()
    axes(root, combos=["c1", "c2"])
    told = line.build("second").metadata("ASSET_MATERIALIZATION")[1]
    for stage in ("draft", "essay", "evaluation"):
        assert told[stage] == "2 wanted, 0 reused own, 1 reused other, 1 created, 1 missing outputs"
        assert told[f"{stage}_reused_from"] == {"first": 1}
    line.make_all()
    assert len(line.model.calls) == 3


def test_the_name_comes_from_the_configuration_or_the_axes(
    root: Path, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As given, else DD_COHORT, else computed from what it is built from."""
    axes(root)
    names = [line.build("mine").metadata("ASSET_MATERIALIZATION")[0]["cohort_id"]]
    names.append(line.build().metadata("ASSET_MATERIALIZATION")[0]["cohort_id"])
    monkeypatch.setenv("DD_COHORT", "theirs")
    names.append(line.build().metadata("ASSET_MATERIALIZATION")[0]["cohort_id"])
    assert (names[0], names[1][:7], names[2]) == ("mine", "cohort-", "theirs")
    assert sorted(path.name for path in (root / "cohorts").iterdir()) == sorted(names)


def test_partitions_are_only_added(root: Path, line: Line) -> None:
    """A key that no cohort has stays: removing is `migrator dagster sync`'s business."""
    axes(root)
    line.register(("draft", "of another cohort"))
    told = line.build("first").metadata("ASSET_MATERIALIZATION")[2]
    assert (told["draft_added"], told["essay_added"], told["evaluation_added"]) == (1, 1, 1)
    assert line.build("first").metadata("ASSET_MATERIALIZATION")[2]["draft_added"] == 0
    assert ("draft", "of another cohort") in line.registered()


def test_a_cohort_that_would_change_needs_a_word(root: Path, line: Line) -> None:
    """Refused with the difference, nothing is registered; `extend` in the run's configuration adds."""
    axes(root)
    line.build("first")
    axes(root, combos=["c1", "c2"])
    before = tree(root)
    assert "the members of first would change: 3 more, 0 less" in line.build("first", fails=True).error
    assert tree(root) == before
    assert len(line.registered()) == 3
    line.build("first", extend=True)
    assert len(line.registered()) == 6


def test_tables_that_are_wrong_are_all_listed(root: Path, line: Line) -> None:
    """A run that cannot build says why, with every finding."""
    axes(root)
    (root / "1_raw" / "llm_models.csv").write_text("id,for_generation,for_evaluation\nm,perhaps,true\n")
    (root / "1_raw" / "replication_config.csv").write_text("stage,replicates\ndraft,0\n")
    error = line.build("first", fails=True).error
    assert "perhaps" in error
    assert "replication_config.csv" in error


def test_checks_pass_on_a_sound_cohort(root: Path, line: Line) -> None:
    axes(root)
    assert checks(line.build("first")) == {
        "members_resolve": True,
        "ids_match_signatures": True,
        "parents_exist": True,
        "manifest_is_fresh": True,
    }


def test_a_stale_manifest_only_warns(root: Path, line: Line) -> None:
    """It is a cache: the run is green all the same, the check says how to make it anew."""
    axes(root)
    line.build("first")
    (manifest,) = root.glob("cohorts/first/manifest.json")
    manifest.write_text("{}")
    result = _only_checks(line)
    assert result.success
    (stale,) = (found for found in result.get_asset_check_evaluations() if not found.passed)
    assert (stale.check_name, stale.blocking) == ("manifest_is_fresh", False)
    assert "migrator cohort manifest" in str(stale.description)


def _only_checks(line: Line) -> dg.ExecuteInProcessResult:
    job = dg.define_asset_job("only_checks", dg.AssetSelection.checks_for_assets("cohort_membership"))
    definitions = dg.Definitions.merge(location(), dg.Definitions(jobs=[job]))
    return definitions.resolve_job_def("only_checks").execute_in_process(
        instance=line.instance, resources=line.resources, raise_on_error=False
    )


def _another_id(root: Path) -> None:
    (draft,) = (root / "gens" / "draft").iterdir()
    record = json.loads((draft / "metadata.json").read_text())
    (draft / "metadata.json").write_text(json.dumps({**record, "combo_id": "another"}))


def _no_parent(root: Path) -> None:
    (draft,) = (root / "gens" / "draft").iterdir()
    (draft / "metadata.json").unlink()
    draft.rmdir()


@pytest.mark.parametrize(
    ("damage", "failing"),
    [(_another_id, {"ids_match_signatures"}), (_no_parent, {"members_resolve", "parents_exist"})],
)
def test_a_blocking_check_fails_the_run(root: Path, line: Line, damage: object, failing: set[str]) -> None:
    """Checks that are run by themselves find it, too, and a failure is one of the run."""
    axes(root)
    line.build("first")
    damage(root)  # type: ignore[operator]
    found = _only_checks(line).get_asset_check_evaluations()
    assert {evaluation.check_name for evaluation in found if not evaluation.passed} == failing
    assert {evaluation.blocking for evaluation in found if not evaluation.passed} == {True}


def test_a_wrong_id_fails_the_run_that_makes_it(root: Path, line: Line) -> None:
    """The check of a stage is blocking: the run is red, and says which generation."""
    axes(root)
    line.build("first")
    _another_id(root)
    stage, gen_id = line.registered()[0]
    events = line.make(stage, gen_id, fails=True)
    assert checks(events) == {"ids_match_signatures": False}


def test_building_waits_for_a_step_and_holds_nothing_itself(root: Path, line: Line) -> None:
    """A step that shares the lock for a moment delays a build; the build's own steps never stand in its way."""
    axes(root)
    state = Place.at(root).state
    import threading

    def hold_for_a_moment() -> None:
        with hold(state, "a step", shared=True):
            held.set()
            done.wait(1)

    held, done = threading.Event(), threading.Event()
    thread = threading.Thread(target=hold_for_a_moment)
    thread.start()
    held.wait(5)
    try:
        line.build("first")
    finally:
        done.set()
        thread.join()
    assert len(line.registered()) == 3
