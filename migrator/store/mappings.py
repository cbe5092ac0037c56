"""Old id -> new id, by run and over all runs; the CSV files that a run leaves.

Of the disk it reads mapping files and names of folders.
"""

from __future__ import annotations

import csv
import os
import stat
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from migrator.errors import CareNeeded, UsageError
from migrator.store.layout import DRAFT, GENS, STAGES, run_mappings, unsafe_id
from migrator.store.problems import COLUMNS as ISSUE_COLUMNS
from migrator.store.table import cell_with

if TYPE_CHECKING:
    from migrator.store.problems import Problem
    from migrator.store.records import Key

MAPPING, SYNTHETIC, ISSUES = "mapping.csv", "synthetic_drafts.csv", "issues.csv"
MAPPING_COLUMNS = ("stage", "old_gen_id", "new_gen_id")
SYNTHETIC_COLUMNS = (
    "draft_gen_id",
    "how",
    "essay_old_gen_id",
    "essay_new_gen_id",
    "combo_id",
    "template_id",
    "llm_model_id",
    "replicate",
)
Row = tuple[str, str, str]
_HEAD = ",".join(MAPPING_COLUMNS).encode() + b"\n"


def sorted_rows(rows: Iterable[Row]) -> list[Row]:
    """Rows of a mapping by stage order, then old id."""
    return sorted(rows, key=lambda row: (STAGES.index(row[0]), row[1]))


def _csv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    lines = [
        ",".join([cell_with("", "" if value is None else str(value)) for value in row]) for row in (columns, *rows)
    ]
    return ("\n".join(lines) + "\n").encode(errors="backslashreplace")


def _harmless(value: object) -> object:
    """A cell that no spreadsheet takes for a formula."""
    return "'" + value if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def render_mapping(rows: Iterable[Row]) -> bytes:
    """mapping.csv: stage, old_gen_id, new_gen_id."""
    return _csv(MAPPING_COLUMNS, rows)


def render_synthetic(rows: Iterable[Mapping[str, object]]) -> bytes:
    """synthetic_drafts.csv, one row an essay that got a draft."""
    return _csv(SYNTHETIC_COLUMNS, ([row[column] for column in SYNTHETIC_COLUMNS] for row in rows))


def render_issues(problems: Iterable[Problem]) -> bytes:
    """issues.csv: kind, blocking, stage, gen_id, path, message."""
    rows = ([_harmless(value) for value in problem.row().values()] for problem in problems)
    return _csv(ISSUE_COLUMNS, rows)


def read_mapping(path: Path) -> dict[Key, str]:
    """One run's mapping. Raises CareNeeded where the file is missing or is not one."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.reader(file)
            header = next(rows, [])
            stage, old, new = map(header.index, MAPPING_COLUMNS)
            return {(row[stage], row[old]): row[new] for row in rows if row}
    except (OSError, ValueError, IndexError, csv.Error) as error:
        raise CareNeeded(f"a mapping cannot be read: {error}", where=path) from None


def look_up(path: Path, keys: Iterable[Key]) -> dict[Key, str]:
    """What one run's mapping says of a few names, without reading the rest of it. Raises CareNeeded."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CareNeeded(f"a mapping cannot be read: {error}", where=path) from None
    if not data.startswith(_HEAD) or b'"' in data or b"\r" in data:  # not as we write plain names
        whole = read_mapping(path)  # names with commas, quotes, blanks at the ends
        return {key: whole[key] for key in keys if key in whole}
    found = {}
    for key in keys:
        row = f"\n{key[0]},{key[1]},".encode(errors="backslashreplace")
        start = data.find(row)
        if start >= 0 and not {",", "\n"} & set(key[1]):
            start += len(row)
            found[key] = data[start : data.find(b"\n", start)].decode()
    return found


def compose(maps: Iterable[Mapping[Key, str]]) -> dict[Key, str]:
    """(stage, any id of the past) -> the id of today, over runs in their order."""
    total: dict[Key, str] = {}
    for one in maps:
        for (stage, first), current in total.items():
            total[stage, first] = one.get((stage, current), current)
        total |= one
    return total


def of_tree(root: Path, run_ids: Iterable[str]) -> dict[Key, str]:
    """All mappings of a tree composed; `run_ids` in the ledger's order."""
    return compose(read_mapping(root / run_mappings(run_id) / MAPPING) for run_id in run_ids)


@dataclass(frozen=True)
class Past:
    """The runs that a tree has seen, oldest first, each with its mapping."""

    runs: tuple[tuple[str, Mapping[Key, str]], ...] = ()

    @classmethod
    def of_tree(cls, root: Path, run_ids: Iterable[str]) -> Past:
        """What a tree tells of itself; `run_ids` in the ledger's order."""
        return cls(tuple((run_id, read_mapping(root / run_mappings(run_id) / MAPPING)) for run_id in run_ids))

    @property
    def run_ids(self) -> list[str]:
        """The runs, oldest first."""
        return [run_id for run_id, _ in self.runs]


def follow(keys: Iterable[Key], since: Past, now: Past) -> dict[Key, Key]:
    """What generations are called now that bore these names when the tree had seen the runs of `since`.

    Runs that were undone meanwhile are gone back, newest first, those that came are gone forward. An id that a run did
    not know stays as it is.
    """
    common = 0
    while common < min(len(since.runs), len(now.runs)) and since.runs[common][0] == now.runs[common][0]:
        common += 1
    ways: list[Mapping[Key, str]] = [inverse(mapping) for _, mapping in reversed(since.runs[common:])]
    ways += [mapping for _, mapping in now.runs[common:]]
    found = {}
    for key in keys:
        stage, gen_id = key
        for way in ways:
            gen_id = way.get((stage, gen_id), gen_id)
        found[key] = (stage, gen_id)
    return found


def inverse(mapping: Mapping[Key, str]) -> Mapping[Key, str]:
    """(stage, new id) -> old id."""
    return {(stage, new): old for (stage, old), new in mapping.items()}


@dataclass(frozen=True)
class Names:
    """Names of folders per stage, and what each name of the past is called today."""

    existing: Mapping[str, frozenset[str]]
    past: Mapping[Key, str]

    @classmethod
    def read(cls, root: Path, run_ids: Iterable[str]) -> Names:
        """The names of a tree; `run_ids` in the ledger's order."""
        return cls({stage: _folders(root / GENS / stage) for stage in STAGES}, of_tree(root, run_ids))

    @classmethod
    def of(cls, root: Path, run_ids: Iterable[str], ids: Collection[str]) -> Names:
        """The same of a few ids only: what a look-up needs of a large store."""
        existing = {stage: frozenset(name for name in ids if _is_folder(root / GENS / stage, name)) for stage in STAGES}
        past: dict[Key, str] = {}
        names = [(stage, name) for stage in STAGES for name in ids]
        for run_id in run_ids:
            current = {key: (key[0], past.get(key, key[1])) for key in names}
            said = look_up(root / run_mappings(run_id) / MAPPING, {*names, *current.values()})
            past |= {key: said[now] for key, now in current.items() if key in past and now in said}
            past |= {key: said[key] for key in names if key in said}
        return cls(existing, past)

    def today(self, gen_id: str, stage: str | None = None) -> str | None:
        """The id of today, or None where the name is unknown. Raises UsageError where it could mean two."""
        stages = (stage,) if stage else STAGES
        current = [one for one in stages if gen_id in self.existing[one]]
        if len(current) == 1:
            return gen_id
        meant = current or [one for one in stages if (one, gen_id) in self.past]
        if len(meant) > 1:
            raise UsageError(
                f"{gen_id!r} is the name of {' and of '.join(_with_article(one) for one in meant)}",
                hint=f"repeat the command with --stage {' or --stage '.join(meant)}",
            )
        return self.past[meant[0], gen_id] if meant else None


def _with_article(stage: str) -> str:
    return f"a {stage}" if stage == DRAFT else f"an {stage}"


def _is_folder(folder: Path, name: str) -> bool:
    if unsafe_id(name):
        return False
    try:
        return stat.S_ISDIR(os.lstat(folder / name).st_mode)
    except OSError:  # none, or a name that no file system takes
        return False


def _folders(folder: Path) -> frozenset[str]:
    try:
        with os.scandir(folder) as entries:
            return frozenset(e.name for e in entries if e.name[0] != "." and e.is_dir(follow_symlinks=False))
    except (FileNotFoundError, NotADirectoryError):
        return frozenset()
