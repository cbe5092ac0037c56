"""What happens during a command, as events: to standard error, and to log.jsonl once there is a run.

`Log.notify` is what the runner calls. MIGRATOR_LOG (debug, info, warning, error) says how much of it reaches
standard error; log.jsonl has all of it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import time
from collections.abc import MutableMapping
from functools import cache, cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from migrator.cli.screen import error_console, plain, wants_json
from migrator.engine import files
from migrator.engine.snapshots import LOG
from migrator.report.text import amount, escape, many, marked, seconds, size

if TYPE_CHECKING:
    from rich.progress import Progress

Event = MutableMapping[str, Any]
_LEVELS = {name: getattr(logging, name.upper()) for name in ("debug", "info", "warning", "error", "critical")}
_LINE_SECONDS = 5.0  # between two lines of progress where there is no terminal
PROGRESS = "progress"  # too many of them for a log


class Log:
    """The listener of one command: a context manager, so that a bar never outlives an error."""

    def __init__(self, *, progress: bool = True) -> None:
        self.folder: Path | None = None
        self._began = time.monotonic()
        self.times: list[tuple[str, float]] = []  # (phase, seconds) of those that have ended, without questions
        self._phase: tuple[str, float] | None = None
        self._shown: set[str] = set()
        self._phases: Phases | None = _phases() if progress and not wants_json() else None

    @cached_property
    def _logger(self) -> Any:
        """Made for the first event that somebody hears: structlog takes as long to import as half of ours."""
        structlog = _structlog()
        return structlog.wrap_logger(
            structlog.PrintLogger(sys.stderr),
            processors=[
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                self._keep,
                self._only_loud_and_new,
                _visible,
                _renderer(),
            ],
            wrapper_class=structlog.BoundLogger,
        )

    def __enter__(self) -> Log:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            if self._phases:
                self._phases.end(finished=error is None)

    def notify(self, event: str, *, level: str = "info", **fields: Any) -> None:
        """Take one event of the runner's. A full disk or a closed pipe here never makes a run fail."""
        if "folder" in fields and self.folder is None:  # a run has begun, or has failed before it could say so
            self.folder, self._began = Path(str(fields["folder"])), time.monotonic()
        if event in ("phase", "committed", "failed"):
            self._close()
            self._phase = (str(fields["name"]), time.monotonic()) if event == "phase" else None
        with contextlib.suppress(OSError):
            if self._phases:
                self._phases.take(event, fields)
        with contextlib.suppress(OSError):
            if event != PROGRESS and (self.folder is not None or _LEVELS[level] >= _threshold()):
                getattr(self._logger, level)(event, level=level, **fields)

    @property
    def spent(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self._began

    def pause(self) -> None:
        """End the phase, because somebody is asked or told something."""
        self._close()
        self._clear()

    def _close(self) -> None:
        if self._phase:
            name, began = self._phase
            self.times.append((name, time.monotonic() - began))
            self._phase = None

    def _clear(self) -> None:
        """Finish what is on the screen, because something else is to be printed."""
        if self._phases:
            self._phases.end(finished=True)

    def _keep(self, logger: Any, method: str, event: Event) -> Event:
        """Add the event to the run's log, whatever its level."""
        if self.folder is not None and self.folder.is_dir():
            line = json.dumps(dict(event), default=str)
            with contextlib.suppress(OSError):
                files.append(self.folder / LOG, line.encode() + b"\n")
        return event

    def _only_loud_and_new(self, logger: Any, method: str, event: Event) -> Event:
        """Let pass what is loud enough, and a collision once, though plan and run both tell it."""
        key = json.dumps({name: value for name, value in event.items() if name != "timestamp"}, default=str)
        if _LEVELS[event["level"]] < _threshold() or key in self._shown:
            raise _structlog().DropEvent
        self._shown.add(key)
        self._clear()
        return event


def _threshold() -> int:
    return int(_LEVELS.get(os.environ.get("MIGRATOR_LOG", "").lower(), logging.WARNING))


def _visible(logger: Any, method: str, event: Event) -> Event:
    """No value of an event reaches a terminal as an escape code."""
    return {name: plain(value) if isinstance(value, str) else value for name, value in event.items()}


@cache
def _structlog() -> Any:
    """structlog, without rich where nobody has that yet: half of its import, for tracebacks that we do not print."""
    hidden = "rich" not in sys.modules
    if hidden:
        sys.modules["rich"] = None  # type: ignore[assignment] # to whoever imports it now it is not installed
    try:
        import structlog
    finally:
        if hidden:
            del sys.modules["rich"]
    return structlog


def _renderer() -> Any:
    structlog = _structlog()
    if sys.stderr.isatty():
        return structlog.dev.ConsoleRenderer(colors="NO_COLOR" not in os.environ, pad_event_to=0)
    return structlog.processors.KeyValueRenderer(key_order=["timestamp", "level", "event"])


# -- phases and progress

_WORDS = {
    "read": "reading the store",
    "plan": "planning",
    "copy": "copying the store",
    "build": "building the new tree",
    "verify": "checking every file",
    "tables": "rebuilding tables",
    "commit": "exchanging the trees",
    "enrol": "adding what is new",
    "hook-after": "running the after hook",
    "hook-failed": "running the failed hook",
}


class Phases:
    """What a run is doing: lines where there is no terminal, none oftener than every few seconds."""

    def __init__(self) -> None:
        self.name = ""
        self.total: dict[str, int] = {}
        self.began = self.told = time.monotonic()

    def take(self, event: str, fields: dict[str, Any]) -> None:
        """Note an event; phases and progress are shown, others end the phase or change nothing."""
        if event == "phase":
            self.end(finished=True)
            self.name = str(fields["name"])
            self.total = {key: int(fields[key]) for key in ("files", "bytes", "generations") if key in fields}
            self.began = self.told = time.monotonic()
            self.start()
        elif event == PROGRESS and self.name:
            self.progress(int(fields["files"]), int(fields["bytes"]))
        elif event == "failed":
            self.end(finished=False)

    @property
    def words(self) -> str:
        """The phase in words."""
        return _WORDS.get(self.name, self.name)

    def start(self) -> None:
        """Show that a phase has begun."""

    def progress(self, done_files: int, done_bytes: int) -> None:
        """Show how far it is."""
        if time.monotonic() - self.told >= _LINE_SECONDS:
            self.told = time.monotonic()
            state = f"{amount(done_files, done_bytes)} of {self.of_total()}, {self.rate(done_bytes)}"
            self.say(f"{self.words}: {state}{self.left(done_bytes)}")

    def left(self, done_bytes: int) -> str:
        """The time that is left, as far as one can tell."""
        spent = time.monotonic() - self.began
        todo = self.total.get("bytes", 0) - done_bytes
        return f", {seconds(spent * todo / done_bytes)} left" if done_bytes > 0 and todo > 0 else ""

    def rate(self, done_bytes: int) -> str:
        """Bytes a second so far."""
        return f"{size(done_bytes / max(time.monotonic() - self.began, 0.001))}/s"

    def of_total(self) -> str:
        """How much there is to do."""
        if "generations" in self.total:
            return many(self.total["generations"], "generation")
        return amount(self.total.get("files", 0), self.total.get("bytes", 0))

    def end(self, *, finished: bool) -> None:
        """Close the phase, with its time."""
        if self.name:
            spent = seconds(time.monotonic() - self.began)
            details = self.of_total() if self.total else ""
            self.close(finished, details, spent)
            self.name = ""

    def close(self, finished: bool, details: str, spent: str) -> None:
        """Show that the phase has ended."""
        self.say(f"{self.words}: {'done' if finished else 'stopped'}{', ' + details if details else ''}, {spent}")

    def say(self, line: str) -> None:
        """One line on standard error."""
        print(line, file=sys.stderr, flush=True)


class Bars(Phases):
    """The same on a terminal: a bar that moves, then a line with a mark.

    The bar is drawn when an event comes, not by a thread: the build forks, and would copy a thread's locks.
    """

    def __init__(self) -> None:
        super().__init__()
        self.console = error_console()
        self.bar: Progress | None = None

    def start(self) -> None:
        """Show the phase's bar, or its name where nothing can be counted."""
        from rich.progress import BarColumn, Progress, TextColumn

        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[state]}", style="dim"),
            console=self.console,
            auto_refresh=False,
            transient=True,
        )
        self.bar.add_task(self.words, total=self.total.get("bytes") or None, state="")
        self.bar.start()
        self.bar.refresh()

    def progress(self, done_files: int, done_bytes: int) -> None:
        """Move the bar: files, bytes, rate, and the time that is left."""
        if self.bar:
            state = f"{amount(done_files, done_bytes)}, {self.rate(done_bytes)}{self.left(done_bytes)}"
            self.bar.update(self.bar.task_ids[0], completed=done_bytes, state=state, refresh=True)

    def close(self, finished: bool, details: str, spent: str) -> None:
        """Put a line with a mark in the bar's place."""
        if self.bar:
            self.bar.stop()
            self.bar = None
        sign = marked("done" if finished else "bad", sys.stderr.encoding or "ascii")
        room = max(min(self.console.width - 35, 32), 1)  # a narrow window gets narrow columns, not a second line
        self.console.print(
            f"{sign} {escape(self.words):22}  {escape(details):{room}}  [dim]{spent:>7}[/]", soft_wrap=True
        )


def _phases() -> Phases:
    return Bars() if sys.stderr.isatty() and os.environ.get("TERM") != "dumb" else Phases()
