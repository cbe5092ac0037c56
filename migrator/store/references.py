"""Every place that mentions an id, declared once (contract, section 3, 0003). Pure: opens no file.

`Names` says what each stage's generations are called from now on: stage -> old id -> new id. All names change at once,
so chains and cycles of renames need no care.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from migrator.store.layout import COPIES, DRAFT, ESSAY, EVALUATION, PARENT_STAGE, STAGES, TASKS
from migrator.store.table import lines

Names = Mapping[str, Mapping[str, str]]

STAGE_KEYS = {"draft_gen_id": DRAFT, "essay_gen_id": ESSAY, "evaluation_gen_id": EVALUATION}
OWN_KEY, PARENT_KEY = "gen_id", "parent_gen_id"
MEMBER_KEY = ("stage", OWN_KEY)  # columns of a membership table that say who is meant
TASK_KEYS = frozenset({"task_id", "evaluation_task_id"})  # <essay id>__<what was asked of it>
ID_KEYS = frozenset({*STAGE_KEYS, *TASK_KEYS, OWN_KEY, PARENT_KEY})
# at the beginning or behind a slash, which is asked last: a pattern that begins with plain text is found faster
_PATH = re.compile(rf"gens/(?<![^/]gens/)({'|'.join(STAGES)})/")  # an id follows, up to a slash or the end
_NOBODY: Mapping[str, str] = {}


def follow_document(node: Any, stage: str, names: Names) -> Any:
    """The JSON value with every mention followed; the very same object where nothing changes.

    `stage` is that of the generation whose file it is.
    """
    kind = type(node)
    if kind is dict:
        return _follow_object(node, stage, names)
    if kind is list:
        followed = [follow_document(value, stage, names) for value in node]
        return followed if any(a is not b for a, b in zip(followed, node, strict=True)) else node
    if kind is str and "gens/" in node:
        return _follow_paths(node, names)
    return node


def _follow_object(node: dict[str, Any], stage: str, names: Names) -> dict[str, Any]:
    changed = {}
    for key, value in node.items():
        kind = type(value)
        if key in ID_KEYS:
            followed = _follow_key(key, value, node, stage, names)
            if followed is value:
                followed = follow_document(value, stage, names)
        elif kind is str:  # most values: kept short, a full upgrade asks this a million times
            if "gens/" not in value:
                continue
            followed = _follow_paths(value, names)
        elif kind is dict or kind is list:
            followed = follow_document(value, stage, names)
        else:
            continue
        if followed is not value:
            changed[key] = followed
    return {**node, **changed} if changed else node


def _follow_key(key: str, value: Any, node: dict[str, Any], stage: str, names: Names) -> Any:
    if not isinstance(value, str | int) or isinstance(value, bool):
        return value
    if key in STAGE_KEYS:
        named: str | None = STAGE_KEYS[key]
    elif key in TASK_KEYS:
        return _follow_paths(_follow_task(value, names), names) if isinstance(value, str) else value
    else:
        sibling = node.get("stage")
        named = sibling if isinstance(sibling, str) and sibling in STAGES else stage
        if key == PARENT_KEY:
            named = PARENT_STAGE.get(named)
    return names.get(named, _NOBODY).get(str(value), value) if named else value


def _follow_task(value: str, names: Names) -> str:
    essays = names.get(ESSAY, _NOBODY)
    cut = value.rfind("__")
    while cut > 0:  # an id may itself contain two underscores: the longest one that is known
        if value[:cut] in essays:
            return essays[value[:cut]] + value[cut:]
        cut = value.rfind("__", 0, cut + 1)
    return value


def _follow_paths(text: str, names: Names) -> str:
    """A text with the ids in its paths followed; what stands in the place of an id may itself begin a path."""
    parts, done, position = [], 0, 0
    while match := _PATH.search(text, position):
        position = match.end()
        end = text.find("/", position)
        old = text[position : end if end >= 0 else len(text)]
        new = names.get(match.group(1), _NOBODY).get(old, old)
        if new != old:
            parts += [text[done:position], new]
            done = position = position + len(old)
        else:
            position -= 1  # the slash before the id, where a path may begin
    return "".join(parts) + text[done:] if parts else text


def is_selection(path: str) -> bool:
    """Whether a file is a list of selected generations, one id a line."""
    folder, _, name = path.rpartition("/")
    return folder == TASKS and name.startswith("selected_") and name.endswith(".txt")


def follow_selection(text: str, names: Names) -> str:
    """A list of ids with each line that is an essay's or a draft's id replaced by the bare new id.

    `names` must hold every generation, those that keep their name too: their lines lose their blanks.
    """
    result = []
    for number, (line, end) in enumerate(lines(text)):
        mark = "\ufeff" if number == 0 and line.startswith("\ufeff") else ""
        old = line.removeprefix(mark).strip()
        new = names.get(ESSAY, _NOBODY).get(old) or names.get(DRAFT, _NOBODY).get(old)
        result.append(f"{mark}{new}{end}" if new else line + end)
    return "".join(result)


def follow_copy(name: str, names: Names) -> str:
    """The new file name of a copy kept by hand as selected_essays/<essay id>.txt."""
    stem = name.removesuffix(".txt")
    return names.get(ESSAY, _NOBODY).get(stem, stem) + ".txt" if stem != name else name


def copy_path(name: str) -> str:
    """Path of a copy kept by hand."""
    return f"{COPIES}/{name}"


def stage_of_row(path: str, stage: str | None, gen_id: str, names_of: Mapping[str, Any]) -> str | None:
    """The stage that a row of a membership or task table speaks of, or None.

    `stage` and `gen_id` are what the row says, the first None where the table has no such column. `names_of` maps each
    stage to a container of its ids.
    """
    if stage is not None:
        return stage if stage in STAGES else None
    prefix = path.rpartition("/")[2].partition("_")[0]
    if prefix in STAGES:
        return prefix
    stages = [stage for stage in STAGES if gen_id in names_of[stage]]
    return stages[0] if len(stages) == 1 else None
