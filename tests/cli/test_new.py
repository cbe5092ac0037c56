"""`migrator new`: the next step with a test that runs at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from migrator.cli import main
from migrator.engine import steps


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project as `init` makes it; the current folder."""
    monkeypatch.chdir(tmp_path)
    assert run("init") == 0
    return tmp_path


def run(*args: str) -> int:
    """The exit code of a command line."""
    with pytest.raises(SystemExit) as ended:
        main(list(args))
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("add_language", "add_language"),
        ("Add Língua!", "add_lingua"),
        ("0005_again", "again"),
        ("a-b  c", "a_b_c"),
    ],
)
def test_the_next_number_and_a_clean_name(project: Path, name: str, slug: str) -> None:
    """The step loads, has a title, and comes after those that are there."""
    assert run("new", name) == 0
    newest = steps.discover(project / "migrations")[-1]
    assert (newest.number, newest.name) == ("0005", slug)
    assert newest.title
    assert (project / f"tests/test_0005_{slug}.py").is_file()


def test_json(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One object, and the files that it names are there."""
    capsys.readouterr()
    assert run("new", "x", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["number"], told["name"]) == ("0005", "x")
    assert Path(told["step"]).is_file()
    assert Path(told["test"]).is_file()
    assert sorted(path.name for path in Path(told["golden"]).iterdir()) == ["after", "before"]


def test_it_works_from_a_folder_below(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The project is where migrator.toml is."""
    monkeypatch.chdir(project / "tests")
    assert run("new", "x") == 0
    assert (project / "migrations/0005_x.py").is_file()


@pytest.mark.parametrize("name", ["", "...", "模板", "x" * 61, "../../etc"])
def test_names_that_are_none(project: Path, name: str) -> None:
    """A usage error; a path is no name, it only lends its letters."""
    code = run("new", name)
    assert code == (0 if name == "../../etc" else 2)
    assert sorted(path.name for path in (project / "migrations").glob("0005*")) == (
        ["0005_etc.py"] if code == 0 else []
    )


def test_never_overwrites(project: Path) -> None:
    """Neither a step of that name nor a test that is in the way."""
    assert run("new", "x") == 0
    assert run("new", "x") == 1
    in_the_way = project / "tests/test_0006_y.py"
    in_the_way.write_text("mine")
    assert run("new", "y") == 1
    assert in_the_way.read_text() == "mine"
    assert not (project / "migrations/0006_y.py").exists()


def test_outside_of_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The steps that come with the package are never written to."""
    monkeypatch.chdir(tmp_path)
    assert run("new", "x") == 2
    (tmp_path / "migrator.toml").write_text("")
    assert run("new", "x") == 2
    assert [path.name for path in tmp_path.iterdir()] == ["migrator.toml"]


def test_a_folder_that_is_not_in_order(project: Path) -> None:
    """A gap is a person's decision, not ours."""
    (project / "migrations/0002_backfill_copy_drafts.py").unlink()
    assert run("new", "x") == 4
