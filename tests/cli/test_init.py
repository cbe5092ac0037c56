"""`migrator init`: a project from nothing, and nothing of what is there is touched."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from migrator.cli import main
from migrator.cli.settings import Settings
from migrator.site import shipped_migrations

FILES = {
    "migrator.toml",
    "migrations/0001_normalize_replicates.py",
    "migrations/0002_backfill_copy_drafts.py",
    "migrations/0003_deterministic_ids.py",
    "migrations/0004_scrub_model_id.py",
    "backups/.gitkeep",
    "mappings/.gitkeep",
    ".gitignore",
    "tests/test_migrations.py",
}


def run(*args: object) -> int:
    """The exit code of `migrator init ...`."""
    with pytest.raises(SystemExit) as ended:
        main(["init", *map(str, args)])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def files(root: Path) -> dict[str, bytes]:
    """Every file below a folder with its content."""
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_an_empty_folder_becomes_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The steps are byte for byte those of the package, and the settings can be read."""
    monkeypatch.chdir(tmp_path)
    assert run() == 0
    assert set(files(tmp_path)) == FILES
    for path in (tmp_path / "migrations").iterdir():
        assert path.read_bytes() == (shipped_migrations() / path.name).read_bytes()
    settings = Settings({"env": "prod"})
    assert settings.chosen.proved_on == "staging"
    assert settings.data_root == tmp_path / "data"
    assert "default_env" not in settings.file


def test_the_second_time_nothing_changes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All of it was there."""
    project = tmp_path / "new" / "project"
    assert run(project) == 0
    before = files(project)
    capsys.readouterr()
    assert run(project, "--json") == 0
    assert set(json.loads(capsys.readouterr().out)["files"].values()) == {"was there"}
    assert files(project) == before


def test_what_is_there_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Own steps are not mixed with the standard ones; .gitignore only gets what it lacks."""
    (tmp_path / "migrations").mkdir()
    (tmp_path / "migrations/0001_mine.py").write_text('"""Mine."""\n')
    (tmp_path / "migrator.toml").write_text("# mine\n")
    (tmp_path / ".gitignore").write_text("/data\nmine")
    assert run(tmp_path) == 0
    assert "~ .gitignore" in capsys.readouterr().out
    found = files(tmp_path)
    assert found["migrator.toml"] == b"# mine\n"
    assert [name for name in found if name.startswith("migrations/")] == ["migrations/0001_mine.py"]
    assert found[".gitignore"].startswith(b"/data\nmine\n/data-staging\n/backups/*\n")


def test_a_file_in_the_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No traceback: what could not be written, and why."""
    (tmp_path / "backups").write_text("")
    assert run(tmp_path) == 1
    assert "backups" in capsys.readouterr().err
