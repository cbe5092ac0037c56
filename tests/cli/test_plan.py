"""migrator plan: says what would happen, and does none of it."""

import csv
import json
from pathlib import Path

import pytest

from tests.cli.conftest import STORE, Cli, as_tree
from tests.random_stores import read_tree, write_tree


def test_the_object_has_pending_counts_and_issues(cli: Cli, root: Path) -> None:
    answer = cli("--data-root", root, "plan", "--json")
    assert answer.code == 0
    assert [step["number"] for step in answer.json["pending"]] == ["0001", "0002", "0003", "0004"]
    assert answer.json["counts"] == {
        "generations": 3,
        "created": 0,
        "renamed": 3,
        "rewritten": 0,
        "unchanged": 0,
    }
    assert {"kind", "blocking", "stage", "gen_id", "path", "message"} == answer.json["issues"][0].keys()
    assert all(check["passed"] for check in answer.json["checks"])


def test_nothing_at_all_is_written(cli: Cli, root: Path) -> None:
    before = read_tree(root.parent)
    assert cli("--data-root", root, "plan").code == 0
    assert read_tree(root.parent) == before


def test_the_screen_ends_with_totals_and_the_next_command(cli: Cli, root: Path) -> None:
    lines = cli("--data-root", root, "plan").out.splitlines()
    assert "0 to create, 3 to rename, 0 to delete." in lines[-2]
    assert lines[-2].endswith("Nothing has been changed.")
    assert lines[-1] == f"  next  migrator --data-root {root} upgrade"


def test_exit_code_three_when_steps_are_pending(cli: Cli, root: Path) -> None:
    assert cli("--data-root", root, "plan", "--exit-code").code == 3
    cli("--data-root", root, "upgrade", "--yes")
    answer = cli("--data-root", root, "plan", "--exit-code")
    assert answer.code == 0
    assert answer.out == f"Up to date. {root} is at 0004; 3 generations.\n"
    assert cli("--data-root", root, "plan", "--json").json["pending"] == []


def test_to_stops_early_and_must_be_a_step(cli: Cli, root: Path) -> None:
    assert len(cli("--data-root", root, "plan", "--to", "0002", "--json").json["pending"]) == 2
    assert cli("--data-root", root, "plan", "--to", "0009").code != 0


def test_blocking_issues_are_all_listed_and_exit_four(cli: Cli, here: Path) -> None:
    broken = {f"gens/draft/broken-{number}/metadata.json": "[]" for number in range(8)}
    write_tree(as_tree({**STORE, **broken}), here / "data")
    answer = cli("--data-root", here / "data", "plan", "--json")
    assert answer.code == 4
    assert sum(issue["blocking"] for issue in answer.json["issues"]) == 8
    screen = cli("--data-root", here / "data", "plan")
    assert screen.code == 4
    assert "and 5 more" in screen.out
    kept = cli("--data-root", here / "data", "plan", "--out", here / "kept")
    assert kept.err.endswith(f"plan --out {here / 'kept'}   (again, when they are settled)\n")
    assert screen.err.splitlines()[-2].startswith("error: 8 blocking issues to settle before the upgrade")
    assert f"mv {here}/data/gens/draft/broken-0 {here}/data/gens/draft/.set-aside/" in screen.out


def test_a_kept_plan_is_five_files(cli: Cli, root: Path) -> None:
    answer = cli("--data-root", root, "plan", "--out", "kept")
    assert answer.code == 0
    folder = root.parent / "kept"
    names = ["issues.csv", "mapping.csv", "plan.json", "report.html", "synthetic_drafts.csv"]
    assert sorted(path.name for path in folder.iterdir()) == names
    rows = list(csv.DictReader((folder / "mapping.csv").read_text().splitlines()))
    assert [row["old_gen_id"] for row in rows] == ["old-draft", "old-essay", "old-evaluation"]
    kept = json.loads((folder / "plan.json").read_text())
    assert kept["to"] == "0004"
    assert kept["fingerprint"] == cli("--data-root", root, "plan", "--json").json["fingerprint"]
    assert answer.out.splitlines()[-1] == f"  next  migrator --data-root {root} upgrade --plan {folder}"


@pytest.mark.parametrize("out", ["data", "data/plans", "data/gens/../x"])
def test_a_plan_is_not_kept_inside_the_data_root(cli: Cli, root: Path, out: str) -> None:
    before = read_tree(root)
    answer = cli("--data-root", root, "plan", "--out", out)
    assert answer.code == 2
    assert "inside the data root" in answer.err
    assert read_tree(root) == before


def test_a_missing_proof_is_told(cli: Cli, root: Path) -> None:
    (root.parent / "migrator.toml").write_text(
        '[env.staging]\ndata_root = "staging"\n[env.prod]\ndata_root = "data"\nproved_on = "staging"\n'
    )
    answer = cli("--env", "prod", "plan")
    assert answer.code == 0
    assert "nothing is proven there" in answer.err
