"""The operator's own commands after a run: each gets the path of run.json. Knows no generations and writes nothing.

A hook has a process group of its own, so that a timeout ends what it has started as well. No shell: a hook that needs
one says `sh -c`.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from migrator.errors import MigratorError, UsageError

AFTER, FAILED = "after", "failed"
TIMEOUT = 60  # seconds: the store is locked meanwhile
RUN_FILE = "MIGRATOR_RUN_FILE"  # in a hook's environment: the path of run.json
ENV = "MIGRATOR_ENV"  # so that a `migrator` in a hook means the same store
_LINES, _LENGTH = 1_000, 2_000  # of a hook's output that are told; a hook that never stops must not fill the disk
_GRACE = 5.0  # seconds between asking a hook to end and ending it


@dataclass(frozen=True)
class Hooks:
    """Commands as named in the settings, empty for none; relative paths in them start at `folder`."""

    after: str = ""
    failed: str = ""
    timeout: int = TIMEOUT
    folder: Path = Path()
    env: str = ""


NO_HOOKS = Hooks()


class HookFailed(MigratorError):
    """A hook said no, or could not be run."""

    def __init__(self, message: str, command: str) -> None:
        super().__init__(message, where=command, hint="migrator history   (mend the hook, then repeat the command)")


def words_of(name: str, command: str) -> list[str]:
    """The words of a command. Raises UsageError where its quotes do not fit or it has none."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"the {name} hook cannot be read: {error}", where=command) from None
    if not words:
        raise UsageError(f"the {name} hook is empty", hint=f'hooks.{name} = "command", or leave it out')
    return words


def run(name: str, command: str, hooks: Hooks, run_file: Path, tell: Callable[[str], None]) -> None:
    """Run a hook to its end; `tell` gets its output by lines. Raises HookFailed with the last of them."""
    words = words_of(name, command)
    environment = {**os.environ, RUN_FILE: str(run_file)} | ({ENV: hooks.env} if hooks.env else {})
    try:
        process = subprocess.Popen(
            [*words, str(run_file)],
            cwd=hooks.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise HookFailed(f"the {name} hook could not be started: {reason}", words[0]) from None
    last = ""
    try:
        for number, line in enumerate(_lines(process, time.monotonic() + hooks.timeout)):
            last = line.strip() or last
            if number < _LINES:
                tell(line)
        code = process.wait(0)
    except subprocess.TimeoutExpired:
        raise HookFailed(f"the {name} hook did not end within {hooks.timeout} s", command) from None
    finally:
        if process.poll() is None:
            _end(process)
        assert process.stdout is not None
        process.stdout.close()
    if code:
        how = f"was ended by {_signal_name(-code)}" if code < 0 else f"said no (exit {code})"
        raise HookFailed(f"the {name} hook {how}" + (f": {last[:200]}" if last else ""), command)


def _lines(process: subprocess.Popen[bytes], deadline: float) -> Iterator[str]:
    """Lines of the output until the process has ended, whatever it left running. Raises TimeoutExpired."""
    assert process.stdout is not None
    fd, rest = process.stdout.fileno(), b""
    os.set_blocking(fd, False)
    with selectors.DefaultSelector() as selector:
        selector.register(fd, selectors.EVENT_READ)
        opened = True
        while True:
            ended = process.poll() is not None
            if opened and selector.select(0 if ended else 0.05):
                data = os.read(fd, 1 << 16)
                opened = bool(data)
                *lines, rest = (rest + data).split(b"\n")
                yield from (_text(line) for line in lines)
                rest = rest[:_LENGTH]  # the head of a line that does not end
            elif ended:
                break
            elif not opened:
                process.wait(max(deadline - time.monotonic(), 0))
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(process.args, 0)
    if rest:
        yield _text(rest)


def _text(line: bytes) -> str:
    return line[:_LENGTH].decode(errors="backslashreplace").rstrip("\r")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a hook and what it has started: asked first, then not asked."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
