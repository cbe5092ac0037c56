"""What is imported when, and that the example is a sound code location."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

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


WITHOUT = """
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "dagster" else find(name, *rest)
"""


def test_without_the_extra_the_pipeline_says_what_to_install() -> None:
    program = WITHOUT + "try: import migrator.pipeline\nexcept ImportError as error: print(error)"
    assert answer(program) == "migrator.pipeline needs Dagster: pip install 'migrator[dagster]'"


def test_without_the_extra_the_command_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "gens").mkdir()
    program = WITHOUT + f"from migrator.cli import main\nmain(['--data-root', {str(tmp_path)!r}, 'dagster', 'sync'])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, "pip install 'migrator[dagster]'" in done.stderr) == (2, True)


def test_the_example_is_a_sound_code_location(tmp_path: Path) -> None:
    """`dagster definitions validate` loads it as `dagster dev` would."""
    command = [sys.executable, "-m", "dagster", "definitions", "validate", "-f", "examples/daydreaming/pipeline.py"]
    env = {**os.environ, "DAGSTER_HOME": str(tmp_path), "MIGRATOR_DATA_ROOT": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All code locations passed validation" in done.stdout + done.stderr
