"""What a step may say, and how it becomes the next inventory. Pure: opens no file.

A step yields changes; silence means unchanged. `fold` applies one step's changes at once and follows every mention of
a name that changed, so that steps compose and no author has to remember a reference.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from migrator.errors import MigratorError
from migrator.store.documents import Assign, Documents, Drop, Number
from migrator.store.documents import Follow as FollowNames
from migrator.store.ids import is_absent
from migrator.store.inventory import Inventory
from migrator.store.layout import DRAFT, PARENT_STAGE, STAGES, unsafe_id
from migrator.store.problems import Problem
from migrator.store.records import Gen, Key
from migrator.store.references import (
    MEMBER_KEY,
    OWN_KEY,
    PARENT_KEY,
    Names,
    follow_copy,
    follow_selection,
    stage_of_row,
)
from migrator.store.table import Table


@dataclass(frozen=True, slots=True)
class Rename:
    """The generation gets another id, and every mention follows by itself."""

    gen: Gen
    to: str


@dataclass(frozen=True, slots=True)
class Follow:
    """Tables and lists say what is so, also where no name changes: each row its parent, each listed id bare."""


@dataclass(frozen=True, slots=True)
class Relink:
    """The generation gets another parent: one that exists, or one that the same step adds.

    Its parent fields and its mentions of the old parent's name follow; every cohort that lists it lists that parent.
    """

    gen: Gen
    parent: str


@dataclass(frozen=True, slots=True)
class Edit:
    """Keys of metadata.json that get a value, and keys that go from all three JSON files at any depth."""

    gen: Gen
    set: Mapping[str, Any] = field(default_factory=dict)
    drop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Renumber:
    """The generation gets this replicate, as a JSON integer.

    It is written into metadata.json always, into the other two files where they have the key, and into the replicate
    cell of its membership rows (contract, 0001).
    """

    gen: Gen
    replicate: int


@dataclass(frozen=True, slots=True)
class Add:
    """A new generation: metadata.json and payload files. Its id must be free."""

    stage: str
    gen_id: str
    metadata: Mapping[str, Any]
    texts: Mapping[str, bytes]


Change = Rename | Follow | Relink | Edit | Renumber | Add | Problem


@dataclass(frozen=True)
class Effect:
    """What one step did, beside the inventory it led to.

    `names` maps (stage, old id) to the new id; `relinked` pairs (child before, parent after) in the ids that the next
    step sees; `touched` counts generations per stage and verb (create, rename, rewrite).
    """

    names: Mapping[Key, str]
    relinked: tuple[tuple[Key, Key], ...]
    touched: Mapping[str, Mapping[str, int]]


@dataclass
class _Sorted:
    """One step's changes by kind and generation."""

    renames: dict[Key, str] = field(default_factory=dict)
    relinks: dict[Key, str] = field(default_factory=dict)
    edits: dict[Key, list[Edit]] = field(default_factory=dict)
    numbers: dict[Key, int] = field(default_factory=dict)
    adds: dict[Key, Add] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    follow: bool = False


def fold(store: Inventory, changes: Iterable[Change]) -> tuple[Inventory, Effect]:
    """The inventory after one step, and what the step did. Raises MigratorError for a change that makes no sense."""
    todo = _sort(store, changes)
    gens = dict(store.gens)
    for key, add in todo.adds.items():
        gens[key] = Gen(add.stage, add.gen_id, "", Documents(dict(add.metadata), {}), {}, dict(add.texts))
    for key in {*todo.edits, *todo.numbers, *todo.relinks}:
        gens[key] = _edited(gens[key], todo)
    tables = _relinked_tables(store, gens, todo) if todo.relinks or todo.numbers else store.tables
    after = replace(store, gens=gens, tables=tables)
    if todo.renames:
        after = _renamed(after, todo.renames)
    if todo.renames or todo.follow:
        after = _followed(after, todo.renames)
    effect = Effect(
        names=todo.renames,
        relinked=tuple(
            (_now(key, todo.renames), _now((PARENT_STAGE[key[0]], parent), todo.renames))
            for key, parent in sorted(todo.relinks.items())
        ),
        touched=_touched(store, after, todo),
    )
    return _with_problems(store, after, todo), effect


def _with_problems(before: Inventory, after: Inventory, todo: _Sorted) -> Inventory:
    """The findings, in the names on disk. A generation keeps the blocking ones of the first step that found any."""
    new = [p for p in todo.problems if not (p.blocking and (p.stage, p.gen_id) in before.blocked)]
    found = frozenset(_now((p.stage, p.gen_id), todo.renames) for p in new if p.blocking and p.gen_id)
    shown = [before.as_on_disk(problem) for problem in new]
    return replace(after, problems=(*after.problems, *shown), blocked=after.blocked | found)


def _now(key: Key, renames: Mapping[Key, str]) -> Key:
    return (key[0], renames.get(key, key[1]))


def _sort(store: Inventory, changes: Iterable[Change]) -> _Sorted:
    todo = _Sorted()
    for change in changes:
        kind = type(change)
        if kind in _ONCE:
            slot, value = getattr(todo, _ONCE[kind][0]), getattr(change, _ONCE[kind][1])
            key = _known(store, change)
            if key in slot:
                raise MigratorError(f"a step changes {key[0]} {key[1]} twice in the same way")
            slot[key] = value
        elif isinstance(change, Edit):
            todo.edits.setdefault(_known(store, change), []).append(change)
        elif isinstance(change, Problem):
            todo.problems.append(change)
        elif isinstance(change, Follow):
            todo.follow = True
        elif isinstance(change, Add):
            key = (change.stage, change.gen_id)
            _require_safe(change.gen_id)
            if store.exists(key) or key in todo.adds:
                raise MigratorError(f"a step adds {change.stage} {change.gen_id}, which is there already")
            todo.adds[key] = change
        else:
            raise MigratorError(f"a step yields a {kind.__name__}, which is no change")
    for new in todo.renames.values():
        _require_safe(new)
    for key, parent in todo.relinks.items():
        target = (PARENT_STAGE[key[0]], parent)
        if not store.exists(target) and target not in todo.adds:
            raise MigratorError(f"a step gives {key[0]} {key[1]} the parent {parent}, which is not in the store")
    if any(problem.blocking for problem in (*store.problems, *todo.problems)):
        _keep_off_others(store, todo.renames)
    if todo.renames:
        final = [_now(key, todo.renames) for key in (*store.gens, *store.unread, *todo.adds)]
        if len(set(final)) != len(final):
            twice = next(key for key in sorted(final) if final.count(key) > 1)
            raise MigratorError(f"a step gives two generations the name {twice[0]} {twice[1]}")
    return todo


_ONCE: Mapping[type, tuple[str, str]] = {
    # what a generation can have only once -> the field of _Sorted that keeps it, the field that is its value
    Rename: ("renames", "to"),
    Relink: ("relinks", "parent"),
    Renumber: ("numbers", "replicate"),
}


def _known(store: Inventory, change: Any) -> Key:
    """The key of the generation that a change speaks of."""
    key: Key = change.gen.key
    if key not in store.gens:
        raise MigratorError(f"a step changes {key[0]} {key[1]}, which is not in the store")
    return key


def _require_safe(gen_id: str) -> None:
    reason = unsafe_id(gen_id)
    if reason:
        raise MigratorError(f"a step gives the name {gen_id!r}, which {reason}")


def _keep_off_others(store: Inventory, renames: dict[Key, str]) -> None:
    """Drop renames onto a name that a generation keeps because it is blocked: the run stops, the plan goes on."""
    held = {key for key in (*store.gens, *store.unread) if key not in renames}
    while dropped := [key for key, new in renames.items() if (key[0], new) in held]:
        for key in dropped:
            del renames[key]
        held |= set(dropped)


# -- documents


def _edited(gen: Gen, todo: _Sorted) -> Gen:
    documents = gen.documents
    for edit in todo.edits.get(gen.key, ()):
        if edit.set:
            documents = documents.revise(Assign(edit.set))
        if edit.drop:
            documents = documents.revise(Drop(edit.drop))
    number = todo.numbers.get(gen.key)
    parent = todo.relinks.get(gen.key)
    if number is not None:
        documents = documents.revise(Number(number))
        if parent is None and gen.key not in todo.edits:
            return gen.renumbered(documents)
    if parent is not None:
        if gen.parent is not None:
            names = {PARENT_STAGE[gen.stage]: {gen.parent: parent}}
            documents = documents.revise(FollowNames(gen.stage, names))
        if gen.with_documents(documents).parent != parent:
            documents = documents.revise(Assign({PARENT_KEY: parent}))
    return gen.with_documents(documents)


def _names(renames: Mapping[Key, str]) -> dict[str, dict[str, str]]:
    names: dict[str, dict[str, str]] = {stage: {} for stage in STAGES}
    for (stage, old), new in renames.items():
        names[stage][old] = new
    return names


def _renamed(store: Inventory, renames: Mapping[Key, str]) -> Inventory:
    """Generations under their new names, every mention in their files followed."""
    names = _names(renames)
    follow = {stage: FollowNames(stage, names) for stage in STAGES}
    gens: dict[Key, Gen] = {}
    for gen in store.gens.values():
        documents = gen.documents.revise(follow[gen.stage])
        new = Gen.of(gen.stage, renames.get(gen.key, gen.gen_id), gen.origin, documents, gen.row, gen.texts)
        gens[new.key] = new
    return replace(store, gens=gens, blocked=frozenset(_now(key, renames) for key in store.blocked))


# -- tables and lists


def _followed(store: Inventory, renames: Mapping[Key, str]) -> Inventory:
    """Tables, lists and copies that mention everyone by the name of now, where `store` has these names already."""
    names = _names(renames)
    old_names = {(stage, new): old for (stage, old), new in renames.items()}
    before = {(stage, old_names.get((stage, name), name)) for stage, name in store.gens}
    everyone: dict[str, dict[str, str]] = {stage: {} for stage in STAGES}
    for stage, old in before:
        everyone[stage][old] = names[stage].get(old, old)
    return replace(
        store,
        tables={path: _followed_table(path, table, store, names, everyone) for path, table in store.tables.items()},
        selections={path: follow_selection(text, everyone) for path, text in store.selections.items()},
        copies=tuple(follow_copy(name, names) for name in store.copies),
    )


def mentions_current(store: Inventory) -> bool:
    """Whether tables and lists say what is so: each row names its parent, each listed id stands bare."""
    followed = _followed(store, {})
    return followed.selections == store.selections and all(
        followed.tables[path] is table for path, table in store.tables.items()
    )


def _followed_table(
    path: str, table: Table, after: Inventory, names: Names, everyone: Mapping[str, Mapping[str, str]]
) -> Table:
    """A membership or task table in which every generation bears its new id and names its parent.

    `everyone` maps the old id of each generation of a stage to its new one.
    """
    own, parent_column = table.column(OWN_KEY), table.column(PARENT_KEY)
    if own is None and parent_column is None:
        return table
    staged = table.column("stage") is not None
    cells: dict[tuple[int, int], str] = {}
    for index, values in table.values(*MEMBER_KEY, PARENT_KEY):
        named, old, stored = [value.strip() for value in values]
        stage = stage_of_row(path, named if staged else None, old, everyone)
        if stage is None:
            continue
        new = everyone[stage].get(old)
        if own is not None and new is not None and new != old:
            cells[index, own] = new
        if parent_column is not None and stage in PARENT_STAGE:
            gen = after.gens.get((stage, new)) if new is not None else None
            followed = gen.parent if gen else names[PARENT_STAGE[stage]].get(stored, stored)
            if followed is not None and followed != stored:
                cells[index, parent_column] = followed
    return table.edited(cells, {})


def _relinked_tables(store: Inventory, gens: Mapping[Key, Gen], todo: _Sorted) -> dict[str, Table]:
    """Tables with new replicates and parents; cohorts that list a relinked generation list its parent before it."""
    tables = dict(store.tables)
    for cohort, path, table in store.cohorts():
        rows = [(index, (stage.strip(), gen_id.strip())) for index, (stage, gen_id) in table.values(*MEMBER_KEY)]
        listed = {key for _, key in rows}
        cells: dict[tuple[int, int], str] = {}
        inserts: dict[int, list[dict[str, str]]] = {}
        for column, wanted in (("replicate", todo.numbers), (PARENT_KEY, todo.relinks)):
            place = table.column(column)
            if place is None or not wanted:
                continue
            for (index, key), (_, (written,)) in zip(rows, table.values(column), strict=True):
                value = wanted.get(key)
                if value is not None and written.strip() != str(value):
                    cells[index, place] = str(value)
        for index, key in rows:
            if key in todo.relinks:
                parent = (PARENT_STAGE[key[0]], todo.relinks[key])
                if parent not in listed:
                    listed.add(parent)
                    inserts.setdefault(index, []).append(_member(gens[parent], cohort))
        tables[path] = table.edited(cells, inserts)
    return tables


def _member(gen: Gen, cohort: str) -> dict[str, str]:
    """What is known of a draft for a membership row of any schema; columns a table lacks are left out there."""
    known = {
        "stage": gen.stage,
        "gen_id": gen.gen_id,
        "cohort_id": cohort,
        "combo_id": gen.combo,
        "template_id": gen.template,
        "draft_template": gen.template if gen.stage == DRAFT else None,
        "llm_model_id": gen.model,
        "generation_model": gen.model if gen.stage == DRAFT else None,
        "replicate": gen.replicate,
        "origin_cohort_id": gen.origin_cohort,
    }
    return {column: str(value) for column, value in known.items() if not is_absent(value)}


# -- counts


def _touched(before: Inventory, after: Inventory, todo: _Sorted) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for stage, verb in _verbs(before, after, todo):
        row = counts.setdefault(stage, {})
        row[verb] = row.get(verb, 0) + 1
    return counts


def _verbs(before: Inventory, after: Inventory, todo: _Sorted) -> Iterable[tuple[str, str]]:
    for stage, _ in todo.adds:
        yield stage, "create"
    for stage, _ in todo.renames:
        yield stage, "rename"
    changed = before.gens.keys() if todo.renames else {*todo.edits, *todo.numbers, *todo.relinks}
    for key in changed - todo.renames.keys():
        if rewritten(before.gens[key], after.gens[key]):
            yield key[0], "rewrite"


def rewritten(before: Gen, after: Gen) -> bool:
    """Whether any value in the JSON files of a generation differs between two records of it."""
    return after.documents is not before.documents and after.documents.differ(before.documents)
