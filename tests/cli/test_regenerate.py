"""migrator regenerate: score tables and manifests anew, on any store whose records can be read."""

from __future__ import annotations

import json
import os
from pathlib import Path

from migrator.engine import lock
from migrator.engine.exchange import Place
from tests.cli.conftest import Cli
from tests.random_stores import read_tree

TABLES = [
    "5_parsing/aggregated_scores.csv",
    "6_summary/generation_scores_pivot.csv",
    "7_cross_experiment/evaluation_scores_by_template_model.csv",
]


def test_what_would_not_change_is_not_written(cli: Cli, root: Path) -> None:
    first = cli("--data-root", root, "regenerate", "--json")
    assert first.code == 0
    assert first.json == {"status": "regenerated", "written": TABLES, "unchanged": [], "issues": []}
    times = [os.stat(root / path).st_mtime_ns for path in TABLES]
    (root / TABLES[1]).write_text("old\n")
    second = cli("--data-root", root, "regenerate", "--json").json
    assert (second["status"], second["written"]) == ("regenerated", [TABLES[1]])
    assert second["unchanged"] == [TABLES[0], TABLES[2]]
    assert [os.stat(root / path).st_mtime_ns for path in (TABLES[0], TABLES[2])] == [times[0], times[2]]
    third = cli("--data-root", root, "regenerate", "--json")
    assert (third.code, third.json["status"], third.json["written"]) == (0, "unchanged", [])


def test_the_screen_says_what_changed(cli: Cli, root: Path) -> None:
    assert "Made anew: 3 files." in cli("--data-root", root, "regenerate").out
    assert "Nothing to do. 3 files as they should be." in cli("--data-root", root, "regenerate").out
    (root / TABLES[0]).unlink()
    shown = cli("--data-root", root, "regenerate").out
    assert "Made anew: 1 file. 2 others as before." in shown
    assert TABLES[0] in shown and TABLES[1] not in shown


def test_it_touches_nothing_else(cli: Cli, root: Path) -> None:
    before = read_tree(root)
    cli("--data-root", root, "regenerate")
    after = read_tree(root)
    assert {path: after[path] for path in before} == before
    assert sorted(after.keys() - before.keys()) == TABLES


def test_modes_are_kept(cli: Cli, root: Path) -> None:
    cli("--data-root", root, "regenerate")
    (root / TABLES[0]).write_text("old\n")
    (root / TABLES[0]).chmod(0o600)
    cli("--data-root", root, "regenerate")
    assert (root / TABLES[0]).stat().st_mode & 0o777 == 0o600


def test_a_record_that_cannot_be_read_is_named_and_nothing_is_written(cli: Cli, root: Path) -> None:
    (root / "gens/essay/old-essay/metadata.json").write_text("{broken")
    before = read_tree(root)
    answer = cli("--data-root", root, "regenerate", "--json")
    assert answer.code == 1
    assert answer.json["status"] == "refused"
    assert [(i["kind"], i["gen_id"]) for i in answer.json["issues"]] == [("invalid-json", "old-essay")]
    assert "nothing has been changed" in answer.json["error"]
    assert "old-essay" in cli("--data-root", root, "regenerate").out
    assert read_tree(root) == before


def test_a_linked_folder_is_refused(cli: Cli, root: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (root / "6_summary").symlink_to(tmp_path / "outside")
    answer = cli("--data-root", root, "regenerate", "--json")
    assert answer.code == 1
    assert [(i["kind"], i["path"]) for i in answer.json["issues"]] == [("unsafe-path", "6_summary")]
    assert list((tmp_path / "outside").iterdir()) == []


def test_manifests_wait_for_the_signatures_of_their_members(cli: Cli, root: Path) -> None:
    """The tables of a store that is not migrated can be made; a manifest lists signatures, which it does not have."""
    (root / "cohorts/one").mkdir(parents=True)
    (root / "cohorts/one/membership.csv").write_text("stage,gen_id\ndraft,old-draft\n")
    (root / "cohorts/one/manifest.json").write_text('{"combos": ["kept"]}')
    answer = cli("--data-root", root, "regenerate", "--json")
    assert (answer.code, answer.json["status"], answer.json["written"]) == (1, "regenerated", TABLES)
    assert {(i["kind"], i["gen_id"]) for i in answer.json["issues"]} == {("missing-field", "old-draft")}
    assert "manifests" in answer.json["error"]
    assert (root / "cohorts/one/manifest.json").read_text() == '{"combos": ["kept"]}'
    cli("--data-root", root, "upgrade", "--yes")
    made = json.loads((root / "cohorts/one/manifest.json").read_bytes())
    assert (made["combos"], len(made["generations"])) == (["kept"], 1)
    answer = cli("--data-root", root, "regenerate", "--json")
    assert (answer.code, answer.json["written"], answer.json["issues"]) == (0, [], [])


def test_it_takes_the_lock(cli: Cli, root: Path) -> None:
    with lock.hold(Place.at(root).state, "upgrade"):
        answer = cli("--data-root", root, "regenerate", "--json")
    assert answer.code == 5
    assert answer.json["status"] == "refused"
    assert not (root / TABLES[0]).exists()


def test_the_plan_says_what_will_be_made_anew(cli: Cli, root: Path) -> None:
    (root / "cohorts/one").mkdir(parents=True)
    (root / "cohorts/one/membership.csv").write_text("stage,gen_id\ndraft,old-draft\n")
    assert cli("--data-root", root, "plan", "--json").json["rebuilt"] == [*TABLES, "cohorts/one/manifest.json"]
    assert "3 derived tables and 1 manifest are made anew" in cli("--data-root", root, "plan").out


def test_only_tables_of_the_user_become_stale(cli: Cli, root: Path) -> None:
    (root / TABLES[0]).write_text("gen_id\nold-evaluation\n")
    cli("--data-root", root, "upgrade", "--yes")
    for path in TABLES:
        os.utime(root / path, (1, 1))
    assert cli("--data-root", root, "status", "--json").json["stale_tables"] == ["5_parsing/mine.csv"]
