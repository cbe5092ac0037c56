"""Writing cohorts: what `migrator.cohorts` computes becomes visible in one act, the rename of membership.csv.

Beside `runner` and without it: for the command line and for pipelines. Under the lock, through `engine.files` only.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial

from migrator import recovery
from migrator.cohorts import building, manifest
from migrator.cohorts.building import BUILT, Building
from migrator.cohorts.manifest import Rendered
from migrator.engine import files, journal, lock, workers, workshop
from migrator.engine.exchange import Place
from migrator.engine.journal import ENROL, Journal
from migrator.errors import CareNeeded, described
from migrator.site import Site, settle
from migrator.store.layout import COHORTS, GENS, MANIFEST, MEMBERSHIP, METADATA, gen_path, manifest_path
from migrator.store.problems import ID_COLLISION
from migrator.store.records import Key


def build(
    site: Site,
    name: str | None = None,
    *,
    extend: bool = False,
    accept: Collection[str] = (),
    environment: Mapping[str, str] = os.environ,
) -> Building:
    """Build a cohort: all of it or nothing. A refused or an unchanged one writes nothing, but for a manifest not fresh.

    Raises MigratorError; after it the tree is as before, unless it is CareNeeded, which says what stands.
    """
    site.place.require()
    with lock.hold(site.place.state, "cohort build", wait=site.wait):
        settle(site)
        site.notify("phase", name="read")
        found = building.plan(
            site.place.real,
            name,
            extend=extend,
            accept=accept,
            scheme=site.scheme,
            environment=environment,
            share=partial(workers.Shared, jobs=site.jobs),
        )
        for problem in found.problems:
            if problem.kind == ID_COLLISION:
                site.notify("collision", level="critical", **problem.row())
        if found.status == BUILT:
            _enrol(site, found)
        elif found.record is not None:
            workshop.put(site.place, [(manifest_path(found.cohort_id), found.record)])
        return found


def write_manifests(site: Site, cohort_ids: Sequence[str] | None = None) -> Rendered:
    """Write the manifests of these cohorts, or of all, where they differ from what is there; return those."""
    site.place.require()
    with lock.hold(site.place.state, "cohort manifest", wait=site.wait):
        settle(site)
        rendered = manifest.changed_manifests(site.place.real, cohort_ids, site.scheme)
        if rendered.files:
            workshop.put(site.place, rendered.files)
        return rendered


# -- the act


def _enrol(site: Site, found: Building) -> None:
    place, owed = site.place, None
    try:
        owed = _prepared(place, found)
        site.notify("phase", name="enrol", generations=len(found.minted))
        journal.write(place.state, owed)
        for path in owed.made:
            files.make_dir(place.real / path)
        for copy, path in owed.moves:
            files.rename(copy, place.real / path)
        files.sync_file_system(place.real)
        files.rename(place.workshop / MEMBERSHIP, place.real / COHORTS / found.cohort_id / MEMBERSHIP)
    except BaseException as error:
        if owed is None:
            files.remove_tree(place.workshop)
        elif not recovery.is_enrolled(owed):
            _taken_back(place, owed, error)
        raise
    try:
        files.sync_dir(place.real / COHORTS / found.cohort_id)
        recovery.finish_enrolment(place, owed)
    except (OSError, MemoryError) as error:
        raise CareNeeded(
            f"cohort {found.cohort_id} is built, but its record is not complete: {described(error)}",
            where=place.real / COHORTS / found.cohort_id,
            hint="look at the disk; the next writing command completes it",
        ) from error


def _taken_back(place: Place, owed: Journal, error: BaseException) -> None:
    """Undo a build that failed. Raises CareNeeded where that fails too: then the next writing command does it."""
    try:
        recovery.undo_enrolment(place, owed)
    except (OSError, MemoryError) as second:
        raise CareNeeded(
            f"{described(error)}; what the build of cohort {owed.run_id} had made could not be taken back: "
            f"{described(second)}",
            where=place.root,
            hint="mend the cause; the next writing command takes it back",
        ) from error


def _prepared(place: Place, found: Building) -> Journal:
    """Make everything beside the tree, durably; return what is to be renamed in."""
    assert found.table is not None
    assert found.record is not None
    shop = workshop.opened(place)
    moves, digests = [], {}
    for number, (key, data) in enumerate(found.minted.items()):
        copy, path = shop / f"{number:06}", gen_path(*key)
        files.make_dir(copy)
        files.write_new(copy / METADATA, data)
        moves.append((str(copy), path))
        digests[path] = journal.digest(data)
    folder = place.real / COHORTS / found.cohort_id
    workshop.write_like(shop / MEMBERSHIP, found.table, folder / MEMBERSHIP)
    workshop.write_like(shop / MANIFEST, found.record, folder / MANIFEST)
    files.sync_file_system(shop)
    made = tuple(path for path in _folders(found.cohort_id, found.minted) if not (place.real / path).exists())
    return Journal(ENROL, found.cohort_id, str(shop), tuple(moves), digests, made)


def _folders(cohort_id: str, minted: Iterable[Key]) -> list[str]:
    """The folders that a build needs, outer ones first."""
    stages = dict.fromkeys(f"{GENS}/{stage}" for stage, _ in minted)
    return [*stages, COHORTS, f"{COHORTS}/{cohort_id}"]
