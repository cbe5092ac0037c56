"""Findings as values: what stops a run and what only warns (contract, section 4)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

MISSING_METADATA = "missing-metadata"
INVALID_JSON = "invalid-json"
MISSING_FIELD = "missing-field"
INVALID_FIELD = "invalid-field"
GEN_ID_MISMATCH = "gen-id-mismatch"
STAGE_MISMATCH = "stage-mismatch"
MISSING_PARENT = "missing-parent"
BACKFILL_NO_TEXT = "backfill-no-text"
BACKFILL_MISSING_FIELD = "backfill-missing-field"
ID_COLLISION = "id-collision"
UNSAFE_PATH = "unsafe-path"
INVALID_TABLE = "invalid-table"
FAILED_CHECK = "failed-check"  # a step's own check said no
INVALID_STEP = "invalid-step"  # steps that are not in order, or not as they were when they were applied

REPLICATE_ASSIGNED = "replicate-assigned"
REPLICATE_ABOVE_CONFIG = "replicate-above-config"
PARENT_INFERRED = "parent-inferred"
MODEL_ID_DROPPED = "model-id-dropped"
UNKNOWN_MEMBER = "unknown-member"
STALE_TABLE = "stale-table"
LEFTOVER_REFERENCE = "leftover-reference"

WARNINGS = frozenset(
    {
        REPLICATE_ASSIGNED,
        REPLICATE_ABOVE_CONFIG,
        PARENT_INFERRED,
        MODEL_ID_DROPPED,
        UNKNOWN_MEMBER,
        STALE_TABLE,
        LEFTOVER_REFERENCE,
    }
)
_SUFFIX = re.compile("-[1-9][0-9]*$")


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding. `stage` and `gen_id` are empty where it is about a file; `path` is relative to the data root."""

    kind: str
    stage: str = ""
    gen_id: str = ""
    path: str = ""
    message: str = ""
    accepted: bool = False  # a collision that the operator has accepted by name

    @property
    def blocking(self) -> bool:
        """Whether it stops a run. A kind that is not known to be a warning blocks."""
        return self.kind not in WARNINGS and not self.accepted

    def accept(self) -> Problem:
        """The same finding, no longer blocking."""
        return replace(self, accepted=True)

    def row(self) -> dict[str, object]:
        """Columns of issues.csv, in order."""
        return {
            "kind": self.kind,
            "blocking": self.blocking,
            "stage": self.stage,
            "gen_id": self.gen_id,
            "path": self.path,
            "message": self.message,
        }


def accepted(problem: Problem, names: Collection[str]) -> Problem:
    """A collision that the operator has named, by the bare id or by one with its suffix, no longer blocks."""
    if problem.kind != ID_COLLISION:
        return problem
    named = {*names, *(_SUFFIX.sub("", name) for name in names)}
    return problem.accept() if problem.gen_id in named else problem


COLUMNS = tuple(Problem("").row())


def ordered(problems: Iterable[Problem]) -> list[Problem]:
    """Each finding once: blocking ones first, then by kind, stage, id, path."""
    return sorted(set(problems), key=lambda p: (not p.blocking, p.kind, p.stage, p.gen_id, p.path, p.message))
