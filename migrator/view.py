"""A data root as tables, for notebooks and scripts. No method writes, takes a lock or finishes what is owed.

pandas is imported when the first table is made, not with this module.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from migrator import plan as planning
from migrator import runner
from migrator.engine import ledger, listing
from migrator.engine.exchange import Place
from migrator.errors import UsageError
from migrator.plan import Plan
from migrator.site import Site, shipped_migrations
from migrator.store.ids import is_absent
from migrator.store.inventory import Inventory
from migrator.store.layout import DRAFT, ESSAY, EVALUATION, METADATA, STAGES, gen_path
from migrator.store.mappings import MAPPING_COLUMNS, SYNTHETIC_COLUMNS, Names, sorted_rows
from migrator.store.problems import COLUMNS as ISSUE_COLUMNS
from migrator.store.records import Gen

if TYPE_CHECKING:
    import pandas as pd

GEN_COLUMNS = (
    "stage",
    "gen_id",
    "parent_gen_id",
    "template_id",
    "llm_model_id",
    "combo_id",
    "replicate",
    "origin_cohort_id",
    "path",
)
LINEAGE_COLUMNS = ("evaluation_gen_id", "essay_gen_id", "draft_gen_id")
_STAGE_OF_COLUMN = {f"{stage}_gen_id": stage for stage in STAGES}


class UnknownIds(UserWarning):
    """Ids of a table that the data root has never known; `ids` has each once, in order of appearance."""

    def __init__(self, ids: Sequence[str]) -> None:
        self.ids = tuple(ids)
        shown = ", ".join(self.ids[:5]) + (f" and {len(self.ids) - 5:,} more" if len(self.ids) > 5 else "")
        super().__init__(f"unknown here, and kept as they are ({len(self.ids):,}): {shown}")


def open(data_root: str | os.PathLike[str], *, migrations: str | os.PathLike[str] | None = None) -> View:
    """Open a data root for reading.

    `migrations` is the folder of steps; by default `migrations` beside the data root, else the steps that come with
    the package. Raises UsageError where there is no such data root.
    """
    place = Place.at(Path(data_root))
    place.require()
    beside = place.root.parent / "migrations"
    steps = Path(migrations) if migrations else beside if beside.is_dir() else shipped_migrations()
    return View(Site(place, steps, place.root.parent / "backups", place.root.parent / "mappings"))


@dataclass(frozen=True)
class View:
    """A read-only look at a data root, made by `migrator.open`.

    What was read is kept: open the data root again to see what came later. All ids are text; whether something is
    not there tells `pandas.isna`.
    """

    site: Site

    def __repr__(self) -> str:
        return f"migrator.open({str(self.site.place.root)!r})"

    @cached_property
    def _store(self) -> Inventory:
        return Inventory.read(self.site.place.real, self.site.scheme, documents=(METADATA,))

    @cached_property
    def _names(self) -> Names:
        return Names.read(self.site.place.real, ledger.runs(self.site.ledger()))

    def plan(self, to: str | None = None) -> PlanTables:
        """What an upgrade (up to step `to`) would do now. Reads the store anew.

        Raises DecisionNeeded where steps and ledger do not fit. Findings are rows of `issues`, never an error.
        """
        plan = runner.read_plan(self.site, to)
        if plan is None:  # up to date: every generation keeps its name
            entries = listing.walk(self.site.place.real)
            store = Inventory.read(self.site.place.real, self.site.scheme)
            plan = planning.make(entries, store, (), self.site.ledger())
        return PlanTables(plan)

    def mapping(self) -> pd.DataFrame:
        """All runs composed: any id of the past and what it is called today.

        Columns stage, old_gen_id, new_gen_id (text). One row for each name that any run has seen, sorted by stage,
        then old id; no rows before the first run. Read from .migrator/mappings, so the data root alone is enough.
        """
        rows = ((stage, old, new) for (stage, old), new in self._names.past.items())
        return _table(MAPPING_COLUMNS, sorted_rows(rows))

    def remap(self, frame: pd.DataFrame, *, columns: str | Iterable[str] | Mapping[str, str]) -> pd.DataFrame:
        """A copy of a table of yours in which these columns hold the ids of today.

        A mapping of column -> stage says whose ids a column holds, where one name stood for two generations; columns
        called draft_gen_id, essay_gen_id and evaluation_gen_id are known. NaN and unknown ids are kept; unknown ones
        are told by the warning UnknownIds. Index, other columns and their types stay; the columns become text.
        Read tables with `dtype=str`: an id such as 007 is lost once it is a number.
        """
        stages = _stages_of(columns)
        missing = [name for name in stages if name not in frame.columns]
        if missing:
            have = ", ".join(map(str, frame.columns))
            raise UsageError(f"the table has no column {missing[0]!r}", hint=f"it has {have}")
        result = frame.copy()
        unknown: dict[str, None] = {}
        for name, stage in stages.items():
            known = {value: self._today(value, name, stage) for value in frame[name].dropna().unique()}
            unknown |= {_text(value): None for value, new in known.items() if new is None and not is_absent(value)}
            result[name] = _replaced(frame[name], {old: new or _text(old, strip=False) for old, new in known.items()})
        if unknown:
            warnings.warn(UnknownIds(list(unknown)), stacklevel=2)
        return result

    def _today(self, value: object, column: str, stage: str | None) -> str | None:
        """The id of today; None where it is unknown, or no id at all."""
        if is_absent(value):
            return None
        try:
            return self._names.today(_text(value), stage)
        except UsageError as error:
            raise UsageError(error.message, where=f"column {column}", hint=f"columns={{{column!r}: STAGE}}") from None

    def gens(self, stage: str | None = None) -> pd.DataFrame:
        """Generations of a stage (of all three by default), stages in order, sorted by id.

        Columns stage, gen_id, parent_gen_id, template_id, llm_model_id, combo_id (text as read, the first value of
        the contract's reading order), replicate (Int64; missing where it is no whole number), origin_cohort_id, path
        (below the data root). A generation whose record cannot be read has its stage, id and path alone.
        """
        if stage is not None and stage not in STAGES:
            raise UsageError(f"{stage!r} is no stage", hint=", ".join(STAGES))
        store = self._store
        wanted = STAGES if stage is None else (stage,)
        keys = sorted({*store.gens, *store.unread}, key=lambda key: (STAGES.index(key[0]), key[1]))
        rows = [_gen_row(key, store.gens.get(key)) for key in keys if key[0] in wanted]
        return _table(GEN_COLUMNS, rows).astype({"replicate": "Int64"})

    def lineage(self) -> pd.DataFrame:
        """Evaluation -> essay -> draft.

        Columns evaluation_gen_id, essay_gen_id, draft_gen_id (text). One row for each evaluation; then one for each
        essay without evaluations, and one for each draft without essays. A parent that is not there keeps its name,
        and nothing stands behind it.
        """
        return _table(LINEAGE_COLUMNS, _chains(self._store))


@dataclass(frozen=True)
class PlanTables:
    """A plan as tables. Nothing has been written for it."""

    plan: Plan

    @property
    def mapping(self) -> pd.DataFrame:
        """Columns stage, old_gen_id, new_gen_id: one row for each generation of today, by stage, then old id."""
        return _table(MAPPING_COLUMNS, self.plan.mapping)

    @property
    def synthetic_drafts(self) -> pd.DataFrame:
        """Columns of synthetic_drafts.csv: one row for each essay that gets another draft."""
        return _table(SYNTHETIC_COLUMNS, ([row[name] for name in SYNTHETIC_COLUMNS] for row in self.plan.synthetic))

    @property
    def issues(self) -> pd.DataFrame:
        """Columns kind, blocking (bool), stage, gen_id, path, message: every finding, blocking ones first."""
        table = _table(ISSUE_COLUMNS, (list(problem.row().values()) for problem in self.plan.problems))
        return table.astype({"blocking": bool})

    @property
    def counts(self) -> dict[str, int]:
        """Generations, created, renamed, rewritten, unchanged."""
        return dict(self.plan.counts)

    @property
    def steps(self) -> list[str]:
        """The steps that are pending, in order."""
        return [str(step) for step, _ in self.plan.steps]

    def __repr__(self) -> str:
        counts = ", ".join(f"{count:,} {verb}" for verb, count in self.counts.items())
        return f"<plan: {len(self.steps)} pending; {counts}; {len(self.plan.blocking)} blocking>"


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> pd.DataFrame:
    """A table of texts: an id such as 007 is never read as a number here."""
    import pandas as pd

    return pd.DataFrame(list(rows), columns=list(columns))


def _stages_of(columns: str | Iterable[str] | Mapping[str, str]) -> dict[str, str | None]:
    """Column -> the stage whose ids it holds, None where that is not known."""
    if isinstance(columns, Mapping):
        wrong = [stage for stage in columns.values() if stage not in STAGES]
        if wrong:
            raise UsageError(f"{wrong[0]!r} is no stage", hint=", ".join(STAGES))
        return dict(columns)
    names = [columns] if isinstance(columns, str) else columns
    return {name: _STAGE_OF_COLUMN.get(name) for name in names}


def _text(value: Any, *, strip: bool = True) -> str:
    """An id as text; pandas makes floats of whole numbers beside a NaN."""
    text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    return text.strip() if strip else text


def _replaced(column: pd.Series, names: Mapping[Any, str]) -> pd.Series:
    """The column with each value in its place; what is missing there stays as it is."""
    import pandas as pd

    values = [names.get(value, value) for value in column.astype(object)]
    text = column.dtype if isinstance(column.dtype, pd.StringDtype) else object
    return pd.Series(values, index=column.index, dtype=text)


def _gen_row(key: tuple[str, str], gen: Gen | None) -> list[object]:
    stage, gen_id = key
    if gen is None:
        return [stage, gen_id, *[None] * 6, gen_path(stage, gen_id)]
    whole = isinstance(gen.replicate, int) and not isinstance(gen.replicate, bool)
    return [
        stage,
        gen_id,
        gen.parent,
        _value(gen.template),
        _value(gen.model),
        _value(gen.combo),
        gen.replicate if whole and abs(gen.replicate) < 1 << 53 else None,
        _value(gen.origin_cohort),
        gen.path,
    ]


def _value(value: object) -> str | None:
    return None if value is None else str(value)


def _chains(store: Inventory) -> Iterator[tuple[str | None, str | None, str | None]]:
    parents = {key: gen.parent for key, gen in store.gens.items()}
    names = {stage: sorted(name for one, name in {*store.gens, *store.unread} if one == stage) for stage in STAGES}
    for name in names[EVALUATION]:
        essay = parents.get((EVALUATION, name))
        yield name, essay, parents.get((ESSAY, essay)) if essay is not None else None
    evaluated = {parents.get((EVALUATION, name)) for name in names[EVALUATION]}
    for name in names[ESSAY]:
        if name not in evaluated:
            yield None, name, parents.get((ESSAY, name))
    used = {parents.get((ESSAY, name)) for name in names[ESSAY]}
    yield from ((None, None, name) for name in names[DRAFT] if name not in used)
