"""Hooks are real commands: what they are given, how each way of ending is told, and that nothing of them stays."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from migrator.engine import hooks
from migrator.engine.hooks import HookFailed, Hooks
from migrator.errors import UsageError


def told(folder: Path, command: str, timeout: int = 10) -> list[str]:
    """The lines of a hook's output."""
    lines: list[str] = []
    hooks.run("after", command, Hooks(timeout=timeout, folder=folder, env="staging"), folder / "run.json", lines.append)
    return lines


def test_a_hook_gets_the_path_as_argument_and_in_its_environment(tmp_path: Path) -> None:
    path = str(tmp_path / "run.json")
    command = 'sh -c \'echo "$1"; echo "$MIGRATOR_RUN_FILE"; echo "$MIGRATOR_ENV"; pwd\' name'
    assert told(tmp_path, command) == [path, path, "staging", str(tmp_path)]


def test_a_path_in_the_command_starts_at_the_folder_of_the_settings(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "notify"
    script.write_text('#!/bin/sh\necho "$0 got $(basename "$1")"\n')
    script.chmod(0o755)
    assert told(tmp_path, "bin/notify") == ["bin/notify got run.json"]


def test_standard_error_and_a_last_line_without_end_are_told_too(tmp_path: Path) -> None:
    assert told(tmp_path, "sh -c 'echo one; echo two >&2; printf three'") == ["one", "two", "three"]


def test_a_hook_reads_nothing_from_the_operator(tmp_path: Path) -> None:
    assert told(tmp_path, "sh -c 'cat; echo done'") == ["done"]


def test_a_hook_that_says_no(tmp_path: Path) -> None:
    with pytest.raises(HookFailed, match=r"the after hook said no \(exit 3\): no space") as error:
        told(tmp_path, "sh -c 'echo no space; echo; exit 3'")
    assert error.value.where == "sh -c 'echo no space; echo; exit 3'"


@pytest.mark.parametrize("command", ["no-such-program", "./no-such-file", "/dev/null", "."])
def test_a_program_that_cannot_be_started(tmp_path: Path, command: str) -> None:
    with pytest.raises(HookFailed, match="could not be started: "):
        told(tmp_path, command)


def test_a_hook_that_was_killed(tmp_path: Path) -> None:
    with pytest.raises(HookFailed, match="was ended by SIGKILL: dying"):
        told(tmp_path, "sh -c 'echo dying; kill -9 $$'")


@pytest.mark.parametrize("trap", ["", "trap : TERM; "], ids=["asked", "deaf"])
def test_a_timeout_ends_the_hook_and_what_it_started(
    tmp_path: Path, trap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hooks, "_GRACE", 0.2)
    pids = tmp_path / "pids"
    command = f"sh -c '{trap}sleep 60 & echo $! $$ > {pids}; wait; wait'"
    with pytest.raises(HookFailed, match="did not end within 1 s"):
        told(tmp_path, command, timeout=1)
    assert [pid for pid in pids.read_text().split() if alive(int(pid))] == []


def alive(pid: int) -> bool:
    """Whether a process runs; one that is dead and not yet collected by its new parent does not."""
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return False
        if state == "Z":
            return False
        time.sleep(0.01)
    return True


def test_a_timeout_counts_for_a_hook_that_has_closed_its_output(tmp_path: Path) -> None:
    with pytest.raises(HookFailed, match="did not end within 1 s"):
        told(tmp_path, "sh -c 'exec >&- 2>&-; sleep 60'", timeout=1)


def test_what_a_hook_leaves_running_is_not_waited_for(tmp_path: Path) -> None:
    began = time.monotonic()
    assert told(tmp_path, "sh -c 'sleep 3 & echo started'") == ["started"]
    assert time.monotonic() - began < 2.5


def test_an_interrupt_ends_the_hook(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    pids: list[str] = []

    def interrupt(line: str) -> None:
        pids.append(line)
        os.kill(os.getpid(), signal.SIGINT)

    try:
        with pytest.raises(KeyboardInterrupt):
            hooks.run("after", "sh -c 'echo $$; sleep 60'", Hooks(folder=tmp_path), tmp_path, interrupt)
    finally:
        signal.signal(signal.SIGINT, before)
    assert not alive(int(pids[0]))


def test_endless_output_is_told_in_part(tmp_path: Path) -> None:
    lines = told(tmp_path, f'{sys.executable} -c \'print("line\\n" * 5000); print("x" * 3_000_000)\'')
    assert len(lines) == 1000
    long = told(tmp_path, f"{sys.executable} -c 'print(\"x\" * 3_000_000)'")
    assert [len(line) for line in long] == [2000]


def test_bytes_that_are_no_text_and_control_characters_are_told_as_they_are(tmp_path: Path) -> None:
    assert told(tmp_path, r"printf '\033[31mred\377\r\n%.0s'") == ["\x1b[31mred\\xff"]


@pytest.mark.parametrize("command", ["", "  ", "sh -c 'open"])
def test_a_command_that_is_none_is_refused(command: str) -> None:
    with pytest.raises(UsageError, match="the failed hook"):
        hooks.words_of("failed", command)
