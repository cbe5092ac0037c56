"""Deterministic ids and safe migrations for stores of generated artefacts.

The names below are what a step's author and a notebook may import; importing this package stays cheap (no pandas).
"""

from migrator.errors import MigratorError
from migrator.store.changes import Add, Change, Edit, Relink, Rename, Renumber
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
from migrator.store.records import Gen, first_present, values_of

__version__ = "0.1.0"

__all__ = [
    "DRAFT",
    "ESSAY",
    "EVALUATION",
    "PARENT_STAGE",
    "STAGES",
    "Add",
    "Change",
    "Edit",
    "Gen",
    "IdRegistry",
    "IdScheme",
    "Inventory",
    "MigratorError",
    "Problem",
    "Relink",
    "Rename",
    "Renumber",
    "SignatureError",
    "canonical",
    "compute_gen_id",
    "compute_signature",
    "faults",
    "first_present",
    "is_absent",
    "is_right_id",
    "judge",
    "missing_parent",
    "normalise",
    "values_of",
]
