"""migrator status: tells where a data root stands, and writes nothing."""

import os
import shutil
from pathlib import Path

import pytest

from migrator import upkeep
from migrator.engine import journal, lock
from migrator.engine.exchange import Place
from migrator.engine.journal import Journal
from tests.cli.conftest import Cli
from tests.random_stores import read_tree


def test_before_any_run_all_is_pending(cli: Cli, root: Path) -> None:
    answer = cli("--data-root", root, "status", "--json")
    assert answer.code == 0
    assert answer.json["applied"] == []
    assert [step["number"] for step in answer.json["pending"]] == ["0001", "0002", "0003", "0004"]
    assert answer.json["run_in_progress"] is None
    assert answer.json["generations"] == {"draft": 1, "essay": 1, "evaluation": 1}
    screen = cli("--data-root", root, "status").out
    assert "4 steps pending." in screen
    assert f"migrator --data-root {root} upgrade" in screen


@pytest.mark.parametrize("args", [(), ("--json",)])
def test_it_writes_nothing_at_all(cli: Cli, root: Path, args: tuple[str, ...]) -> None:
    before = read_tree(root.parent)
    cli("--data-root", root, "status", *args)
    assert read_tree(root.parent) == before


def test_after_a_run_steps_have_date_and_run(cli: Cli, root: Path) -> None:
    run_id = cli("--data-root", root, "upgrade", "--yes", "--json").json["run_id"]
    answer = cli("--data-root", root, "status", "--json").json
    assert [(entry["number"], entry["run_id"]) for entry in answer["applied"]] == [
        (number, run_id) for number in ("0001", "0002", "0003", "0004")
    ]
    assert answer["pending"] == []
    assert run_id in cli("--data-root", root, "status").out


def test_exit_codes(cli: Cli, root: Path) -> None:
    assert cli("--data-root", root, "status", "--exit-code").code == 3
    cli("--data-root", root, "upgrade", "--yes")
    assert cli("--data-root", root, "status", "--exit-code").code == 0


def test_a_table_is_stale_until_it_is_newer_than_the_run(cli: Cli, root: Path) -> None:
    cli("--data-root", root, "upgrade", "--yes")
    assert "5_parsing/mine.csv" in cli("--data-root", root, "status", "--json").json["stale_tables"]
    assert "5_parsing/mine.csv" in cli("--data-root", root, "status").out
    os.utime(root / "5_parsing" / "mine.csv")
    assert "5_parsing/mine.csv" not in cli("--data-root", root, "status", "--json").json["stale_tables"]


def test_an_edited_step_is_shown(cli: Cli, root: Path) -> None:
    from migrator.cli.settings import shipped_migrations

    steps = root.parent / "migrations"
    shutil.copytree(shipped_migrations(), steps)
    cli("--data-root", root, "upgrade", "--yes")
    step = steps / "0001_normalize_replicates.py"
    step.write_text(step.read_text() + "\n# edited\n")
    answer = cli("--data-root", root, "status", "--exit-code")
    assert answer.code == 4
    assert "edited since" in answer.out
    applied = cli("--data-root", root, "status", "--json").json["applied"]
    assert [entry["edited"] for entry in applied] == [True, False, False, False]


def test_a_run_in_progress_is_named(cli: Cli, root: Path) -> None:
    with lock.hold(Place.at(root).state, "upgrade"):
        answer = cli("--data-root", root, "status", "--json").json
        assert "(upgrade)" in answer["run_in_progress"]
        assert "in use by" in cli("--data-root", root, "status").out
    assert cli("--data-root", root, "status", "--json").json["run_in_progress"] is None


def test_what_a_killed_run_owes_is_told_and_not_done(cli: Cli, root: Path) -> None:
    place = Place.at(root)
    place.state.mkdir()
    journal.write(place.state, Journal(journal.UPGRADE, "20260101-000000", str(root.parent / "backups")))
    assert "20260101-000000" in cli("--data-root", root, "status", "--json").json["owed"]
    assert "20260101-000000" in cli("--data-root", root, "status").out
    assert (place.state / journal.JOURNAL).exists()


def test_a_missing_copy_of_a_mapping_and_a_late_write_are_told(cli: Cli, root: Path) -> None:
    run = cli("--data-root", root, "upgrade", "--yes", "--json").json
    shutil.rmtree(root.parent / "mappings")
    (Path(run["snapshot"]) / "late.txt").write_text("written into the old tree")
    answer = cli("--data-root", root, "status", "--json").json
    assert answer["missing_mappings"] == [run["run_id"]]
    assert any("late.txt" in line for line in answer["late_writes"])
    screen = cli("--data-root", root, "status").out
    assert "late.txt" in screen
    assert "mapping is missing" in screen


def test_a_large_snapshot_is_not_walked_in_passing(cli: Cli, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look at where things stand takes no minute: it says who looks for late writes."""
    cli("--data-root", root, "upgrade", "--yes", "--json")
    assert "is large" not in cli("--data-root", root, "status").out
    monkeypatch.setattr(upkeep, "_LARGE_MANIFEST", 10)
    assert cli("--data-root", root, "status", "--json").json["late_writes"] == []
    assert f"is large; migrator --data-root {root} snapshots verify looks" in cli("--data-root", root, "status").out
