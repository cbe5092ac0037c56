"""The pipeline's side of a store, for any Dagster code location (extra `dagster`).

`definitions(...)` is a whole code location around three functions a stage; the other names are its parts.
"""

from __future__ import annotations

import importlib.util

if importlib.util.find_spec("dagster") is None:
    raise ImportError("migrator.pipeline needs Dagster: pip install 'migrator[dagster]'")

from migrator.pipeline.checks import cohort_checks, stage_checks
from migrator.pipeline.cohort import cohort_id, cohort_membership, register_partitions
from migrator.pipeline.location import definitions
from migrator.pipeline.resource import Store
from migrator.pipeline.sensor import missing_sensor
from migrator.pipeline.stages import PARTITIONS, stage_assets
from migrator.pipeline.stub import StubModel
from migrator.pipeline.work import Reply, Task, Work

__all__ = [
    "PARTITIONS",
    "Reply",
    "Store",
    "StubModel",
    "Task",
    "Work",
    "cohort_checks",
    "cohort_id",
    "cohort_membership",
    "definitions",
    "missing_sensor",
    "register_partitions",
    "stage_assets",
    "stage_checks",
]
