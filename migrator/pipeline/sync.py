"""A Dagster instance follows the store: partition keys and, where asked for, what is known to be materialized.

Works from what is there now, in batches, so that it can be stopped and begun again at any point. Dagster has no rename:
new keys are added, then old ones removed. Old events stay under their old keys; nobody asks for those any more.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.events import StepMaterializationData
from dagster._core.storage.event_log import SqlEventLogStorage
from dagster._core.storage.event_log.schema import DynamicPartitionsTable, SqlEventLogStorageTable

from migrator.pipeline.access import PAYLOAD
from migrator.pipeline.stages import LINE, PARTITION_SETS, asset_key, begin_at
from migrator.store.layout import DRAFT, ESSAY, STAGES, gen_path, unsafe_id
from migrator.store.mappings import Past, follow, inverse
from migrator.store.records import Key

Progress = Callable[[str, int, int], None]  # what, how many are done, of how many

_KEYS, _EVENTS = 5_000, 500  # of one statement: SQLite takes 32,766 parameters, an event is seven
_NO_RUN = ""  # the run id, and job name, of events that belong to no run


@dataclass(frozen=True)
class World:
    """What the store says: its tree, the runs it has seen, and those that were undone, newest first.

    `name` is how the operator calls the data root. `made` are the drafts that the runs made, undone ones too:
    (stage, id) -> the essays that they were made for.
    """

    name: str
    root: Path
    now: Past
    undone: Past = field(default_factory=Past)
    made: Mapping[Key, frozenset[Key]] = field(default_factory=dict)

    def exists(self, key: Key) -> bool:
        """Whether there is such a generation."""
        return not unsafe_id(key[1]) and os.path.isdir(self.root / gen_path(*key))


@dataclass(frozen=True)
class Keys:
    """What is to be done to the partition keys of one stage. `unknown` are left: neither store nor runs know them."""

    stage: str
    kept: tuple[str, ...]
    add: tuple[str, ...]
    remove: tuple[str, ...]
    unknown: tuple[str, ...]


# -- keys


def plan_keys(instance: dg.DagsterInstance, world: World) -> list[Keys]:
    """What the keys of each stage should become. Changes nothing."""
    since = _last_synced(instance, world)
    registered = {stage: instance.get_dynamic_partitions(PARTITION_SETS[stage]) for stage in STAGES}
    keys = [(stage, name) for stage in STAGES for name in registered[stage]]
    today = follow(keys, since, world.now)
    back = [inverse(mapping) for _, mapping in world.undone.runs]
    wanted: dict[str, dict[str, None]] = {stage: {} for stage in STAGES}
    unknown: dict[str, list[str]] = {stage: [] for stage in STAGES}
    for key in keys:
        names = [today[key][1], key[1], *(way[key] for way in back if key in way)]
        found = next((name for name in names if world.exists((key[0], name))), None)
        if found is not None:
            wanted[key[0]][found] = None
        elif key not in world.made:
            unknown[key[0]].append(key[1])
    for draft, essays in world.made.items():
        if any(name in wanted[ESSAY] for _, name in essays) and world.exists(draft):
            wanted[DRAFT][draft[1]] = None
    return [_compared(stage, registered[stage], wanted[stage], unknown[stage]) for stage in STAGES]


def _compared(stage: str, registered: Sequence[str], wanted: Iterable[str], unknown: Sequence[str]) -> Keys:
    have, want = set(registered), list(wanted)
    stays = {*want, *unknown}
    return Keys(
        stage,
        kept=tuple(name for name in want if name in have),
        add=tuple(name for name in want if name not in have),
        remove=tuple(name for name in registered if name not in stays),
        unknown=tuple(unknown),
    )


def apply_keys(instance: dg.DagsterInstance, world: World, plans: Iterable[Keys], progress: Progress) -> None:
    """Add the new keys of each stage, then remove the old ones."""
    for plan in plans:
        for what, names, act in (("added", plan.add, _add), ("removed", plan.remove, _remove)):
            for number, batch in _batches(names, _KEYS):
                act(instance, PARTITION_SETS[plan.stage], batch)
                progress(f"{plan.stage} keys {what}", number, len(names))
    cursor = {_cursor(world): json.dumps(world.now.run_ids)}
    instance.daemon_cursor_storage.set_cursor_values(cursor)


def _add(instance: dg.DagsterInstance, name: str, keys: Sequence[str]) -> None:
    instance.add_dynamic_partitions(name, keys)


def _remove(instance: dg.DagsterInstance, name: str, keys: Sequence[str]) -> None:
    """Remove keys in one statement: Dagster's own call takes one key and 10 to 60 ms."""
    storage = instance.event_log_storage
    if not isinstance(storage, SqlEventLogStorage):
        for key in keys:
            instance.delete_dynamic_partition(name, key)
        return
    table = DynamicPartitionsTable
    with storage.index_connection() as connection:
        connection.execute(table.delete().where(table.c.partitions_def_name == name, table.c.partition.in_(list(keys))))


def _cursor(world: World) -> str:
    return f"migrator:{world.name}"


def _last_synced(instance: dg.DagsterInstance, world: World) -> Past:
    """The runs that the instance's keys were last brought up to; none where it never was, or where their mappings
    are gone."""
    noted = instance.daemon_cursor_storage.get_cursor_values({_cursor(world)}).get(_cursor(world))
    known = dict((*world.now.runs, *world.undone.runs))
    run_ids = json.loads(noted) if noted else []
    return Past(tuple((one, known[one]) for one in run_ids)) if all(one in known for one in run_ids) else Past()


# -- history


def plan_history(instance: dg.DagsterInstance, world: World, plans: Iterable[Keys]) -> dict[dg.AssetKey, list[Key]]:
    """Per asset the generations whose file is there and that Dagster has never seen made under their name of today."""
    owed: dict[dg.AssetKey, list[Key]] = {}
    for plan in plans:
        done = {name: _done(world, (plan.stage, name)) for name in (*plan.kept, *plan.add)}
        for number, part in enumerate(LINE):
            asset = asset_key(plan.stage, part)
            seen = instance.event_log_storage.get_materialized_partitions(asset)
            missing = [(plan.stage, name) for name in done if number < done[name] and name not in seen]
            if missing:
                owed[asset] = missing
    return owed


def _done(world: World, key: Key) -> int:
    """How many of the three assets the gate would skip."""
    folder = world.root / gen_path(*key)
    start = begin_at([name for name in PAYLOAD if (folder / name).is_file()])
    return len(LINE) if start is None else start


def apply_history(
    instance: dg.DagsterInstance, world: World, owed: Mapping[dg.AssetKey, Sequence[Key]], progress: Progress
) -> None:
    """Report each as materialized, with what the event under its former name said."""
    former = _former_names(world)
    for asset, keys in owed.items():
        for number, batch in _batches(keys, _EVENTS):
            names = {name: key for key in batch for name in former.get(key, ())}
            events = _latest(instance, asset, list(names))
            old = {names[name]: record for name, record in events.items()}
            _report(instance, [_moved(asset, key, old.get(key)) for key in batch])
            progress(f"{asset.to_user_string()} recorded", number, len(keys))


def _former_names(world: World) -> dict[Key, list[str]]:
    """Today's key -> every other name that a generation had, the latest last."""
    former: dict[Key, list[str]] = {}
    olds = dict.fromkeys(key for _, mapping in world.now.runs for key in mapping)
    for old, today in follow(olds, Past(), world.now).items():
        if old != today:
            former.setdefault(today, []).append(old[1])
    for _, mapping in world.undone.runs:
        for old, new in mapping.items():
            if new != old[1]:
                former.setdefault(old, []).append(new)
    return former


def _latest(instance: dg.DagsterInstance, asset: dg.AssetKey, names: Sequence[str]) -> dict[str, dg.EventLogRecord]:
    """The last materialization of each of these partitions that has one."""
    found: dict[str, dg.EventLogRecord] = {}
    for _, batch in _batches(names, _EVENTS):
        cursor, more = None, True
        wanted = dg.AssetRecordsFilter(asset, asset_partitions=batch)
        while more:
            result = instance.fetch_materializations(wanted, limit=_EVENTS, cursor=cursor)
            for record in result.records:
                found.setdefault(str(record.partition_key), record)
            cursor, more = result.cursor, result.has_more
    return found


def _moved(asset: dg.AssetKey, key: Key, old: dg.EventLogRecord | None) -> dg.AssetMaterialization:
    facts: dict[str, Any] = {"gen_id": key[1], "path": gen_path(*key), "found": True}
    if old is not None and old.asset_materialization is not None:
        before = {
            "formerly": str(old.partition_key),
            "run_id": old.run_id,
            "made": dg.TimestampMetadataValue(old.timestamp),
        }
        facts = {**old.asset_materialization.metadata, **before, **facts}
    return dg.AssetMaterialization(asset, partition=key[1], metadata=facts)


def _report(instance: dg.DagsterInstance, events: Sequence[dg.AssetMaterialization]) -> None:
    """Record events of one asset without a run, in one transaction where the storage lets us."""
    storage = instance.event_log_storage
    if not isinstance(storage, SqlEventLogStorage):
        for event in events:
            instance.report_runless_asset_event(event)
        return
    entries = [_entry(event) for event in events]
    with storage.index_connection() as connection:
        in_sqlite = connection.dialect.name == "sqlite"
    if not in_sqlite:
        storage.store_event_batch(entries)
        return
    # SQLite: Dagster would open two files and wait for the disk twice for every event. Events without a run are
    # looked up in the index alone, so one statement there does what its PostgreSQL storage does for a batch.
    statement = storage.prepare_insert_event_batch(entries).returning(SqlEventLogStorageTable.c.id)
    with storage.index_connection() as connection:
        last = max(row[0] for row in connection.execute(statement))
    storage.store_asset_event(entries[-1], last)


def _entry(event: dg.AssetMaterialization) -> dg.EventLogEntry:
    made = dg.DagsterEvent(
        event_type_value=dg.DagsterEventType.ASSET_MATERIALIZATION.value,
        event_specific_data=StepMaterializationData(event),
        job_name=_NO_RUN,
    )
    return dg.EventLogEntry(  # type: ignore[no-untyped-call]
        user_message="",
        level=logging.INFO,
        job_name=_NO_RUN,
        run_id=_NO_RUN,
        error_info=None,
        timestamp=time.time(),
        step_key=None,
        dagster_event=made,
    )


def _batches(things: Sequence[Any], size: int) -> Iterator[tuple[int, Sequence[Any]]]:
    """(how many are done with this batch, the batch)."""
    for start in range(0, len(things), size):
        batch = things[start : start + size]
        yield start + len(batch), batch
