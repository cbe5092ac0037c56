"""A cohort as Dagster assets: its name, its members, and the partitions of the three stages."""

from dataclasses import asdict
from typing import Any

import dagster as dg

from migrator import enrolment
from migrator.cohorts import building, membership
from migrator.cohorts.building import REFUSED, Building
from migrator.cohorts.membership import Membership
from migrator.errors import DecisionNeeded, MigratorError
from migrator.pipeline.resource import RESOURCE, Store, told
from migrator.pipeline.stages import PARTITION_SETS, REGISTERED
from migrator.store.layout import STAGES
from migrator.store.problems import Problem

GROUP = "cohort"
NAME, MEMBERS = "cohort_id", "cohort_membership"
_SHOWN = 20


class CohortName(dg.Config):
    """Which cohort to build; blank is DD_COHORT, else a name computed from what it is built from."""

    name: str = ""


class CohortGrowth(dg.Config):
    """Whether an existing cohort may get more members."""

    extend: bool = False


@dg.asset(name=NAME, group_name=GROUP, required_resource_keys={RESOURCE}, description="The name of the cohort.")
def cohort_id(context: dg.AssetExecutionContext, config: CohortName) -> dg.MaterializeResult[str]:
    """Work out the name: as given, else DD_COHORT, else computed."""
    with told(), _store(context).access(f"cohort_id, Dagster run {context.run.run_id}").shared() as root:
        name = building.plan(root, config.name or None).cohort_id
        if not name:
            raise MigratorError("the tables of the cohort cannot be read", hint="migrator cohort build lists why")
    return dg.MaterializeResult(value=name, metadata={"cohort_id": name})


@dg.asset(
    name=MEMBERS, group_name=GROUP, required_resource_keys={RESOURCE}, description="The cohort's membership.csv, built."
)
def cohort_membership(
    context: dg.AssetExecutionContext, config: CohortGrowth, cohort_id: str
) -> dg.MaterializeResult[str]:
    """Build the cohort under the lock: what exists is reused, what is missing gets its metadata.json."""
    with told():
        found = enrolment.build(_store(context).site(), cohort_id, extend=config.extend)
        if found.status == REFUSED:
            raise _refusal(found)
    return dg.MaterializeResult(value=found.cohort_id, metadata=_diagnostics(found) | {"run_id": context.run.run_id})


def _refusal(found: Building) -> MigratorError:
    blocking = [f"{problem.kind} {problem.path}: {problem.message}" for problem in found.problems if problem.blocking]
    if blocking:
        more = f"; and {len(blocking) - _SHOWN} more" if len(blocking) > _SHOWN else ""
        return MigratorError("; ".join(blocking[:_SHOWN]) + more, hint=f"migrator cohort build {found.cohort_id}")
    return DecisionNeeded(
        f"the members of {found.cohort_id} would change: {len(found.added):,} more, {len(found.gone):,} less",
        hint="set extend in the run's configuration of cohort_membership, or choose another name",
    )


def _diagnostics(found: Building) -> dict[str, Any]:
    """What became of each stage's tasks: a line for people, and the numbers."""
    assert found.allocation is not None
    facts: dict[str, Any] = {"cohort_id": found.cohort_id, "status": found.status, "mode": found.mode}
    for stage in STAGES:
        numbers = asdict(found.allocation.counts[stage])
        sources = numbers.pop("sources")
        numbers["missing_outputs"] = (found.missing_outputs or {}).get(stage, 0)
        facts[stage] = ", ".join(f"{number:,} {name.replace('_', ' ')}" for name, number in numbers.items())
        facts |= {f"{stage}_{name}": number for name, number in numbers.items()}
        if sources:
            facts[f"{stage}_reused_from"] = dict(sorted(sources.items()))
    return facts


@dg.asset(name=REGISTERED, group_name=GROUP, required_resource_keys={RESOURCE})
def register_partitions(context: dg.AssetExecutionContext, cohort_membership: str) -> dg.MaterializeResult[None]:
    """Make a partition of each member that has none. Nothing is removed here: `migrator dagster sync` does that."""
    with told(), _store(context).access(f"register_partitions, Dagster run {context.run.run_id}").shared() as root:
        keys = members(root, cohort_membership)
    metadata: dict[str, Any] = {"cohort_id": cohort_membership, "run_id": context.run.run_id}
    for stage in STAGES:
        name = PARTITION_SETS[stage]
        known = set(context.instance.get_dynamic_partitions(name))
        new = [gen_id for one, gen_id in keys.lines if one == stage and gen_id not in known]
        if new:
            context.instance.add_dynamic_partitions(name, new)
        metadata[f"{stage}_added"] = len(new)
    return dg.MaterializeResult(metadata=metadata)


def members(root: Any, cohort: str) -> Membership:
    """The table of a cohort. Raises MigratorError where there is none or where it cannot be trusted."""
    table = membership.read(root, cohort)
    if table is None:
        raise MigratorError(f"there is no cohort {cohort!r}", where=root, hint="materialize cohort_membership first")
    if isinstance(table, Problem):
        raise MigratorError(table.message, where=table.path)
    return table


def _store(context: dg.AssetExecutionContext) -> Store:
    store = getattr(context.resources, RESOURCE)
    assert isinstance(store, Store)
    return store


ASSETS = (cohort_id, cohort_membership, register_partitions)
