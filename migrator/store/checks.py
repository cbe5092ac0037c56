"""What must hold for a store of deterministic ids. Pure: opens no file.

The same functions judge a planned table, the tree that was read back, and a live store (`migrator check`).
"""

from __future__ import annotations

from collections.abc import Iterator

from migrator.store.ids import Signature, SignatureError, is_right_id
from migrator.store.inventory import Inventory
from migrator.store.layout import METADATA, PARENT_STAGE
from migrator.store.problems import GEN_ID_MISMATCH, ID_COLLISION, MISSING_FIELD, MISSING_PARENT, Problem
from migrator.store.records import Gen


def faults(gen: Gen, error: SignatureError | None = None) -> Iterator[Problem]:
    """One Problem for each field that a signature cannot be made of."""
    for fault in error.faults if error else gen.faults():
        yield Problem(fault.kind, gen.stage, gen.gen_id, f"{gen.path}/{METADATA}", fault.message)


def missing_parent(store: Inventory, gen: Gen) -> Problem | None:
    """The Problem where an essay or an evaluation names a parent that is no directory."""
    key = gen.parent_key
    if key is None or store.exists(key):
        return None
    message = f"its parent, the {PARENT_STAGE[gen.stage]} {key[1]!r}, is not in the store"
    return Problem(MISSING_PARENT, gen.stage, gen.gen_id, f"{gen.path}/{METADATA}", message)


def signature_of(gen: Gen) -> Signature | list[Problem]:
    """The signature, or why there is none."""
    try:
        return gen.signature()
    except SignatureError as error:
        return list(faults(gen, error))


def judge(store: Inventory, gen: Gen) -> list[Problem]:
    """Problems of one generation: fields, parent, and whether its id is the function of its metadata."""
    orphan = missing_parent(store, gen)
    signature = signature_of(gen)
    if isinstance(signature, list):
        return signature + ([orphan] if orphan else [])
    found = [orphan] if orphan else []
    lacking = gen.missing_canonical()
    if lacking:
        message = f"metadata.json alone is not enough: it lacks {', '.join(lacking)}"
        found.append(Problem(MISSING_FIELD, gen.stage, gen.gen_id, f"{gen.path}/{METADATA}", message))
    if not is_right_id(gen.gen_id, gen.stage, signature, store.scheme):
        message = "the id is not the one that its signature gives"
        found.append(Problem(GEN_ID_MISMATCH, gen.stage, gen.gen_id, f"{gen.path}/{METADATA}", message))
    return found


def check(store: Inventory) -> list[Problem]:
    """All problems of a store whose ids should be deterministic; the inventory's own come first.

    A collision's suffix makes a right id, so a second generation of one signature is found here and nowhere else.
    """
    found = list(store.problems)
    bearers: dict[tuple[str, Signature], Gen] = {}
    for gen in store.generations():
        problems = judge(store, gen)
        found += problems
        first = gen if problems else bearers.setdefault((gen.stage, gen.signature()), gen)
        if first is not gen:
            message = f"it has the same signature as {first.gen_id}: their replicates must differ"
            found.append(Problem(ID_COLLISION, gen.stage, gen.gen_id, f"{gen.path}/{METADATA}", message))
    return found
