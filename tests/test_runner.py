"""A run as section 4 of the contract has it: gates, collisions, late writers, later work, kept plans."""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from migrator import IdScheme, runner, undo, upkeep
from migrator.engine import exchange, listing, lock
from migrator.engine.exchange import Place
from migrator.errors import CareNeeded, DecisionNeeded, MigratorError, TryAgain
from migrator.site import RunFailed
from migrator.store.layout import is_manifest
from tests.faults import MIGRATIONS, Whole, content, exact, hooked, site
from tests.test_crash import small_store
from tests.torture.world import later_work

Events = list[tuple[str, dict[str, Any]]]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    small_store(tmp_path / "data")
    return tmp_path


def collide(base: Path, names: int = 40) -> None:
    """Drafts enough that some of 256 ids are claimed twice."""
    for number in range(names):
        folder = base / "data" / "gens" / "draft" / f"x{number}"
        folder.mkdir()
        metadata = {"combo_id": f"c{number}", "template_id": "t", "llm_model_id": "m"}
        (folder / "metadata.json").write_text(json.dumps(metadata))


def test_collisions_block_until_each_is_accepted_by_name(base: Path) -> None:
    collide(base)
    before = exact(base / "data")
    events: Events = []
    tiny = site(base, scheme=IdScheme(digest_size=1), notify=lambda event, **f: events.append((event, f)))
    refused = runner.upgrade(tiny)
    assert refused.status == "refused"
    names = [problem.gen_id for problem in refused.problems if problem.blocking]
    assert {problem.kind for problem in refused.problems if problem.blocking} == {"id-collision"}
    assert [fields["level"] for event, fields in events if event == "collision"] == ["critical"] * len(names)
    assert exact(base / "data") == before
    assert runner.upgrade(tiny, accept=names[1:]).status == "refused"
    done = runner.upgrade(tiny, accept=names)
    assert done.status == "committed"
    first = content(base / "data")
    assert any(path.count("-1/") for path in first)
    assert runner.upgrade(tiny).status == "up-to-date"
    undo.rollback(tiny)
    runner.upgrade(tiny, accept=names)
    assert content(base / "data") == first


def test_problems_are_all_listed_and_nothing_changes(base: Path) -> None:
    (base / "data/gens/essay/b1/metadata.json").write_text("{broken")
    (base / "data/gens/draft/a1/metadata.json").write_text(json.dumps({"combo_id": "../c|", "template_id": "t"}))
    (base / "data/gens/evaluation/v1/metadata.json").write_text(
        json.dumps({"essay_gen_id": "../../x", "template_id": "t", "llm_model_id": "m"})
    )
    (base / "data/cohorts/one/membership.csv").write_text('stage,gen_id\ndraft,"a1\n')
    before = exact(base / "data")
    refused = runner.upgrade(site(base))
    found = {(problem.kind, problem.gen_id or problem.path) for problem in refused.problems if problem.blocking}
    assert found == {
        ("invalid-json", "b1"),
        ("invalid-field", "a1"),
        ("missing-field", "a1"),
        ("unsafe-path", "v1"),
        ("invalid-table", "cohorts/one/membership.csv"),
    }
    assert exact(base / "data") == before
    assert not (base / "b").exists() or list((base / "b").iterdir()) == []


def test_what_cannot_be_copied_is_told_once_and_by_its_own_kind(base: Path) -> None:
    (base / "data/gens/essay/b1/metadata.json").unlink()
    os.mkfifo(base / "data/gens/essay/b1/metadata.json")
    os.mkfifo(base / "data/pipe")
    refused = runner.upgrade(site(base))
    found = [(problem.kind, problem.path) for problem in refused.problems if problem.blocking]
    assert found == [("invalid-json", "gens/essay/b1/metadata.json"), ("unsafe-path", "pipe")]


@pytest.fixture(params=["young", "settled"])
def folders(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders that changed just before the run, which are listed again, or long before, whose times are believed."""
    if request.param == "settled":
        monkeypatch.setattr(listing, "_TICK", -(10**12))


@pytest.mark.usefixtures("folders")
def test_a_writer_during_the_build_undoes_the_run(base: Path) -> None:
    def write(call: str, path: str) -> None:
        if call == "syncfs":
            (base / "data" / "gens" / "draft" / "a1" / "raw.txt").write_text("late")

    with hooked(write), pytest.raises(RunFailed, match="changed the data root") as failure:
        runner.upgrade(site(base))
    assert failure.value.exit_code == 5
    assert (base / "data/gens/draft/a1/raw.txt").read_text() == "late"
    assert runner.upgrade(site(base)).status == "committed"


@pytest.mark.parametrize("restored", [False, True])
def test_payload_that_changes_after_it_was_surveyed_undoes_the_run(base: Path, restored: bool) -> None:
    """Its digest is an older one than its copy's; even with size and time put back the change time tells it."""
    payload = base / "data/gens/draft/a1/parsed.txt"
    old = payload.stat()
    size, asked = old.st_size, []

    def write(call: str, path: str) -> None:
        if call == "mkdir" and path.endswith("/tree"):
            asked.append(path)
            payload.write_bytes(b"x" * size)
            if restored:
                os.utime(payload, ns=(old.st_atime_ns, old.st_mtime_ns))

    with (
        mock.patch.object(runner, "Ahead", side_effect=Whole) as started,
        hooked(write),
        pytest.raises(RunFailed, match=r"changed the data root during the run: gens/draft/a1/parsed.txt") as failure,
    ):
        runner.upgrade(site(base, jobs=2))
    assert started.called
    assert asked
    assert failure.value.exit_code == TryAgain.exit_code
    assert payload.read_bytes() == b"x" * size
    assert runner.upgrade(site(base)).status == "committed"


@pytest.mark.usefixtures("childless")
def test_a_refused_run_leaves_no_survey_behind(base: Path) -> None:
    """The child that reads ahead ends with the run, however that ends."""
    assert runner.upgrade(site(base, jobs=2), confirm=lambda plan: False).details == ("declined",)


@pytest.mark.usefixtures("childless")
def test_tables_that_fail_end_those_who_copy_meanwhile(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They have begun by then. Nobody goes on, and nothing is left of what they wrote."""
    before = exact(base / "data")

    def fail(plan: Any, *_: Any, **__: Any) -> None:
        (tree,) = (base / "b").glob("*/tree")
        while not list(tree.rglob("metadata.json")):
            time.sleep(0.01)
        raise OSError(errno.EIO, "no tables today")

    monkeypatch.setattr("migrator.rebuild.in_plan", fail)
    with pytest.raises(RunFailed, match="no tables today"):
        runner.upgrade(site(base, jobs=2))
    assert exact(base / "data") == before
    assert not list((base / "b").glob("*/tree"))


@pytest.mark.usefixtures("folders")
def test_a_late_writer_gets_its_tree_back(base: Path) -> None:
    def write(call: str, path: str) -> None:
        if call == "fsync-dir" and (base / "data" / ".migrator" / "ledger.jsonl").exists():
            old = next(iter((base / "b").glob("*/tree")))
            if (old / "gens/draft/a1").exists():
                (old / "gens/draft/a1/raw.txt").write_text("late")

    with hooked(write), pytest.raises(RunFailed, match="wrote into the old tree"):
        runner.upgrade(site(base))
    assert (base / "data/gens/draft/a1/raw.txt").read_text() == "late"


@pytest.mark.usefixtures("folders")
def test_two_late_writers_need_care(base: Path) -> None:
    def write(call: str, path: str) -> None:
        if call == "fsync-dir" and (base / "data" / ".migrator" / "ledger.jsonl").exists():
            (base / "data" / "new.txt").write_text("late")
            for old in (base / "b").glob("*/tree"):
                (old / "old.txt").write_text("late")

    with hooked(write), pytest.raises(CareNeeded, match="both trees were written to"):
        runner.upgrade(site(base))
    assert (base / "data" / "new.txt").exists()
    assert next(iter((base / "b").glob("*/tree"))).joinpath("old.txt").exists()
    with pytest.raises(CareNeeded):
        runner.upgrade(site(base))


@pytest.mark.usefixtures("folders")
@pytest.mark.parametrize("path", ["late.txt", "gens/late.txt", "gens/draft/a1/late.txt", "cohorts/one/late"])
def test_a_file_that_comes_late_is_found_wherever_it_lies(base: Path, path: str) -> None:
    """Also where its folder got its old time back, as rsync does it."""

    def write(call: str, _: str) -> None:
        late = base / "data" / path
        if call == "syncfs" and not late.exists():
            old = late.parent.stat()
            late.write_text("late")
            os.utime(late.parent, ns=(old.st_atime_ns, old.st_mtime_ns))

    with hooked(write), pytest.raises(RunFailed, match=f"changed the data root during the run: .*{path}"):
        runner.upgrade(site(base))
    assert (base / "data" / path).read_text() == "late"


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("linked", [True, False])
def test_times_of_folders_are_believed_where_the_file_system_is_known_for_them(
    base: Path, monkeypatch: pytest.MonkeyPatch, told: bool, linked: bool
) -> None:
    """Elsewhere all is listed again. In both looks, before the exchange and after it, and in both ways to switch."""
    if linked:
        os.rename(base / "data", base / "elsewhere")
        (base / "data").symlink_to("elsewhere")
    asked = mock.Mock(side_effect=listing._is_untouched)
    monkeypatch.setattr(listing, "_is_untouched", asked)
    monkeypatch.setattr(exchange, "folders_tell", lambda root: told)
    assert runner.upgrade(site(base)).status == "committed"
    assert asked.call_count == (2 if told else 0)


def test_later_work_stops_a_rollback_and_comes_back_by_adopt(base: Path) -> None:
    runner.upgrade(site(base))
    run_id = site(base).runs()[-1].run_id
    later_work(site(base))
    (base / "data" / "5_parsing" / "scores.csv").write_text("derived\n")
    after = content(base / "data")
    with pytest.raises(DecisionNeeded, match="would go") as refusal:
        undo.rollback(site(base))
    assert "scores.csv" not in str(refusal.value)
    assert content(base / "data") == after
    assert undo.rollback(site(base), set_aside_new=True).status == "rolled-back"
    with pytest.raises(DecisionNeeded, match="upgraded store"):
        undo.adopt(site(base), run_id)
    runner.upgrade(site(base))
    brought = undo.adopt(site(base), run_id)
    assert brought.status == "adopted"
    assert len(brought.details) == 2
    assert {k: v for k, v in after.items() if k != "5_parsing/scores.csv"} == content(base / "data")
    assert undo.adopt(site(base), run_id).status == "up-to-date"


def test_rollback_never_reaches_further_back(base: Path) -> None:
    runner.upgrade(site(base), to="0001")
    runner.upgrade(site(base))
    first, second = (run.run_id for run in site(base).runs())
    with pytest.raises(MigratorError, match="only the newest"):
        undo.rollback(site(base), first)
    assert undo.rollback(site(base)).status == "rolled-back"
    assert undo.rollback(site(base)).status == "as-before"
    assert undo.rollback(site(base), second).status == "as-before"
    assert undo.rollback(site(base), first).status == "rolled-back"
    assert not (base / "data" / ".migrator").exists()


def test_a_damaged_snapshot_is_not_gone_back_to(base: Path) -> None:
    runner.upgrade(site(base))
    run = site(base).runs()[-1]
    victim = Path(run.tree) / "gens" / "draft" / "a1" / "parsed.txt"
    status = victim.stat()
    victim.write_text(victim.read_text().replace("text", "tEXT"))
    os.utime(victim, ns=(status.st_atime_ns, status.st_mtime_ns))
    live = exact(base / "data")
    with pytest.raises(CareNeeded, match="not what it was"):
        undo.rollback(site(base))
    assert exact(base / "data") == live
    assert [found for _, found in upkeep.verify_snapshots(site(base))] == [
        ["gens/draft/a1/parsed.txt has another content"]
    ]


def test_one_run_or_four_give_the_same_tree(base: Path) -> None:
    shutil.copytree(base / "data", base / "other" / "data", symlinks=True)
    runner.upgrade(site(base))
    for to in ("0001", "0002", "0003", "0004"):
        assert runner.upgrade(site(base / "other"), to=to).status == "committed"
    assert without_manifests(base / "data") == without_manifests(base / "other" / "data")


def without_manifests(root: Path) -> dict[str, object]:
    """A manifest keeps what it was first made with: the four make it after the first step, the one after the last."""
    return {path: data for path, data in content(root).items() if not is_manifest(path)}


def test_a_kept_plan_is_refused_when_the_store_has_changed(base: Path) -> None:
    plan = runner.read_plan(site(base))
    assert plan is not None
    (base / "data" / "note.txt").write_text("x")
    with pytest.raises(TryAgain, match="stale"):
        runner.upgrade(site(base), kept=plan.fingerprint)
    plan = runner.read_plan(site(base))
    assert plan is not None
    assert runner.upgrade(site(base), kept=plan.fingerprint).status == "committed"


def test_production_wants_the_proof_of_staging(base: Path) -> None:
    proof = Place.at(base / "staging" / "data")
    prod = site(base, proved_on=proof, proved_on_name="staging", env="prod")
    before = exact(base / "data")
    with pytest.raises(DecisionNeeded, match="does not exist"):
        runner.upgrade(prod)
    staging = site(base / "staging")
    (base / "staging").mkdir()
    assert upkeep.stage(staging, prod.place)
    assert exact(base / "staging" / "data") == before
    with pytest.raises(DecisionNeeded, match="not proven on staging: 0001"):
        runner.upgrade(prod)
    with pytest.raises(DecisionNeeded, match="one directory"):
        runner.upgrade(site(base, proved_on=prod.place, proved_on_name="staging"))
    assert exact(base / "data") == before
    runner.upgrade(staging)
    assert runner.upgrade(prod).status == "committed"


def test_the_override_is_recorded(base: Path) -> None:
    prod = site(base, proved_on=Place.at(base / "nowhere"), proved_on_name="staging", env="prod")
    assert runner.upgrade(prod, override="staging burnt down").status == "committed"
    assert {entry.note for entry in prod.ledger()} == {"staging burnt down"}


def test_a_held_lock_is_told_at_once_and_by_name(base: Path) -> None:
    with lock.hold(site(base).place.state, "a long upgrade"), pytest.raises(TryAgain, match="a long upgrade"):
        runner.upgrade(site(base))
    assert runner.upgrade(site(base)).status == "committed"


def test_an_edited_step_is_refused(base: Path) -> None:
    shutil.copytree(MIGRATIONS, base / "steps", ignore=shutil.ignore_patterns("__pycache__"))
    runner.upgrade(site(base, migrations=base / "steps"))
    step = base / "steps" / "0002_backfill_copy_drafts.py"
    step.write_bytes(step.read_bytes().replace(b"\n", b"\r\n"))
    assert runner.upgrade(site(base, migrations=base / "steps")).status == "up-to-date"
    step.write_text(step.read_text() + "# edited\n")
    with pytest.raises(DecisionNeeded, match=r"0002 .* was edited"):
        runner.upgrade(site(base, migrations=base / "steps"))


def test_a_failing_check_of_a_step_undoes_nothing_because_nothing_was_done(base: Path) -> None:
    (base / "steps").mkdir()
    (base / "steps" / "0001_no.py").write_text(
        '"""Never."""\nfrom migrator import Problem\n\n\ndef changes(store):\n    return ()\n\n\n'
        'def check(before, after):\n    yield Problem("failed-check", message="no")\n'
    )
    before = exact(base / "data")
    assert runner.upgrade(site(base, migrations=base / "steps")).status == "refused"
    assert exact(base / "data") == before


@pytest.mark.parametrize("kind", ["file", "folder without metadata", "link"])
def test_what_stands_where_a_generation_is_to_be_made_refuses_the_run(base: Path, kind: str) -> None:
    """A stray thing with the very name that a draft would get."""
    plan = runner.read_plan(site(base))
    assert plan
    (made,) = {gen.path for gen in plan.after.gens.values() if not gen.origin}
    stray = base / "data" / made
    stray.touch() if kind == "file" else stray.symlink_to("a1") if kind == "link" else (stray / "x").mkdir(parents=True)
    before = exact(base / "data")
    outcome = runner.upgrade(site(base))
    assert outcome.status == "refused"
    told = ("missing-metadata", f"{made}/metadata.json") if kind.startswith("folder") else ("unsafe-path", made)
    assert [(problem.kind, problem.path) for problem in outcome.problems if problem.blocking] == [told]
    assert exact(base / "data") == before


def test_the_mapping_is_copied_and_a_missing_copy_is_made_again(base: Path) -> None:
    runner.upgrade(site(base))
    run_id = site(base).runs()[-1].run_id
    inside = base / "data" / ".migrator" / "mappings" / run_id
    names = {"mapping.csv", "synthetic_drafts.csv", "issues.csv"}
    assert {path.name for path in inside.iterdir()} == names
    lines = (inside / "mapping.csv").read_text().splitlines()
    assert lines[0] == "stage,old_gen_id,new_gen_id"
    assert [line.split(",")[:2] for line in lines[1:]] == [
        ["draft", "a1"],
        ["essay", "b1"],
        ["essay", "b2"],
        ["evaluation", "v1"],
    ]
    copy = base / "m" / run_id
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == {
        path.name: path.read_bytes() for path in inside.iterdir()
    }
    shutil.rmtree(copy)
    assert runner.upgrade(site(base)).status == "up-to-date"
    assert {path.name for path in copy.iterdir()} == names


def test_prune_keeps_the_newest_good_one(base: Path) -> None:
    runner.upgrade(site(base), to="0001")
    runner.upgrade(site(base), to="0003")
    runner.upgrade(site(base))
    with pytest.raises(MigratorError, match="must be kept"):
        upkeep.prune(site(base), 0)
    gone = upkeep.prune(site(base), 1)
    assert [run.has_snapshot for run in site(base).runs()] == [False, False, True]
    assert all(not Path(run.tree).exists() for run in gone)
    assert undo.rollback(site(base)).status == "rolled-back"
    with pytest.raises(MigratorError, match="pruned"):
        undo.rollback(site(base), gone[-1].run_id)


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("what", ["1 / 0", "raise SystemExit(3)", "raise type('Odd', (Exception,), {})()"])
def test_a_check_that_breaks_is_told_with_its_step(base: Path, what: str, jobs: int) -> None:
    """Wherever it ran, and though no other process could be told of the error itself; nothing has changed."""
    steps = base / "steps"
    steps.mkdir()
    (steps / "0001_odd.py").write_text(
        f'"""Odd."""\n\n\ndef changes(store):\n    return []\n\n\ndef check(before, after):\n    {what}\n'
    )
    before = exact(base / "data")
    with pytest.raises(MigratorError, match="the check of step 0001"):
        runner.upgrade(site(base, migrations=steps, jobs=jobs))
    assert exact(base / "data") == before


@pytest.mark.parametrize("jobs", [2, 5])
def test_the_same_tree_with_any_number_of_workers(base: Path, jobs: int) -> None:
    """Trees, manifests apart from times, mappings, plans: whoever did what part of it."""
    shutil.copytree(base / "data", base / "other" / "data", symlinks=True)
    one, many = runner.upgrade(site(base)), runner.upgrade(site(base / "other", jobs=jobs))
    assert content(base / "data") == content(base / "other" / "data")
    assert one.plan and many.plan and one.run and many.run
    assert (one.plan.mapping, one.problems) == (many.plan.mapping, many.problems)
    assert one.run.before == many.run.before
    assert undo.rollback(site(base / "other", jobs=jobs)).status == "rolled-back"


SECRET = "what lies elsewhere"


def mirrored(base: Path, path: str, aside: Path) -> None:
    """Move a part of the store aside and put a link in its place, to a copy in which every text is another one."""
    outside = base / "outside"
    (base / "data" / path).rename(aside)
    if aside.is_file():
        outside.write_text(SECRET)
    else:
        shutil.copytree(aside, outside, symlinks=True)
        for text in outside.rglob("*.txt"):
            text.write_text(SECRET)
    (base / "data" / path).symlink_to(outside)


@pytest.mark.parametrize("made", [0, 3, 6])
@pytest.mark.parametrize("path", ["gens", "gens/evaluation", "gens/evaluation/v1", "gens/evaluation/v1/parsed.txt"])
def test_a_link_put_in_a_place_that_was_read_is_never_followed(base: Path, path: str, made: int) -> None:
    """Swapped between check and use, when so many folders of the new tree are made: nothing comes from elsewhere."""
    aside = base / "aside"
    folders: list[str] = []

    def swap(call: str, target: str) -> None:
        if call == "mkdir" and "/tree" in target:
            if len(folders) == made:
                mirrored(base, path, aside)
            folders.append(target)

    before = exact(base / "data")
    with hooked(swap), pytest.raises(MigratorError) as refused:
        runner.upgrade(site(base))
    assert refused.value.exit_code == TryAgain.exit_code, refused.value
    (base / "data" / path).unlink()
    aside.rename(base / "data" / path)
    assert {name: found[-1] for name, found in exact(base / "data").items()} == {
        name: found[-1] for name, found in before.items()
    }
    records = [file for file in (base / "b").rglob("*") if file.is_file()]
    assert records
    assert [file for file in records if SECRET.encode() in file.read_bytes()] == []


def test_adopting_into_a_linked_root_whose_tree_lies_on_another_disk(tmp_path: Path, other_disk: Path) -> None:
    """What comes back is made on the disk of the tree, not beside the link: it is renamed in."""
    small_store(other_disk / "store")
    (tmp_path / "data").symlink_to(other_disk / "store")
    there = site(tmp_path, backups=other_disk / "b")
    run_id = runner.upgrade(there).run.run_id  # type: ignore[union-attr]
    later_work(there)
    after = content(tmp_path / "data")
    undo.rollback(there, set_aside_new=True)
    runner.upgrade(there)
    assert undo.adopt(there, run_id).status == "adopted"
    assert content(tmp_path / "data") == after
    assert not [path for path in other_disk.iterdir() if "workshop" in path.name]
