"""migrator history: runs and what became of them."""

import shutil
from pathlib import Path

import pytest
from rich.console import Console

from tests.cli.conftest import Cli


def test_no_run_yet(cli: Cli, root: Path) -> None:
    assert cli("--data-root", root, "history").out.startswith("No run yet.")
    assert cli("--data-root", root, "history", "--json").json == {
        "runs": [],
        "applied": [],
        "without_record": [],
    }


def test_runs_have_steps_counts_and_state(cli: Cli, root: Path) -> None:
    first = cli("--data-root", root, "upgrade", "--to", "0002", "--yes", "--json").json["run_id"]
    second = cli("--data-root", root, "upgrade", "--yes", "--json").json["run_id"]
    cli("--data-root", root, "rollback", "--yes")
    runs = cli("--data-root", root, "history", "--json").json["runs"]
    assert [(run["run_id"], run["state"]) for run in runs] == [(first, "committed"), (second, "rolled-back")]
    assert runs[0]["snapshot"] and runs[1]["snapshot"] is None
    screen = cli("--data-root", root, "history").out
    assert "0001-0002" in screen
    assert "rolled-back" in screen


def test_a_run_whose_folder_is_gone_is_known_from_the_ledger(cli: Cli, root: Path) -> None:
    run_id = cli("--data-root", root, "upgrade", "--yes", "--json").json["run_id"]
    shutil.rmtree(root.parent / "backups")
    assert cli("--data-root", root, "history", "--json").json["without_record"] == [run_id]
    assert "its folder is gone" in cli("--data-root", root, "history").out


def test_a_narrow_window_cuts_no_run_id(cli: Cli, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below 80 columns the time goes, which the id says too; a pipe is never narrow."""
    run_id = cli("--data-root", root, "upgrade", "--yes", "--json").json["run_id"]
    assert "Began (UTC)" in cli("--data-root", root, "history").out
    monkeypatch.setattr("migrator.cli.screen._console", lambda stream: Console(file=stream, width=60))
    narrow = cli("--data-root", root, "history").out
    assert run_id in narrow and "Began (UTC)" not in narrow
    assert max(len(line) for line in narrow.splitlines()) <= 60
