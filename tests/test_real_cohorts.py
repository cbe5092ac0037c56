"""Cohorts on the migrated real store: historical ones come back whole from their own axes, new ones mint once."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrator import enrolment, runner
from migrator.store.records import Key
from tests.faults import content, exact, site
from tests.real import unpack

NOBODY: dict[str, str] = {}


@pytest.fixture(scope="module")
def upgraded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real store after the migrations, with manifests."""
    base = tmp_path_factory.mktemp("real")
    unpack(base)
    runner.upgrade(site(base))
    enrolment.write_manifests(site(base))
    return base


@pytest.fixture
def base(upgraded: Path, tmp_path: Path) -> Path:
    shutil.copytree(upgraded / "data", tmp_path / "data", symlinks=True)
    return tmp_path


def members(root: Path, cohort_id: str) -> set[Key]:
    with (root / "cohorts" / cohort_id / "membership.csv").open(newline="") as file:
        return {(row["stage"], row["gen_id"]) for row in csv.DictReader(file)}


def flag(path: Path, column: str, flags: dict[str, set[str]]) -> None:
    """Set flags of a table: True for the ids that are named, which get a row where they have none, else False."""
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        rows, columns = list(reader), list(reader.fieldnames or ())
    wanted = set().union(*flags.values())
    rows += [dict.fromkeys(columns, "") | {column: name} for name in sorted(wanted - {row[column] for row in rows})]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(row | {name: str(row[column] in ids) for name, ids in flags.items()} for row in rows)


def take_axes(root: Path, cohort_id: str) -> None:
    """Let the tables ask for what a cohort's manifest says."""
    manifest = json.loads((root / "cohorts" / cohort_id / "manifest.json").read_bytes())
    for stage, names in manifest["templates"].items():
        flag(root / "1_raw" / f"{stage}_templates.csv", "template_id", {"active": set(names)})
    llms = {f"for_{use}": set(names) for use, names in manifest["llms"].items()}
    flag(root / "1_raw" / "llm_models.csv", "id", llms)
    combos = ["combo_id", *manifest["combos"]]
    (root / "2_tasks" / "selected_combo_mappings.csv").write_text("\n".join(combos) + "\n")
    rows = [f"{stage},{count}\n" for stage, count in manifest["replication"].items()]
    (root / "1_raw" / "replication_config.csv").write_text("stage,replicates\n" + "".join(rows))


@pytest.mark.parametrize("cohort_id", ["overlap", "fusion-a"])
def test_a_historical_cohort_comes_back_whole_and_mints_nothing(base: Path, cohort_id: str) -> None:
    root = base / "data"
    take_axes(root, cohort_id)
    before, had = exact(root), members(root, cohort_id)
    found = enrolment.build(site(base), cohort_id, environment=NOBODY)
    assert (found.status, found.added, found.gone) == ("unchanged", (), ())
    assert found.allocation is not None
    assert {member.key for member in found.allocation.members} == had
    assert sum(count.created for count in found.allocation.counts.values()) == 0
    assert exact(root) == before


@pytest.mark.parametrize("cohort_id", ["overlap", "fusion-a"])
def test_it_selects_the_very_generations_that_it_had_before_the_upgrade(
    base: Path, upgraded: Path, cohort_id: str
) -> None:
    (legacy,) = upgraded.glob("b/*/tree")  # the snapshot: the tree from before
    (mapping,) = (base / "data/.migrator/mappings").glob("*/mapping.csv")
    with mapping.open(newline="") as file:
        today = {(row["stage"], row["old_gen_id"]): row["new_gen_id"] for row in csv.DictReader(file)}
    had = {(stage, today[stage, gen_id]) for stage, gen_id in members(legacy, cohort_id)}
    take_axes(base / "data", cohort_id)
    found = enrolment.build(site(base), cohort_id, environment=NOBODY)
    assert found.allocation is not None
    assert {member.key for member in found.allocation.members} == had


def test_a_new_cartesian_cohort_is_the_same_wherever_it_is_built(base: Path, tmp_path: Path) -> None:
    root = base / "data"
    (root / "1_raw/replication_config.csv").write_text("stage,replicates\ndraft,2\nessay,1\nevaluation,3\n")
    shutil.copytree(root, tmp_path / "other" / "data", symlinks=True)
    first = enrolment.build(site(base), "fresh", environment=NOBODY)
    second = enrolment.build(site(tmp_path / "other"), "fresh", environment=NOBODY)
    assert (first.status, second.status) == ("built", "built")
    assert len(first.minted) > 100
    assert content(root) == content(tmp_path / "other" / "data")
    before = exact(root)
    assert enrolment.build(site(base), "fresh", environment=NOBODY).status == "unchanged"
    assert exact(root) == before


def test_fill_up_of_the_historical_selection_makes_exactly_what_lacks(base: Path) -> None:
    """Old ids in the file; for each essay, template and model the evaluations up to the replication."""
    root = base / "data"
    selected = root / "2_tasks/selected_essays.novelty-fillup.txt"
    shutil.copyfile(selected, root / "2_tasks/selected_essays.txt")
    wanted = dict(_there(root))
    found = enrolment.build(site(base), "top-up", environment=NOBODY)
    assert found.allocation is not None
    count = found.allocation.counts["evaluation"]
    tasks = {(one.parent, one.template.lower(), one.model.lower()) for one in found.allocation.members if one.parent}
    tasks = {task for task in tasks if task[0].startswith("e_")}
    assert count.created == sum(max(0, 3 - wanted.get(task, 0)) for task in tasks)
    assert count.wanted == 3 * len(tasks)
    assert enrolment.build(site(base), "top-up", environment=NOBODY).status == "unchanged"


def _there(root: Path) -> Iterator[tuple[tuple[str, str, str], int]]:
    """How many evaluations each (essay, template, model) has, counted from the files."""
    counts: dict[tuple[str, str, str], int] = {}
    for path in (root / "gens/evaluation").glob("*/metadata.json"):
        record = json.loads(path.read_bytes())
        task = (record["parent_gen_id"], record["template_id"].lower(), record["llm_model_id"].lower())
        counts[task] = counts.get(task, 0) + 1
    yield from counts.items()
