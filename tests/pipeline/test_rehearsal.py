"""The rehearsal: twice on a copy, and not a byte of the data root (contract, section 7)."""

from __future__ import annotations

import json
from pathlib import Path

from migrator.pipeline.rehearsal import Pass, Rehearsal, chosen
from tests.pipeline.conftest import Migrator, axes, tree


def test_a_sample_is_made_and_then_skipped(root: Path, migrator: Migrator) -> None:
    """The same ids twice, calls only the first time; the data root and the folder around it are as before."""
    axes(root, combos=["c1", "c2"])
    before = tree(root)
    found = migrator("dagster", "rehearse", "--most", "3")
    assert (found["status"], found["members"], found["faults"]) == ("passed", 6, [])
    assert found["passes"] == [{"calls": 3, "steps": 9, "skipped": 0}, {"calls": 0, "steps": 9, "skipped": 9}]
    assert [gen_id[:2] for gen_id in found["ids"]] == ["d_", "e_", "v_"]
    assert tree(root) == before
    assert sorted(path.name for path in root.parent.iterdir()) == [".data.migrator", "data"]
    assert "Passed." in migrator("dagster", "rehearse", "--most", "3", plain=True).out


def test_a_cohort_that_cannot_be_built_is_told(root: Path, migrator: Migrator) -> None:
    axes(root)
    (root / "1_raw" / "replication_config.csv").write_text("stage,replicates\ndraft,0\n")
    assert "replication_config.csv" in json.dumps(migrator("dagster", "rehearse", code=1))
    assert sorted(path.name for path in root.parent.iterdir()) == [".data.migrator", "data"]


def test_what_was_not_skipped_is_a_fault() -> None:
    """Each of the promises has its sentence."""
    one = ("draft", "d_1")
    good = Pass((one,), (one,), calls=0, steps=3, skipped=3, failed=())
    bad = Pass((), (one,), calls=1, steps=3, skipped=1, failed=("draft d_1",))
    assert Rehearsal(good, good, ()).faults == []
    assert Rehearsal(good, bad, ("gens/draft/d_1/raw.txt",)).faults == [
        "failed: draft d_1",
        "the second build has other members than the first",
        "the second time the model was called too (calls: 1)",
        "the second time not all was skipped (steps: 3, skipped: 1)",
        "the second time gens/draft/d_1/raw.txt was written",
    ]


def test_a_sample_has_its_forebears_and_begins_with_what_is_missing() -> None:
    """Whole chains, parents first; what has to be made comes before what is there."""
    parents = {("draft", "d"): "", ("draft", "x"): "", ("essay", "e"): "d", ("evaluation", "v"): "e"}
    assert chosen(parents, [("evaluation", "v")], 3) == (("draft", "d"), ("essay", "e"), ("evaluation", "v"))
    assert chosen(parents, [("draft", "x")], 2) == (("draft", "d"), ("draft", "x"))
    assert chosen(parents, [], 9) == (("draft", "d"), ("draft", "x"), ("essay", "e"), ("evaluation", "v"))
