"""An instance follows an upgrade and a rollback: its keys, and what counts as made (contract, section 7)."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import dagster as dg
import pytest

from migrator.engine.lock import hold
from migrator.pipeline import sync
from migrator.pipeline.sync import World
from migrator.store.layout import STAGES
from migrator.store.mappings import Past
from tests.pipeline.conftest import Line, Migrator, gen, location, opened

PARTS = ("prompt", "raw", "parsed")
MOMENTS = ("draft keys added", "draft keys removed", "essay keys added", "essay_prompt recorded")


def legacy(root: Path) -> None:
    """A store of an older era: essays without raw.txt, files beside missing, a lost draft of a copied essay."""
    both = {"raw.txt": "r", "parsed.txt": "p"}
    gen(root, "draft", both, gen_id="old-draft", combo_id="c1", template_id="links", llm_model_id="sonnet-4")
    gen(root, "essay", {"parsed.txt": "p"}, gen_id="old-essay", template_id="t", parent_gen_id="old-draft")
    lost = {"combo_id": "c2", "draft_template": "links", "llm_model_id": "sonnet-4", "mode": "copy"}
    gen(root, "essay", {"parsed.txt": "d"}, gen_id="old-copy", template_id="copied", parent_gen_id="lost", **lost)
    score = {"parsed.txt": "7"}
    gen(root, "evaluation", score, gen_id="old-score", template_id="n", parent_gen_id="old-essay", llm_model_id="q")


OLD = [("draft", "old-draft"), ("essay", "old-essay"), ("essay", "old-copy"), ("evaluation", "old-score")]


def remember(instance: dg.DagsterInstance) -> None:
    """The instance knows the old generations, and that they were made."""
    for stage, gen_id in OLD:
        instance.add_dynamic_partitions(f"{stage}_gens", [gen_id])
        for part in PARTS:
            made = dg.AssetMaterialization(f"{stage}_{part}", partition=gen_id, metadata={"price": 12})
            instance.report_runless_asset_event(made)


def requested(instance: dg.DagsterInstance) -> int:
    """How many partitions AutomationCondition.missing() asks for."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # Dagster's own use of its own beta
        return dg.evaluate_automation_conditions(defs=location(automated=True), instance=instance).total_requested


def test_after_upgrade_and_rollback_nothing_is_asked_for(root: Path, home: Path, migrator: Migrator) -> None:
    """Without the sync everything counts as missing, with it nothing; so again after the rollback."""
    legacy(root)
    with opened(home) as instance:
        remember(instance)
        assert requested(instance) == 0
        migrator("upgrade", "--yes")
        names = {stage: [path.name for path in (root / "gens" / stage).iterdir()] for stage in STAGES}
        for stage, found in names.items():
            instance.add_dynamic_partitions(f"{stage}_gens", found)
        generations = sum(map(len, names.values()))
        assert generations == len(OLD) + 1  # the draft that was lost is there
        assert requested(instance) == generations * len(PARTS)
    first = migrator("dagster", "sync", "--history")
    assert first["status"] == "synced"
    assert sum(first["history"].values()) == generations * len(PARTS)
    with opened(home) as instance:
        assert requested(instance) == 0
        registered = {stage: instance.get_dynamic_partitions(f"{stage}_gens") for stage in STAGES}
        assert {stage: sorted(found) for stage, found in registered.items()} == {
            stage: sorted(found) for stage, found in names.items()
        }
    assert migrator("dagster", "sync", "--history")["status"] == "up-to-date"
    migrator("rollback", "--yes")
    assert migrator("dagster", "sync", "--history")["status"] == "synced"
    with opened(home) as instance:
        assert requested(instance) == 0
        line = Line(root, instance)
        assert sorted(line.registered()) == sorted(OLD)
    assert migrator("dagster", "sync", "--history")["status"] == "up-to-date"


def test_keys_follow_the_mapping(root: Path, sqlite_instance: Path, migrator: Migrator) -> None:
    """New names for old ones, the draft that a run made for a known essay too; a strange key is left and told."""
    legacy(root)
    home = sqlite_instance
    with opened(home) as instance:
        for stage, gen_id in [*OLD, ("draft", "somebody-elses")]:
            instance.add_dynamic_partitions(f"{stage}_gens", [gen_id])
    migrator("upgrade", "--yes")
    planned = migrator("dagster", "sync", "--dry-run")
    with opened(home) as instance:
        assert "old-draft" in instance.get_dynamic_partitions("draft_gens")
    done = migrator("dagster", "sync")
    assert (planned["status"], done["status"]) == ("planned", "synced")
    assert planned["keys"] == done["keys"]
    assert done["keys"]["draft"] == {"kept": 0, "added": 2, "removed": 1, "unknown": ["somebody-elses"]}
    with opened(home) as instance:
        for stage in STAGES:
            expected = {path.name for path in (root / "gens" / stage).iterdir()}
            expected |= {"somebody-elses"} if stage == "draft" else set()
            assert set(instance.get_dynamic_partitions(f"{stage}_gens")) == expected


def test_keys_that_were_registered_after_an_upgrade_follow_its_rollback(
    root: Path, sqlite_instance: Path, migrator: Migrator
) -> None:
    """By a pipeline, say, on an instance that no sync has seen: the names of before, without the run's own draft."""
    legacy(root)
    migrator("upgrade", "--yes")
    with opened(sqlite_instance) as instance:
        for stage in STAGES:
            found = [path.name for path in (root / "gens" / stage).iterdir()]
            instance.add_dynamic_partitions(f"{stage}_gens", found)
    migrator("rollback", "--yes")
    migrator("dagster", "sync")
    with opened(sqlite_instance) as instance:
        assert sorted(Line(root, instance).registered()) == sorted(OLD)


def test_an_event_keeps_what_the_old_one_said(root: Path, home: Path, migrator: Migrator) -> None:
    """Metadata of the last event under the former name, with that name; the old event stays where it is."""
    legacy(root)
    with opened(home) as instance:
        remember(instance)
    migrator("upgrade", "--yes")
    migrator("dagster", "sync", "--history")
    (draft,) = (p.name for p in (root / "gens" / "draft").iterdir() if (p / "parsed.txt").read_text() == "p")
    with opened(home) as instance:
        for name, formerly in ((draft, "old-draft"), ("old-draft", None)):
            wanted = dg.AssetRecordsFilter(dg.AssetKey("draft_raw"), asset_partitions=[name])
            (record,) = instance.fetch_materializations(wanted, limit=10).records
            assert record.asset_materialization is not None
            metadata = {key: value.value for key, value in record.asset_materialization.metadata.items()}
            assert metadata["price"] == 12
            assert metadata.get("formerly") == formerly
            assert metadata.get("gen_id", name) == name


def test_legacy_files_as_they_are_are_skipped(root: Path, line: Line, migrator: Migrator) -> None:
    """Essays without raw.txt, generations without the files beside, drafts that a run made: no step, no call."""
    legacy(root)
    migrator("upgrade", "--yes")
    for stage in STAGES:
        line.register(*((stage, path.name) for path in (root / "gens" / stage).iterdir()))
    for events in line.make_all():
        assert len([step for step in events.skipped if not step.endswith("checks")]) == len(PARTS)
    assert line.model.calls == []


def test_an_old_key_is_led_to_the_new_id(root: Path, line: Line, migrator: Migrator) -> None:
    """A run that was queued before an upgrade, and begins after it, works on the same generation."""
    legacy(root)
    (root / "gens" / "essay" / "old-essay" / "parsed.txt").unlink()
    line.register(("essay", "old-essay"))
    migrator("upgrade", "--yes")
    line.make("essay", "old-essay")
    assert line.model.calls == [migrator("map", "old-essay")["mapping"]["old-essay"]]
    assert not (root / "gens" / "essay" / "old-essay").exists()


@pytest.mark.parametrize(
    ("kind", "moment"),
    [
        ("sqlite", "draft_raw recorded"),
        *(pytest.param(kind, moment, marks=pytest.mark.slow) for kind in ("sqlite", "postgres") for moment in MOMENTS),
    ],
)
def test_a_sync_that_is_killed_is_taken_up_again(
    root: Path,
    migrator: Migrator,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    moment: str,
) -> None:
    """SIGKILL when it says that it has come so far: keys and events are some of both; repeated, all is there once."""
    home = request.getfixturevalue(f"{kind}_home")
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    legacy(root)
    with opened(home) as instance:
        remember(instance)
    migrator("upgrade", "--yes")
    command = [sys.executable, "-m", "migrator", "--data-root", str(root), "dagster", "sync", "--history"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert any(moment in line for line in process.stderr)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert migrator("dagster", "sync", "--history")["status"] == "synced"
    with opened(home) as instance:
        assert requested(instance) == 0
        assert len(Line(root, instance).registered()) == len(OLD) + 1
        for stage in STAGES:
            for part in PARTS:
                wanted = dg.AssetRecordsFilter(dg.AssetKey(f"{stage}_{part}"))
                records = instance.fetch_materializations(wanted, limit=100).records
                names = [record.partition_key for record in records]
                assert len(names) == len(set(names))
    assert migrator("dagster", "sync", "--history")["status"] == "up-to-date"


@pytest.mark.parametrize("left", ["added", "nothing removed"])
def test_a_sync_that_stopped_between_keys_is_completed(root: Path, sqlite_home: Path, left: str) -> None:
    """Between adding and removing there are both; the next sync comes to the same end."""
    world = swapped(root)
    with opened(sqlite_home) as instance:
        instance.add_dynamic_partitions("draft_gens", ["a", "b"])
        instance.add_dynamic_partitions("draft_gens", ["b", "c"] if left == "added" else [])
        sync.apply_keys(instance, world, sync.plan_keys(instance, world), lambda *told: None)
        assert sorted(instance.get_dynamic_partitions("draft_gens")) == ["b", "c"]


def swapped(root: Path) -> World:
    """A store where the name of one generation has become that of another: a is b now, and b is c."""
    for name in ("b", "c"):
        gen(root, "draft", gen_id=name, combo_id=name)
    run = ("20260101-000000", {("draft", "a"): "b", ("draft", "b"): "c"})
    return World(str(root), root, Past((run,)))


def test_a_name_that_another_generation_has_now_is_not_mistaken(root: Path, ephemeral: dg.DagsterInstance) -> None:
    """Chains of names: what was synced already is not renamed again."""
    world = swapped(root)
    ephemeral.add_dynamic_partitions("draft_gens", ["a", "b"])
    for _ in range(3):
        sync.apply_keys(ephemeral, world, sync.plan_keys(ephemeral, world), lambda *told: None)
        assert sorted(ephemeral.get_dynamic_partitions("draft_gens")) == ["b", "c"]


def many(root: Path, count: int) -> World:
    """A store of so many drafts, renamed by one run."""
    for number in range(count):
        (root / "gens" / "draft" / f"d_{number:05}").mkdir(parents=True)
    mapping = {("draft", f"old-{number:05}"): f"d_{number:05}" for number in range(count)}
    return World(str(root), root, Past((("20260101-000000", mapping),)))


def test_five_thousand_keys_are_synced_in_seconds(root: Path, instance: dg.DagsterInstance) -> None:
    """Dagster's own call removes one key in 10 to 60 ms: the batch is what makes it bearable."""
    world = many(root, 5000)
    instance.add_dynamic_partitions("draft_gens", [f"old-{number:05}" for number in range(5000)])
    began, told = time.monotonic(), []
    sync.apply_keys(instance, world, sync.plan_keys(instance, world), lambda *what: told.append(what))
    assert time.monotonic() - began < 10
    assert set(instance.get_dynamic_partitions("draft_gens")) == {f"d_{number:05}" for number in range(5000)}
    assert told[-1] == ("draft keys removed", 5000, 5000)


def test_without_an_instance_it_says_how_to_name_one(
    root: Path, migrator: Migrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    found = migrator("dagster", "sync", code=2)
    assert found["error"] == "no Dagster instance is named"
    assert "DAGSTER_HOME=" in found["hint"]


@pytest.mark.usefixtures("sqlite_instance")
def test_an_upgrade_offers_it_where_an_instance_is_named(
    root: Path, migrator: Migrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line at the end, and only then."""
    legacy(root)
    for word in ("upgrade", "rollback"):
        assert migrator(word, "--yes", plain=True).out.count("dagster sync --history") == 1
    monkeypatch.delenv("DAGSTER_HOME")
    assert "dagster sync" not in migrator("upgrade", "--yes", plain=True).out


def test_it_says_what_dagster_cannot_do(root: Path, sqlite_instance: Path, migrator: Migrator) -> None:
    """Old runs stay, a queued run keeps its key; and without the history it says how to have that, too."""
    legacy(root)
    with opened(sqlite_instance) as instance:
        remember(instance)
    migrator("upgrade", "--yes")
    said = " ".join(migrator("dagster", "sync", plain=True).out.split())
    assert "What Dagster cannot do: old runs and events stay under the old keys; a run that waits" in said
    assert "dagster sync --history" in said


@pytest.mark.usefixtures("sqlite_instance")
def test_it_does_not_run_beside_an_upgrade(root: Path, migrator: Migrator) -> None:
    """Exit 5 with the holder: keys of a tree that is being exchanged would be wrong at once."""
    with hold(root.parent / ".data.migrator", "upgrade"):
        assert "(upgrade)" in migrator("dagster", "sync", code=5)["error"]
