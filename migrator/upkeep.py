"""Upkeep of a data root: where it stands, its snapshots, its derived tables, and a staging root as its copy."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from migrator import plan as planning
from migrator import rebuild, recovery
from migrator.engine import files, journal, ledger, listing, lock, snapshots, steps, tree, workshop
from migrator.engine.exchange import Place
from migrator.engine.ledger import Applied
from migrator.engine.snapshots import Run
from migrator.engine.steps import Step
from migrator.errors import CareNeeded, MigratorError, TryAgain
from migrator.site import Site, settle
from migrator.store.inventory import Inventory
from migrator.store.layout import GENS, STAGES
from migrator.store.problems import UNSAFE_PATH, Problem, ordered
from migrator.undo import require_sound

_LARGE_MANIFEST = 20_000_000  # bytes, of about 100,000 files: a second's work
_NOT_OURS = "stands where a table would be made: nothing is written through a link, and nothing is replaced"


@dataclass(frozen=True)
class Status:
    """Where a data root stands. `owed` is what the next writing command will finish or undo, None if nothing."""

    applied: list[Applied]
    pending: list[Step]
    faults: str
    owed: str | None
    run_in_progress: str | None
    missing_mappings: list[str]
    runs: list[Run]
    generations: dict[str, int]
    late_writes: list[str]
    late_unknown: bool = False  # the newest snapshot is too large for a look at it in passing


@dataclass(frozen=True)
class Regenerated:
    """What `regenerate` wrote and what it found as it should be, as paths.

    `problems` are why it did nothing, or why some manifests could not be made.
    """

    written: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


def status(site: Site) -> Status:
    """Look at a data root; writes nothing and takes no lock."""
    site.place.require()
    applied = site.ledger()
    pending: list[Step] = []
    faults = ""
    try:
        pending = ledger.pending(steps.discover(site.migrations), applied)
    except MigratorError as error:
        faults = error.message
    owed = journal.read(site.place.state)
    held = lock.is_held(site.place.state)
    runs = site.runs()
    late = _late_writes(site, runs)
    return Status(
        applied=applied,
        pending=pending,
        faults=faults,
        owed=None if held else recovery.described(site.place, owed, runs),
        run_in_progress=(lock.holder(site.place.state) or "a step of the pipeline") if held else None,
        missing_mappings=[run_id for run_id in ledger.runs(applied) if not (site.mappings / run_id).is_dir()],
        runs=runs,
        generations=_count(site.place.real),
        late_writes=late or [],
        late_unknown=late is None,
    )


def _count(root: Path) -> dict[str, int]:
    counts = {}
    for stage in STAGES:
        try:
            with os.scandir(root / GENS / stage) as entries:
                counts[stage] = sum(e.is_dir(follow_symlinks=False) and not e.name.startswith(".") for e in entries)
        except (FileNotFoundError, NotADirectoryError):
            counts[stage] = 0
    return counts


def _late_writes(site: Site, runs: Sequence[Run]) -> list[str] | None:
    """Paths in the newest snapshot that were written after the exchange, by a process that still holds the old tree.

    None where the snapshot is too large to be walked for a look at where things stand.
    """
    newest = next((run for run in reversed(runs) if run.has_snapshot), None)
    if newest is None or not Path(newest.tree).is_dir():
        return []
    manifest_file = site.folder(newest.run_id) / snapshots.BEFORE
    try:
        if manifest_file.stat().st_size > _LARGE_MANIFEST:
            return None
        manifest = snapshots.read_manifest(manifest_file)
    except (OSError, CareNeeded):
        return []
    return snapshots.damages(Path(newest.tree), manifest, full=False)


def prune(site: Site, keep: int, *, rolled_back: bool = False, really: bool = True) -> list[Run]:
    """Delete the trees of all but the newest `keep` snapshots, and with `rolled_back` what undone runs set aside.

    The newest is verified first and always stays. Records and mappings stay too. With `really` false nothing is done.
    Returns the runs whose trees go.
    """
    if keep < 1:
        raise MigratorError("at least the newest snapshot must be kept", hint="migrator snapshots prune --keep 1")
    with lock.hold(site.place.state, "snapshots prune", wait=site.wait) if really else contextlib.nullcontext():
        if really:
            settle(site)
        runs = site.runs()
        good = [run for run in runs if run.has_snapshot]
        doomed = good[:-keep]
        if rolled_back:
            doomed += [run for run in runs if run.state == snapshots.ROLLED_BACK and not run.pruned]
        if really and doomed:
            if good:
                manifest = snapshots.read_manifest(site.folder(good[-1].run_id) / snapshots.BEFORE)
                require_sound(good[-1], manifest, full=True)
            for run in doomed:
                recovery.require_own(site.place, site.folder(run.run_id), run)
                snapshots.write(site.folder(run.run_id), run.with_(pruned=True))
                files.remove_tree(Path(run.tree))
        return doomed


def verify_snapshots(site: Site, run_ids: Sequence[str] = ()) -> Iterator[tuple[Run, list[str]]]:
    """(run, damages) of each snapshot, every byte read. Writes nothing."""
    for run in site.runs():
        if not run.has_snapshot or (run_ids and run.run_id not in run_ids):
            continue
        if not Path(run.tree).is_dir():
            yield run, ["the tree is missing"]
            continue
        manifest = snapshots.read_manifest(site.folder(run.run_id) / snapshots.BEFORE)
        found = snapshots.damages(Path(run.tree), manifest, full=True)
        if run.before and manifest.digest() != run.before:
            found.append("the manifest is not the one of this run")
        yield run, found


def stage(site: Site, origin: Place) -> bool:
    """Make the data root as a copy of another, under that one's shared lock, where it is not there yet."""
    if site.place.real.is_dir():
        return False
    origin.require()
    with lock.hold(site.place.state, "stage", wait=site.wait), lock.hold(origin.state, "stage", shared=True):
        entries = listing.walk(origin.real)
        strange = [entry.path for entry in entries if entry.kind == listing.OTHER]
        if strange:
            raise MigratorError("it holds what cannot be copied", where=origin.real / strange[0])
        site.notify("phase", name="copy", files=len(entries), bytes=sum(entry.size for entry in entries))
        copy = site.place.state / "copy"
        files.remove_tree(copy)
        try:
            tree.copy(entries, origin.real, copy, jobs=site.jobs, progress=site.progress)
            files.sync_file_system(copy)
            changed = listing.differences(origin.real, entries)
            if changed:
                raise TryAgain(f"the origin changed while it was copied: {changed[0]}", where=origin.root)
            files.rename(copy, site.place.root)
            files.sync_dir(site.place.root.parent)
        except BaseException:  # Ctrl-C too: nobody looks for half a copy
            files.remove_tree(copy)
            raise
    return True


def regenerate(site: Site) -> Regenerated:
    """Make the derived tables that are ours and every manifest anew; what would not change is not written.

    Each file is replaced as a whole: a reader finds the old or the new one, a kill leaves some of them old. Where a
    record cannot be read nothing is done; where a member has no signature yet its cohorts' manifests stay as they are.
    """
    site.place.require()
    with lock.hold(site.place.state, "regenerate", wait=site.wait):
        settle(site)
        root = site.place.real
        store = Inventory.read(root, site.scheme)
        paths = planning.rebuilt_paths(store)
        blocked = set(planning.in_the_way(paths, partial(listing.kind_at, root)).values())
        found = [*store.problems, *(Problem(UNSAFE_PATH, path=path, message=_NOT_OURS) for path in blocked)]
        problems = _blocking(found)
        if problems:
            return Regenerated(problems=problems)
        site.notify("phase", name="tables", generations=len(store.gens))
        manifests, unusable = rebuild.manifests_of(store, [(entry.number, entry.digest) for entry in site.ledger()])
        new = rebuild.tables_of(store) | manifests
        stale = [path for path in sorted(new) if not listing.has_content(root / path, new[path])]
        workshop.put(site.place, [(path, new[path]) for path in stale])
        unchanged = tuple(path for path in sorted(new) if path not in stale)
        return Regenerated(tuple(stale), unchanged, _blocking(unusable))


def _blocking(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    return tuple(problem for problem in ordered(problems) if problem.blocking)
