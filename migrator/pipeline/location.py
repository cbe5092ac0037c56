"""A whole code location: all assets, checks, jobs, the sensor and the resource around three functions a stage."""

from typing import Any

import dagster as dg

from migrator.pipeline import cohort
from migrator.pipeline.checks import cohort_checks, stage_checks
from migrator.pipeline.resource import RESOURCE, Store
from migrator.pipeline.sensor import missing_sensor
from migrator.pipeline.stages import stage_assets
from migrator.pipeline.work import Work
from migrator.store.layout import DRAFT, ESSAY, EVALUATION


def definitions(
    draft: Work,
    essay: Work,
    evaluation: Work,
    *,
    store: Store | None = None,
    automation_condition: dg.AutomationCondition[Any] | None = None,
) -> dg.Definitions:
    """Everything that a pipeline over the three stages needs; `Definitions.merge` adds it to one's own.

    Steps run in one process a run: they are short, and starting a process for each costs more than most of them.
    """
    works = {DRAFT: draft, ESSAY: essay, EVALUATION: evaluation}
    make = {stage: dg.define_asset_job(f"make_{stage}", dg.AssetSelection.groups(stage)) for stage in works}
    return dg.Definitions(
        assets=[
            *cohort.ASSETS,
            *(stage_assets(stage, work, automation_condition=automation_condition) for stage, work in works.items()),
        ],
        asset_checks=[cohort_checks(), *(stage_checks(stage) for stage in works)],
        jobs=[dg.define_asset_job("build_cohort", dg.AssetSelection.groups(cohort.GROUP)), *make.values()],
        sensors=[missing_sensor(make)],
        resources={RESOURCE: store or Store()},
        executor=dg.in_process_executor,
    )
