"""The only reader of a data root: the table of generations and everything that mentions them.

Reads and never writes. What cannot be trusted becomes a Problem, never a default and never a skipped record.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from operator import attrgetter
from pathlib import Path

from migrator.errors import MigratorError
from migrator.store.documents import Documents, Sidecar
from migrator.store.ids import DEFAULT_SCHEME, IdScheme, is_absent, normalise
from migrator.store.layout import (
    COHORTS,
    COPIES,
    DOCUMENTS,
    DRAFT,
    GENS,
    MAPPINGS,
    MEMBERSHIP,
    METADATA,
    MODELS_TABLE,
    OWN,
    PARENT_STAGE,
    REPLICATION_TABLE,
    STAGES,
    TASKS,
    gen_path,
    templates_table,
    unsafe_id,
)
from migrator.store.problems import (
    GEN_ID_MISMATCH,
    INVALID_TABLE,
    STAGE_MISMATCH,
    UNKNOWN_MEMBER,
    UNSAFE_PATH,
    Problem,
)
from migrator.store.reading import MAX_TABLE_BYTES, Alone, NotRegular, Share, Unreadable, Work, read_bytes, read_records
from migrator.store.records import NOTHING, ROW_COLUMNS, Gen, Key
from migrator.store.references import MEMBER_KEY, is_selection
from migrator.store.table import InvalidTable, Table, decode

_LINKED = "is a symbolic link: a run never writes through one"
UNKNOWN_PER_TABLE = 1000  # members that are told one by one
_KEYS_PER_PART, _PARTS = 256, 1000  # at least so many generations in a part, and about so many parts at most


@dataclass(frozen=True)
class Inventory:
    """A data root in memory. Frozen: a step's changes make a new one (see changes.fold).

    `gens` holds every generation whose record could be read, by (stage, gen_id). `unread` are the directories whose
    record could not: they exist as parents and block the run. `blocked` are those that some problem already stops.
    """

    root: Path
    gens: Mapping[Key, Gen]
    unread: frozenset[Key] = frozenset()
    blocked: frozenset[Key] = frozenset()
    tables: Mapping[str, Table] = field(default_factory=dict)  # membership.csv and 2_tasks/*.csv, by path
    selections: Mapping[str, str] = field(default_factory=dict)  # 2_tasks/selected_*.txt, by path
    copies: tuple[str, ...] = ()  # file names in selected_essays
    generators: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # stage -> template -> generator
    templates: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # stage -> ids as listed
    models: tuple[str, ...] = ()  # ids of llm_models.csv as listed
    replication: Mapping[str, int] = field(default_factory=dict)  # stage -> replicates, where that is a number
    scheme: IdScheme = DEFAULT_SCHEME
    problems: tuple[Problem, ...] = ()

    @classmethod
    def read(
        cls,
        root: Path,
        scheme: IdScheme = DEFAULT_SCHEME,
        documents: Sequence[str] = DOCUMENTS,
        share: Share = Alone,
    ) -> Inventory:
        """Read a data root, of each generation these JSON files; `share` may let several processes do it.

        Raises MigratorError where it has no gens/; everything else that is wrong is a Problem.
        """
        return _Reader(Path(root), documents, share).inventory(scheme)

    @classmethod
    def read_metadata(cls, root: Path, scheme: IdScheme = DEFAULT_SCHEME, share: Share = Alone) -> Inventory:
        """Read metadata.json of each generation and nothing else: after the migrations that is enough."""
        return _Reader(Path(root), (METADATA,), share).slim(scheme)

    @classmethod
    def read_some(cls, root: Path, keys: Iterable[Key], tables: Iterable[str] = ()) -> Inventory:
        """Read only these generations and membership tables; of parents and members only that their folders exist."""
        return _Reader(Path(root)).some(list(keys), list(tables))

    def generations(self, stage: str | None = None) -> Iterator[Gen]:
        """Generations that nothing blocks, stages in order, sorted by id."""
        by_stage, blocked = self._by_stage, self.blocked
        for name in STAGES if stage is None else (stage,):
            yield from (gen for gen in by_stage[name] if gen.key not in blocked) if blocked else by_stage[name]

    @property
    def _by_stage(self) -> dict[str, list[Gen]]:
        cached: dict[str, list[Gen]] | None = self.__dict__.get("_sorted")
        if cached is None:
            cached = {stage: [] for stage in STAGES}
            for (name, _), gen in self.gens.items():
                cached[name].append(gen)
            for gens in cached.values():
                gens.sort(key=attrgetter("gen_id"))
            self.__dict__["_sorted"] = cached  # a view of frozen data, made once
        return cached

    def get(self, stage: str, gen_id: str) -> Gen | None:
        """One generation, or None."""
        return self.gens.get((stage, gen_id))

    def exists(self, key: Key | None) -> bool:
        """Whether there is such a directory, readable or not."""
        return key in self.gens or key in self.unread

    def parent(self, gen: Gen) -> Gen | None:
        """The parent's record, or None."""
        key = gen.parent_key
        return self.gens.get(key) if key else None

    def ids(self, stage: str) -> list[str]:
        """Names of all directories of a stage, sorted."""
        return sorted(gen_id for s, gen_id in (*self.gens, *self.unread) if s == stage)

    def generator(self, gen: Gen) -> str:
        """How it was made: its template's generator, else its mode, else `llm`."""
        listed = self.generators.get(gen.stage, {}).get(normalise(gen.template))
        if listed is not None:
            return listed
        mode = gen.metadata.get("mode")
        return "llm" if is_absent(mode) else normalise(mode)

    def text(self, gen: Gen, *names: str) -> bytes | None:
        """The first of the payload files that exists. Read now, through this reader only."""
        for name in names:
            if not gen.origin:
                data = gen.texts.get(name)
            else:
                path = self.root / gen_path(gen.stage, gen.origin) / name
                try:
                    data = read_bytes(str(path), MAX_TABLE_BYTES, follow=True)
                except NotRegular:
                    data = None  # a folder of that name is no text
                except Unreadable as error:
                    raise MigratorError(f"{gen.path}/{name} {error}", where=path) from None
            if data is not None:
                return data
        return None

    def cohorts(self) -> Iterator[tuple[str, str, Table]]:
        """(cohort id, path, table) of every membership.csv, in code-point order of the cohorts."""
        for path in sorted(self.tables):
            parts = path.split("/")
            if parts[0] == COHORTS:
                yield parts[1], path, self.tables[path]

    def member_cells(self, gen: Gen, column: str) -> list[str]:
        """What the membership rows of a generation say in one column, over all cohorts that have it."""
        cache: dict[str, dict[Key, list[str]]] = self.__dict__.setdefault("_cells", {})
        if column not in cache:
            cells: dict[Key, list[str]] = {}
            for _, _, table in self.cohorts():
                for _, (stage, gen_id, cell) in table.values(*MEMBER_KEY, column) if column in table.columns else ():
                    cells.setdefault((stage.strip(), gen_id.strip()), []).append(cell)
            cache[column] = cells
        return cache[column].get(gen.key, [])

    def as_on_disk(self, problem: Problem) -> Problem:
        """A finding of a step in the names that the live tree has: the operator looks there."""
        gen = self.gens.get((problem.stage, problem.gen_id))
        if gen is None or gen.origin in ("", gen.gen_id):
            return problem
        path = problem.path
        if path == gen.path or path.startswith(gen.path + "/"):
            path = gen_path(gen.stage, gen.origin) + path[len(gen.path) :]
        return replace(problem, gen_id=gen.origin, path=path)


class _Reader:
    def __init__(self, root: Path, documents: Sequence[str] = DOCUMENTS, share: Share = Alone) -> None:
        self.root = root
        self.files = documents
        self.share = share
        self.problems: list[Problem] = []
        self.unread: set[Key] = set()

    def inventory(self, scheme: IdScheme) -> Inventory:
        self._require_gens()
        for folder in (OWN, MAPPINGS):
            if os.path.lexists(self.root / folder) and not stat.S_ISDIR(os.lstat(self.root / folder).st_mode):
                self._problem(UNSAFE_PATH, folder, "is ours and must be a folder, not a link or a file")
        keys = self._all_keys()
        with self._reading(keys) as work:
            tables = dict(self._tables())
            rows = self._rows(tables)
            gens = dict(self._gens(keys, work, rows))
        generators, templates = self._templates()
        inventory = Inventory(
            root=self.root,
            gens=gens,
            unread=frozenset(self.unread),
            blocked=self._blocked(),
            tables=tables,
            selections=dict(self._selections()),
            copies=tuple(name for name in self._names(COPIES) if name.endswith(".txt")),
            generators=generators,
            templates=templates,
            models=tuple(value for value in self._column(MODELS_TABLE, "id") if not is_absent(value)),
            replication=self._replication(),
            scheme=scheme,
        )
        return replace(inventory, problems=(*self.problems, *_unknown_members(inventory)))

    def slim(self, scheme: IdScheme) -> Inventory:
        self._require_gens()
        keys = self._all_keys()
        with self._reading(keys) as work:
            gens = dict(self._gens(keys, work, {}))
        return Inventory(
            root=self.root,
            gens=gens,
            unread=frozenset(self.unread),
            blocked=self._blocked(),
            scheme=scheme,
            problems=tuple(self.problems),
        )

    def _require_gens(self) -> None:
        if not (self.root / GENS).is_dir():
            raise MigratorError(
                "not a data root: it has no folder gens/",
                where=self.root,
                hint="migrator --help   (--data-root DIR names a store, --env NAME a section of migrator.toml)",
            )

    def some(self, keys: Sequence[Key], paths: Sequence[str]) -> Inventory:
        tables = {path: table for path in paths if (table := self._table(path, MEMBER_KEY))}
        rows = self._rows(tables)
        with self._reading(keys) as work:
            gens = dict(self._gens(keys, work, rows))
        mentioned = {gen.parent_key for gen in gens.values() if gen.parent_key}
        for table in tables.values():
            mentioned |= {(stage.strip(), gen_id.strip()) for _, (stage, gen_id) in table.values(*MEMBER_KEY)}
        self.unread |= {key for key in mentioned - gens.keys() if self._is_folder(key)}
        inventory = Inventory(
            root=self.root,
            gens=gens,
            unread=frozenset(self.unread),
            blocked=self._blocked(),
            tables=tables,
        )
        return replace(inventory, problems=(*self.problems, *_unknown_members(inventory)))

    def _blocked(self) -> frozenset[Key]:
        return frozenset((p.stage, p.gen_id) for p in self.problems if p.blocking and p.gen_id)

    def _is_folder(self, key: Key) -> bool:
        """Whether a pair is the key of a generation's folder; it may come from a table and be any text."""
        stage, gen_id = key
        if stage not in STAGES or unsafe_id(gen_id):
            return False
        try:
            return (self.root / gen_path(stage, gen_id)).is_dir()
        except OSError:  # a name that no file system takes
            return False

    def _problem(self, kind: str, path: str, message: str, key: Key = ("", "")) -> None:
        self.problems.append(Problem(kind, *key, path=path, message=message))

    def _names(self, folder: str, *, folders: bool = False) -> list[str]:
        """Sorted names in a folder, without dot names. A symbolic link in a folder's place is a problem."""
        if (self.root / folder).is_symlink():
            self._problem(UNSAFE_PATH, folder, _LINKED)
            return []
        try:
            with os.scandir(self.root / folder) as entries:
                found = sorted(entries, key=attrgetter("name"))
        except (FileNotFoundError, NotADirectoryError):
            return []
        names = []
        for entry in found:
            if entry.name.startswith("."):
                continue
            if not folders or entry.is_dir(follow_symlinks=False):
                names.append(entry.name)
            elif entry.is_symlink():
                stage = folder.removeprefix(GENS + "/")
                key = (stage, entry.name) if stage in STAGES else ("", "")
                self._problem(UNSAFE_PATH, f"{folder}/{entry.name}", _LINKED, key)
        return names

    # -- generations

    def _keys(self, stage: str) -> Iterator[Key]:
        """The generations of a stage that may be looked into."""
        if (self.root / GENS).is_symlink():
            if stage == DRAFT:
                self._problem(UNSAFE_PATH, GENS, _LINKED)
            return
        for gen_id in self._names(f"{GENS}/{stage}", folders=True):
            key = (stage, gen_id)
            reason = unsafe_id(gen_id)
            if reason:
                self.unread.add(key)
                self._problem(UNSAFE_PATH, gen_path(*key), f"the name {reason}", key)
            else:
                yield key

    def _all_keys(self) -> list[Key]:
        return [key for stage in STAGES for key in self._keys(stage)]

    def _reading(self, keys: Sequence[Key]) -> Work:
        """The records of these generations, as they begin to be read."""
        step = max(_KEYS_PER_PART, len(keys) // _PARTS)
        parts = [list(keys[start : start + step]) for start in range(0, len(keys), step)]
        return self.share(partial(read_records, f"{self.root}", self.files), parts, len(keys) * len(self.files))

    def _gens(
        self, keys: Sequence[Key], work: Work, rows: Mapping[Key, Mapping[str, str]]
    ) -> Iterator[tuple[Key, Gen]]:
        found = (record for part in work.results() for record in part)
        for key, (metadata, data, sidecars, findings) in zip(keys, found, strict=True):
            for kind, path, message in findings:
                self._problem(kind, path, message, key)
            if findings:
                self.unread.add(key)
                continue
            documents = Documents(metadata, {name: Sidecar(*parts) for name, parts in sidecars.items()}, data=data)
            gen = Gen.of(*key, key[1], documents, rows.get(key, NOTHING), NOTHING)
            self._identity(gen)
            yield key, gen

    def _identity(self, gen: Gen) -> None:
        found: list[tuple[str, str]] = []
        gen_id, stage = gen.metadata.get("gen_id"), gen.metadata.get("stage")
        if gen_id != gen.gen_id and not is_absent(gen_id):
            found.append((GEN_ID_MISMATCH, f"gen_id is {gen_id!r}, the folder is {gen.gen_id!r}"))
            reason = unsafe_id(gen_id) if isinstance(gen_id, str) else None
            if reason:
                found.append((UNSAFE_PATH, f"gen_id {gen_id!r} {reason}"))
        if stage != gen.stage and not is_absent(stage):
            found.append((STAGE_MISMATCH, f"stage is {stage!r}, the folder is {gen.stage!r}"))
        parent = gen.parent if gen.stage in PARENT_STAGE else None
        reason = unsafe_id(parent) if parent else None
        if reason:
            found.append((UNSAFE_PATH, f"the parent {parent!r} {reason}"))
        for kind, message in found:
            self._problem(kind, f"{gen.path}/{METADATA}", message, gen.key)

    # -- tables

    def _read_table(self, path: str, *, follow: bool = False) -> bytes | None:
        try:
            return read_bytes(f"{self.root}/{path}", MAX_TABLE_BYTES, follow=follow)
        except Unreadable as error:
            self._problem(INVALID_TABLE, path, str(error))
            return None

    def _table(self, path: str, needed: tuple[str, ...] = (), *, follow: bool = False) -> Table | None:
        data = self._read_table(path, follow=follow)
        if data is None:
            return None
        try:
            table = Table.parse(data)
        except InvalidTable as error:
            self._problem(INVALID_TABLE, path, str(error))
            return None
        lacking = [name for name in needed if name not in table.columns]
        if lacking:
            self._problem(INVALID_TABLE, path, f"the header lacks the column {', '.join(lacking)}")
            return None
        return table

    def _tables(self) -> Iterator[tuple[str, Table]]:
        for cohort in self._names(COHORTS, folders=True):
            path = f"{COHORTS}/{cohort}/{MEMBERSHIP}"
            table = self._table(path, MEMBER_KEY)
            if table:
                yield path, table
        for name in self._names(TASKS):
            if name.endswith(".csv"):
                table = self._table(f"{TASKS}/{name}")
                if table:
                    yield f"{TASKS}/{name}", table

    def _selections(self) -> Iterator[tuple[str, str]]:
        for name in self._names(TASKS) if not (self.root / TASKS).is_symlink() else ():
            path = f"{TASKS}/{name}"
            if is_selection(path):
                data = self._read_table(path)
                if data is not None:
                    try:
                        yield path, decode(data)
                    except InvalidTable as error:
                        self._problem(INVALID_TABLE, path, str(error))

    def _rows(self, tables: Mapping[str, Table]) -> dict[Key, dict[str, str]]:
        """Per generation the first present cell of each column, over the tables that have more than two columns."""
        rows: dict[Key, dict[str, str]] = {}
        for path in sorted(tables):
            table = tables[path]
            if not path.startswith(COHORTS) or not set(table.columns) - {"stage", "gen_id"}:
                continue
            for _, (stage, gen_id, *cells) in table.values(*MEMBER_KEY, *ROW_COLUMNS):
                row = rows.setdefault((stage.strip(), gen_id.strip()), {})
                for column, cell in zip(ROW_COLUMNS, cells, strict=True):
                    if column not in row and not is_absent(cell):
                        row[column] = cell
        return rows

    def _column(self, path: str, name: str) -> list[str]:
        table = self._table(path, (name,), follow=True)
        return [record[name] for _, record in table.records()] if table else []

    def _templates(self) -> tuple[dict[str, dict[str, str]], dict[str, tuple[str, ...]]]:
        generators: dict[str, dict[str, str]] = {}
        listed: dict[str, tuple[str, ...]] = {}
        for stage in STAGES:
            table = self._table(templates_table(stage), ("template_id",), follow=True)
            if not table:
                continue
            records = [record for _, record in table.records() if not is_absent(record["template_id"])]
            listed[stage] = tuple(record["template_id"].strip() for record in records)
            if "generator" in table.columns:
                generators[stage] = {
                    normalise(record["template_id"]): normalise(record["generator"]) or "llm" for record in records
                }
        return generators, listed

    def _replication(self) -> dict[str, int]:
        table = self._table(REPLICATION_TABLE, ("stage", "replicates"), follow=True)
        numbers = {}
        for _, record in table.records() if table else ():
            text = record["replicates"].strip()
            if text.isascii() and text.isdigit() and len(text) < 10:
                numbers[record["stage"].strip()] = int(text)
        return numbers


def _unknown_members(inventory: Inventory) -> Iterator[Problem]:
    """A warning for each row that names nobody; a table with very many of them, which is a wrong one, is told so."""
    for _, path, table in inventory.cohorts():
        found = 0
        for index, values in table.values(*MEMBER_KEY):
            stage, gen_id = key = (values[0].strip(), values[1].strip())
            if inventory.exists(key):
                continue
            found += 1
            if found <= UNKNOWN_PER_TABLE:
                what = f"line {table.rows[index].line} names {stage} {gen_id!r}, which is not in the store"
                yield Problem(UNKNOWN_MEMBER, stage if stage in STAGES else "", gen_id, path, what)
        if found > UNKNOWN_PER_TABLE:
            what = f"so do other lines: {found:,} in all name what is not in the store"
            yield Problem(UNKNOWN_MEMBER, path=path, message=what)
