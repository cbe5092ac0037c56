"""Deterministic ids: name every generation after its signature.

Reads    metadata.json of each draft, essay and evaluation, in this order.
Changes  the folder's name and gen_id; every mention follows by itself. Keys that metadata.json lacked are written.
Refuses  a generation without a parent or with an incomplete signature; a collision until it is accepted by name.
"""

from collections.abc import Iterator

from migrator import (
    STAGES,
    Change,
    Edit,
    Follow,
    Gen,
    IdRegistry,
    Inventory,
    Problem,
    Rename,
    SignatureError,
    faults,
    is_absent,
    judge,
    mentions_current,
    missing_parent,
)

PARENT_FIELD = {"essay": "draft_gen_id", "evaluation": "essay_gen_id"}


def changes(store: Inventory) -> Iterator[Change]:
    """Yield a Rename for each generation not yet called by its own id, an Edit where metadata.json lacks a key."""
    new_ids: dict[tuple[str, str], str] = {}
    for stage in STAGES:
        bearers: dict[tuple[str | int, ...], Gen] = {}
        for gen in store.generations(stage):
            orphan = missing_parent(store, gen)
            if orphan:
                yield orphan
                continue
            if gen.parent_key and gen.parent_key not in new_ids:
                continue  # what stops its parent is told there
            parent = {PARENT_FIELD[stage]: new_ids[gen.parent_key]} if gen.parent_key else {}
            try:
                signature = gen.signature(**parent)
            except SignatureError as error:
                yield from faults(gen, error)
                continue
            if signature in bearers:
                yield same_task(gen, bearers[signature])
            else:
                bearers[signature] = gen
        registry = IdRegistry(stage, store.scheme)
        ids = registry.assign({signature: gen.gen_id if gen.origin else None for signature, gen in bearers.items()})
        for signature, gen in bearers.items():
            new_ids[gen.key] = ids[signature]
            yield from named(gen, ids[signature])
        fresh = {ids[s] for s, gen in bearers.items() if gen.origin != ids[s]} if registry.collisions else set()
        for collision in registry.collisions:
            if fresh & set(collision.ids.values()):
                sides = ", ".join(f"{text} is {gen_id}" for text, gen_id in collision.ids.items())
                message = f"{len(collision.ids)} signatures share this id: {sides}"
                yield Problem("id-collision", stage, collision.gen_id, "", message)
    if all(gen_id == new_id for (_, gen_id), new_id in new_ids.items()) and not mentions_current(store):
        yield Follow()  # where a name changes, tables and lists follow anyway


def named(gen: Gen, gen_id: str) -> Iterator[Change]:
    """Yield what one generation needs. The values written are those of today; the framework follows them."""
    lacking = {"stage": gen.stage} if is_absent(gen.metadata.get("stage")) else {}
    if is_absent(gen.metadata.get("gen_id")):
        lacking["gen_id"] = gen.gen_id
    lacking |= gen.missing_canonical()
    if lacking:
        yield Edit(gen, set=lacking)
    if gen_id != gen.gen_id:
        yield Rename(gen, to=gen_id)


def same_task(gen: Gen, other: Gen) -> Problem:
    """Two generations that are one task with one replicate cannot both have its id."""
    message = f"it has the same signature as {other.gen_id}: their replicates must differ (0001 sees to that)"
    return Problem("id-collision", gen.stage, gen.gen_id, gen.path, message)


def check(before: Inventory, after: Inventory) -> Iterator[Problem]:
    """Every id is the one that metadata.json gives, and every parent is there."""
    for gen in after.generations():
        yield from judge(after, gen)
