"""Backfill copy-mode drafts: a lost draft is made again from the essay that was copied from it.

Reads    essays whose parent draft is no directory, their texts, the drafts of the same task.
Changes  adds drafts, links the essays to them (or to a draft that has the very text), numbers these essays anew.
Refuses  a lost draft without a copied essay, a copied essay without text or without the fields of its draft.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from migrator import (
    DRAFT,
    ESSAY,
    Add,
    Change,
    Gen,
    IdRegistry,
    Inventory,
    Problem,
    Relink,
    Renumber,
    SignatureError,
    compute_signature,
    faults,
    first_present,
    is_absent,
    missing_parent,
    normalise,
)

METADATA, PARSED, RAW = "metadata.json", "parsed.txt", "raw.txt"
Task = tuple[str, str, str]  # combination, template, model, normalised


@dataclass
class Lost:
    """One lost draft: one text of one missing name. `essays` are its sources, sorted by id."""

    name: str
    text: bytes
    essays: list[Gen] = field(default_factory=list)
    linked: Gen | None = None
    replicate: int = 0
    gen_id: str = ""


def changes(store: Inventory) -> Iterator[Change]:
    """Yield an Add for each draft that is made, a Relink and if need be a Renumber for each of its essays."""
    groups: dict[str, list[Gen]] = {}
    for essay in store.generations(ESSAY):
        if essay.parent is None:
            yield from faults(essay)
        elif missing_parent(store, essay):
            groups.setdefault(essay.parent, []).append(essay)
    findings = [found for name, essays in groups.items() for found in texts_of(store, name, essays)]
    lost = sorted((one for one in findings if isinstance(one, Lost)), key=lambda one: one.essays[0].gen_id)
    refusals = [found for found in findings if isinstance(found, Problem)]
    refusals += settle(store, lost)
    yield from refusals
    yield from (add(store, one) for one in lost if one.gen_id and not one.linked)
    yield from linked(store, groups, [one for one in lost if one.gen_id], {p.gen_id: p for p in refusals})


def texts_of(store: Inventory, name: str, essays: list[Gen]) -> Iterator[Lost | Problem]:
    """Yield one Lost for each distinct text among the sources of a group, a Problem where there is none."""
    sources = [essay for essay in essays if store.generator(essay) == "copy"]
    sources = sources or [essay for essay in essays if normalise(essay.metadata.get("mode")) == "copy"]
    if not sources:
        yield from (orphan for orphan in (missing_parent(store, essay) for essay in essays) if orphan)
    found: dict[bytes, Lost] = {}
    for essay in sources:
        text = store.text(essay, PARSED, RAW)
        if text is None:
            message = f"the lost draft {name!r} cannot be made: its essay has neither {PARSED} nor {RAW}"
            yield Problem("backfill-no-text", ESSAY, essay.gen_id, essay.path, message)
            continue
        found.setdefault(text, Lost(name, text)).essays.append(essay)
    yield from found.values()


def settle(store: Inventory, lost: list[Lost]) -> Iterator[Problem]:
    """Decide for each lost draft whether one with its text is there, else number and name the one to be made."""
    drafts: dict[Task, list[Gen]] = {}
    for draft in store.generations(DRAFT):
        drafts.setdefault(task(draft.combo, draft.template, draft.model), []).append(draft)
    used = {key: {draft.replicate for draft in gens} for key, gens in drafts.items()}
    signatures = {}
    for one in lost:
        values = fields(store, one.essays[0])
        try:
            compute_signature(DRAFT, **values, replicate=1)
        except SignatureError as error:
            for essay in one.essays:
                for fault in error.faults:
                    kind = "backfill-missing-field" if fault.kind == "missing-field" else fault.kind
                    message = f"the lost draft {one.name!r} cannot be made: {fault.message}"
                    yield Problem(kind, ESSAY, essay.gen_id, f"{essay.path}/{METADATA}", message)
            continue
        key = task(*values.values())
        same = [draft for draft in drafts.get(key, ()) if store.text(draft, PARSED) == one.text]
        if same:
            one.linked = min(same, key=lambda draft: (draft.replicate, draft.gen_id))
            one.replicate, one.gen_id = one.linked.replicate, one.linked.gen_id
            continue
        one.replicate = smallest_free(used.setdefault(key, set()))
        signatures[compute_signature(DRAFT, **values, replicate=one.replicate)] = one
    ids = IdRegistry(DRAFT, store.scheme, taken=set(store.ids(DRAFT))).assign(dict.fromkeys(signatures))
    for signature, one in signatures.items():
        one.gen_id = ids[signature]


def task(combo: object, template: object, model: object) -> Task:
    """What drafts have in common apart from their replicate, as signatures compare it."""
    return (normalise(combo), normalise(template), normalise(model))


def smallest_free(used: set[int]) -> int:
    """Take the smallest replicate that nobody has."""
    number = 1
    while number in used:
        number += 1
    used.add(number)
    return number


def fields(store: Inventory, essay: Gen) -> dict[str, object]:
    """The lost draft's fields as the essay remembers them; its parent_task_id supplies what it lacks."""
    combo, template, model = taken_apart(store, essay.metadata.get("parent_task_id"))
    return {
        "combo_id": first_present(essay.combo, combo),
        "draft_template_id": first_present(essay.lost_draft_template, template),
        "generation_model_id": first_present(essay.model, model),
    }


def taken_apart(store: Inventory, task_id: object) -> tuple[str | None, str | None, str | None]:
    """(combination, template, model) of a task id <combination>_<template>_<model>, as far as they are known."""
    if is_absent(task_id) or not isinstance(task_id, str):
        return (None, None, None)
    rest, model = without_tail(task_id.strip(), store.models)
    if model is None:
        return (None, None, None)
    combo, template = without_tail(rest, store.templates.get(DRAFT, ()))
    return (combo if template else None, template, model)


def without_tail(text: str, names: tuple[str, ...]) -> tuple[str, str | None]:
    """The text without the longest `_`+name at its end, and that name."""
    for name in sorted(names, key=len, reverse=True):
        if text.lower().endswith("_" + name.strip().lower()):
            return text[: -len(name.strip()) - 1], name.strip()
    return text, None


def add(store: Inventory, one: Lost) -> Add:
    """The draft to be made."""
    essay = one.essays[0]
    values = fields(store, essay)
    metadata = {
        "stage": DRAFT,
        "gen_id": one.gen_id,
        "mode": "llm",
        "synthetic": True,
        "template_id": values["draft_template_id"],
        "combo_id": values["combo_id"],
        "llm_model_id": values["generation_model_id"],
        "replicate": one.replicate,
    }
    if essay.origin_cohort is not None:
        metadata["origin_cohort_id"] = essay.origin_cohort
    return Add(DRAFT, one.gen_id, metadata, {RAW: one.text, PARSED: one.text})


def linked(
    store: Inventory, groups: dict[str, list[Gen]], lost: list[Lost], refused: dict[str, Problem]
) -> Iterator[Change]:
    """Yield the Relink of every essay whose draft is known, and the numbers that follow from it."""
    parents: dict[str, str] = {}  # essay id -> draft id
    for one in lost:
        parents |= dict.fromkeys((essay.gen_id for essay in one.essays), one.gen_id)
    moved = [essay for essays in groups.values() for essay in essays if essay.gen_id in parents]
    for name, essays in groups.items():
        drafts = sorted((one for one in lost if one.name == name), key=lambda one: (one.replicate, one.gen_id))
        why = next((refused[essay.gen_id] for essay in essays if essay.gen_id in refused), None)
        for essay in essays:
            if essay.gen_id in parents or essay.gen_id in refused:
                continue
            path = f"{essay.path}/{METADATA}"
            if not drafts and why:
                yield replace(why, gen_id=essay.gen_id, path=path)
                continue
            fitting = [one for one in drafts if essay.replicate in {source.replicate for source in one.essays}]
            parents[essay.gen_id] = (fitting or drafts)[0].gen_id
            moved.append(essay)
            message = f"its lost draft {name!r} is taken to be {parents[essay.gen_id]}"
            yield Problem("parent-inferred", ESSAY, essay.gen_id, path, message)
    yield from (Relink(essay, parents[essay.gen_id]) for essay in moved)
    used: dict[tuple[str, str], set[int]] = {}
    for essay in store.generations(ESSAY):
        if essay.gen_id not in parents and essay.parent is not None:
            used.setdefault((essay.parent, normalise(essay.template)), set()).add(essay.replicate)
    for essay in sorted(moved, key=lambda gen: (gen.replicate, gen.gen_id)):
        number = smallest_free(used.setdefault((parents[essay.gen_id], normalise(essay.template)), set()))
        if number != essay.replicate:
            yield Renumber(essay, number)
