"""Promise 1 and 4: killed anywhere, the tree is the old or the new one, and the next writing command recovers.

Every mutation of upgrade and rollback is a point, on a small store; the everyday run takes some of them. All of them,
and everything else that writes, are in tests/torture.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from migrator import runner, undo, upkeep
from migrator.engine import snapshots
from migrator.errors import CareNeeded, MigratorError
from migrator.site import Site
from tests.faults import Fault, content, exact, hooked, killed_at, points, site
from tests.torture.world import recover, rollback, upgrade

STRIDE = 23  # each so-manieth point, the offset by test


def small_store(root: Path) -> None:
    """Five generations with a lost draft, a cohort, a table, a link."""
    stages = {
        "draft": {"a1": {"combo_id": "c", "template_id": "t", "llm_model_id": "m"}},
        "essay": {
            "b1": {"parent_gen_id": "a1", "template_id": "e"},
            "b2": {
                "parent_gen_id": "c_t_m",
                "mode": "copy",
                "template_id": "e",
                "combo_id": "c",
                "draft_template": "t",
                "llm_model_id": "m",
            },
        },
        "evaluation": {"v1": {"parent_gen_id": "b1", "template_id": "x", "model_id": "m"}},
    }
    for stage, gens in stages.items():
        for gen_id, metadata in gens.items():
            folder = root / "gens" / stage / gen_id
            folder.mkdir(parents=True)
            (folder / "metadata.json").write_text(json.dumps(metadata, indent=2))
            (folder / "parsed.txt").write_text(f"text of {gen_id}")
    (root / "cohorts" / "one").mkdir(parents=True)
    (root / "cohorts" / "one" / "membership.csv").write_text("stage,gen_id\ndraft,a1\nessay,b1\nessay,b2\n")
    (root / "gens" / "draft" / "a1" / "link").symlink_to("parsed.txt")


@pytest.fixture(params=["plain", "linked"])
def base(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder with a data root, once plain and once behind a symbolic link."""
    template = tmp_path / "template"
    template.mkdir()
    if request.param == "plain":
        small_store(template / "data")
    else:
        small_store(template / "store")
        (template / "data").symlink_to("store")
    return template


def fresh(base: Path) -> Path:
    """A copy of the folder, with every time and link as it is."""
    copy = base.parent / "work"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(base, copy, symlinks=True)
    return copy


def prepared(base: Path, *actions: Callable[[Site], object]) -> Path:
    """A template after some actions; run folders name their root, so it is made in the place where it is used."""
    work = fresh(base)
    for action in actions:
        action(site(work))
    return work


ACTIONS: dict[str, tuple[list[Callable[[Site], object]], Callable[[Site], object]]] = {
    "upgrade": ([], upgrade),
    "rollback": ([upgrade], rollback),
}


@pytest.mark.parametrize("case", ACTIONS)
def test_killed_anywhere_the_tree_is_old_or_new_and_recovers(base: Path, case: str) -> None:
    before, action = ACTIONS[case]
    work = prepared(base, *before)
    kept = work.with_name("kept")
    shutil.copytree(work, kept, symlinks=True)
    old = exact(site(work).place.real)
    calls = points(lambda: action(site(work)))
    new = content(site(work).place.real)
    assert len(calls) > 5
    for k in range(list(ACTIONS).index(case) % STRIDE, len(calls), STRIDE):
        shutil.rmtree(work)
        shutil.copytree(kept, work, symlinks=True)
        assert killed_at(k, lambda: action(site(work))), f"point {k} never came"
        where = f"killed before point {k}: {calls[k]}"
        now = exact(site(work).place.real)
        assert now == old or content(site(work).place.real) == new, where
        seen = exact(work)
        upkeep.status(site(work))
        assert exact(work) == seen, f"status wrote something; {where}"
        one = site(work)
        settled_then(action, one, case)
        assert content(one.place.real) == new, where
        assert upkeep.status(site(work)).owed is None, where
        leftovers = [path for path in os.listdir(one.place.state) if path != "lock"]
        assert leftovers == [], where
        for run in one.runs():
            assert run.state != snapshots.BUILDING, where


def settled_then(action: Callable[[Site], object], one: Site, case: str) -> None:
    """Recover as the next command would, then do what is still to do."""
    recover(one)
    if runner.read_pending(one) if case == "upgrade" else any(run.has_snapshot for run in one.runs()):
        action(one)


@pytest.mark.parametrize("always", [False, True], ids=["once", "from-then-on"])
def test_an_error_anywhere_leaves_the_old_tree_and_the_next_run_succeeds(base: Path, always: bool) -> None:
    work = fresh(base)
    kept = work.with_name("kept")
    shutil.copytree(work, kept, symlinks=True)
    old = exact(site(work).place.real)
    calls = points(lambda: runner.upgrade(site(work)))
    new = content(site(work).place.real)
    for k in range(always * 7, len(calls), 2 * STRIDE):
        shutil.rmtree(work)
        shutil.copytree(kept, work, symlinks=True)
        fault = Fault(k, lambda: OSError(errno.EIO, "Input/output error"), always=always)
        failure: Exception | None = None
        try:
            with hooked(fault):
                runner.upgrade(site(work))
        except (MigratorError, OSError) as error:
            failure = error
        where = f"point {k}: {calls[k]}"
        assert fault.fired, where
        now = exact(site(work).place.real)
        if failure:
            assert now == old or content(site(work).place.real) == new, where
        if failure and now != old and not always:
            # the exchange has happened and its fsync failed: never tried again, never undone, but told (exit 10)
            assert calls[k][0] == "fsync-dir", where
            assert isinstance(failure, CareNeeded), where
            assert "whether that survives a power cut is unknown" in failure.message, where
        runner.upgrade(site(work))
        assert content(site(work).place.real) == new, where


def test_interrupted_by_a_signal_nothing_has_happened(base: Path) -> None:
    work = fresh(base)
    old = exact(site(work).place.real)
    fault = Fault(60, KeyboardInterrupt)
    with hooked(fault), pytest.raises(KeyboardInterrupt):
        runner.upgrade(site(work))
    assert fault.fired
    assert exact(site(work).place.real) == old
    assert site(work).runs()[-1].state == snapshots.FAILED


def test_rollback_after_a_killed_run_leaves_the_tree_as_before(base: Path) -> None:
    work = fresh(base)
    old = exact(site(work).place.real)
    assert killed_at(30, lambda: runner.upgrade(site(work)))
    assert undo.rollback(site(work)).status == "as-before"
    assert exact(site(work).place.real) == old


def test_rollback_is_byte_exact_and_upgrading_again_gives_the_same_ids(base: Path) -> None:
    work = fresh(base)
    old = exact(site(work).place.real)
    link = os.readlink(work / "data") if (work / "data").is_symlink() else None
    first = runner.upgrade(site(work))
    new = content(site(work).place.real)
    assert first.status == "committed"
    assert runner.upgrade(site(work)).status == "up-to-date"
    assert undo.rollback(site(work)).status == "rolled-back"
    assert exact(site(work).place.real) == old
    assert link == (os.readlink(work / "data") if link else None)
    assert runner.upgrade(site(work)).status == "committed"
    assert content(site(work).place.real) == new
