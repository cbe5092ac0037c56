"""Asset checks: the rules of `migrator check`, where a pipeline can see them. They read and never write."""

from collections.abc import Iterable, Iterator, Sequence

import dagster as dg

from migrator.pipeline.access import Access
from migrator.pipeline.resource import RESOURCE, told
from migrator.pipeline.stages import asset_key
from migrator.store.checks import judge
from migrator.store.inventory import Inventory
from migrator.store.layout import DRAFT
from migrator.store.problems import MISSING_PARENT, Problem
from migrator.store.records import Key

IDS, PARENTS, MEMBERS, MANIFEST = "ids_match_signatures", "parents_exist", "members_resolve", "manifest_is_fresh"
MEMBERSHIP_ASSET = "cohort_membership"
_SHOWN = 20


def stage_checks(stage: str) -> dg.AssetChecksDefinition:
    """Checks of the one generation that a run has made; a failure fails the run."""
    key = asset_key(stage, "parsed")
    names = [IDS] if stage == DRAFT else [IDS, PARENTS]

    @dg.multi_asset_check(
        name=f"{stage}_checks",
        specs=[dg.AssetCheckSpec(name, asset=key, blocking=True) for name in names],
        required_resource_keys={RESOURCE},
    )
    def checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        with told():
            store = context.resources.migrator
            access: Access = store.access(f"checks of {stage}, Dagster run {context.run.run_id}")
            found = access.find((stage, context.partition_key))
            with access.shared() as root:
                problems = _problems(Inventory.read_some(root, [found.gen.key]), [found.gen.key])
        for name in names:
            yield _result(name, key, problems[name])

    return checks


def _problems(store: Inventory, keys: Sequence[Key]) -> dict[str, list[Problem]]:
    found = [problem for problem in store.problems if problem.blocking]
    found += [problem for key in keys if (gen := store.get(*key)) for problem in judge(store, gen)]
    return {
        IDS: [problem for problem in found if problem.kind != MISSING_PARENT],
        PARENTS: [problem for problem in found if problem.kind == MISSING_PARENT],
    }


def _result(
    name: str,
    key: dg.AssetKey,
    problems: Iterable[Problem],
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR,
) -> dg.AssetCheckResult:
    listed = [f"{problem.kind} {problem.path}: {problem.message}" for problem in problems]
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=name,
        passed=not listed,
        severity=severity,
        description="; ".join(listed[:_SHOWN]) + (f"; and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""),
        metadata={"problems": len(listed)},
    )
