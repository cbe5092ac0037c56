"""Numbered steps in a folder: all that is wrong with them is told, nothing is left behind."""

from __future__ import annotations

import grp
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from migrator.engine import steps
from migrator.errors import DecisionNeeded, MigratorError

STEP = '"""Do one thing.\n\nMore of it.\n"""\n\n\ndef changes(store):\n    return ()\n'


def folder(root: Path, texts: Mapping[str, str]) -> Path:
    """A folder of steps."""
    root.mkdir(exist_ok=True)
    for name, text in texts.items():
        (root / name).write_text(text)
    return root


def test_steps_are_found_in_order(tmp_path: Path) -> None:
    """Number, name, title and the functions; what is no step of ours is left alone."""
    checked = STEP + "\n\ndef check(before, after):\n    return ()\n"
    here = folder(tmp_path, {"0002_b_2.py": checked, "0001_a.py": STEP, "__init__.py": "1/0", "test_a.py": "1/0"})
    folder(tmp_path, {"README.md": "", ".0009_hidden.py": "1/0"})
    first, second = steps.discover(here)
    assert (first.number, first.name, first.title, str(first)) == ("0001", "a", "Do one thing", "0001 a")
    assert (second.number, second.name, first.check) == ("0002", "b_2", None)
    assert second.check is not None
    assert list(first.changes(None)) == []


def test_a_step_without_a_docstring_has_its_name_for_a_title(tmp_path: Path) -> None:
    """Reports need something to print."""
    (step,) = steps.discover(folder(tmp_path, {"0001_make_tea.py": "def changes(store): ..."}))
    assert step.title == "make tea"


def test_an_empty_folder_has_no_steps(tmp_path: Path) -> None:
    """A project that starts is no error; a folder that is not there is one."""
    assert steps.discover(tmp_path) == []
    with pytest.raises(MigratorError, match="no folder of steps"):
        steps.discover(tmp_path / "missing")


DISORDER = [
    pytest.param(["0001_a", "0001_b"], ["two steps have the number 0001"], id="one number twice"),
    pytest.param(["0001_a", "0003_c", "0006_f"], ["0002, 0004, 0005 missing"], id="gaps"),
    pytest.param(["0001_a", "0003_c"], ["0002 missing"], id="a gap"),
    pytest.param(["0002_b"], ["0001 missing"], id="not from the start"),
    pytest.param(["0001_a", "2_b"], ["2_b.py is not called NNNN_name.py"], id="a short number"),
    pytest.param(["0001_a", "0002-b"], ["0002-b.py is not called"], id="a dash"),
    pytest.param(["0001_a", "0002_B"], ["0002_B.py is not called"], id="a capital"),
    pytest.param(
        ["0001_a", "0001_b", "0003_c", "notes"],
        ["two steps have the number 0001", "0002 missing", "notes.py is not called"],
        id="all of it",
    ),
]


@pytest.mark.parametrize(("names", "faults"), DISORDER)
def test_a_folder_in_disorder_is_refused(tmp_path: Path, names: list[str], faults: list[str]) -> None:
    """Exit 4 with everything that is wrong; no file is run before that."""
    here = folder(tmp_path, {f"{name}.py": "raise AssertionError('run')" for name in names})
    with pytest.raises(DecisionNeeded) as error:
        steps.discover(here)
    assert error.value.where == str(here)
    assert [fault for fault in faults if fault not in error.value.message] == []


BROKEN = [
    pytest.param("def changes(store:\n", "cannot be read", id="syntax error"),
    pytest.param("x = '\0'\n", "cannot be read", id="NUL"),
    pytest.param("# -*- coding: no-such -*-\n", "cannot be read", id="unknown encoding"),
    pytest.param("1 / 0\n", r"fails when it is imported: ZeroDivisionError", id="raises"),
    pytest.param("import no_such_module\n", "fails when it is imported: ModuleNotFoundError", id="missing import"),
    pytest.param("raise RuntimeError('no')\n", r"RuntimeError\('no'\)", id="raises with a text"),
    pytest.param("raise SystemExit(0)\n", "fails when it is imported", id="exits"),
    pytest.param("x = 1\n", r"no function changes\(store\)", id="no changes"),
    pytest.param("changes = 5\n", r"no function changes\(store\)", id="changes is no function"),
]


@pytest.mark.parametrize(("text", "told"), BROKEN)
def test_a_step_that_cannot_run_is_told(tmp_path: Path, text: str, told: str) -> None:
    """An error with the file's name and path, not a traceback."""
    here = folder(tmp_path, {"0001_a.py": STEP, "0002_b.py": text})
    with pytest.raises(MigratorError, match=told) as error:
        steps.discover(here)
    assert "0002_b.py" in error.value.message
    assert error.value.where == str(here / "0002_b.py")


def test_a_folder_called_like_a_step_is_told(tmp_path: Path) -> None:
    """What cannot be read is not skipped."""
    (tmp_path / "0001_a.py").mkdir()
    with pytest.raises(MigratorError, match=r"0001_a\.py cannot be read"):
        steps.discover(tmp_path)


def test_nothing_is_written(tmp_path: Path) -> None:
    """Not even byte code: the folder may be read-only, and a dry run writes nothing."""
    here = folder(tmp_path, {"0001_a.py": STEP, "0002_b.py": STEP})
    steps.discover(here)
    assert sorted(path.name for path in here.rglob("*")) == ["0001_a.py", "0002_b.py"]


def test_the_digest_ignores_line_ends_only() -> None:
    """A checkout with other line ends is the same step; any other byte makes another one."""
    text = STEP.encode()
    assert steps.digest(text.replace(b"\n", b"\r\n")) == steps.digest(text)
    assert steps.digest(text.replace(b"\n", b"\r")) == steps.digest(text)
    others = [
        text + b"\n",
        text + b" ",
        text.replace(b"one", b"One"),
        text.replace(b"\n\n", b"\n"),
        b"\xef\xbb\xbf" + text,
    ]
    assert steps.digest(text) not in {steps.digest(other) for other in others}


def test_the_digest_does_not_move() -> None:
    """It is in every ledger: this value must never change."""
    assert steps.digest(b"def changes(store):\n    return ()\n") == "2df5c95fcfe63aa2b9fc9b6618092981ed92d4a7"


def test_a_dataclass_in_a_step_works(tmp_path: Path) -> None:
    """The author's code runs as a module does: dataclasses and annotations find it."""
    text = "from dataclasses import dataclass\n\n@dataclass\nclass A:\n    x: 'int'\n\n"
    text += "def changes(store):\n    yield A(1)\n"
    (step,) = steps.discover(folder(tmp_path, {"0001_a.py": text}))
    assert [one.x for one in step.changes(None)] == [1]


def test_a_step_does_not_inherit_how_we_are_compiled(tmp_path: Path) -> None:
    """`from __future__ import annotations` of the loader is not the author's: annotations are values."""
    (step,) = steps.discover(
        folder(tmp_path, {"0001_a.py": "def changes(store: int): return [changes.__annotations__]"})
    )
    assert list(step.changes(None)) == [{"store": int}]


# -- whose code is it


def _steps(folder: Path) -> Path:
    folder.mkdir()
    (folder / "0001_one.py").write_text('"""One."""\n\n\ndef changes(store):\n    return []\n')
    return folder


@pytest.mark.parametrize("name", [".", "0001_one.py"])
def test_what_others_can_write_is_not_run(tmp_path: Path, name: str) -> None:
    folder = _steps(tmp_path / "steps")
    (folder / name).chmod(0o777)
    with pytest.raises(MigratorError, match="others can write here") as refusal:
        steps.discover(folder)
    assert refusal.value.hint is not None
    subprocess.run(refusal.value.hint.partition("then ")[2], shell=True, check=True)
    assert [step.number for step in steps.discover(folder)] == ["0001"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: owners")
@pytest.mark.parametrize("name", [".", "0001_one.py"])
def test_what_belongs_to_somebody_else_is_not_run(tmp_path: Path, name: str) -> None:
    folder = _steps(tmp_path / "steps")
    os.chown(folder / name, 12345, 0)
    with pytest.raises(MigratorError, match="belong to somebody else"):
        steps.discover(folder)


def test_a_checkout_with_umask_002_is_run(tmp_path: Path) -> None:
    """The group may write where it is the user's own, as on most systems."""
    folder = _steps(tmp_path / "steps")
    for path in (folder, folder / "0001_one.py"):
        path.chmod(path.stat().st_mode | 0o020)
    assert [step.number for step in steps.discover(folder)] == ["0001"]


def test_a_group_of_several_that_can_write_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = _steps(tmp_path / "steps")
    folder.chmod(0o775)
    crowd = grp.struct_group(("crowd", "x", folder.stat().st_gid, ["somebody"]))
    monkeypatch.setattr(grp, "getgrgid", lambda gid: crowd)
    with pytest.raises(MigratorError, match="a group of several"):
        steps.discover(folder)


def test_a_step_that_is_a_link_is_judged_by_what_it_points_to(tmp_path: Path) -> None:
    folder = _steps(tmp_path / "steps")
    elsewhere = tmp_path / "elsewhere.py"
    (folder / "0001_one.py").rename(elsewhere)
    (folder / "0001_one.py").symlink_to(elsewhere)
    elsewhere.chmod(0o666)
    with pytest.raises(MigratorError, match="others can write here"):
        steps.discover(folder)
