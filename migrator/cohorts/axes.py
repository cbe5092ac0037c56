"""What a cohort is built from: combinations, templates, models, replication (contract, section 5, inputs).

Reads through the store room only. A flag or a number that cannot be read is a Problem with its line, never a default.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from migrator.store.ids import is_absent, normalise, text_fault
from migrator.store.layout import EVALUATION, MODELS_TABLE, REPLICATION_TABLE, STAGES, TASKS, templates_table
from migrator.store.problems import INVALID_TABLE, Problem
from migrator.store.reading import MAX_TABLE_BYTES, Unreadable, read_bytes
from migrator.store.table import InvalidTable, Table

COMBOS_TABLE = f"{TASKS}/selected_combo_mappings.csv"
DEFAULT_GENERATOR = "llm"
_YES, _NO = frozenset({"true", "1", "yes"}), frozenset({"false", "0", "no"})
_MOST_DIGITS = 9


@dataclass(frozen=True)
class Axes:
    """The texts as listed, each once, in the order of the tables; `templates` holds the active ones by stage."""

    combos: tuple[str, ...] = ()
    templates: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    generators: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # stage -> template, normalised -> how
    generation_models: tuple[str, ...] = ()
    evaluation_models: tuple[str, ...] = ()
    replication: Mapping[str, int] = field(default_factory=dict)

    def generator(self, stage: str, template: str) -> str:
        """How a template's texts come about: `llm` where its table does not say."""
        return self.generators.get(stage, {}).get(normalise(template), DEFAULT_GENERATOR)


def read(root: Path, *, curated: bool) -> tuple[Axes, list[Problem]]:
    """The axes and all that is wrong with their tables.

    A curated build does without combinations and generation models: those tables may be missing, not be wrong.
    """
    reader = _Reader(root)
    templates = {stage: reader.templates(stage, curated and stage != EVALUATION) for stage in STAGES}
    generation, evaluation = reader.models()
    axes = Axes(
        combos=() if curated else reader.combos(),
        templates=templates,
        generators=reader.generators,
        generation_models=generation,
        evaluation_models=evaluation,
        replication=reader.replication(),
    )
    if not curated and not reader.problems:
        reader.require_some(axes)
    return axes, reader.problems


class _Reader:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.problems: list[Problem] = []
        self.generators: dict[str, dict[str, str]] = {}

    def templates(self, stage: str, optional: bool) -> tuple[str, ...]:
        """The active templates of a stage; notes how each template's texts come about."""
        path = templates_table(stage)
        active = []
        generators = self.generators.setdefault(stage, {})
        for line, template, record in self._listed(path, "template_id", ("active",), optional):
            generator = record.get("generator", "")
            generators[normalise(template)] = DEFAULT_GENERATOR if is_absent(generator) else normalise(generator)
            if self._flag(path, line, "active", record):
                active.append(template)
        return tuple(active)

    def models(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The models for generation and those for evaluation."""
        uses = ("for_generation", "for_evaluation")
        found: dict[str, list[str]] = {use: [] for use in uses}
        for line, model, record in self._listed(MODELS_TABLE, "id", uses):
            for use in uses:
                if self._flag(MODELS_TABLE, line, use, record):
                    found[use].append(model)
        return tuple(found[uses[0]]), tuple(found[uses[1]])

    def combos(self) -> tuple[str, ...]:
        """The combinations, in order of first appearance."""
        found: dict[str, str] = {}
        for line, record in self._records(COMBOS_TABLE, ("combo_id",)):
            combo = record["combo_id"].strip()
            if self._sound(COMBOS_TABLE, line, "combo_id", combo):
                found.setdefault(normalise(combo), combo)
        return tuple(found.values())

    def replication(self) -> dict[str, int]:
        """How many replicates of each task each stage wants."""
        numbers: dict[str, int] = {}
        seen: dict[str, int] = {}
        for line, record in self._records(REPLICATION_TABLE, ("stage", "replicates")):
            stage, text = record["stage"].strip(), record["replicates"].strip()
            if stage in STAGES and stage in seen:
                self._problem(REPLICATION_TABLE, f"line {line} names {stage} again (line {seen[stage]} does already)")
            seen.setdefault(stage, line)
            sound = text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS and int(text) >= 1
            if stage in STAGES and not sound:
                self._problem(
                    REPLICATION_TABLE, f"line {line}: replicates of {stage} is {text!r}: write an integer of 1 or more"
                )
            elif sound:
                numbers.setdefault(stage, int(text))
        if seen or not self.problems:
            for stage in STAGES:
                if stage not in seen:
                    self._problem(REPLICATION_TABLE, f"there is no row for {stage}: add {stage},1")
        return numbers

    def require_some(self, axes: Axes) -> None:
        """Note what leaves a build without a single draft: nobody wants an empty cohort."""
        if not axes.combos:
            self._problem(COMBOS_TABLE, "lists no combination, so there is nothing to build")
        if not axes.templates[STAGES[0]]:
            self._problem(templates_table(STAGES[0]), "no template is active, so there is nothing to build")
        if not axes.generation_models:
            self._problem(MODELS_TABLE, "no model is for_generation, so there is nothing to build")

    # -- tables, rows, cells

    def _listed(
        self, path: str, column: str, flags: tuple[str, ...], optional: bool = False
    ) -> Iterator[tuple[int, str, Mapping[str, str]]]:
        """(line, id, record) of each row that has an id; the same id twice is a problem."""
        seen: dict[str, int] = {}
        for line, record in self._records(path, (column, *flags), optional):
            text = record[column].strip()
            if not self._sound(path, line, column, text):
                continue
            first = seen.setdefault(normalise(text), line)
            if first != line:
                self._problem(path, f"line {line}: {column} {text!r} stands in line {first} already")
            else:
                yield line, text, record

    def _records(
        self, path: str, columns: tuple[str, ...], optional: bool = False
    ) -> Iterator[tuple[int, dict[str, str]]]:
        try:
            data = read_bytes(f"{self.root}/{path}", MAX_TABLE_BYTES, follow=True)
            table = Table.parse(data) if data is not None else None
        except (Unreadable, InvalidTable) as error:
            self._problem(path, str(error))
            return
        if table is None:
            if not optional:
                self._problem(path, "the table is missing")
            return
        lacking = [name for name in columns if name not in table.columns]
        if lacking:
            self._problem(path, f"the header lacks the column {', '.join(lacking)}")
            return
        yield from table.records()

    def _sound(self, path: str, line: int, column: str, text: str) -> bool:
        fault = text_fault(column, text)
        if fault:
            self._problem(path, f"line {line}: {fault.message}")
        return fault is None

    def _flag(self, path: str, line: int, column: str, record: Mapping[str, str]) -> bool:
        text = record[column].strip().lower()
        if text not in _YES | _NO:
            self._problem(path, f"line {line}: {column} is {record[column]!r}: write true or false")
        return text in _YES

    def _problem(self, path: str, message: str) -> None:
        self.problems.append(Problem(INVALID_TABLE, path=path, message=message))
