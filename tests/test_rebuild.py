"""An upgrade makes tables and manifests anew in the new tree, and proves that each score is the one it was."""

from __future__ import annotations

import csv
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from migrator import Inventory, build, rebuild, runner, undo, upkeep
from migrator.ahead import Ahead
from migrator.engine import listing
from migrator.engine.tree import Recipe
from migrator.site import RunFailed
from migrator.store.layout import REBUILT_TABLES, is_payload
from tests.conftest import Write
from tests.faults import Whole, content, exact, killed_at, points, site
from tests.real import unpack
from tests.tables import model
from tests.tables.test_derived import draft, essay, judged

AGGREGATED = "5_parsing/aggregated_scores.csv"
STORE: dict[str, Any] = {
    "draft": {"d1": draft()},
    "essay": {"e1": essay("d1")},
    "evaluation": {
        "v1": judged("e1", "7"),
        "v2": judged("e1", "3", replicate=2),
        "v3": judged("e1", "bad", replicate=3),
    },
    "5_parsing": {"aggregated_scores.csv": "gen_id,score\nv1,7\n", "mine.csv": "gen_id\nv1\n"},
    "cohorts/one/membership.csv": "stage,gen_id\ndraft,d1\nessay,e1\nevaluation,v1\n",
}


STORE_TEXTS = {f"gens/evaluation/{gen_id}/parsed.txt" for gen_id in ("v1", "v2", "v3")}


@pytest.fixture
def base(store: Write) -> Path:
    return store(STORE).parent


def scores(root: Path) -> dict[str, tuple[str, str]]:
    """gen_id -> score, error as the table has them."""
    with (root / AGGREGATED).open(newline="", encoding="utf-8") as file:
        return {row["gen_id"]: (row["score"], row["error"]) for row in csv.DictReader(file)}


def test_the_tables_of_the_new_tree_are_those_of_its_store(base: Path) -> None:
    outcome = runner.upgrade(site(base))
    files = {path: data for path, data in content(base / "data").items() if isinstance(data, bytes)}
    assert {path: files[path] for path in model.TABLES} == model.tables(files)
    assert outcome.plan
    new = {old: new for stage, old, new in outcome.plan.mapping if stage == "evaluation"}
    assert scores(base / "data") == {
        new["v1"]: ("7", ""),
        new["v2"]: ("3", ""),
        new["v3"]: ("", "parsed.txt is not a decimal number"),
    }
    assert "cohorts/one/manifest.json" in files


def test_right_after_an_upgrade_there_is_nothing_to_make_anew(base: Path) -> None:
    runner.upgrade(site(base))
    before = exact(base / "data")
    done = upkeep.regenerate(site(base))
    assert (done.written, done.problems) == ((), ())
    assert len(done.unchanged) == 4
    assert exact(base / "data") == before


def test_the_modes_stay_and_new_folders_have_those_of_the_root(base: Path) -> None:
    (base / "data" / AGGREGATED).chmod(0o640)
    (base / "data").chmod(0o750)
    runner.upgrade(site(base))
    modes = {path: (base / "data" / path).stat().st_mode & 0o7777 for path in (*REBUILT_TABLES, "6_summary")}
    assert modes == {
        AGGREGATED: 0o640,
        "6_summary/generation_scores_pivot.csv": 0o640,
        "7_cross_experiment/evaluation_scores_by_template_model.csv": 0o640,
        "6_summary": 0o750,
    }


def test_only_the_other_tables_are_stale_and_searched(base: Path) -> None:
    outcome = runner.upgrade(site(base))
    told = {(p.kind, p.path) for p in outcome.problems if p.path.startswith(("5_", "6_", "7_"))}
    assert told == {("stale-table", "5_parsing/mine.csv"), ("leftover-reference", "5_parsing/mine.csv")}


def test_a_score_that_is_another_one_in_the_new_tree_fails_the_run(base: Path) -> None:
    """A link to a neighbour's text by its old name leads nowhere in the new tree."""
    text = base / "data/gens/evaluation/v1/parsed.txt"
    text.unlink()
    text.symlink_to("../v2/parsed.txt")
    before = exact(base / "data")
    with pytest.raises(RunFailed, match=r"says missing parsed.txt, and as v1 it said 3; the run was undone"):
        runner.upgrade(site(base))
    assert exact(base / "data") == before
    assert site(base).runs()[-1].state == "failed"


def test_scores_are_compared_by_the_mapping(base: Path) -> None:
    """Each evaluation's own: two that have changed places are both found, though the table has the same scores."""
    outcome = runner.upgrade(site(base))
    assert outcome.plan
    old = rebuild.scores_of(Inventory.read(base / "b" / site(base).runs()[-1].run_id / "tree"))
    assert list(rebuild.changed_scores(outcome.plan, old, base / "data")) == []
    old["v1"], old["v2"] = old["v2"], old["v1"]
    assert len(list(rebuild.changed_scores(outcome.plan, old, base / "data"))) == 2


@pytest.mark.parametrize("ahead", [False, True])
def test_a_lost_text_in_the_build_is_found(base: Path, ahead: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the build itself believes that all is well: by its score, or by who has read it ahead of the build."""
    original = build.Building.finish

    def careless(self: build.Building, plan: Any) -> build.Build:
        done = original(self, plan)
        root = done.root
        new = next(new for stage, old, new in plan.mapping if (stage, old) == ("evaluation", "v2"))
        path = f"gens/evaluation/{new}/parsed.txt"
        (root / path).write_text("4")
        times = next(entry.mtime_ns for entry in plan.entries if entry.path == "gens/evaluation/v2/parsed.txt")
        os.utime(root / path, ns=(times, times))
        four = listing.hash_bytes(b"4")
        digests = {**done.digests, "gens/evaluation/v2/parsed.txt": (four, four)}
        return replace(done, digests=digests)

    monkeypatch.setattr(build.Building, "finish", careless)
    if ahead:
        monkeypatch.setattr(runner, "Ahead", Whole)
    told = "is not the copy of gens/evaluation/v2/parsed.txt" if ahead else "says 4, and as v2 it said 3"
    with pytest.raises(RunFailed, match=told):
        runner.upgrade(site(base, jobs=2 if ahead else 1))


@pytest.mark.parametrize("asked", ["at once", "later"])
def test_scores_that_were_read_ahead_are_those_of_the_store(base: Path, asked: str) -> None:
    """Whatever stands in a text's place, and however far the reading came."""
    root = base / "data"
    for name, text in {"v4": b"\xff", "v5": b"7" + b" " * (1 << 20), "v6": None, "v7": None, "v8": b"8.50\n"}.items():
        shutil.copytree(root / "gens/evaluation/v1", root / "gens/evaluation" / name)
        (root / f"gens/evaluation/{name}/parsed.txt").unlink()
        if text is not None:
            (root / f"gens/evaluation/{name}/parsed.txt").write_bytes(text)
    (root / "gens/evaluation/v7/parsed.txt").symlink_to("../v1/parsed.txt")
    store = Inventory.read(root)
    with (Whole if asked == "later" else Ahead)(store, listing.walk(root), 2) as ahead:
        scores, surveyed = ahead.seen()
    assert scores == rebuild.scores_of(store)
    assert {gen_id: score.text for gen_id, score in scores.items() if score.text} == {
        "v1": "7",
        "v2": "3",
        "v7": "7",
        "v8": "8.50",
    }
    if asked == "later":
        files = {entry.path for entry in listing.walk(root) if entry.kind == listing.FILE}
        assert surveyed.digests.keys() == {path for path in files if is_payload(path)}


def test_a_text_that_a_step_would_rewrite_is_read_again(base: Path) -> None:
    """What was read ahead says nothing of it."""
    outcome = runner.upgrade(site(base))
    assert outcome.plan
    path = "gens/evaluation/v1/parsed.txt"
    old = {**rebuild.scores_of(Inventory.read(base / "b" / site(base).runs()[-1].run_id / "tree"))}
    old["v1"], old["v2"] = old["v2"], old["v1"]
    assert list(rebuild.changed_scores(outcome.plan, old, base / "data", STORE_TEXTS)) == []
    rewriting = replace(outcome.plan, recipe=Recipe(contents={path: b"7"}))
    assert len(list(rebuild.changed_scores(rewriting, old, base / "data", STORE_TEXTS))) == 1


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("6_summary", "elsewhere"),
        ("7_cross_experiment", "nowhere"),
        (AGGREGATED, "mine.csv"),
        ("cohorts/one/manifest.json", "../../5_parsing/mine.csv"),
    ],
)
def test_nothing_is_written_through_a_link(base: Path, path: str, target: str) -> None:
    """An upgrade carries the link over and says what is stale; regenerate, which has nothing else to do, refuses."""
    root = base / "data"
    (root / "elsewhere").mkdir()
    (root / path).unlink(missing_ok=True)
    (root / path).symlink_to(target)
    before = exact(root)
    refused = upkeep.regenerate(site(base)).problems
    assert [(p.kind, p.path) for p in refused] == [("unsafe-path", path)]
    assert exact(root) == before
    upgraded = runner.upgrade(site(base))
    assert upgraded.status == "committed"
    stale = {p.path: p.message for p in upgraded.problems if p.kind == "stale-table"}
    assert [message for one, message in stale.items() if one.startswith(path)] == [
        f"is carried over: nothing is written through or over {path}"
    ]
    assert os.readlink(root / path) == target
    assert not list((root / "elsewhere").iterdir())


@pytest.mark.parametrize(("path", "is_folder"), [("6_summary", False), (AGGREGATED, True)])
def test_what_is_in_a_table_s_way_stays_and_is_told(base: Path, path: str, is_folder: bool) -> None:
    target = base / "data" / path
    target.unlink(missing_ok=True)
    target.mkdir() if is_folder else target.write_text("stray")
    assert ("unsafe-path", path) in {(p.kind, p.path) for p in upkeep.regenerate(site(base)).problems}
    assert any(p.kind == "stale-table" and p.path.startswith(path) for p in runner.upgrade(site(base)).problems)
    assert target.is_dir() if is_folder else target.read_text() == "stray"


def test_a_killed_regenerate_leaves_each_file_whole_and_the_next_command_sweeps(base: Path) -> None:
    runner.upgrade(site(base))
    root = base / "data"
    (root / "gens/evaluation" / sorted(os.listdir(root / "gens/evaluation"))[0] / "parsed.txt").write_text("1")
    shutil.rmtree(root / "6_summary")
    (root / "cohorts/one/manifest.json").write_text("{}")
    shutil.copytree(base, base.with_name("kept"), symlinks=True)
    old = content(root)
    calls = points(lambda: upkeep.regenerate(site(base)))
    new = content(root)
    assert len(old.keys() | new.keys()) > len(old)
    for k in range(len(calls)):
        shutil.rmtree(base)
        shutil.copytree(base.with_name("kept"), base, symlinks=True)
        assert killed_at(k, lambda: upkeep.regenerate(site(base)))
        for path, data in content(root).items():
            known = data in (old.get(path), new.get(path))
            assert known or path.endswith("/"), f"{path}, killed before {calls[k]}"
        assert not [path for path, _ in later(base) if not path.startswith("gens/")], calls[k]
        upkeep.regenerate(site(base))
        assert content(root) == new, calls[k]


def later(base: Path) -> list[tuple[str, str]]:
    """What a rollback would find to be later work."""
    from migrator import recovery
    from migrator.engine import lock, snapshots
    from migrator.site import settle

    with lock.hold(site(base).place.state, "test"):
        settle(site(base))
    run = site(base).runs()[-1]
    after = snapshots.read_manifest(site(base).folder(run.run_id) / snapshots.AFTER)
    return [one for one in recovery.later_work(base / "data", after) if one[0] not in ("6_summary",)]


def test_a_rollback_takes_regenerated_files_for_derived(base: Path) -> None:
    before = exact(base / "data")
    runner.upgrade(site(base))
    (base / "data" / AGGREGATED).write_text("edited by hand\n")
    (base / "data/cohorts/one/manifest.json").unlink()
    assert len(upkeep.regenerate(site(base)).written) == 2
    assert undo.rollback(site(base)).status == "rolled-back"
    assert exact(base / "data") == before


def test_the_real_store_has_the_scores_that_it_had(tmp_path: Path) -> None:
    """By signature, so not by the mapping that is under test: parent, template and model of each evaluation's chain."""
    root = unpack(tmp_path)
    before = {path.parent.name: path.read_bytes() for path in root.glob("gens/evaluation/*/parsed.txt")}
    outcome = runner.upgrade(site(tmp_path))
    assert outcome.plan and outcome.status == "committed"
    files = {path: data for path, data in content(root).items() if isinstance(data, bytes)}
    assert {path: files[path] for path in model.TABLES} == model.tables(files)
    after = scores(root)
    new = {old: new for stage, old, new in outcome.plan.mapping if stage == "evaluation"}
    assert len(new) == len(after) == 955
    for old, (score, error) in ((old, after[new[old]]) for old in new):
        text = before.get(old)
        assert (score, error) == (("", "missing parsed.txt") if text is None else (text.decode().strip(), ""))
    assert upkeep.regenerate(site(tmp_path)).written == ()
