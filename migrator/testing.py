"""A pytest plugin for authors of steps: a tiny store, golden pairs, and four tests that every project of steps needs.

    from migrator.testing import *        # in tests/test_migrations.py: the four tests

The plugin is loaded by every pytest of an environment that has migrator, so nothing is imported before a fixture asks.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from migrator.engine.steps import Step
    from migrator.site import Site

__all__ = [
    "test_forward_and_back_is_byte_identical",
    "test_the_second_run_is_empty",
    "test_the_steps_have_one_head",
    "test_the_steps_run_and_their_checks_hold",
]

# of an older era: no replicate, a model under its old name, ids that are no function of anything
TINY: dict[str, Any] = {
    "gens/draft/old-draft/metadata.json": {
        "stage": "draft",
        "gen_id": "old-draft",
        "combo_id": "combo_v1_0a1b2c3d4e5f",
        "template_id": "creative-synthesis-v2",
        "model_id": "gemini_25_pro",
        "cohort_id": "main",
    },
    "gens/draft/old-draft/parsed.txt": "a draft\n",
    "gens/essay/old-essay/metadata.json": {
        "stage": "essay",
        "gen_id": "old-essay",
        "template_id": "novel-elaboration-v8",
        "parent_gen_id": "old-draft",
        "llm_model_id": "gemini_25_pro",
    },
    "gens/essay/old-essay/parsed.txt": "an essay\n",
    "gens/evaluation/old-evaluation/metadata.json": {
        "stage": "evaluation",
        "gen_id": "old-evaluation",
        "template_id": "novelty",
        "parent_gen_id": "old-essay",
        "llm_model_id": "qwen3_235b",
    },
    "gens/evaluation/old-evaluation/parsed.txt": "7\n",
    "cohorts/main/membership.csv": (
        "stage,gen_id,parent_gen_id\ndraft,old-draft,\nessay,old-essay,old-draft\nevaluation,old-evaluation,old-essay\n"
    ),
}


# -- fixtures


@pytest.fixture
def migrations_folder(request: pytest.FixtureRequest) -> Path:
    """The project's steps: `migrations/` in pytest's root folder. Override it where they lie elsewhere."""
    return request.config.rootpath / "migrations"


@pytest.fixture
def gens_store(tmp_path: Path) -> Path:
    """A data root with a draft, its essay, its evaluation and a cohort, of an older era.

    Override it with a store of your own kind: the four ready tests run on what this returns.
    """
    root = tmp_path / "data"
    for path, value in TINY.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
        (root / path).write_text(text, encoding="utf-8")
    return root


@pytest.fixture
def golden(request: pytest.FixtureRequest, migrations_folder: Path, tmp_path: Path) -> Callable[[str], None]:
    """Prove one step by its golden pair: `golden("0005_name")`.

    tests/golden/0005_name/before and after are data roots beside the test. The step alone makes the one into the
    other, byte for byte, and finds nothing to do in the second.
    """
    folder = request.path.parent / "golden"
    return lambda name: _prove(_step(migrations_folder, name), folder / name, tmp_path / name)


def _step(folder: Path, name: str) -> Step:
    from migrator.engine.steps import discover

    return next(step for step in discover(folder) if step.path.stem == name)


def _prove(step: Step, pair: Path, work: Path) -> None:
    from migrator import build
    from migrator import plan as planning
    from migrator.engine import listing
    from migrator.store.inventory import Inventory

    before, after = work / "before", work / "after"
    shutil.copytree(pair / "before", before, symlinks=True)
    plan = planning.make(listing.walk(before), Inventory.read(before), [step], [])
    assert [str(problem) for problem in plan.blocking] == []
    build.run(plan, after, jobs=1)
    assert _files(after) == _files(pair / "after")
    assert _changes(step, pair / "after") == [], "the step finds something to do in what it has made"


def _changes(step: Step, root: Path) -> list[object]:
    from migrator.store.inventory import Inventory
    from migrator.store.problems import Problem

    return [change for change in step.changes(Inventory.read(root)) if not isinstance(change, Problem)]


def _files(root: Path) -> dict[str, str]:
    """Every file and link of a tree as text, so that a difference can be read."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_file():
            found[name] = path.read_bytes().decode(errors="backslashreplace")
    return found


# -- the four ready tests


def _site(root: Path, migrations: Path) -> Site:
    from migrator.engine.exchange import Place
    from migrator.site import Site

    return Site(Place.at(root), migrations, root.parent / "backups", root.parent / "mappings", jobs=1)


def _without_ours(root: Path) -> dict[str, str]:
    return {path: text for path, text in _files(root).items() if not path.startswith(".migrator/")}


def _stats(root: Path) -> dict[str, tuple[int, int]]:
    """Mode and time of everything."""
    found = {".": root, **{path.relative_to(root).as_posix(): path for path in root.rglob("*")}}
    return {name: (os.lstat(path).st_mode, os.lstat(path).st_mtime_ns) for name, path in sorted(found.items())}


def test_the_steps_have_one_head(migrations_folder: Path) -> None:
    """Numbered from 0001 without a gap or a twin, each importable, with changes(store) and a title."""
    from migrator.engine.steps import discover

    steps = discover(migrations_folder)
    assert [step.number for step in steps] == [f"{number:04}" for number in range(1, len(steps) + 1)]
    assert [str(step) for step in steps if not step.title] == []


def test_the_steps_run_and_their_checks_hold(gens_store: Path, migrations_folder: Path) -> None:
    """On the tiny store nothing blocks, and the whole run, with each step's own check, is committed."""
    from migrator import runner

    outcome = runner.upgrade(_site(gens_store, migrations_folder))
    assert [str(problem) for problem in outcome.problems if problem.blocking] == []
    assert outcome.status == "committed"


def test_the_second_run_is_empty(gens_store: Path, migrations_folder: Path) -> None:
    """No step finds anything to do in what all of them have made."""
    from migrator import runner
    from migrator.engine.steps import discover

    site = _site(gens_store, migrations_folder)
    runner.upgrade(site)
    assert {str(step): _changes(step, gens_store) for step in discover(migrations_folder)} == {
        str(step): [] for step in discover(migrations_folder)
    }
    assert runner.upgrade(site).status == "up-to-date"


def test_forward_and_back_is_byte_identical(gens_store: Path, migrations_folder: Path) -> None:
    """A rollback gives the same bytes, modes and times; forward again gives the same tree as the first time."""
    from migrator import runner, undo

    site = _site(gens_store, migrations_folder)
    files, stats = _files(gens_store), _stats(gens_store)
    runner.upgrade(site)
    forward = _without_ours(gens_store)
    undo.rollback(site)
    assert _files(gens_store) == files
    assert _stats(gens_store) == stats
    runner.upgrade(site)
    assert _without_ours(gens_store) == forward
