"""migrator cohort: what its commands print and how they end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from tests.cohorts.stores import cohort, draft, essay, select, tables
from tests.faults import content, exact

COUNTS = ("wanted", "reused_own", "reused_other", "created", "missing_outputs")


@pytest.fixture
def store(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two drafts wanted, one of them there."""
    monkeypatch.delenv("DD_COHORT", raising=False)
    root = tables(here / "data", replication=(2, 1, 1))
    draft(root, 1)
    return root


def test_build_says_per_stage_what_became_of_it(cli: Cli, store: Path) -> None:
    answer = cli("--data-root", store, "cohort", "build", "mine", "--json")
    assert answer.code == 0
    assert {key: answer.json[key] for key in ("cohort_id", "status", "mode", "issues")} == {
        "cohort_id": "mine",
        "status": "built",
        "mode": "cartesian",
        "issues": [],
    }
    counts = answer.json["counts"]
    assert {stage: tuple(counts[stage][name] for name in COUNTS) for stage in counts} == {
        "draft": (2, 0, 1, 1, 1),
        "essay": (2, 0, 0, 2, 2),
        "evaluation": (2, 0, 0, 2, 2),
    }
    assert counts["draft"]["reused_from"] == {"first": 1}
    before = exact(store)
    again = cli("--data-root", store, "cohort", "build", "mine", "--json")
    assert (again.code, again.json["status"]) == (0, "unchanged")
    assert exact(store) == before


def test_the_screen(cli: Cli, store: Path) -> None:
    answer = cli("--data-root", store, "cohort", "build", "mine")
    lines = [line for line in answer.out.splitlines() if line]
    assert lines[0] == "mine  built  cartesian"
    assert [line.split() for line in lines[1:5]] == [
        ["Stage", "Wanted", "Own", "Of", "others", "Created", "Without", "output"],
        ["draft", "2", "–", "1", "1", "1"],
        ["essay", "2", "–", "–", "2", "2"],
        ["evaluation", "2", "–", "–", "2", "2"],
    ]
    assert "Reused of others: 1 of first" in lines
    assert lines[-1].strip() == f"migrator --data-root {store} cohort missing mine"


def test_a_changed_membership_is_refused_with_exit_4_and_extend_is_the_way_on(cli: Cli, store: Path) -> None:
    cli("--data-root", store, "cohort", "build", "mine")
    tables(store, replication=(3, 1, 1))
    before = exact(store)
    answer = cli("--data-root", store, "cohort", "build", "mine", "--json")
    assert (answer.code, answer.json["status"], answer.json["exit_code"]) == (4, "refused", 4)
    assert [one["stage"] for one in answer.json["added"]] == ["draft", "essay", "evaluation"]
    assert answer.json["gone"] == []
    assert answer.json["hint"] == f"migrator --data-root {store} cohort build mine --extend"
    shown = cli("--data-root", store, "cohort", "build", "mine")
    assert shown.code == 4
    assert "the members of mine would change: 3 more, 0 less; nothing has been changed" in shown.err
    assert shown.out.count("+ ") == 3
    assert exact(store) == before
    assert cli("--data-root", store, "cohort", "build", "mine", "--extend", "--json").json["status"] == "built"
    assert cli("--data-root", store, "cohort", "build", "mine", "--json").json["status"] == "unchanged"


def test_wrong_tables_and_selections_are_refused_with_exit_1_and_all_are_listed(cli: Cli, store: Path) -> None:
    tables(store, essay={"et": "perhaps"}, replication=(1, 0, 1))
    select(store, "# mode: again", "nobody")
    before = exact(store)
    answer = cli("--data-root", store, "cohort", "build", "mine", "--json")
    assert (answer.code, answer.json["status"]) == (1, "refused")
    assert [(issue["path"], issue["blocking"]) for issue in answer.json["issues"]] == [
        ("1_raw/essay_templates.csv", True),
        ("1_raw/replication_config.csv", True),
        ("2_tasks/selected_essays.txt", True),
        ("2_tasks/selected_essays.txt", True),
    ]
    assert all("line " in issue["message"] for issue in answer.json["issues"])
    shown = cli("--data-root", store, "cohort", "build", "mine")
    assert shown.code == 1
    assert "active is 'perhaps': write true or false" in shown.out
    assert "4 issues to settle before the build; nothing has been changed" in shown.err
    assert exact(store) == before


@pytest.mark.parametrize("name", ["../../x", "/etc/x", "..", "a\nb", "\x1b[31m", "=1"])
def test_an_unsafe_name_is_a_usage_error_and_is_shown_harmlessly(cli: Cli, store: Path, name: str) -> None:
    before = exact(store.parent)
    answer = cli("--data-root", store, "cohort", "build", name, "--json")
    assert answer.code == 2
    assert set(answer.json) >= {"status", "cohort_id", "counts", "issues", "error"}
    assert "\x1b" not in answer.out + answer.err
    assert content(store) == {path[5:]: data[4] for path, data in before.items() if path[:5] == "data/" and data[4]}


def test_the_environment_names_the_cohort(cli: Cli, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DD_COHORT", "from-env")
    assert cli("--data-root", store, "cohort", "build", "--json").json["cohort_id"] == "from-env"
    monkeypatch.setenv("DD_COHORT", "none")
    assert cli("--data-root", store, "cohort", "build", "--json").json["cohort_id"].startswith("cohort-")


def test_somebody_else_holds_the_lock(cli: Cli, store: Path) -> None:
    from migrator.engine import lock
    from migrator.engine.exchange import Place

    with lock.hold(Place.at(store).state, "upgrade"):
        answer = cli("--data-root", store, "cohort", "build", "mine", "--json")
    assert (answer.code, answer.json["status"]) == (5, "refused")


def test_show(cli: Cli, store: Path) -> None:
    cli("--data-root", store, "cohort", "build", "mine")
    path = store / "cohorts/mine/membership.csv"
    path.write_text(path.read_text() + "draft,d_gone,,,,,,\n")
    answer = cli("--data-root", store, "cohort", "show", "mine", "--json")
    assert answer.code == 0
    assert answer.json["members"]["draft"] == {"members": 3, "own": 1, "reused": 1, "missing_outputs": 2, "unknown": 1}
    assert answer.json["manifest"] == "stale"
    assert [issue["kind"] for issue in answer.json["issues"]] == ["unknown-member"]
    shown = cli("--data-root", store, "cohort", "show", "mine")
    assert "manifest: stale" in shown.out
    listed = cli("--data-root", store, "cohort", "show", "--json")
    assert listed.json == {"cohorts": [{"cohort_id": "mine", "draft": 3, "essay": 2, "evaluation": 2}]}
    assert "mine" in cli("--data-root", store, "cohort", "show").out


def test_missing_lists_one_a_line(cli: Cli, store: Path) -> None:
    one = draft(store, 2, output=False)
    cohort(store, "mine", ("draft", one), ("essay", essay(store, one)))
    assert cli("--data-root", store, "cohort", "missing", "mine").out == f"draft       {one}\n"
    answer = cli("--data-root", store, "cohort", "missing", "mine", "--json")
    assert answer.json == {"cohort_id": "mine", "missing": [{"stage": "draft", "gen_id": one}]}
    (store / "gens/draft" / one / "parsed.txt").write_text("now")
    answer = cli("--data-root", store, "cohort", "missing", "mine")
    assert (answer.code, answer.out, answer.err) == (0, "", "Every member has its output.\n")


def test_manifest_writes_one_or_all_and_then_nothing(cli: Cli, store: Path) -> None:
    for name in ("one", "two"):
        cohort(store, name, ("draft", next((store / "gens/draft").iterdir()).name))
    answer = cli("--data-root", store, "cohort", "manifest", "one", "--json")
    assert answer.json == {"status": "written", "written": ["cohorts/one/manifest.json"], "issues": []}
    answer = cli("--data-root", store, "cohort", "manifest", "--all", "--json")
    assert answer.json["written"] == ["cohorts/two/manifest.json"]
    answer = cli("--data-root", store, "cohort", "manifest", "--all")
    assert (answer.code, answer.out) == (0, "Nothing to write: what is there is right.\n")
    assert json.loads((store / "cohorts/one/manifest.json").read_bytes())["combos"] == ["c1"]
    for words in ((), ("one", "--all")):
        assert cli("--data-root", store, "cohort", "manifest", *words).code == 2


def test_a_manifest_that_cannot_be_made_is_told(cli: Cli, store: Path) -> None:
    gen_id = next((store / "gens/draft").iterdir()).name
    cohort(store, "one", ("draft", gen_id))
    (store / "gens/draft" / gen_id / "metadata.json").write_text("{")
    answer = cli("--data-root", store, "cohort", "manifest", "--all", "--json")
    assert (answer.code, answer.json["status"], answer.json["written"]) == (1, "refused", [])
    assert [issue["kind"] for issue in answer.json["issues"]] == ["invalid-json"]


@pytest.mark.parametrize("words", [("show", "nobody"), ("missing", "nobody"), ("manifest", "nobody"), ("show", "../x")])
def test_a_cohort_that_is_not_there(cli: Cli, store: Path, words: tuple[str, ...]) -> None:
    answer = cli("--data-root", store, "cohort", *words)
    assert answer.code == 1
    assert "there is no cohort" in answer.err


def test_reading_commands_write_nothing(cli: Cli, store: Path) -> None:
    cli("--data-root", store, "cohort", "build", "mine")
    before = exact(store.parent)
    for words in (("show",), ("show", "mine"), ("missing", "mine")):
        assert cli("--data-root", store, "cohort", *words).code == 0
    assert exact(store.parent) == before
