"""One at a time, and nothing stale: a kernel lock that says who holds it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from migrator.engine import files, lock
from migrator.errors import MigratorError, TryAgain

HOLDER = """
import sys, time
from pathlib import Path
from migrator.engine import lock
with lock.hold(Path(sys.argv[1]), sys.argv[2], shared=sys.argv[3] == "shared"):
    print("held", flush=True)
    time.sleep(60)
"""
PROJECT = Path(__file__).resolve().parents[2]


@contextmanager
def another(folder: Path, what: str, how: str = "alone") -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock, until it is killed."""
    command = [sys.executable, "-c", HOLDER, str(folder), what, how]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=PROJECT) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_a_second_holder_is_refused_at_once_and_told_the_first(tmp_path: Path) -> None:
    """Exit code 5, the first one's person, pid and command in the message, within a blink."""
    with another(tmp_path, "upgrade") as first:
        began = time.monotonic()
        with pytest.raises(TryAgain) as refused, lock.hold(tmp_path, "rollback"):
            raise AssertionError("two holders")
        assert time.monotonic() - began < 0.5
        assert refused.value.exit_code == 5
        assert f"pid {first.pid} (upgrade)" in refused.value.message
        assert lock.who() in refused.value.message
        assert "--wait" in str(refused.value.hint)


def test_a_killed_holder_leaves_it_free(tmp_path: Path) -> None:
    """SIGKILL gives the kernel the lock back: nobody has to clean up."""
    with another(tmp_path, "upgrade") as first:
        assert lock.is_held(tmp_path)
        first.send_signal(signal.SIGKILL)
        first.wait()
        with lock.hold(tmp_path, "rollback"):
            assert lock.holder(tmp_path) == f"{lock.who()}, pid {os.getpid()} (rollback)"
    assert not lock.is_held(tmp_path)


def test_the_lock_file_stays(tmp_path: Path) -> None:
    """Removing a lock file that somebody holds would make two owners: it is the same file afterwards."""
    with lock.hold(tmp_path, "upgrade"):
        inode = (tmp_path / lock.LOCK).stat().st_ino
    with lock.hold(tmp_path, "rollback"):
        assert (tmp_path / lock.LOCK).stat().st_ino == inode
    assert (tmp_path / lock.LOCK).stat().st_ino == inode


def test_a_failure_inside_frees_it(tmp_path: Path) -> None:
    """An exception passes through, and the lock is free."""
    with pytest.raises(KeyError), lock.hold(tmp_path, "upgrade"):
        raise KeyError
    assert not lock.is_held(tmp_path)


@pytest.mark.parametrize(("first", "second"), [("shared", False), ("alone", True)])
def test_shared_and_alone_exclude_each_other(tmp_path: Path, first: str, second: bool) -> None:
    """A pipeline's step keeps an upgrade out, and the other way round."""
    with (
        another(tmp_path, "first", first),
        pytest.raises(TryAgain),
        lock.hold(tmp_path, "second", shared=second),
    ):
        raise AssertionError("two holders")


def test_shared_and_shared_go_together(tmp_path: Path) -> None:
    """Steps of the pipeline do not wait for one another."""
    with (
        another(tmp_path, "one", "shared"),
        lock.hold(tmp_path, "two", shared=True),
        lock.hold(tmp_path, "three", shared=True),
    ):
        assert not lock.is_held(tmp_path)  # held alone, that is: no run is under way


def test_a_shared_holder_is_not_mistaken_for_the_last_run(tmp_path: Path) -> None:
    """The note of a run that is over names nobody: a step of the pipeline holds the lock now."""
    with lock.hold(tmp_path, "upgrade"):
        pass
    with (
        another(tmp_path, "a step", "shared"),
        pytest.raises(TryAgain) as refused,
        lock.hold(tmp_path, "rollback"),
    ):
        raise AssertionError("two holders")
    assert "(upgrade)" not in refused.value.message
    assert "a step of the pipeline" in refused.value.message


def test_those_who_share_it_are_named(tmp_path: Path) -> None:
    """An upgrade that cannot begin says which step of the pipeline it waits for, and how many more."""
    with another(tmp_path, "essay_raw of run 1", "shared") as first, another(tmp_path, "draft_raw of run 2", "shared"):
        with pytest.raises(TryAgain) as refused, lock.hold(tmp_path, "upgrade"):
            raise AssertionError("two holders")
        assert "and 1 more" in refused.value.message
        assert re.search(r"a step of the pipeline: .+, pid \d+ \((essay|draft)_raw of run [12]\)", str(refused.value))
        first.kill()
        first.wait()
        assert "draft_raw of run 2" in str(lock.holder(tmp_path))
        assert "essay_raw of run 1" not in str(lock.holder(tmp_path))


def test_who_shared_it_leaves_no_note(tmp_path: Path) -> None:
    """The note of a shared holder goes with it, also when it fails."""
    with pytest.raises(KeyError), lock.hold(tmp_path, "a step", shared=True):
        assert len(list(tmp_path.iterdir())) == 2
        raise KeyError
    assert [path.name for path in tmp_path.iterdir()] == [lock.LOCK]


def test_a_note_that_cannot_be_written_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk keeps no step from its work: the note is for people."""

    def full(call: str, path: str) -> None:
        if "shared-" in path:
            raise OSError(28, "No space left on device", path)

    monkeypatch.setattr(files, "hook", full)
    with lock.hold(tmp_path, "a step", shared=True), pytest.raises(TryAgain), lock.hold(tmp_path, "upgrade"):
        raise AssertionError("two holders")


def test_waiting_gets_it_when_it_is_freed(tmp_path: Path) -> None:
    """`wait` seconds of patience are enough for a holder that ends meanwhile."""
    with another(tmp_path, "upgrade") as first:
        threading.Timer(0.3, first.kill).start()
        began = time.monotonic()
        with lock.hold(tmp_path, "rollback", wait=30):
            assert 0.2 < time.monotonic() - began < 10


def test_waiting_ends(tmp_path: Path) -> None:
    """A holder that stays is reported when the time is over, not before."""
    with another(tmp_path, "upgrade"):
        began = time.monotonic()
        with pytest.raises(TryAgain), lock.hold(tmp_path, "rollback", wait=0.3):
            raise AssertionError("two holders")
        assert 0.3 <= time.monotonic() - began < 2


def test_looking_makes_nothing(tmp_path: Path) -> None:
    """Asking whether the lock is held, and by whom, works where there is none, and leaves none."""
    assert not lock.is_held(tmp_path)
    assert lock.holder(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("note", [b"", b"{", b"[]", b'{"who": 1}', b"\xff"])
def test_a_torn_note_is_no_holder(tmp_path: Path, note: bytes) -> None:
    """The note is for people: half of it, or none, stops nobody."""
    (tmp_path / lock.LOCK).write_bytes(note)
    assert lock.holder(tmp_path) is None
    with lock.hold(tmp_path, "upgrade"):
        assert re.search(r"pid \d+ \(upgrade\)", str(lock.holder(tmp_path)))


def test_a_shorter_note_replaces_a_longer_one(tmp_path: Path) -> None:
    """No rest of the last holder's note stays behind."""
    with lock.hold(tmp_path, "a very long reason, longer than the next one"):
        pass
    with lock.hold(tmp_path, "x"):
        assert str(lock.holder(tmp_path)).endswith("(x)")


def test_a_lock_that_is_a_link_is_refused(tmp_path: Path) -> None:
    """Nothing is written through a symbolic link, the lock not either."""
    (tmp_path / "elsewhere").write_bytes(b"mine")
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / lock.LOCK).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(MigratorError, match="cannot be taken"), lock.hold(tmp_path / "state", "upgrade"):
        raise AssertionError("held through a link")
    assert (tmp_path / "elsewhere").read_bytes() == b"mine"


def test_the_state_folder_is_made(tmp_path: Path) -> None:
    """The first command on a data root makes the folder beside it."""
    with lock.hold(tmp_path / "new" / "state", "upgrade"):
        assert lock.is_held(tmp_path / "new" / "state")
