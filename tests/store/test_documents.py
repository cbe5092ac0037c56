"""Sidecars: what is noted when they are read is what the whole documents say, after every revision."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from migrator.store import codec
from migrator.store.documents import Assign, Documents, Drop, Follow, Number, Revision, Sidecar, values_of

METADATA, RAW, PARSED = "metadata.json", "raw_metadata.json", "parsed_metadata.json"

WHOLE: dict[str, dict[str, Any]] = {
    METADATA: {"gen_id": "old", "replicate": 1, "model_id": "m"},
    RAW: {
        "replicate": "2",
        "model_id": "n",
        "gen_id": "old",
        "more": [{"model_id": ["gens/draft/old/x", {"gen_id": "old"}], "replicate": None}, 3],
    },
    PARSED: {
        "model_id": {"model_id": "gens/draft/old"},
        "replicate": {"model_id": 7, "gen_id": "old"},
        "n": float("inf"),
    },
}
REVISIONS: list[Revision] = [
    Assign({"replicate": 9, "model_id": "a"}),
    Number(5),
    Follow("draft", {"draft": {"old": "d_new"}}),
    Drop(("model_id",)),
    Drop(("replicate", "absent")),
]


def read() -> Documents:
    """The documents as the reader makes them."""
    sidecars = {
        name: Sidecar.of(codec.dumps(document), document) for name, document in WHOLE.items() if name != METADATA
    }
    return Documents(WHOLE[METADATA], sidecars)


@pytest.mark.parametrize("revisions", [r for n in range(4) for r in itertools.permutations(REVISIONS, n)])
def test_what_is_noted_is_what_stands_there(revisions: tuple[Revision, ...]) -> None:
    """Values under a key at any depth, and at the top, as in the whole documents after the same revisions."""
    documents = read()
    whole: dict[str, dict[str, Any]] = dict(WHOLE)
    for revision in revisions:
        documents = documents.revise(revision)
        whole = {name: revision(name, document) for name, document in whole.items()}
    for key in ("replicate", "model_id", "gen_id", "absent", "n"):
        assert documents.under(key) == [value for document in whole.values() for value in values_of(document, key)]
        assert documents.at_top(key) == {name: document[key] for name, document in whole.items() if key in document}
    assert dict(documents) == whole
    assert documents.differ(read()) == (whole != WHOLE)


def test_what_differs_is_told_step_by_step() -> None:
    """Since the documents of the step before, not since those that were read."""
    first = read().revise(Number(5))
    assert not first.revise(Number(5)).differ(first)
    assert not first.revise(Drop(("absent",))).differ(first)
    assert first.revise(Drop(("n",))).differ(first)
    assert first.revise(Follow("draft", {"draft": {"old": "d_new"}})).differ(first)
