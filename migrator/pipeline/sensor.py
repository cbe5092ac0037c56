"""A sensor that asks for what is missing, in the order of the stages, and says why it asks for nothing."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from migrator.errors import MigratorError, TryAgain
from migrator.pipeline.resource import RESOURCE, Store
from migrator.pipeline.stages import PARTITION_SETS
from migrator.store.index import without_output
from migrator.store.inventory import Inventory
from migrator.store.layout import STAGES, gen_path
from migrator.store.records import Key

_MOST = 200  # requests of one tick: Dagster stores each before the tick ends, and a tick has a minute
_SECONDS = 60


def missing_sensor(jobs: Mapping[str, Any]) -> dg.SensorDefinition:
    """Requests the registered generations that lack parsed.txt and whose parent has one; `jobs` are one a stage.

    A generation is asked for once for each state of its folder, so that a failure is not repeated for ever: what was
    made before it changes the folder, a failure that made nothing does not.
    """

    @dg.sensor(
        name="missing_work",
        jobs=list(jobs.values()),
        minimum_interval_seconds=_SECONDS,
        required_resource_keys={RESOURCE},
        description="Asks for registered generations that have no parsed.txt yet, parents first.",
    )
    def missing_work(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        store = getattr(context.resources, RESOURCE)
        assert isinstance(store, Store)
        keys = [
            (stage, name) for stage in STAGES for name in context.instance.get_dynamic_partitions(PARTITION_SETS[stage])
        ]
        if not keys:
            return dg.SkipReason("no generation is registered: materialize register_partitions")
        try:
            with store.access("the sensor missing_work", wait=0).shared() as root:
                ready, waiting, strange = look(root, keys)
                requests = [_request(root, jobs[key[0]].name, key) for key in ready[:_MOST]]
        except TryAgain as error:
            return dg.SkipReason(f"not now: {error.message}")
        except MigratorError as error:
            return dg.SkipReason(str(error))
        reason = _reason(len(keys), len(waiting), len(strange))
        return dg.SensorResult(requests) if requests else dg.SkipReason(reason)

    return missing_work


def look(root: Path, keys: Sequence[Key]) -> tuple[list[Key], list[Key], list[Key]]:
    """What can be made now, what waits for its parent, and what is not in the store."""
    here = [key for key in keys if (root / gen_path(*key)).is_dir()]
    lacking = without_output(root, here)
    store = Inventory.read_some(root, lacking)
    parents = {gen.parent_key for gen in store.gens.values() if gen.parent_key}
    unready = set(without_output(root, parents))
    waiting = [key for key in lacking if (gen := store.get(*key)) and gen.parent_key in unready]
    held = set(waiting)
    return [key for key in lacking if key not in held], waiting, [key for key in keys if key not in set(here)]


def _reason(total: int, waiting: int, strange: int) -> str:
    parts = [f"waiting for a parent's text: {waiting:,}"] if waiting else []
    parts += [f"not in the store: {strange:,} (migrator dagster sync)"] if strange else []
    done = total - waiting - strange
    return "; ".join([f"nothing is missing of {done:,} registered generations", *parts])


def _request(root: Path, job: str, key: Key) -> dg.RunRequest:
    stamp = os.stat(root / gen_path(*key)).st_mtime_ns
    return dg.RunRequest(run_key=f"{key[0]}/{key[1]}/{stamp}", job_name=job, partition_key=key[1])
