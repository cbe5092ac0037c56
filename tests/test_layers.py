"""Who may import whom, read from the syntax trees (docs/design.md, the arrows)."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import migrator

ROOT = Path(__file__).parents[1]
STAGES = {"errors", "store", "engine", "plan", "build", "verify", "commit", "recovery"}
MAY_IMPORT = {
    "errors": set(),
    "store": {"errors", "store"},
    "engine": {"errors", "engine"},
    "__init__": {"errors", "store", "cohorts", "view"},  # what `from migrator import name` costs
    "plan": {"errors", "store", "engine"},
    "build": {"errors", "store", "engine", "plan"},
    "verify": {"errors", "store", "engine", "plan", "build"},
    "commit": {"errors", "store", "engine", "plan"},
    "recovery": {"errors", "store", "engine", "plan"},
    "cohorts": {"errors", "store", "cohorts"},
    "tables": {"errors", "store", "tables"},
    "rebuild": {"errors", "store", "engine", "plan", "tables", "cohorts"},
    "site": {"errors", "store", "engine", "plan", "recovery"},
    "incident": {"errors", "engine", "commit", "recovery", "site", "__init__"},
    "rehearsal": {"errors", "store", "plan"},
    "cluster": {"errors", "engine", "__init__"},
    "ahead": {"errors", "store", "engine", "tables", "rebuild"},
    "runner": STAGES | {"ahead", "site", "incident", "__init__", "rebuild", "rehearsal"},
    "undo": {"errors", "store", "engine", "commit", "recovery", "site", "incident"},
    "upkeep": {"errors", "store", "engine", "plan", "rebuild", "recovery", "site", "undo"},
    "enrolment": {"errors", "store", "engine", "cohorts", "recovery", "site"},
    "testing": {"errors", "store", "engine", "plan", "build", "site", "runner", "undo"},
    "view": {"errors", "store", "engine", "plan", "site", "runner"},
    "report": {"errors", "store", "plan", "report", "__init__"},
    "demo": {"store", "demo"},
    "pipeline": {"errors", "store", "engine", "cohorts", "site", "enrolment", "pipeline", "__init__"},
}
MAY_IMPORT["cli"] = set(MAY_IMPORT) | {"cli"}
MAY_IMPORT["__main__"] = {"cli"}
FOR_TYPES_ONLY = {"report": {"engine", "site", "upkeep", "cohorts"}}  # it formats their values


def imports(source: str) -> Iterator[tuple[str, bool, int]]:
    """(dotted name, whether for types only, line) of every import at any depth; `from a import b` is a.b."""
    tree = ast.parse(source)
    typed = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node in typed, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            yield from ((f"{base}.{alias.name}", node in typed, node.lineno) for alias in node.names)


def room(path: str) -> str:
    """The first part of a path below the package, without .py."""
    return path.partition("/")[0].removesuffix(".py")


def violations(files: dict[str, str]) -> list[str]:
    """Forbidden imports in the modules of the package: path below it -> source."""
    rooms = {room(path) for path in files} | set(MAY_IMPORT)
    found = []
    for path, source in files.items():
        for name, typed, line in imports(source):
            top, _, rest = name.partition(".")
            target = rest.split(".")[0]
            target = target if target in rooms else "__init__"
            allowed = MAY_IMPORT.get(room(path), set()) | (FOR_TYPES_ONLY.get(room(path), set()) if typed else set())
            if not top or (top == "migrator" and target not in allowed):
                found.append(f"{path}:{line} imports {name}")
    return found


def strangers(source: str) -> list[str]:
    """What a step imports beside the package's public names and the standard library."""
    public = {f"migrator.{name}" for name in migrator.__all__}
    names = [name for name, _, _ in imports(source)]
    return [n for n in names if n not in public and n.partition(".")[0] not in sys.stdlib_module_names]


def test_the_arrows_hold() -> None:
    package = ROOT / "migrator"
    files = {path.relative_to(package).as_posix(): path.read_text("utf-8") for path in package.rglob("*.py")}
    assert len(files) > 30
    assert {room(path) for path in files} <= set(MAY_IMPORT)
    assert violations(files) == []


def test_steps_import_the_package_and_the_standard_library() -> None:
    steps = sorted((ROOT / "migrations").glob("*.py"))
    assert steps
    assert {step.name: strangers(step.read_text("utf-8")) for step in steps} == {step.name: [] for step in steps}


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("errors.py", "from migrator.store import ids"),
        ("store/ids.py", "import migrator.engine.files"),
        ("store/ids.py", "from migrator.engine import files"),
        ("store/ids.py", "from migrator import engine"),
        ("store/ids.py", "from migrator import Gen"),
        ("store/ids.py", "from . import layout"),
        ("store/ids.py", "def f():\n    if True:\n        from migrator.plan import Plan"),
        ("engine/files.py", "from migrator.store.layout import STAGES"),
        ("engine/files.py", "from migrator import __version__"),
        ("plan.py", "from migrator import build"),
        ("build.py", "from migrator.verify import run"),
        ("commit.py", "from migrator.runner import Site"),
        ("runner.py", "from migrator.report import text"),
        ("runner.py", "from migrator import cli"),
        ("report/text.py", "from migrator.engine import files"),
        ("demo/eras.py", "from migrator.engine import files"),
        ("pipeline/assets.py", "from migrator import runner"),
        (
            "store/x.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from migrator.plan import Plan",
        ),
    ],
)
def test_a_planted_violation_is_found(path: str, line: str) -> None:
    assert len(violations({path: line, "plan.py" if path != "plan.py" else "x.py": ""})) == 1


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("store/ids.py", "import json, os.path\nfrom migrator.errors import MigratorError"),
        ("cli/plan.py", "from migrator import __version__, runner\nfrom migrator.cli import screen"),
        ("report/text.py", "if TYPE_CHECKING:\n    from migrator.site import Outcome"),
        ("runner.py", "from migrator import __version__, build, rebuild"),
    ],
)
def test_a_right_import_is_not(path: str, line: str) -> None:
    assert violations({path: line}) == []


@pytest.mark.parametrize(
    "line",
    [
        "import numpy",
        "from migrator import runner",
        "from migrator.store.ids import PREFIX",
        "import migrator.store",
    ],
)
def test_a_strange_import_of_a_step_is_found(line: str) -> None:
    assert len(strangers(f"import json\nfrom migrator import Gen, Inventory\n{line}\n")) == 1
