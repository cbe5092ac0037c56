"""Which steps a tree has seen. The ledger lies inside the tree: data and record change in one act.

Bytes in, entries out; the runner decides where the bytes lie and writes them into a new tree only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING

from migrator.errors import CareNeeded, DecisionNeeded, UsageError

if TYPE_CHECKING:
    from migrator.engine.steps import Step

_RUN_ID = re.compile(r"[0-9]{8}-[0-9]{6}(-[0-9]{1,4})?")


@dataclass(frozen=True, slots=True)
class Applied:
    """One step of one run. Times are UTC, ISO 8601; `counts` are generations per verb."""

    number: str
    name: str
    title: str
    digest: str
    run_id: str
    start: str
    end: str
    counts: Mapping[str, int] = field(default_factory=dict)
    version: str = ""
    who: str = ""
    note: str = ""  # a reason given with --override-staging, an accepted collision


def parse(data: bytes, where: Path) -> list[Applied]:
    """The entries in order. Raises CareNeeded for a torn ledger or one of a newer tool."""
    entries = []
    for number, line in enumerate(data.splitlines(), 1):
        try:
            entries.append(_proven(Applied(**json.loads(line))))
        except (ValueError, TypeError) as error:
            raise CareNeeded(
                f"line {number} of the ledger cannot be read: {error}",
                where=where,
                hint="migrator snapshots list   (the trees from before each run)",
            ) from None
    return entries


def _proven(entry: Applied) -> Applied:
    """The entry with values of the right types: its run id becomes a path, its number is compared."""
    for one in fields(Applied):
        value = getattr(entry, one.name)
        if not isinstance(value, dict if one.name == "counts" else str):
            raise TypeError(f"{one.name} is {value!r}")
    if not is_run_id(entry.run_id):
        raise ValueError(f"{entry.run_id!r} is not a run id")
    return entry


def read(path: Path) -> list[Applied]:
    """The entries of a tree's ledger; none where there is no ledger."""
    try:
        return parse(path.read_bytes(), path)
    except FileNotFoundError:
        return []


def render(entries: Iterable[Applied]) -> bytes:
    """The lines of a ledger."""
    return b"".join(
        json.dumps(asdict(entry), ensure_ascii=False).encode(errors="backslashreplace") + b"\n" for entry in entries
    )


def runs(entries: Iterable[Applied]) -> list[str]:
    """Run ids in the order in which they were applied, each once."""
    return list(dict.fromkeys(entry.run_id for entry in entries))


def pending(steps: list[Step], entries: list[Applied], to: str | None = None) -> list[Step]:
    """The steps still to run, up to and including `to`.

    Raises DecisionNeeded, listing all of it, where an applied step was edited, is missing, or has a new one below it.
    """
    applied = {entry.number: entry for entry in entries}
    present = {step.number: step for step in steps}
    newest = max(applied, default="")
    faults = []
    for number, entry in sorted(applied.items()):
        step = present.get(number)
        if step is None:
            faults.append(f"{number} {entry.name} was applied and is missing from the folder")
        elif step.digest != entry.digest:
            faults.append(f"{number} {entry.name} was edited after it was applied")
    faults += [
        f"{step.number} {step.name} is new and lies below the applied {newest}"
        for step in steps
        if step.number not in applied and step.number < newest
    ]
    if faults:
        raise DecisionNeeded(
            "the steps do not fit the ledger: " + "; ".join(faults),
            hint="restore the files from version control; a change goes into a new step",
        )
    if to is not None and to not in present:
        raise DecisionNeeded(f"there is no step {to}", hint="migrator status   (lists the steps)")
    return [step for step in steps if step.number not in applied and (to is None or step.number <= to)]


# -- run ids


def is_run_id(text: object) -> bool:
    """Whether a text is a run's id (it becomes a path)."""
    return isinstance(text, str) and bool(_RUN_ID.fullmatch(text))


def check_run_id(run_id: str) -> str:
    """The run id, or UsageError where it is none (it becomes a path)."""
    if not is_run_id(run_id):
        raise UsageError(f"{run_id!r} is not a run id", hint="migrator history   (lists them)")
    return run_id
