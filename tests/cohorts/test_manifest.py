"""Manifests: what they say, when they are fresh, and why not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from migrator.cohorts import manifest, membership
from migrator.cohorts.manifest import DAMAGED, MISSING, OLD, STALE, Manifest, changed_manifests
from tests.cohorts.stores import cohort, draft, essay, evaluation, tables, write

OLD_KEYS = {
    "combos": ["c0", "c1"],
    "templates": {"draft": ["dt", "unused"], "essay": ["et"], "evaluation": ["vt"]},
    "llms": {"generation": ["m1"], "evaluation": ["judge"]},
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A cohort of one chain, the evaluation twice."""
    root = tables(tmp_path)
    one = draft(root)
    two = essay(root, one, origin=None)
    members = [("evaluation", evaluation(root, two, number)) for number in (1, 2)]
    cohort(root, "mine", ("draft", one), ("essay", two), *members)
    return root


def written(root: Path) -> dict[str, Any]:
    """Write what differs; return the cohort's manifest."""
    for path, data in changed_manifests(root).files:
        (root / path).write_bytes(data)
    found: dict[str, Any] = json.loads((root / "cohorts/mine/manifest.json").read_bytes())
    return found


def opened(root: Path) -> Manifest | str:
    table = membership.read(root, "mine")
    assert isinstance(table, membership.Membership)
    return manifest.opened(manifest.load(root, "mine"), table.data, manifest.last_run(root))


def test_what_a_manifest_says(root: Path) -> None:
    found = written(root)
    one, two = (next((root / "gens" / stage).iterdir()).name for stage in ("draft", "essay"))
    assert found["combos"] == ["c1"]
    assert found["templates"] == {"draft": ["dt"], "essay": ["et"], "evaluation": ["vt"]}
    assert found["llms"] == {"generation": ["m1"], "evaluation": ["judge"]}
    assert found["replication"] == {"draft": 1, "essay": 1, "evaluation": 2}
    assert list(found["generations"]) == sorted(found["generations"])
    assert found["generations"][f"essay|{one}|et|1"] == {
        "stage": "essay",
        "gen_id": two,
        "parent": one,
        "template": "et",
        "model": "m1",
        "replicate": 1,
        "origin": None,
    }
    assert len(found["generations"]) == 4
    assert found["run_id"] == ""
    assert str(root) not in json.dumps(found)


def test_it_is_fresh_when_it_is_written_and_a_second_time_nothing_differs(root: Path) -> None:
    assert opened(root) == MISSING
    written(root)
    found = opened(root)
    assert isinstance(found, Manifest)
    assert len(found.generations) == 4
    assert changed_manifests(root) == ([], [])


def test_the_older_keys_of_a_historical_cohort_stay_as_they_were_read(root: Path) -> None:
    write(root, "cohorts/mine/manifest.json", [json.dumps(OLD_KEYS)])
    assert opened(root) == OLD
    for _ in range(2):
        assert {key: value for key, value in written(root).items() if key in OLD_KEYS} == OLD_KEYS
        cohort(root, "mine", ("draft", next((root / "gens/draft").iterdir()).name))


def test_another_membership_or_another_run_makes_it_stale(root: Path) -> None:
    written(root)
    table = root / "cohorts/mine/membership.csv"
    table.write_text(table.read_text() + "\n")
    assert opened(root) == STALE
    written(root)
    write(root, ".migrator/ledger.jsonl", ['{"run_id": "20260101-120000"}', '{"run_id": "20260102-120000"}'])
    assert opened(root) == STALE
    assert written(root)["run_id"] == "20260102-120000"
    assert isinstance(opened(root), Manifest)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff", b'{"seal": "x"}'])
def test_damaged(root: Path, data: bytes) -> None:
    (root / "cohorts/mine/manifest.json").write_bytes(data)
    assert opened(root) == DAMAGED
    assert written(root)["combos"] == ["c1"]


def test_every_flipped_byte_is_found(root: Path) -> None:
    written(root)
    path = root / "cohorts/mine/manifest.json"
    data = path.read_bytes()
    for place in range(0, len(data), 7):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        assert isinstance(opened(root), str), place
    path.write_bytes(data[:-1])
    assert isinstance(opened(root), str)


def test_a_folder_in_its_place_is_damage(root: Path) -> None:
    (root / "cohorts/mine/manifest.json").mkdir()
    assert opened(root) == DAMAGED


def test_members_that_are_not_in_the_store_are_told_and_left_out(root: Path) -> None:
    table = root / "cohorts/mine/membership.csv"
    table.write_text(table.read_text() + "draft,d_gone\n")
    files, problems = changed_manifests(root)
    assert [path for path, _ in files] == ["cohorts/mine/manifest.json"]
    assert [(problem.kind, problem.gen_id) for problem in problems] == [("unknown-member", "d_gone")]


def test_a_member_that_cannot_be_used_leaves_no_manifest(root: Path) -> None:
    one = next((root / "gens/draft").iterdir())
    (one / "metadata.json").write_text("{")
    files, problems = changed_manifests(root)
    assert (files, [problem.kind for problem in problems]) == ([], ["invalid-json"])


def test_a_table_that_cannot_be_trusted_and_a_linked_cohort_are_told(root: Path, tmp_path: Path) -> None:
    cohort(root, "torn").write_text('stage,gen_id\n"draft,x\n')
    (root / "cohorts/linked").symlink_to(root / "cohorts/mine")
    (root / "cohorts/empty").mkdir()
    files, problems = changed_manifests(root)
    assert [path for path, _ in files] == ["cohorts/mine/manifest.json"]
    assert {(problem.kind, problem.path) for problem in problems} == {
        ("invalid-table", "cohorts/torn/membership.csv"),
        ("unsafe-path", "cohorts/linked"),
    }


def test_only_those_that_are_asked_for(root: Path) -> None:
    cohort(root, "other", ("draft", next((root / "gens/draft").iterdir()).name))
    assert [path for path, _ in changed_manifests(root, ["other"]).files] == ["cohorts/other/manifest.json"]
    assert len(changed_manifests(root).files) == 2
