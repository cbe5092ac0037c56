"""migrator upgrade: does all of it or nothing, and says so in words and in JSON."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from migrator import IdScheme
from migrator.cli import screen
from migrator.cli.settings import Settings
from migrator.engine import lock
from migrator.engine.exchange import Place
from migrator.errors import MigratorError
from migrator.site import Site, copy_mappings
from migrator.undo import LINK_HAZARD
from tests.cli.conftest import SETTINGS, STORE, Cli, as_tree
from tests.random_stores import read_tree, write_tree

KEYS = ["status", "run_id", "steps", "mapping", "snapshot", "counts", "issues", "report", "record", "undo"]
GUARDED = SETTINGS + 'confirm = "type-name"\n'


def test_a_committed_run_as_json(cli: Cli, root: Path) -> None:
    before = read_tree(root)
    answer = cli("--data-root", root, "upgrade", "--yes", "--json")
    assert answer.code == 0
    assert list(answer.json) == KEYS
    assert answer.json["status"] == "committed"
    assert answer.json["steps"][2] == "0003 deterministic_ids"
    assert answer.json["counts"]["renamed"] == 3
    assert Path(answer.json["mapping"]) == root.parent / "mappings" / answer.json["run_id"] / "mapping.csv"
    assert Path(answer.json["mapping"]).is_file()
    assert read_tree(Path(answer.json["snapshot"])) == before
    assert "issues" in answer.json
    assert answer.err == ""


def test_a_committed_run_on_the_screen(cli: Cli, root: Path) -> None:
    answer = cli("--data-root", root, "upgrade", "--yes")
    assert f"{root} is at 0004; 3 generations." in answer.out
    assert f"  undo      migrator --data-root {root} rollback\n" in answer.out
    assert "A container or a shell that holds the old folder keeps it until it is restarted." in answer.out
    assert "building the new tree: done" in answer.err


def test_up_to_date_is_a_calm_sentence(cli: Cli, root: Path) -> None:
    cli("--data-root", root, "upgrade", "--yes")
    answer = cli("--data-root", root, "upgrade")
    assert (answer.code, answer.out) == (0, f"Up to date. {root} is at 0004; 3 generations.\n")
    answer = cli("--data-root", root, "upgrade", "--json")
    assert answer.json["status"] == "up-to-date"
    assert list(answer.json) == KEYS
    assert answer.json["run_id"] is answer.json["snapshot"] is answer.json["mapping"] is None
    assert answer.json["counts"]["unchanged"] == 3


def test_without_yes_and_a_terminal_it_says_what_to_pass(cli: Cli, root: Path) -> None:
    before = read_tree(root)
    answer = cli("--data-root", root, "upgrade")
    assert answer.code == 2
    assert answer.err.splitlines()[-1] == f"  hint: migrator --data-root {root} upgrade --yes"
    assert read_tree(root) == before
    assert cli("--data-root", root, "upgrade", "--json").json["exit_code"] == 2


def test_blocking_issues_refuse_and_change_nothing(cli: Cli, here: Path) -> None:
    broken = {f"gens/draft/broken-{number}/metadata.json": "[]" for number in range(8)}
    write_tree(as_tree({**STORE, **broken}), here / "data")
    before = read_tree(here / "data")
    answer = cli("--data-root", here / "data", "upgrade", "--yes", "--json")
    assert answer.code == 4
    assert answer.json["status"] == "refused"
    assert sum(issue["blocking"] for issue in answer.json["issues"]) == 8
    assert answer.json["run_id"] is None
    screen = cli("--data-root", here / "data", "upgrade", "--yes")
    assert screen.code == 4
    assert "invalid-json" in screen.out
    assert read_tree(here / "data") == before


def answering(monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    """Somebody at a terminal who types this."""
    monkeypatch.setattr(screen, "interactive", lambda: True)
    monkeypatch.setattr("click.prompt", lambda *words, **options: answer)


@pytest.mark.parametrize(("typed", "code"), [("y", 0), ("yes", 0), ("", 1), ("n", 1), ("prod", 1)])
def test_somebody_at_a_terminal_is_asked(
    cli: Cli, root: Path, monkeypatch: pytest.MonkeyPatch, typed: str, code: int
) -> None:
    before = read_tree(root)
    answering(monkeypatch, typed)
    answer = cli("--data-root", root, "upgrade")
    assert answer.code == code
    assert "3 to rename" in answer.out
    assert (read_tree(root) == before) == bool(code)


@pytest.mark.parametrize(("typed", "code"), [("prod", 0), ("yes", 1), ("PROD", 1)])
def test_a_guarded_env_wants_its_name_typed(
    cli: Cli, root: Path, monkeypatch: pytest.MonkeyPatch, typed: str, code: int
) -> None:
    (root.parent / "migrator.toml").write_text('[env.prod]\ndata_root = "data"\nconfirm = "type-name"\n')
    answering(monkeypatch, typed)
    assert cli("--env", "prod", "upgrade", "--yes").code == code


def test_for_a_guarded_env_yes_is_not_enough(cli: Cli, root: Path) -> None:
    (root.parent / "migrator.toml").write_text('[env.prod]\ndata_root = "data"\nconfirm = "type-name"\n')
    before = read_tree(root)
    answer = cli("--env", "prod", "upgrade", "--yes")
    assert answer.code == 2
    assert answer.err.splitlines()[-1] == "  hint: migrator --env prod upgrade --confirm prod"
    assert cli("--env", "prod", "upgrade", "--confirm", "staging").code == 2
    assert read_tree(root) == before
    assert cli("--env", "prod", "upgrade", "--confirm", "prod").code == 0


def test_staging_is_made_from_prod_and_proves_the_steps(cli: Cli, root: Path) -> None:
    (root.parent / "migrator.toml").write_text(GUARDED)
    before = read_tree(root)
    refused = cli("--env", "prod", "upgrade", "--confirm", "prod", "--json")
    assert (refused.code, refused.json["status"]) == (4, "refused")
    assert list(refused.json)[:5] == ["status", "error", "where", "hint", "exit_code"]
    assert set(KEYS) <= refused.json.keys()
    assert cli("--env", "staging", "upgrade", "--from", "prod", "--yes").code == 0
    assert read_tree(root) == before
    answer = cli("--env", "prod", "upgrade", "--confirm", "prod")
    assert answer.code == 0
    assert "The same steps passed on staging" in answer.out


def test_the_proof_can_be_overridden_with_a_reason_that_is_recorded(cli: Cli, root: Path) -> None:
    (root.parent / "migrator.toml").write_text(GUARDED)
    assert cli("--env", "prod", "upgrade", "--confirm", "prod", "--override-staging", "fire").code == 0
    assert cli("--env", "prod", "history", "--json").json["runs"][0]["note"] == "fire"


def test_a_data_root_is_no_copy_of_itself(cli: Cli, root: Path) -> None:
    (root.parent / "migrator.toml").write_text(GUARDED)
    assert cli("--env", "staging", "upgrade", "--from", "staging", "--yes").code == 2


# -- kept plans


@pytest.mark.parametrize("file", ["kept", "kept/plan.json"])
def test_a_kept_plan_is_done(cli: Cli, root: Path, file: str) -> None:
    cli("--data-root", root, "plan", "--to", "0003", "--out", "kept")
    answer = cli("--data-root", root, "upgrade", "--plan", file, "--yes", "--json")
    assert answer.code == 0
    assert len(answer.json["steps"]) == 3


def test_a_stale_plan_is_refused(cli: Cli, root: Path) -> None:
    cli("--data-root", root, "plan", "--out", "kept")
    (root / "note.txt").write_text("later")
    before = read_tree(root)
    answer = cli("--data-root", root, "upgrade", "--plan", "kept", "--yes", "--json")
    assert (answer.code, answer.json["status"]) == (5, "refused")
    assert "stale" in answer.json["error"]
    assert read_tree(root) == before


@pytest.mark.parametrize("content", [None, "", "[]", "{}", '{"fingerprint": "x"}'])
def test_what_is_no_plan_is_a_usage_error(cli: Cli, root: Path, content: str | None) -> None:
    if content is not None:
        (root.parent / "plan.json").write_text(content)
    answer = cli("--data-root", root, "upgrade", "--plan", "plan.json", "--yes")
    assert answer.code == 2
    assert "hint: migrator" in answer.err


# -- what goes wrong


def test_a_held_lock_is_exit_five_and_names_the_holder(cli: Cli, root: Path) -> None:
    with lock.hold(Place.at(root).state, "upgrade"):
        answer = cli("--data-root", root, "upgrade", "--yes", "--json")
    assert answer.code == 5
    assert "in use by" in answer.json["error"]


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """A run whose check fails."""

    def fail(*words: object, **options: object) -> None:
        raise error

    monkeypatch.setattr("migrator.runner.verify.run", fail)


def test_a_run_that_fails_is_rolled_back_and_says_which(cli: Cli, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = read_tree(root)
    failing(monkeypatch, OSError(28, "No space left on device", "somewhere"))
    answer = cli("--data-root", root, "upgrade", "--yes", "--json")
    assert answer.code == 1
    assert answer.json["status"] == "rolled-back"
    assert answer.json["run_id"]
    assert "No space left on device" in answer.json["error"]
    assert read_tree(root) == before
    assert "failed" in answer.err


def test_an_interrupted_run_is_exit_130(cli: Cli, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = read_tree(root)
    failing(monkeypatch, KeyboardInterrupt())
    answer = cli("--data-root", root, "upgrade", "--yes", "--json")
    assert (answer.code, answer.json["status"]) == (130, "rolled-back")
    assert read_tree(root) == before


def test_an_interruption_after_the_commit_says_that_the_run_stands(
    cli: Cli, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = copy_mappings

    def interrupted(site: Site) -> list[str]:
        if site.ledger():
            raise KeyboardInterrupt
        return original(site)

    monkeypatch.setattr("migrator.runner.copy_mappings", interrupted)
    answer = cli("--data-root", root, "upgrade", "--yes", "--json")
    assert (answer.code, answer.json["status"]) == (130, "committed")
    assert len(cli("--data-root", root, "status", "--json").json["applied"]) == 4


# -- collisions

DRAFTS: dict[str, Any] = {
    f"gens/draft/draft-{number}/metadata.json": {
        "combo_id": f"combo_{number}",
        "template_id": "t",
        "llm_model_id": "m",
    }
    for number in range(30)
}


@pytest.fixture
def short_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids of one byte, so that some of thirty collide."""
    original: Callable[..., Site] = Settings.site

    def site(self: Settings, *words: Any, **options: Any) -> Site:
        return replace(original(self, *words, **options), scheme=IdScheme(digest_size=1))

    monkeypatch.setattr(Settings, "site", site)


@pytest.mark.usefixtures("short_ids")
def test_a_collision_blocks_until_it_is_accepted_by_name(cli: Cli, here: Path) -> None:
    root = here / "data"
    write_tree(as_tree(DRAFTS), root)
    before = read_tree(root)
    refused = cli("--data-root", root, "upgrade", "--yes", "--json")
    assert refused.code == 4
    names = {issue["gen_id"] for issue in refused.json["issues"] if issue["kind"] == "id-collision"}
    assert names
    assert "critical" in refused.err
    assert read_tree(root) == before
    accepted = [word for name in names for word in ("--accept-collision", name)]
    answer = cli("--data-root", root, "upgrade", "--yes", "--json", *accepted)
    assert answer.code == 0
    log = here / "backups" / answer.json["run_id"] / "log.jsonl"
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert {event["gen_id"] for event in events if event["level"] == "critical"} == names


@pytest.mark.usefixtures("short_ids")
def test_the_hint_accepts_the_collision(cli: Cli, here: Path) -> None:
    write_tree(as_tree(DRAFTS), here / "data")
    answer = cli("--data-root", here / "data", "plan")
    assert answer.code == 4
    assert "--accept-collision d_" in answer.err.splitlines()[-1]


def test_a_run_leaves_a_report_with_what_it_took(cli: Cli, root: Path) -> None:
    answer = cli("--data-root", root, "upgrade", "--yes")
    (report,) = (root.parent / "backups").glob("*/report.html")
    assert f"report    {report}" in answer.out
    page = report.read_text()
    assert "<b>Committed</b>" in page and "estimate" not in page
    phases = re.findall(r'<th scope="row" class="dim">(read|plan|build|verify|commit)</th>', page)
    assert phases == ["read", "plan", "build", "verify", "commit"]
    assert not list(root.rglob("report.html"))


def test_a_run_that_was_undone_leaves_a_report_with_the_reason(
    cli: Cli, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise MigratorError("the disk <is> full")

    monkeypatch.setattr("migrator.verify.run", broken)
    assert cli("--data-root", root, "upgrade", "--yes").code == 1
    (report,) = (root.parent / "backups").glob("*/report.html")
    assert "the disk &lt;is&gt; full" in report.read_text()


def test_a_report_that_cannot_be_written_fails_no_run(cli: Cli, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **kwargs: object) -> bytes:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("migrator.cli.page.render", full)
    answer = cli("--data-root", root, "upgrade", "--yes")
    assert answer.code == 0
    assert "report-not-written" in answer.err and "report  " not in answer.out


# -- who does the work, and how


def test_jobs_and_a_scheduler_are_two_answers_to_one_question(cli: Cli, root: Path) -> None:
    answer = cli("--data-root", root, "upgrade", "--jobs", "2", "--scheduler", "tcp://127.0.0.1:1")
    assert answer.code == 2
    assert "leave one of the two out" in answer.err


def test_a_scheduler_wants_a_linked_root(cli: Cli, root: Path) -> None:
    """Refused before anything is connected to, with the commands that make the root one."""
    answer = cli("--data-root", root, "upgrade", "--scheduler", "tcp://127.0.0.1:1", "--json")
    assert (answer.code, answer.json["status"]) == (2, "refused")
    assert answer.json["hint"].startswith(f"mv {root} {root}.store && ln -s")


def test_link_says_its_hazard_before_and_after_and_in_the_record(cli: Cli, root: Path) -> None:
    """Asked with it on the screen; and `snapshots verify` says it again where it has come true."""
    copied = cli("--data-root", root, "upgrade", "--yes")
    assert LINK_HAZARD not in copied.out
    cli("--data-root", root, "rollback", "--yes")
    answer = cli("--data-root", root, "upgrade", "--yes", "--link")
    assert answer.out.count(LINK_HAZARD) == 2
    record = json.loads(max((root.parent / "backups").glob("*/run.json")).read_text())
    assert record["payload"] == "linked"
    assert cli("--data-root", root, "snapshots", "verify").code == 0
    text = next(path for path in root.glob("gens/*/*/*.txt"))
    text.write_text("rewritten in place")
    verified = cli("--data-root", root, "snapshots", "verify")
    assert verified.code == 10
    assert LINK_HAZARD in verified.out
    assert text.name in verified.out
    refused = cli("--data-root", root, "rollback", "--yes")
    assert refused.code == 10
    assert LINK_HAZARD in refused.err
