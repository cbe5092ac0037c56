"""Each step alone, on small trees of real files: before -> after, byte for byte; all steps, forward and back.

golden/<step>/before is written by hand and valid for all four steps. after/, mapping.csv, issues.csv and
synthetic_drafts.csv are what the step makes of it. When a rule of the contract changes:

    MIGRATOR_WRITE_GOLDEN=1 python -m pytest tests/test_golden.py

writes them anew; then read `git diff tests/golden` against the contract, line by line, before it is kept.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from migrator import build, runner, undo
from migrator import plan as planning
from migrator.engine import listing, tree
from migrator.engine.exchange import Place
from migrator.engine.steps import Step, discover
from migrator.site import Site
from migrator.store import mappings
from migrator.store.inventory import Inventory
from migrator.store.problems import Problem
from tests.random_stores import read_tree, write_tree

HERE = Path(__file__).parent
GOLDEN = HERE / "golden"
MIGRATIONS = HERE.parent / "migrations"
STEPS = [step for step in discover(MIGRATIONS) if (GOLDEN / step.path.stem).is_dir()]
BY_STEP = pytest.mark.parametrize("step", STEPS, ids=str)
WRITE = bool(os.environ.get("MIGRATOR_WRITE_GOLDEN"))


class Node(NamedTuple):
    """What a rollback must bring back."""

    kind: str
    mode: int
    mtime_ns: int
    size: int
    target: str


def plan_of(root: Path, step: Step) -> planning.Plan:
    return planning.make(listing.walk(root), Inventory.read(root), [step], [])


def folder_of(step: Step) -> Path:
    return GOLDEN / step.path.stem


@BY_STEP
def test_after_is_what_the_step_makes_of_before(step: Step, tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    shutil.copytree(folder_of(step) / "before", before)
    plan = plan_of(before, step)
    assert plan.blocking == []
    made = build.run(plan, after, jobs=1)
    reports = {
        "mapping.csv": mappings.render_mapping(plan.mapping),
        "synthetic_drafts.csv": mappings.render_synthetic(plan.synthetic),
        "issues.csv": mappings.render_issues(made.problems),
    }
    if WRITE:
        shutil.rmtree(folder_of(step) / "after", ignore_errors=True)
        write_tree(read_tree(after), folder_of(step) / "after")
        for name, data in reports.items():
            (folder_of(step) / name).write_bytes(data)
    assert read_tree(after) == read_tree(folder_of(step) / "after")
    assert reports == {name: (folder_of(step) / name).read_bytes() for name in reports}
    assert read_tree(before) == read_tree(folder_of(step) / "before")


@BY_STEP
def test_again_changes_nothing(step: Step) -> None:
    root = folder_of(step) / "after"
    plan = plan_of(root, step)
    assert [change for change in step.changes(plan.before) if not isinstance(change, Problem)] == []
    assert plan.blocking == []
    assert (dict(plan.recipe.moves), dict(plan.recipe.contents), dict(plan.recipe.additions)) == ({}, {}, {})
    assert all(old == new for _, old, new in plan.mapping)
    assert plan.synthetic == ()


@BY_STEP
def test_files_that_do_not_change_keep_bytes_mode_and_time(step: Step, tmp_path: Path) -> None:
    """What a step rewrites has other bytes; the rest is the very file under its new name."""
    before, after = tmp_path / "before", tmp_path / "after"
    shutil.copytree(folder_of(step) / "before", before)
    date_back(before)
    plan = plan_of(before, step)
    build.run(plan, after, jobs=1)
    places = tree.Targets(plan.entries, plan.recipe.moves)
    old, new = nodes(before), nodes(after)
    for path, node in old.items():
        rewritten = node.kind == "f" and (before / path).read_bytes() != (after / places[path]).read_bytes()
        assert not rewritten or path in plan.recipe.contents
        if rewritten:
            assert new[places[path]].mode == node.mode
        else:
            assert new[places[path]] == node, path
    for path in plan.recipe.additions:
        folder, stage = path.rpartition("/")[0], path.rpartition("/")[0].rpartition("/")[0]
        assert new[folder].mode == new[stage].mode, "a new folder has the mode of the one that it lies in"
        assert new[path].mode == new[stage].mode & 0o666, "and so have its files"


def nodes(root: Path) -> dict[str, Node]:
    """Everything in a tree but what the clock decides."""
    return {e.path: Node(e.kind, e.mode, e.mtime_ns, e.size, e.target) for e in listing.walk(root)}


def date_back(root: Path) -> None:
    """Times of long ago and a few odd modes, so that what is not preserved shows."""
    for number, path in enumerate(sorted(root.rglob("*"), reverse=True)):
        if path.is_file():
            path.chmod((0o644, 0o600, 0o755, 0o444)[number % 4])
        os.utime(path, ns=(10**18, 10**18 + number * 1_000_001))
    os.utime(root, ns=(10**18, 10**18 - 1))


@BY_STEP
def test_forward_and_back(step: Step, tmp_path: Path) -> None:
    """All steps, then the rollback: the same bytes, modes and times; and all steps again: the same tree."""
    root = tmp_path / "data"
    shutil.copytree(folder_of(step) / "before", root)
    date_back(root)
    bytes_before, nodes_before = read_tree(root), nodes(root)
    site = Site(Place.at(root), MIGRATIONS, tmp_path / "backups", tmp_path / "mappings", jobs=1)
    assert runner.upgrade(site).status == "committed"
    forward = {path: data for path, data in read_tree(root).items() if not path.startswith(".migrator")}
    assert forward != bytes_before
    assert undo.rollback(site).status == "rolled-back"
    assert read_tree(root) == bytes_before
    assert nodes(root) == nodes_before
    assert runner.upgrade(site).status == "committed"
    assert {p: data for p, data in read_tree(root).items() if not p.startswith(".migrator")} == forward


def test_every_step_has_its_trees() -> None:
    """A step without a golden pair is not guarded."""
    numbers = {step.number for step in discover(MIGRATIONS)}
    assert {step.number for step in STEPS} == numbers
    assert all(1 < len(list((folder_of(step) / "before/gens").glob("*/*"))) < 12 for step in STEPS)
