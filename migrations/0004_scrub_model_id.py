"""Scrub model_id: llm_model_id is the one name of a model.

Reads    model_id in the three JSON files, at any depth.
Changes  removes it; where metadata.json had no llm_model_id, its own model_id becomes it first.
Refuses  nothing; a value that disagrees with llm_model_id is told as a warning and goes.
"""

from collections.abc import Iterator

from migrator import Change, Edit, Inventory, Problem, first_present, is_absent, normalise


def changes(store: Inventory) -> Iterator[Change]:
    """Yield an Edit for each generation that has a model_id somewhere."""
    for gen in store.generations():
        values = gen.values_under("model_id")
        if not values:
            continue
        model = gen.metadata.get("llm_model_id")
        legacy = gen.metadata.get("legacy_fields")
        found = first_present(
            gen.metadata.get("model_id"), legacy.get("model_id") if isinstance(legacy, dict) else None
        )
        write = is_absent(model) and found is not None
        model = found if write else model
        dropped = sorted({str(v) for v in values if not is_absent(v) and normalise(v) != normalise(model)})
        if dropped:
            stays = "there is no llm_model_id" if is_absent(model) else f"llm_model_id {model!r} stays"
            message = f"model_id {', '.join(map(repr, dropped))} is dropped, {stays}"
            yield Problem("model-id-dropped", gen.stage, gen.gen_id, f"{gen.path}/metadata.json", message)
        yield Edit(gen, set={"llm_model_id": model} if write else {}, drop=("model_id",))
