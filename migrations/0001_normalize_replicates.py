"""Normalize replicates: every generation of a task gets its own index, counted from 1.

Reads    replicate in the three JSON files and in the membership rows, the fields of each signature.
Changes  replicate, to a JSON integer, in metadata.json always, elsewhere where it stands; nothing where it is right.
Refuses  a generation whose task cannot be told: a field of its signature is missing or invalid.
"""

import math
from collections.abc import Iterator

from migrator import Change, Gen, Inventory, Problem, Renumber, faults, normalise

METADATA = "metadata.json"
PARENTS = ("draft_gen_id", "essay_gen_id")


def changes(store: Inventory) -> Iterator[Change]:
    """Yield a Renumber for each generation whose index is not written everywhere as it should be."""
    groups: dict[tuple[str, ...], list[Gen]] = {}
    for gen in store.generations():
        wrong = list(faults(gen))
        yield from wrong
        if not wrong:
            groups.setdefault(task(gen), []).append(gen)
    for gens in groups.values():
        for gen, wished, index in numbered(gens):
            yield from renumbered(store, gen, wished, index)


def task(gen: Gen) -> tuple[str, ...]:
    """The signature without its replicate, the parent as stored."""
    fields = gen.signature_fields().items()
    return (gen.stage, *(str(value) if name in PARENTS else normalise(value) for name, value in fields))


def wish(gen: Gen) -> int | None:
    """The first usable value: an int of 1 or more, a string of ASCII digits, or an integral float."""
    for value in gen.replicate_wishes():
        number = value
        digits = isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 4000
        if digits or (isinstance(value, float) and value.is_integer()):
            number = int(value)
        if type(number) is int and number >= 1:
            return number
    return None


def numbered(gens: list[Gen]) -> Iterator[tuple[Gen, int | None, int]]:
    """Give each wished index to its first holder by id, then the smallest free ones to the others."""
    holders: dict[int, tuple[Gen, int | None]] = {}
    others = []
    for gen in sorted(gens, key=lambda gen: gen.gen_id):
        wished = wish(gen)
        if wished is None or wished in holders:
            others.append((gen, wished))
        else:
            holders[wished] = (gen, wished)
    free = 1
    for gen, wished in sorted(others, key=lambda other: (other[1] or math.inf, other[0].gen_id)):
        while free in holders:
            free += 1
        holders[free] = (gen, wished)
    for index, (gen, wished) in holders.items():
        yield gen, wished, index


def renumbered(store: Inventory, gen: Gen, wished: int | None, index: int) -> Iterator[Change]:
    """Yield the Renumber where one is needed, and what the operator should know about the index."""
    path = f"{gen.path}/{METADATA}"
    if wished != index:
        had = "none was recorded" if wished is None else f"{wished} is taken"
        yield Problem("replicate-assigned", gen.stage, gen.gen_id, path, f"replicate {index} was assigned: {had}")
    limit = store.replication.get(gen.stage)
    if limit is not None and index > limit:
        text = f"replicate {index} is above the {limit} of replication_config.csv"
        yield Problem("replicate-above-config", gen.stage, gen.gen_id, path, text)
    written = {METADATA: None, **gen.values_at_top("replicate")}
    right_in_files = all(type(value) is int and value == index for value in written.values())
    if not right_in_files or any(cell.strip() != str(index) for cell in store.member_cells(gen, "replicate")):
        yield Renumber(gen, index)
