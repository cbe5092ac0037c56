"""What authors of steps get: the plugin costs others nothing, its tests fail where they should, the walk is true."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from migrator.demo import make_legacy_store
from tests.test_docs import ROOT

BIN = Path(sys.executable).parent
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("MIGRATOR_", "PYTEST_"))} | {
    "PATH": f"{BIN}:{os.environ['PATH']}"
}
NAMED = re.compile(r"^`([\w/.]+)`:\n\n```\w+\n(.*?)^```", re.MULTILINE | re.DOTALL)


def run(folder: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    """A command in a project, as it is typed; `more` is added to the environment."""
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, env={**ENVIRONMENT, **more})


def pytest_in(folder: Path, what: str = "tests", *, alone: bool = True) -> subprocess.CompletedProcess[str]:
    """Pytest in a project; alone it loads no plugin but ours, which takes a third of the time."""
    words = ("pytest", what, "-q", "-W", "error", "-p", "no:cacheprovider")
    if not alone:
        return run(folder, *words)
    return run(folder, *words, "-p", "migrator.testing", PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `migrator init` makes."""
    folder = tmp_path_factory.mktemp("made")
    assert run(folder, "migrator", "init").returncode == 0
    return folder


@pytest.fixture
def project(made: Path, tmp_path: Path) -> Path:
    """A copy of it to change."""
    return shutil.copytree(made, tmp_path / "project")


def test_the_plugin_costs_others_nothing() -> None:
    """Loaded in every pytest of the environment: neither pandas nor anything of ours but names."""
    code = (
        "import sys, pytest; before = set(sys.modules); import migrator.testing; "
        "print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['migrator', 'migrator.testing']"


def test_the_four_ready_tests_pass_on_the_standard_steps(project: Path) -> None:
    """As an author calls them: the plugin is found by itself."""
    done = pytest_in(project, alone=False)
    assert "4 passed" in done.stdout, done.stdout + done.stderr


def _replaced(old: str, new: str) -> Callable[[Path], None]:
    def change(project: Path) -> None:
        step = project / "migrations/0004_scrub_model_id.py"
        assert old in step.read_text()
        step.write_text(step.read_text().replace(old, new))

    return change


def _gap(project: Path) -> None:
    (project / "migrations/0004_scrub_model_id.py").rename(project / "migrations/0005_scrub_model_id.py")


def _step(body: str, check: str = "") -> Callable[[Path], None]:
    text = f'"""A step."""\nfrom migrator import *\n\ndef changes(store):\n    {body}\n{check}'
    return lambda project: _write(project / "migrations/0005_wrong.py", text)


def _write(path: Path, text: str) -> None:
    path.write_text(text)


AGAIN = "for gen in store.generations('draft'):\n        yield Edit(gen, set={'n': gen.metadata.get('n', 0) + 1})"
NO = "\ndef check(before, after):\n    yield Problem('failed-check', message='no')\n"


@pytest.mark.parametrize(
    ("harm", "failed"),
    [
        (_gap, ["one_head"]),
        (_step("yield Problem('missing-field', message='x')"), ["run_and_their_checks", "byte_identical"]),
        (_step("yield from ()", NO), ["run_and_their_checks"]),
        (_step(AGAIN), ["second_run_is_empty"]),
    ],
    ids=["a gap", "a step that blocks", "a check that says no", "a step that is never done"],
)
def test_a_ready_test_fails_where_it_should(project: Path, harm: Callable[[Path], None], failed: list[str]) -> None:
    harm(project)
    done = pytest_in(project)
    assert done.returncode == 1
    assert [name for name in failed if not re.search(f"FAILED .*{name}", done.stdout)] == []


def test_a_golden_pair_fails_on_any_byte(project: Path) -> None:
    assert run(project, "migrator", "new", "x").returncode == 0
    test = "tests/test_0005_x.py"
    assert "1 passed" in pytest_in(project, test).stdout
    file = project / "tests/golden/0005_x/after/gens/draft/d_4py995ydm8lggqs/metadata.json"
    file.write_text(file.read_text() + "\n")
    assert f"FAILED {test}" in pytest_in(project, test).stdout


def test_the_worked_example_is_true(project: Path) -> None:
    """Every file and every command of docs/writing-a-migration.md, in order, on the demo's store as staging."""
    page = (ROOT / "docs/writing-a-migration.md").read_text()
    make_legacy_store(project / "data-staging")
    assert (
        run(project, *shlex.split(re.findall(r"^    (migrator new first_cohort)$", page, re.MULTILINE)[0])).returncode
        == 0
    )
    files = NAMED.findall(page)
    assert len(files) == 4
    for path, content in files:
        assert (project / path).is_file(), f"{path} is not what migrator new writes"
        (project / path).write_text(content.rstrip("\n") if path.endswith(".json") else content)
    commands = re.findall(r"^\$ (.*)$", page.partition("## Worked example")[2], re.MULTILINE)
    assert len(commands) == 6
    for line in commands:
        done = pytest_in(project, alone=False) if line == "pytest" else run(project, *shlex.split(line))
        assert done.returncode == 0, (line, done.stdout, done.stderr)
        if line == "pytest":
            assert "6 passed" in done.stdout
        if line.endswith(" plan"):
            assert re.search(r"0005 first_cohort +rewrite +\d+", done.stdout)
