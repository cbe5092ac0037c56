"""What is imported when, and that the example is a sound code location."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from migrator.pipeline import (
    Store,
    Work,
    cohort_checks,
    cohort_id,
    cohort_membership,
    definitions,
    missing_sensor,
    register_partitions,
    stage_assets,
    stage_checks,
)
from tests.pipeline.conftest import gen

ROOT = Path(__file__).parents[2]


def answer(program: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("names", ["migrator", "migrator.cli.dagster, migrator.cli.upgrade, migrator.enrolment"])
def test_nothing_but_the_pipeline_imports_dagster(names: str) -> None:
    """The extra is an extra: neither a step's author nor an upgrade needs it."""
    program = f"import sys, {names}\nprint([n for n in sys.modules if n.partition('.')[0].startswith('dagster')])"
    assert answer(program) == "[]"


WITHOUT = "import sys\nsys.modules['dagster'] = None\n"  # as where it is not installed: neither found nor imported


def typed(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A command where Dagster is not installed and an instance is named all the same."""
    program = WITHOUT + f"from migrator.cli import main\nmain(['--data-root', {str(root)!r}, *{words!r}])"
    env = {**os.environ, "DAGSTER_HOME": str(root.parent)}
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, env=env)


def test_without_the_extra_the_pipeline_says_what_to_install() -> None:
    program = WITHOUT + "try: import migrator.pipeline\nexcept ImportError as error: print(error)"
    assert answer(program) == "migrator.pipeline needs Dagster: pip install 'migrator[dagster]'"


@pytest.mark.parametrize("word", ["sync", "rehearse"])
def test_without_the_extra_the_commands_say_what_to_install(tmp_path: Path, word: str) -> None:
    (tmp_path / "data" / "gens").mkdir(parents=True)
    done = typed(tmp_path / "data", "dagster", word)
    assert (done.returncode, "pip install 'migrator[dagster]'" in done.stderr) == (2, True)


def test_without_the_extra_an_upgrade_works(tmp_path: Path) -> None:
    """The offer at its end is only a line of text."""
    gen(tmp_path / "data", "draft", {"parsed.txt": "d"}, gen_id="old", combo_id="c", template_id="t", llm_model_id="m")
    done = typed(tmp_path / "data", "upgrade", "--yes")
    assert (done.returncode, "dagster sync --history" in done.stdout) == (0, True), done.stderr


def test_the_example_is_a_sound_code_location(tmp_path: Path) -> None:
    """`dagster definitions validate` loads it as `dagster dev` would."""
    command = [sys.executable, "-m", "dagster", "definitions", "validate", "-f", "examples/daydreaming/pipeline.py"]
    env = {**os.environ, "DAGSTER_HOME": str(tmp_path), "MIGRATOR_DATA_ROOT": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All code locations passed validation" in done.stdout + done.stderr


def test_the_parts_fit_into_a_code_location_of_ones_own() -> None:
    """Each part by itself beside somebody's own asset, as docs/dagster.md has it; one stage may do."""

    @dg.asset
    def mine(essay_parsed: None) -> None: ...

    work = Work(lambda task: "p", lambda task, prompt: "r")
    stages = [stage_assets(stage, work) for stage in ("draft", "essay")]
    make = dg.define_asset_job("make_draft", dg.AssetSelection.groups("draft"))
    parts = dg.Definitions(
        assets=[cohort_id, cohort_membership, register_partitions, *stages, mine],
        asset_checks=[cohort_checks(), stage_checks("draft")],
        jobs=[make],
        sensors=[missing_sensor({"draft": make})],
        resources={"migrator": Store(data_root="/data")},
    )
    dg.Definitions.validate_loadable(parts)
    keys = {key.to_user_string() for key in parts.resolve_asset_graph().get_all_asset_keys()}
    assert {"mine", "draft_prompt", "essay_parsed", "cohort_membership"} <= keys
    own = dg.Definitions(assets=[mine], asset_checks=[])
    dg.Definitions.validate_loadable(dg.Definitions.merge(definitions(draft=work, essay=work, evaluation=work), own))
