"""2_tasks/selected_essays.txt: which essays a curated build starts from, and how (contract, section 5, curated).

`parse` and `resolve` are pure; `read` opens the one file through the store room.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from migrator.store.index import Index
from migrator.store.layout import DRAFT, ESSAY, TASKS
from migrator.store.problems import INVALID_TABLE, Problem
from migrator.store.reading import MAX_TABLE_BYTES, Unreadable, read_bytes
from migrator.store.records import Key
from migrator.store.table import InvalidTable, decode, lines

SELECTION = f"{TASKS}/selected_essays.txt"
CARTESIAN, REGENERATE, REUSE_DRAFTS, REUSE_ESSAYS = "cartesian", "regenerate", "reuse-drafts", "reuse-essays"
MODES = {
    "regenerate": REGENERATE,
    "reuse-drafts": REUSE_DRAFTS,
    "reuse_drafts": REUSE_DRAFTS,
    "reuse-essays": REUSE_ESSAYS,
    "reuse_essays": REUSE_ESSAYS,
    "evaluation-only": REUSE_ESSAYS,
    "evaluations-only": REUSE_ESSAYS,
}
FILL_UP = ("fill-up", "fillup", "skip-existing-evaluations")
_MODE = re.compile(r"#+\s*mode\s*:(.*)", re.IGNORECASE)
_COMMENT = re.compile(r"(?:\A|\s)#.*")
_BOM = "\ufeff"


@dataclass(frozen=True)
class Selection:
    """Mode, fill-up and the essays as listed: text -> its first line."""

    mode: str = CARTESIAN
    fill_up: bool = False
    essays: Mapping[str, int] | None = None

    @property
    def curated(self) -> bool:
        """Whether the build starts from essays."""
        return bool(self.essays)


def read(root: Path) -> tuple[Selection, list[Problem]]:
    """The selection of a data root; without a file, or with one that lists nothing, the build is cartesian."""
    try:
        data = read_bytes(f"{root}/{SELECTION}", MAX_TABLE_BYTES)
        return (Selection(), []) if data is None else parse(decode(data))
    except (Unreadable, InvalidTable) as error:
        return Selection(), [_problem(str(error))]


def parse(text: str) -> tuple[Selection, list[Problem]]:
    """Directives and ids of a selection, and what is wrong with the directives."""
    mode, fill_up, essays = REGENERATE, 0, dict[str, int]()
    problems = []
    for number, (line, _) in enumerate(lines(text.removeprefix(_BOM)), 1):
        entry = line.strip()
        if directive := _MODE.fullmatch(entry):
            name = _COMMENT.sub("", directive[1]).strip().lower()
            if name not in MODES:
                known = ", ".join(sorted({*MODES.values()}))
                problems.append(_problem(f"line {number}: there is no mode {name!r}: write one of {known}"))
            mode = MODES.get(name, mode)
        elif entry.lstrip("#").strip().lower() in FILL_UP and entry.startswith("#"):
            fill_up = number
        elif wanted := _COMMENT.sub("", entry).strip():
            essays.setdefault(wanted, number)
    if fill_up and mode != REUSE_ESSAYS and not problems:
        problems.append(_problem(f"line {fill_up}: fill-up goes with the mode {REUSE_ESSAYS}, and this is {mode}"))
    return Selection(mode if essays else CARTESIAN, bool(fill_up and essays), essays), problems


def resolve(selection: Selection, index: Index, past: Mapping[Key, str]) -> tuple[list[str], list[Problem]]:
    """The selected essays by the ids of today, sorted, each once: a selection is a set.

    `past` maps (stage, any id of the past) to the id of today. Problems: lines that name no essay.
    """
    found: set[str] = set()
    problems = []
    for text, number in (selection.essays or {}).items():
        known = [name for name in (text, past.get((ESSAY, text))) if name and index.exists((ESSAY, name))]
        if known:
            found.add(known[0])
        elif index.exists((DRAFT, text)) or (DRAFT, text) in past:
            problems.append(_problem(f"line {number}: {text!r} is a draft: list the essays below it"))
        else:
            problems.append(_problem(f"line {number}: {text!r} is no essay of the store, by no name it ever had"))
    return sorted(found), problems


def _problem(message: str) -> Problem:
    return Problem(INVALID_TABLE, path=SELECTION, message=message)
