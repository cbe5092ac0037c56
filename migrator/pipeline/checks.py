"""Asset checks: the rules of `migrator check`, where a pipeline can see them. They read and never write."""

from collections.abc import Iterable, Iterator, Sequence

import dagster as dg

from migrator.cohorts import manifest
from migrator.pipeline.access import Access
from migrator.pipeline.cohort import MEMBERS as COHORT
from migrator.pipeline.cohort import members
from migrator.pipeline.resource import RESOURCE, told
from migrator.pipeline.stages import asset_key
from migrator.store.checks import judge
from migrator.store.inventory import Inventory
from migrator.store.layout import DRAFT, gen_path
from migrator.store.problems import MISSING_PARENT, Problem
from migrator.store.records import Key

IDS, PARENTS, MEMBERS, MANIFEST = "ids_match_signatures", "parents_exist", "members_resolve", "manifest_is_fresh"
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
            found = access.find((stage, context.op_execution_context.partition_key))
            with access.shared() as root:
                problems = _problems(Inventory.read_some(root, [found.gen.key]), [found.gen.key])
        for name in names:
            yield _result(name, key, problems[name])

    return checks


def cohort_checks() -> dg.AssetChecksDefinition:
    """Checks of the cohort that was built, before its partitions are registered; its manifest is only a cache."""
    key = dg.AssetKey(COHORT)

    @dg.multi_asset_check(
        name="cohort_checks",
        specs=[
            *(dg.AssetCheckSpec(name, asset=key, blocking=True) for name in (MEMBERS, IDS, PARENTS)),
            dg.AssetCheckSpec(MANIFEST, asset=key),
        ],
        ins={"cohort": dg.AssetIn(key)},
        required_resource_keys={RESOURCE},
    )
    def checks(context: dg.AssetCheckExecutionContext, cohort: str) -> Iterator[dg.AssetCheckResult]:
        with told():
            access: Access = context.resources.migrator.access(f"checks of {cohort}, Dagster run {context.run.run_id}")
            with access.shared() as root:
                table = members(root, cohort)
                store = Inventory.read_some(root, [key for key in table.lines if (root / gen_path(*key)).is_dir()])
                problems = _problems(store, list(store.gens))
                absent = [table.unknown(key) for key in table.lines if not store.exists(key)]
                fresh = manifest.opened(manifest.load(root, cohort), table.data, manifest.last_run(root))
        yield _result(MEMBERS, key, absent)
        yield _result(IDS, key, problems[IDS])
        yield _result(PARENTS, key, problems[PARENTS])
        yield dg.AssetCheckResult(
            asset_key=key,
            check_name=MANIFEST,
            passed=not isinstance(fresh, str),
            severity=dg.AssetCheckSeverity.WARN,
            description=f"the manifest is {fresh}: migrator cohort manifest" if isinstance(fresh, str) else "",
        )

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
) -> dg.AssetCheckResult:
    listed = [f"{problem.kind} {problem.path}: {problem.message}" for problem in problems]
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=name,
        passed=not listed,
        description="; ".join(listed[:_SHOWN]) + (f"; and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""),
        metadata={"problems": len(listed)},
    )
