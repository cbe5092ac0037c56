"""What a run does with its hooks: an `after` hook that fails undoes it like any failure; `failed` tells of one."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from migrator import runner, undo
from migrator.engine import snapshots
from migrator.engine.hooks import Hooks
from migrator.errors import CareNeeded, MigratorError
from migrator.site import RunFailed, Site
from tests.faults import content, exact, site
from tests.test_crash import small_store

COPY = 'sh -c \'cp "$1" {0}; cat "$1"\' name'  # keeps run.json as the hook saw it


@pytest.fixture(params=["plain", "linked"])
def base(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder with a data root, once plain and once behind a symbolic link."""
    small_store(tmp_path / ("data" if request.param == "plain" else "store"))
    if request.param == "linked":
        (tmp_path / "data").symlink_to("store")
    return tmp_path


def with_hooks(base: Path, events: list[tuple[str, dict[str, Any]]] | None = None, **hooks: Any) -> Site:
    """The site with hooks; what it tells is kept in `events`."""
    notify = (lambda event, **fields: events.append((event, fields))) if events is not None else lambda *a, **f: None
    return site(base, hooks=Hooks(**{"folder": base, "timeout": 10, **hooks}), notify=notify)


def test_the_after_hook_sees_the_committed_run_and_the_new_tree(base: Path) -> None:
    seen = base / "seen.json"
    outcome = runner.upgrade(with_hooks(base, after=COPY.format(seen)))
    assert outcome.status == "committed" and outcome.run is not None
    record = json.loads(seen.read_text())
    assert record["state"] == "committed"
    assert snapshots.Run(**record) == outcome.run


def test_its_output_is_told_line_by_line(base: Path) -> None:
    events: list[tuple[str, dict[str, Any]]] = []
    runner.upgrade(with_hooks(base, events, after="sh -c 'ls data/gens/draft | head -1; echo done'"))
    new_draft = min(path.name for path in (base / "data/gens/draft").iterdir())
    lines = [fields["line"] for event, fields in events if event == "hook-output"]
    assert lines == [new_draft, "done"]
    assert new_draft.startswith("d_")


def test_without_a_failure_the_failed_hook_is_not_called(base: Path) -> None:
    assert runner.upgrade(with_hooks(base, failed="touch called")).status == "committed"
    assert not (base / "called").exists()


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("sh -c 'echo no; exit 1'", "the after hook said no (exit 1): no"),
        ("sh -c 'kill -9 $$'", "the after hook was ended by SIGKILL"),
        ("sh -c 'sleep 60'", "the after hook did not end within 1 s"),
        ("no-such-program", "the after hook could not be started: No such file or directory"),
        ("sh -c 'printf \"\\033[31mred\\n\"; exit 1'", "the after hook said no (exit 1): \x1b[31mred"),
    ],
)
def test_a_failing_after_hook_leaves_the_old_tree_and_the_reason(base: Path, command: str, reason: str) -> None:
    """Contract, section 4: any failure after the commit, a failing hook too, leaves the old tree in place."""
    before = exact(base / "data")
    root = with_hooks(base, after=command, timeout=1)
    with pytest.raises(RunFailed, match="the run was undone, the data root is as before") as error:
        runner.upgrade(root)
    assert exact(base / "data") == before
    run = snapshots.read(base / "b" / error.value.run.run_id)
    assert run.state == snapshots.ROLLED_BACK
    assert run.reason == reason
    assert not (base / "m").exists() or not list((base / "m").iterdir())
    assert undo.rollback(root).status == "as-before"
    assert runner.upgrade(site(base)).status == "committed"


def test_what_came_while_the_hook_ran_is_kept_and_can_be_adopted(base: Path) -> None:
    """The new tree was the live one for as long as the hook took: it is set aside, never removed."""
    once = base / "once"
    assert runner.upgrade(with_hooks(base)).run is not None
    new = next(path.name for path in (base / "data/gens/essay").iterdir())
    metadata = json.loads((base / "data/gens/essay" / new / "metadata.json").read_text())
    undo.rollback(site(base))
    metadata["replicate"] = 9
    from migrator import compute_gen_id, compute_signature

    fields = {"draft_gen_id": metadata["parent_gen_id"], "essay_template_id": metadata["template_id"], "replicate": 9}
    gen_id = compute_gen_id("essay", compute_signature("essay", **fields))
    (base / "late").mkdir()
    (base / "late" / "metadata.json").write_text(json.dumps({**metadata, "gen_id": gen_id}))
    (base / "late" / "parsed.txt").write_text("came late")
    with pytest.raises(RunFailed) as error:
        runner.upgrade(with_hooks(base, after=f"sh -c 'cp -r late data/gens/essay/{gen_id}; touch {once}; exit 1'"))
    assert once.exists() and not (base / "data/gens/essay" / gen_id).exists()
    runner.upgrade(site(base))
    undo.adopt(site(base), error.value.run.run_id)
    assert (base / "data/gens/essay" / gen_id / "parsed.txt").read_text() == "came late"


def test_the_failed_hook_gets_the_record_of_a_run_that_failed(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise MigratorError("a check says no")

    monkeypatch.setattr("migrator.verify.run", broken)
    seen = base / "seen.json"
    with pytest.raises(RunFailed):
        runner.upgrade(with_hooks(base, after="touch after", failed=COPY.format(seen)))
    record = json.loads(seen.read_text())
    assert (record["state"], record["reason"]) == ("failed", "a check says no")
    assert not (base / "after").exists()


def test_the_failed_hook_is_called_where_the_store_needs_care(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise CareNeeded("both trees were written to")

    monkeypatch.setattr("migrator.commit.run", broken)
    with pytest.raises(CareNeeded):
        runner.upgrade(with_hooks(base, failed="sh -c 'touch called'"))
    assert (base / "called").exists()


def test_a_failing_failed_hook_is_told_and_hides_nothing(base: Path) -> None:
    events: list[tuple[str, dict[str, Any]]] = []
    with pytest.raises(RunFailed, match="the after hook said no"):
        runner.upgrade(with_hooks(base, events, after="false", failed="no-such-program"))
    told = [fields for event, fields in events if event == "hook-failed"]
    assert [fields["level"] for fields in told] == ["warning"]
    assert "could not be started" in told[0]["reason"]


def test_killed_during_the_hook_the_run_stands(base: Path) -> None:
    """The exchange has happened, and nothing has said no: the next writing command completes the record."""
    child = os.fork()
    if child == 0:
        try:
            runner.upgrade(with_hooks(base, after=f"kill -9 {os.getpid()}"))
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert runner.upgrade(site(base)).status == "up-to-date"
    run = snapshots.of_root(base / "b", site(base).place.root)[-1]
    assert run.state == snapshots.COMMITTED
    assert (base / "m" / run.run_id).is_dir()
    assert undo.rollback(site(base)).status == "rolled-back"


def test_killed_between_the_way_back_and_its_record_nothing_is_removed(base: Path) -> None:
    """The tree that readers have seen is kept, also when recovery is what records that it was undone."""
    run = runner.upgrade(site(base)).run
    assert run is not None
    committed = (base / "b" / run.run_id / snapshots.RUN_FILE).read_bytes()
    after = content(base / "data")
    root = site(base)
    from migrator.engine import exchange, journal
    from migrator.engine.journal import Journal

    target = Path(run.tree)
    exchange.switch(root.place, target, run.link)
    journal.write(root.place.state, Journal(journal.UPGRADE, run.run_id, str(base / "b" / run.run_id)))
    (base / "b" / run.run_id / snapshots.RUN_FILE).write_bytes(committed)
    shutil.rmtree(base / "m")
    undo.rollback(root)
    kept = snapshots.read(base / "b" / run.run_id)
    assert kept.state == snapshots.ROLLED_BACK
    assert content(Path(kept.tree)) == after
