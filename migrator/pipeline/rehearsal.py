"""A sample cohort, built and materialized twice with the stub model, on a copy of the store that goes away again.

What a pipeline would do on this store, before it does it: the same ids twice, and the second time no call. Nothing
is written into the data root: a stub's text in a store would look like work that was paid for.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from migrator import enrolment
from migrator.engine import files, listing, lock, tree
from migrator.engine.exchange import Place
from migrator.errors import MigratorError
from migrator.pipeline.location import definitions
from migrator.pipeline.resource import Store
from migrator.pipeline.stages import LINE, PARTITION_SETS
from migrator.pipeline.stub import StubModel, works
from migrator.site import Site
from migrator.store.index import without_output
from migrator.store.layout import PARENT_STAGE, STAGES
from migrator.store.records import Key

COHORT = "migrator-rehearsal"
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Pass:
    """One time that the cohort was built and its sample materialized.

    `steps` are the work steps of the sample, `skipped` those of them that the event log calls skipped.
    """

    members: tuple[Key, ...]
    sample: tuple[Key, ...]
    calls: int
    steps: int
    skipped: int
    failed: tuple[str, ...]


@dataclass(frozen=True)
class Rehearsal:
    """Both passes, and which files the second one wrote."""

    first: Pass
    second: Pass
    rewritten: tuple[str, ...]

    @property
    def faults(self) -> list[str]:
        """What was not as it must be, in words."""
        found = [f"failed: {name}" for name in (*self.first.failed, *self.second.failed)]
        if self.first.members != self.second.members:
            found.append("the second build has other members than the first")
        if self.second.calls:
            found.append(f"the second time the model was called too (calls: {self.second.calls:,})")
        if self.second.skipped != self.second.steps:
            found.append(
                f"the second time not all was skipped (steps: {self.second.steps:,}, skipped: {self.second.skipped:,})"
            )
        return found + [f"the second time {path} was written" for path in self.rewritten]


def rehearse(site: Site, most: int, progress: Progress) -> Rehearsal:
    """Build the cohort and materialize `most` of its members, twice. Raises MigratorError where it cannot be built."""
    with _copied(site) as copy, dg.DagsterInstance.ephemeral() as instance:
        model = StubModel()
        location = definitions(*works(model), store=Store(data_root=str(copy.place.root)))
        members, sample = _built(copy, most)
        first = _materialized(location, instance, model, members, sample, progress)
        written = _times(copy.place.real)
        members, _ = _built(copy, most)
        second = _materialized(location, instance, model, members, sample, progress)
        after = _times(copy.place.real)
    return Rehearsal(first, second, tuple(sorted(path for path in after if written.get(path) != after[path])))


@contextmanager
def _copied(site: Site) -> Iterator[Site]:
    """A copy of the data root in a folder beside it, removed in the end."""
    place = site.place
    place.require()
    folder = place.real.parent / f".{place.root.name}.rehearsal-{os.getpid()}"
    files.remove_tree(folder)
    files.make_dir(folder)
    try:
        with lock.hold(place.state, "dagster rehearse", shared=True, wait=site.wait):
            tree.copy(listing.walk(place.real), place.real, folder / "data", jobs=1)
        yield Site(
            Place.at(folder / "data"),
            site.migrations,
            folder / "backups",
            folder / "mappings",
            scheme=site.scheme,
            jobs=1,
        )
    finally:
        files.remove_tree(folder)


def _built(site: Site, most: int) -> tuple[tuple[Key, ...], tuple[Key, ...]]:
    """(all members, the sample) of the cohort that a build gives now."""
    found = enrolment.build(site, COHORT)
    blocking = [f"{problem.kind} {problem.path}: {problem.message}" for problem in found.problems if problem.blocking]
    if found.allocation is None or blocking:
        raise MigratorError(
            "the sample cannot be built: " + "; ".join(blocking), hint=f"migrator cohort build {COHORT}"
        )
    parents = {member.key: member.parent for member in found.allocation.members}
    lacking = without_output(site.place.real, parents)
    return tuple(parents), chosen(parents, lacking, most)


def chosen(parents: Mapping[Key, str], lacking: Sequence[Key], most: int) -> tuple[Key, ...]:
    """Some members with their forebears, parents first; what has to be made comes before what is there."""
    taken: dict[Key, None] = {}
    owed = set(lacking)
    for member in sorted(parents, key=lambda key: (key not in owed, -STAGES.index(key[0]))):
        line, key = [], member
        while key in parents:
            line.append(key)
            key = (PARENT_STAGE.get(key[0], ""), parents[key])
        if len(taken.keys() | set(line)) <= most:
            taken |= dict.fromkeys(line)
    return tuple(sorted(taken, key=lambda key: (STAGES.index(key[0]), key)))


def _materialized(
    location: dg.Definitions,
    instance: dg.DagsterInstance,
    model: StubModel,
    members: tuple[Key, ...],
    sample: tuple[Key, ...],
    progress: Progress,
) -> Pass:
    before, skipped, failed = len(model.calls), 0, []
    for number, (stage, gen_id) in enumerate(sample, 1):
        instance.add_dynamic_partitions(PARTITION_SETS[stage], [gen_id])
        job = location.resolve_job_def(f"make_{stage}")
        result = job.execute_in_process(instance=instance, partition_key=gen_id, raise_on_error=False)
        skips = [event.step_key for event in result.all_events if event.event_type_value == "STEP_SKIPPED"]
        skipped += sum(f"{stage}.{part}" in skips for part in LINE)
        failed += [] if result.success else [f"{stage} {gen_id}"]
        progress("materialized", number, len(sample))
    calls = len(model.calls) - before
    return Pass(members, sample, calls, len(sample) * len(LINE), skipped, tuple(failed))


def _times(root: Path) -> dict[str, int]:
    return {entry.path: entry.mtime_ns for entry in listing.walk(root)}
