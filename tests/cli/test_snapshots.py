"""migrator snapshots: listed, proven, pruned, and never the last one."""

from pathlib import Path

import pytest

from tests.cli.conftest import Cli


@pytest.fixture
def runs(cli: Cli, root: Path) -> list[str]:
    """Three committed runs."""
    return [
        cli("--data-root", root, "upgrade", "--to", step, "--yes", "--json").json["run_id"]
        for step in ("0001", "0003", "0004")
    ]


def test_none_yet(cli: Cli, root: Path) -> None:
    assert cli("--data-root", root, "snapshots", "list").out.startswith("There is no snapshot")
    assert cli("--data-root", root, "snapshots", "list", "--json").json == {"snapshots": []}
    assert cli("--data-root", root, "snapshots", "verify").code == 0


def test_they_are_listed_with_size_and_path(cli: Cli, root: Path, runs: list[str]) -> None:
    found = cli("--data-root", root, "snapshots", "list", "--json").json["snapshots"]
    assert [entry["run_id"] for entry in found] == runs
    assert all(entry["is_snapshot"] and entry["bytes"] > 0 for entry in found)
    screen = cli("--data-root", root, "snapshots", "list").out
    assert all(run_id in screen for run_id in runs)


def test_a_tree_of_after_is_not_called_a_snapshot(cli: Cli, root: Path) -> None:
    run_id = cli("--data-root", root, "upgrade", "--yes", "--json").json["run_id"]
    cli("--data-root", root, "rollback", "--yes")
    (entry,) = cli("--data-root", root, "snapshots", "list", "--json").json["snapshots"]
    assert (entry["run_id"], entry["is_snapshot"]) == (run_id, False)
    assert cli("--data-root", root, "snapshots", "verify", run_id).code == 1


def test_a_snapshot_that_was_touched_is_damage(cli: Cli, root: Path, runs: list[str]) -> None:
    assert cli("--data-root", root, "snapshots", "verify").code == 0
    file = root.parent / "backups" / runs[1] / "tree" / "5_parsing" / "mine.csv"
    file.write_text("other")
    answer = cli("--data-root", root, "snapshots", "verify", "--json")
    assert answer.code == 10
    assert [entry["sound"] for entry in answer.json["snapshots"]] == [True, False, True]
    screen = cli("--data-root", root, "snapshots", "verify", runs[1])
    assert screen.code == 10
    assert "5_parsing/mine.csv" in screen.out
    assert cli("--data-root", root, "snapshots", "verify", runs[0]).code == 0


def test_an_empty_policy_is_a_usage_error(cli: Cli, root: Path, runs: list[str]) -> None:
    assert cli("--data-root", root, "snapshots", "prune", "--yes").code == 2
    assert cli("--data-root", root, "snapshots", "prune", "--keep", "0", "--yes").code == 2


def test_a_dry_run_deletes_nothing(cli: Cli, root: Path, runs: list[str]) -> None:
    answer = cli("--data-root", root, "snapshots", "prune", "--keep", "1", "--dry-run", "--json")
    assert answer.json["pruned"] == runs[:2]
    assert len(cli("--data-root", root, "snapshots", "list", "--json").json["snapshots"]) == 3


def test_all_but_the_newest_go(cli: Cli, root: Path, runs: list[str]) -> None:
    assert cli("--data-root", root, "snapshots", "prune", "--keep", "1").code == 2
    answer = cli("--data-root", root, "snapshots", "prune", "--keep", "1", "--yes", "--json")
    assert (answer.code, answer.json["pruned"]) == (0, runs[:2])
    left = cli("--data-root", root, "snapshots", "list", "--json").json["snapshots"]
    assert [entry["run_id"] for entry in left] == runs[2:]
    assert cli("--data-root", root, "rollback", "--yes").code == 0


def test_the_settings_say_how_many_stay(cli: Cli, root: Path, runs: list[str]) -> None:
    (root.parent / "migrator.toml").write_text('[env.dev]\ndata_root = "data"\nkeep_snapshots = 2\n')
    answer = cli("--env", "dev", "snapshots", "prune", "--yes")
    assert answer.code == 0
    assert "1 tree" in answer.out
    assert "Nothing to prune" in cli("--env", "dev", "snapshots", "prune", "--yes").out
