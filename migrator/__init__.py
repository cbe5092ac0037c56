"""Deterministic ids and safe migrations for stores of generated artefacts.

The names below are what a step's author and a notebook may import. Each is loaded when it is first used, so that
importing this package costs nothing (`migrator --help` imports it too).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from migrator.cohorts.scope import CohortScope
    from migrator.errors import MigratorError
    from migrator.store.changes import Add, Change, Edit, Follow, Relink, Rename, Renumber, mentions_current
    from migrator.store.checks import faults, judge, missing_parent
    from migrator.store.ids import (
        IdRegistry,
        IdScheme,
        SignatureError,
        canonical,
        compute_gen_id,
        compute_signature,
        is_absent,
        is_right_id,
        normalise,
    )
    from migrator.store.inventory import Inventory
    from migrator.store.layout import DRAFT, ESSAY, EVALUATION, PARENT_STAGE, STAGES
    from migrator.store.problems import Problem
    from migrator.store.records import Gen, first_present
    from migrator.view import PlanTables, UnknownIds, View, open

__version__ = "0.1.0"

_HOMES = {
    "migrator.cohorts.scope": ("CohortScope",),
    "migrator.errors": ("MigratorError",),
    "migrator.store.changes": (
        "Add",
        "Change",
        "Edit",
        "Follow",
        "Relink",
        "Rename",
        "Renumber",
        "mentions_current",
    ),
    "migrator.store.checks": ("faults", "judge", "missing_parent"),
    "migrator.store.ids": (
        "IdRegistry",
        "IdScheme",
        "SignatureError",
        "canonical",
        "compute_gen_id",
        "compute_signature",
        "is_absent",
        "is_right_id",
        "normalise",
    ),
    "migrator.store.inventory": ("Inventory",),
    "migrator.store.layout": ("DRAFT", "ESSAY", "EVALUATION", "PARENT_STAGE", "STAGES"),
    "migrator.store.problems": ("Problem",),
    "migrator.store.records": ("Gen", "first_present"),
    "migrator.view": ("PlanTables", "UnknownIds", "View", "open"),  # for notebooks; no step needs them
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [  # the names of _HOMES, spelled out for readers and type checkers
    "DRAFT",
    "ESSAY",
    "EVALUATION",
    "PARENT_STAGE",
    "STAGES",
    "Add",
    "Change",
    "CohortScope",
    "Edit",
    "Follow",
    "Gen",
    "IdRegistry",
    "IdScheme",
    "Inventory",
    "MigratorError",
    "PlanTables",
    "Problem",
    "Relink",
    "Rename",
    "Renumber",
    "SignatureError",
    "UnknownIds",
    "View",
    "canonical",
    "compute_gen_id",
    "compute_signature",
    "faults",
    "first_present",
    "is_absent",
    "is_right_id",
    "judge",
    "mentions_current",
    "missing_parent",
    "normalise",
    "open",
]


def __getattr__(name: str) -> Any:
    """Load a public name from where it lives."""
    if name not in _HOME:
        raise AttributeError(f"module 'migrator' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
