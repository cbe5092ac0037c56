"""What is left about a run that did not end well: incident/incident.md in its folder, incident.json for tools.

Written last, when all that had to be undone is undone; where it cannot be written, that is told and nothing else is.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from migrator import __version__, recovery
from migrator.commit import BothWritten
from migrator.engine import files, listing, snapshots
from migrator.engine.listing import Entry
from migrator.engine.snapshots import LOG, Run
from migrator.errors import MigratorError, described
from migrator.site import Notify, Site

FOLDER, TEXT, DATA = "incident", "incident.md", "incident.json"
_SHOWN = 20


@dataclass(frozen=True)
class Incident:
    """One failure. `changed` is (path, as it was listed, as it is now) of the live tree, `command` what to type."""

    run_id: str
    root: str
    action: str
    phase: str
    at: str
    what: str
    kind: str
    file: str
    state: str
    changed: list[tuple[str, str, str]]
    command: str
    version: str = __version__


class Phase:
    """Passes events on and remembers the phase that they came in."""

    def __init__(self, notify: Notify) -> None:
        self.name = "begin"
        self._notify = notify

    def __call__(self, event: str, **fields: Any) -> None:
        if event == "phase":
            self.name = str(fields["name"])
        self._notify(event, **fields)


def record(
    site: Site, run: Run, action: str, phase: str, error: BaseException | None, before: Sequence[Entry] = ()
) -> Path | None:
    """Write about a failure (None: the run was killed); the text's path, or None where it could not be written.

    `before` is the live tree as it was listed: what differs from it now is shown.
    """
    try:
        incident = _looked_at(site, run, action, phase, error, before)
        folder = site.folder(run.run_id) / FOLDER
        files.remove_tree(folder)
        files.make_dir(folder)
        files.write_new(folder / TEXT, _text(incident).encode(errors="backslashreplace"))
        files.write_new(folder / DATA, json.dumps(asdict(incident), indent=2).encode() + b"\n")
    except (OSError, MemoryError, MigratorError) as failure:
        site.notify("incident-not-written", level="warning", run_id=run.run_id, reason=described(failure))
        return None
    site.notify("incident", run_id=run.run_id, path=str(folder / TEXT))
    return folder / TEXT


def record_killed(site: Site) -> None:
    """Write about runs that a recovery has undone, since a run that is killed cannot."""
    for run in site.runs():
        if run.state == snapshots.FAILED and not (site.folder(run.run_id) / FOLDER / DATA).exists():
            record(site, run, "upgrade", _last_phase(site.folder(run.run_id)), None)


def _last_phase(folder: Path) -> str:
    """The phase that a killed run was in, as far as its log came."""
    phase = "unknown"
    try:
        lines = (folder / LOG).read_bytes().splitlines()
    except OSError:
        return phase
    for line in lines:
        try:
            event = json.loads(line)
            phase = str(event["name"]) if event["event"] == "phase" else phase
        except (ValueError, TypeError, KeyError):
            continue  # a torn last line
    return phase


def _looked_at(
    site: Site, run: Run, action: str, phase: str, error: BaseException | None, before: Sequence[Entry]
) -> Incident:
    applied = recovery.is_applied(site.place, run.run_id)
    changed = _changed(site.place.real, before, run.payload == snapshots.LINKED) if before and not applied else []
    if applied:
        state = f"the live tree is the one that run {run.run_id} made; the tree from before lies at {run.tree}"
    elif changed:
        state = "the live tree is the one from before the run, and somebody has written into it since"
    else:
        state = "the live tree is the one from before the run" + (", unchanged" if before else "")
    return Incident(
        run_id=run.run_id,
        root=str(site.place.root),
        action=action,
        phase=phase,
        at=site.clock().isoformat(timespec="seconds"),
        what="the process was killed" if error is None else described(error),
        kind="killed" if error is None else type(error).__name__,
        file=_file(error),
        state=state,
        changed=changed,
        command=_command(site, run, action, error, applied),
    )


def _file(error: BaseException | None) -> str:
    """The exact file that it was about."""
    if isinstance(error, MigratorError):
        return error.where or _file(error.__cause__)
    return str(error.filename) if isinstance(error, OSError) and error.filename else ""


def _changed(root: Path, before: Sequence[Entry], linked: bool) -> list[tuple[str, str, str]]:
    """What differs from the listing; where the run linked files, it has itself given them another change time."""
    now = {entry.path: entry for entry in listing.walk(root)}
    then = {entry.path: entry for entry in before}
    seen = [(path, _seen(then.get(path)), _seen(now.get(path))) for path in listing.differences(root, before)]
    return [(path or ".", old, new) for path, old, new in seen if not linked or old != new][:_SHOWN]


def _seen(entry: Entry | None) -> str:
    if entry is None:
        return "not there"
    return f"{entry.kind}, mode {entry.mode:o}, {entry.size} bytes, time {entry.mtime_ns}"


def _command(site: Site, run: Run, action: str, error: BaseException | None, applied: bool) -> str:
    """The one command to type. It ends in a clean state, except where a person has to compare two trees."""
    if isinstance(error, BothWritten):
        return shlex.join(["diff", "-rq", "--no-dereference", str(error.old), str(error.new)])
    folders = {"data-root": site.place.root, "migrations": site.migrations, "backups": site.backups}
    options = [f"--{name}={os.path.abspath(path)}" for name, path in {**folders, "mappings": site.mappings}.items()]
    if action == "rollback":
        verb = ["rollback", run.run_id, "--yes"]
    else:
        verb = ["upgrade", "--yes"] if applied else ["rollback", run.run_id]
    return shlex.join(["migrator", *options, *verb])


def _text(one: Incident) -> str:
    lines = [
        f"# {one.action} of run {one.run_id} did not end well",
        "",
        f"    {one.command}",
        "",
        "is the one command to type next, when the cause is mended.",
        "",
        f"* What: {_plain(one.what)}",
        f"* When: {one.at}, in the phase `{one.phase}`",
        f"* File: {_plain(one.file) or 'none in particular'}",
        f"* Data root: {_plain(one.root)}",
        f"* State: {_plain(one.state)}",
    ]
    if one.changed:
        lines += ["", "| path | as it was listed | as it is |", "|---|---|---|"]
        lines += [f"| {_plain(path)} | {then} | {now} |" for path, then, now in one.changed]
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    """A text that no terminal takes for a command, on one line."""
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)
