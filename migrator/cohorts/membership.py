"""membership.csv: the record of what a cohort was given (contract, section 5). Reads through the store room only."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from migrator.store.layout import COHORTS, EVALUATION, MEMBERSHIP, STAGES, unsafe_id
from migrator.store.problems import INVALID_TABLE, UNKNOWN_MEMBER, UNSAFE_PATH, Problem
from migrator.store.reading import MAX_TABLE_BYTES, Unreadable, read_bytes
from migrator.store.records import Key
from migrator.store.references import MEMBER_KEY
from migrator.store.table import InvalidTable, Table, cell_value, cell_with

COLUMNS = (
    "stage",
    "gen_id",
    "cohort_id",
    "parent_gen_id",
    "combo_id",
    "template_id",
    "llm_model_id",
    "replicate",
)
_LINKED = "is a symbolic link: nothing is read or written through one"


@dataclass(frozen=True)
class Member:
    """What a row can say of a generation; blank where it has none."""

    stage: str
    gen_id: str
    parent: str
    combo: str
    template: str
    model: str
    replicate: int

    @property
    def key(self) -> Key:
        """(stage, gen_id)."""
        return (self.stage, self.gen_id)

    def row(self, cohort_id: str) -> dict[str, str]:
        """The cells of a row of any era; a table leaves out the columns that it lacks."""
        model = "evaluation_model" if self.stage == EVALUATION else "generation_model"
        return {
            "stage": self.stage,
            "gen_id": self.gen_id,
            "cohort_id": cohort_id,
            "parent_gen_id": self.parent,
            "combo_id": self.combo,
            "template_id": self.template,
            f"{self.stage}_template": self.template,
            "llm_model_id": self.model,
            model: self.model,
            "replicate": str(self.replicate),
        }


@dataclass(frozen=True)
class Membership:
    """One cohort's table as it lies there; `lines` has the first line of each member, in the order of the rows."""

    cohort_id: str
    data: bytes
    table: Table
    lines: Mapping[Key, int]

    @property
    def path(self) -> str:
        """The file, relative to the data root."""
        return membership_path(self.cohort_id)

    def unknown(self, key: Key) -> Problem:
        """The finding where a member is not in the store."""
        stage, gen_id = key
        message = f"line {self.lines[key]} names {stage} {gen_id!r}, which is not in the store"
        return Problem(UNKNOWN_MEMBER, stage, gen_id, self.path, message)

    def extended(self, members: Sequence[Member]) -> bytes:
        """The table with more rows in its own schema, each at the end of its stage's block."""
        column = self.table.columns.index("stage")
        ends: dict[str, int] = {}  # stage -> index behind its last row
        for index, row in enumerate(self.table.rows):
            if row.cells:
                ends[cell_value(row.cells[column]).strip()] = index + 1
        behind = 0
        inserts: dict[int, list[dict[str, str]]] = {}
        for stage in STAGES:
            behind = ends.get(stage, behind)
            records = [member.row(self.cohort_id) for member in members if member.stage == stage]
            inserts.setdefault(behind, []).extend(records)
        return self.table.edited({}, inserts).render()


def membership_path(cohort_id: str) -> str:
    """The path of a cohort's table, relative to the data root."""
    return f"{COHORTS}/{cohort_id}/{MEMBERSHIP}"


def is_name(cohort_id: str) -> bool:
    """Whether a text can be the name of a cohort that exists: one path component."""
    return unsafe_id(cohort_id) is None


def render(cohort_id: str, members: Iterable[Member]) -> bytes:
    """The table of a new cohort, in the order of the members."""
    lines = [",".join(COLUMNS)]
    for member in members:
        row = member.row(cohort_id)
        lines.append(",".join([cell_with("", row[column]) for column in COLUMNS]))
    return ("\n".join(lines) + "\n").encode()


def cohort_ids(root: Path) -> tuple[list[str], list[Problem]]:
    """The cohorts of a data root that have a table, in code-point order, and what stands in the way of others."""
    if os.path.islink(root / COHORTS):
        return [], [Problem(UNSAFE_PATH, path=COHORTS, message=_LINKED)]
    try:
        with os.scandir(root / COHORTS) as entries:
            found = sorted((e.name, e.is_symlink(), e.is_dir()) for e in entries if not e.name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return [], []
    links = [Problem(UNSAFE_PATH, path=f"{COHORTS}/{name}", message=_LINKED) for name, link, _ in found if link]
    names = [name for name, link, folder in found if folder and not link]
    return [name for name in names if os.path.lexists(root / membership_path(name))], links


def read(root: Path, cohort_id: str) -> Membership | Problem | None:
    """A cohort's table, what is wrong with it, or None where there is none."""
    path = membership_path(cohort_id)
    for folder in (COHORTS, f"{COHORTS}/{cohort_id}"):
        if os.path.islink(root / folder):
            return Problem(UNSAFE_PATH, path=folder, message=_LINKED)
    try:
        data = read_bytes(f"{root}/{path}", MAX_TABLE_BYTES)
        return None if data is None else parse(cohort_id, data)
    except (Unreadable, InvalidTable) as error:
        return Problem(INVALID_TABLE, path=path, message=str(error))


def parse(cohort_id: str, data: bytes) -> Membership:
    """A table of any schema. Raises InvalidTable."""
    return of_table(cohort_id, Table.parse(data), data)


def of_table(cohort_id: str, table: Table, data: bytes) -> Membership:
    """The same of a table that was parsed from these bytes, or will be written as them."""
    lacking = [name for name in MEMBER_KEY if name not in table.columns]
    if lacking:
        raise InvalidTable(f"the header lacks the column {', '.join(lacking)}")
    lines: dict[Key, int] = {}
    for index, (stage, gen_id) in table.values(*MEMBER_KEY):
        lines.setdefault((stage.strip(), gen_id.strip()), table.rows[index].line)
    return Membership(cohort_id, data, table, lines)


def in_order(keys: Iterable[Key]) -> Sequence[Key]:
    """Drafts, essays, evaluations; rows of no stage come last."""
    return sorted(keys, key=lambda key: (STAGES.index(key[0]) if key[0] in STAGES else len(STAGES), key))
