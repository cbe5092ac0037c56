"""A run that did not end well leaves a page: what, where, how the tree stands, and a command that mends it."""

from __future__ import annotations

import errno
import json
import os
import shlex
from pathlib import Path

import pytest

from migrator import commit, incident, runner, undo, upkeep
from migrator.cli import main
from migrator.engine import exchange
from migrator.engine.listing import Entry
from migrator.errors import CareNeeded, MigratorError
from migrator.site import RunFailed, Site
from tests.faults import Fault, hooked, killed_at, points
from tests.torture.world import ACTIONS, PLAIN, World, exact


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "w", ACTIONS["upgrade"], PLAIN)


def page(one: Site) -> dict[str, object]:
    """The newest run's incident."""
    folder = one.folder(one.runs()[-1].run_id) / incident.FOLDER
    found: dict[str, object] = json.loads((folder / incident.DATA).read_bytes())
    assert str(found["command"]) in (folder / incident.TEXT).read_text()
    return found


def typed(command: str) -> int:
    """Run a command as an operator would type it."""
    words = shlex.split(command)
    assert words[0] == "migrator"
    with pytest.raises(SystemExit) as end:
        main(words[1:])
    return int(end.value.code or 0)


def broken(world: World, call: str, part: str, *, code: int = errno.EIO) -> MigratorError:
    """An upgrade whose first such call on such a path fails."""
    acts = points(world.act)
    world.reset()
    k = next(k for k, (name, path) in enumerate(acts) if name == call and part in path)
    fault = Fault(k, lambda: OSError(code, os.strerror(code), "the/very/file"))
    with hooked(fault), pytest.raises(MigratorError) as failure:
        world.act()
    assert fault.fired
    return failure.value


def test_it_names_phase_file_state_and_command(world: World) -> None:
    failure = broken(world, "write", "parsed.txt", code=errno.ENOSPC)
    assert isinstance(failure, RunFailed)
    found = page(world.site())
    assert (found["phase"], found["kind"], found["file"]) == ("build", "OSError", "the/very/file")
    assert found["what"] == "No space left on device: the/very/file"
    assert found["state"] == "the live tree is the one from before the run, unchanged"
    assert found["changed"] == []
    assert failure.incident == str(world.site().folder(failure.run.run_id) / "incident" / "incident.md")


def test_it_shows_before_and_after_of_what_changed(world: World) -> None:
    acts = points(world.act)
    world.reset()
    k = next(k for k, (name, _) in enumerate(acts) if name == "syncfs")
    path = world.work / "data/gens/essay/b1/parsed.txt"
    old = path.lstat()

    def hook(call: str, target: str, seen: list[int] = [-1]) -> None:  # noqa: B006 - counts its calls
        seen[0] += 1
        if seen[0] == k:
            path.write_text("longer than it was before")

    with hooked(hook), pytest.raises(MigratorError, match="somebody changed"):
        world.act()
    found = page(world.site())
    assert found["phase"] == "commit"
    (changed,) = found["changed"]  # type: ignore[misc]
    assert changed[0] == "gens/essay/b1/parsed.txt"
    assert f"{old.st_size} bytes" in changed[1]
    assert "25 bytes" in changed[2]
    assert "somebody has written into it" in str(found["state"])


def test_it_is_shown_by_path_on_the_screen_and_in_json(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    where = [f"--data-root={world.work}/data", f"--backups={world.work}/b", f"--mappings={world.work}/m"]
    for options in ([], ["--json"]):
        with hooked(Fault(60, lambda: OSError(errno.EIO, "no", "x"))), pytest.raises(SystemExit):
            main([*where, "upgrade", "--yes", *options])
        shown = capsys.readouterr()
        path = str(world.work / "b" / world.site().runs()[-1].run_id / "incident" / "incident.md")
        assert path in shown.err
        if options:
            assert json.loads(shown.out)["incident"] == path


@pytest.mark.parametrize("share", range(4))
def test_its_command_ends_in_a_clean_state_wherever_the_fault_was(world: World, share: int) -> None:
    acts = points(world.act)
    begun = next(k for k, (_, path) in enumerate(acts) if path.endswith("journal.json"))
    for k in range(begun + share, len(acts) - 15, 12):
        world.reset()
        with hooked(Fault(k, lambda: OSError(errno.EIO, "no", "x"))), pytest.raises(MigratorError):
            world.act()
            pytest.fail(f"nothing failed at {acts[k]}")
        assert typed(str(page(world.site())["command"])) == 0, acts[k]
        assert world.settled() == [], acts[k]
        assert world.whole() == [], acts[k]


def test_its_command_after_a_failed_fsync_completes_the_record(world: World) -> None:
    acts = points(world.act)
    world.reset()
    switch = acts.index(("exchange", str(world.work / "data")))
    with hooked(Fault(switch + 1, lambda: OSError(errno.EIO, "no"))), pytest.raises(CareNeeded) as failure:
        world.act()
    assert failure.value.incident
    found = page(world.site())
    assert "is the one that run" in str(found["state"])
    assert typed(str(found["command"])) == 0
    assert world.is_new()
    assert world.settled() == []


def test_its_command_after_a_failed_rollback_rolls_back(tmp_path: Path) -> None:
    world = World(tmp_path / "w", ACTIONS["rollback"], PLAIN)
    acts = points(world.act)
    for k in range(acts.index(("syncfs", str(next((world.work / "b").glob("*/tree"))))), len(acts) - 4):
        world.reset()
        fault = Fault(k, lambda: OSError(errno.EIO, "no", "x"))
        try:
            with hooked(fault):
                world.act()
        except (MigratorError, OSError):
            assert typed(str(page(world.site())["command"])) == 0, acts[k]
        assert fault.fired
        assert world.is_new(), acts[k]
        assert world.settled() == [], acts[k]


def test_a_killed_run_gets_its_page_from_the_next_writing_command(world: World) -> None:
    assert killed_at(80, world.act)
    upkeep.status(world.site())
    assert not list((world.work / "b").glob("*/incident"))
    undo.rollback(world.site())
    found = page(world.site())
    assert (found["kind"], found["what"]) == ("killed", "the process was killed")
    seen = exact(world.work / "b", times_only=True)
    undo.rollback(world.site())
    assert exact(world.work / "b", times_only=True) == seen, "the page is written once"


def test_both_trees_written_to_gives_the_command_to_compare_them(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    real = exchange.sync_switch

    def sync_switch(place: exchange.Place, tree: Path) -> None:
        real(place, tree)
        (tree / "late").write_text("x")
        (place.real / "early").write_text("x")

    monkeypatch.setattr(commit.exchange, "sync_switch", sync_switch)
    with pytest.raises(commit.BothWritten):
        world.act()
    run = world.site().runs()[-1]
    command = str(page(world.site())["command"])
    assert command == f"diff -rq --no-dereference {run.tree} {world.real}"


def test_its_own_failure_is_a_note_and_makes_nothing_worse(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    acts = points(world.act)
    world.reset()
    k = next(k for k, (name, path) in enumerate(acts) if name == "write" and "parsed.txt" in path)
    failing = False
    events = []

    def hook(call: str, path: str, seen: list[int] = [-1]) -> None:  # noqa: B006 - counts its calls
        nonlocal failing
        seen[0] += 1
        failing = failing or "incident" in path
        if seen[0] == k or (failing and "incident" in path):
            raise OSError(errno.ENOSPC, "full", path)

    one = world.site(notify=lambda event, **fields: events.append(event))
    with hooked(hook), pytest.raises(RunFailed) as failure:
        runner.upgrade(one)
    assert failing
    assert failure.value.incident is None
    assert "incident-not-written" in events
    assert world.is_old()
    assert world.recovers() == []


def test_a_crash_while_it_is_written_leaves_a_store_that_recovers(world: World) -> None:
    for k in range(4):
        world.reset()
        acts: list[tuple[str, str]] = []

        def hook(call: str, path: str, acts: list[tuple[str, str]] = acts, k: int = k) -> None:
            acts.append((call, path))
            about = [path for _, path in acts if "incident" in path]
            if len(acts) == 100 or len(about) > k:
                raise OSError(errno.EIO, "no") if len(acts) == 100 else KeyboardInterrupt

        with hooked(hook), pytest.raises(KeyboardInterrupt):
            world.act()
        assert world.is_old()
        assert world.recovers() == []


def test_nothing_in_it_is_an_escape_for_a_terminal(world: World) -> None:
    one = world.site()
    runner.upgrade(one)
    run = one.runs()[-1]
    listed = [Entry("", "d", 0, 0, 0, 0, 0, 0)]
    path = incident.record(one, run.with_(state="failed"), "upgrade", "x", OSError(5, "a\x1b[2Jb\nc", "d\x07"), listed)
    assert path is not None
    assert not set(path.read_text()) & set("\x1b\x07")
    assert "a\\x1b[2Jb\\nc" in path.read_text()
