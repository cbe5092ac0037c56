"""After a crash the tree is whole; here what is owed is finished or undone. So are the ends of runs: the same acts.

One fact decides: whether the live tree's ledger names the run. The exchange is one system call: it does or it does not.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Sequence
from pathlib import Path

from migrator import errors
from migrator.engine import exchange, files, journal, ledger, listing, snapshots, tree, workshop
from migrator.engine.exchange import Place
from migrator.engine.journal import ADOPT, ENROL, ROLLBACK, Journal
from migrator.engine.lock import LOCK
from migrator.engine.snapshots import Manifest, Run
from migrator.errors import CareNeeded, DecisionNeeded, MigratorError
from migrator.store.checks import judge
from migrator.store.ids import IdScheme
from migrator.store.inventory import Inventory
from migrator.store.layout import (
    COHORTS,
    GENS,
    LEDGER,
    MANIFEST,
    MEMBERSHIP,
    METADATA,
    STAGES,
    gen_path,
    is_derived,
    is_manifest,
    is_own,
)
from migrator.store.problems import Problem

_TRIES, _PAUSE = 100, 0.1  # to remove a tree that a lost worker writes into; seconds between two


def is_applied(place: Place, run_id: str) -> bool:
    """Whether the live tree is the one that this run made."""
    return run_id in ledger.runs(ledger.read(place.real / LEDGER))


def described(place: Place, owed: Journal | None, runs: Sequence[Run]) -> str | None:
    """What the next writing command will do, in words, or None. Writes nothing."""
    if owed is None:
        stray = [run.run_id for run in runs if run.state == snapshots.BUILDING]
        return f"run {stray[0]} was interrupted before it began: its folder will be marked" if stray else None
    if owed.action == ENROL:
        return (
            f"building cohort {owed.run_id} was interrupted after its commit: its record will be completed"
            if is_enrolled(owed)
            else f"building cohort {owed.run_id} was interrupted before its commit: what it had made will be removed"
        )
    done = is_applied(place, owed.run_id)
    if owed.action == ADOPT:
        return f"adopting from run {owed.run_id} was interrupted: it will be completed"
    if owed.action == ROLLBACK:
        return (
            f"the rollback of run {owed.run_id} was interrupted before it happened: the tree is as it was"
            if done
            else f"the rollback of run {owed.run_id} has happened: its record will be completed"
        )
    return (
        f"run {owed.run_id} was interrupted after its commit: its record will be completed"
        if done
        else f"run {owed.run_id} was interrupted before its commit: the tree is as before, the build will be removed"
    )


def settle(place: Place, backups: Path) -> list[str]:
    """Finish or undo what the journal says, mark runs that never began; return what was done, in words."""
    notes = []
    owed = journal.read(place.state)
    if owed is not None:
        if owed.action == ADOPT:
            notes.append(_settle_adoption(place, owed))
        elif owed.action == ENROL:
            notes.append(_settle_enrolment(place, owed))
        elif owed.action == ROLLBACK:
            notes.append(_settle_rollback(place, owed))
        else:
            notes.append(_settle_upgrade(place, owed))
    for run in snapshots.of_root(backups, place.root):
        if run.state == snapshots.BUILDING:
            undo_upgrade(place, backups / run.run_id, run, "killed")
            notes.append(f"run {run.run_id} never began; the tree is as before")
        elif run.pruned and Path(run.tree).is_dir():
            require_own(place, backups / run.run_id, run)
            files.remove_tree(Path(run.tree))
            notes.append(f"removed the rest of the pruned tree of run {run.run_id}")
    _sweep(place, backups)
    return notes


def require_own(place: Place, folder: Path, run: Run) -> None:
    """Raise CareNeeded where the tree that a run's record names is not one that the run left: it is to be removed."""
    tree = os.path.realpath(run.tree)
    own = [folder / "tree"]
    if run.linked:
        own = [Path(_link_target(place, run)), place.real.parent / f"{place.root.name}.{run.run_id}"]
    if tree not in map(os.path.realpath, own) or tree == os.path.realpath(place.real):
        raise CareNeeded(
            f"the record of run {run.run_id} names a tree that is not its own: nothing was removed",
            where=run.tree,
            hint=f"put {folder / snapshots.RUN_FILE} right: the tree is {own[-1]}",
        )


def _sweep(place: Place, backups: Path) -> None:
    """Remove what a killed command left of its own tools; nothing here is anybody's data."""
    for name in sorted(os.listdir(place.state)):
        path = place.state / name
        if name == LOCK:
            continue
        if path.is_dir() and not path.is_symlink():
            files.remove_tree(path)
        else:
            files.remove_file(path)
    for run in snapshots.of_root(backups, place.root):
        torn = files.temporary(backups / run.run_id / snapshots.RUN_FILE)
        if torn.exists():
            files.remove_file(torn)
    for leftover in (
        backups / f".probe-{place.mark}",
        place.real.parent / f".{place.root.name}.probe",
        place.workshop,
        backups / f".run-{place.mark}",
    ):
        files.remove_tree(leftover)


def _settle_upgrade(place: Place, owed: Journal) -> str:
    folder = Path(owed.folder)
    try:
        run = snapshots.read(folder)
    except MigratorError as error:
        raise CareNeeded(
            f"an interrupted run's record is gone: {error.message}",
            where=folder,
            hint=f"bring the folder back, or remove {place.state / journal.JOURNAL} if the live tree is right",
        ) from None
    if not is_applied(place, owed.run_id):
        undo_upgrade(place, folder, run, run.reason or "killed")
        return f"run {owed.run_id} had been interrupted before its commit; the tree is as before"
    run = run.with_(tree=run.tree if not run.linked else _link_target(place, run))
    before = snapshots.read_manifest(folder / snapshots.BEFORE)
    after = snapshots.read_manifest(folder / snapshots.AFTER)
    if run.state == snapshots.BUILDING:  # killed between the exchange and what follows it
        exchange.keep_time(Path(run.tree), before.entries[0].mtime_ns)
        exchange.keep_time(place.real, after.entries[0].mtime_ns)
    if run.state == snapshots.BUILDING and snapshots.damages(Path(run.tree), before, full=False):
        if snapshots.damages(place.real, after, full=False):
            raise CareNeeded(
                f"run {owed.run_id} was interrupted after its commit, and both trees were written to since",
                where=f"old: {run.tree}, new: {place.real}",
                hint=f"compare them, then remove {place.state / journal.JOURNAL}",
            )
        exchange.switch(place, Path(run.tree), run.link)
        undo_upgrade(place, folder, run, "killed; somebody wrote into the old tree meanwhile")
        return f"run {owed.run_id} was undone: somebody had written into the old tree; it is back in its place"
    finish_upgrade(place, folder, run)
    return f"run {owed.run_id} had been committed; its record is complete now"


def _link_target(place: Place, run: Run) -> str:
    """Where the tree from before lies, for a linked root: what the link said before the run."""
    return str((place.root.parent / run.link).resolve())


def finish_upgrade(place: Place, folder: Path, run: Run) -> Run:
    """Record that a run is committed; `run.tree` is the snapshot."""
    run = run.with_(state=snapshots.COMMITTED)
    snapshots.write(folder, run)
    journal.remove(place.state)
    return run


def undo_upgrade(place: Place, folder: Path, run: Run, reason: str) -> Run:
    """Record why a run did not happen, and owe nothing any more. The live tree is the old one.

    What it built is removed, unless it has been the live tree while a hook ran: then it may hold work and is kept, as
    after a rollback.
    """
    if is_applied(place, run.run_id):
        raise CareNeeded(
            f"run {run.run_id} is in the live tree's ledger and cannot be undone this way",
            where=place.root,
            hint="migrator rollback",
        )
    built = folder / "tree" if not run.linked else place.real.parent / f"{place.root.name}.{run.run_id}"
    if snapshots.read(folder).state == snapshots.COMMITTED:
        run = run.with_(state=snapshots.ROLLED_BACK, reason=reason, tree=str(built))
    else:
        if not (place.linked and built == place.real):
            _clear_away(built, fenced=bool(run.executor))
        run = run.with_(state=snapshots.FAILED, reason=reason, tree="")
    snapshots.write(folder, run)
    journal.remove(place.state)
    return run


def _clear_away(built: Path, *, fenced: bool) -> None:
    """Remove a tree that will not be used.

    With `fenced` a worker elsewhere may still write into it: it goes out of their way first, so that they find no path
    to write to, and what they put into a folder that they had open is removed too.
    """
    if fenced:
        gone = built.with_name(f".{built.name}.gone")
        if built.exists():
            files.rename(built, gone)
        built = gone
    for _ in range(_TRIES if fenced else 0):
        try:
            return files.remove_tree(built)
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise
            time.sleep(_PAUSE)
    files.remove_tree(built)


def _settle_rollback(place: Place, owed: Journal) -> str:
    folder = Path(owed.folder)
    run = snapshots.read(folder)
    top = snapshots.read_manifest(folder / snapshots.BEFORE).entries[0]
    if is_applied(place, owed.run_id):
        tree_before = _link_target(place, run) if run.linked else str(folder / "tree")
        exchange.keep_time(Path(tree_before), top.mtime_ns)
        undo_rollback(place, folder, run.with_(tree=tree_before))
        return f"the rollback of run {owed.run_id} had been interrupted before it happened; the tree is as it was"
    exchange.keep_time(place.real, top.mtime_ns)
    tree_after = str(place.real.parent / f"{place.root.name}.{run.run_id}") if run.linked else run.tree
    finish_rollback(place, folder, run.with_(tree=tree_after))
    return f"the rollback of run {owed.run_id} had happened; its record is complete now"


def undo_rollback(place: Place, folder: Path, run: Run) -> None:
    """Record that a rollback did not happen: the run is committed, `run.tree` the snapshot."""
    snapshots.write(folder, run.with_(state=snapshots.COMMITTED))
    journal.remove(place.state)


def finish_rollback(place: Place, folder: Path, run: Run) -> Run:
    """Record that a run is undone; `run.tree` is the tree from after."""
    run = run.with_(state=snapshots.ROLLED_BACK)
    snapshots.write(folder, run)
    journal.remove(place.state)
    return run


def later_work(root: Path, after: Manifest) -> list[tuple[str, str]]:
    """(path, what) of everything that came after a run, apart from what is derived and what is ours."""
    return [
        (path, what)
        for path, what in snapshots.changed_content(root, after)
        if path and not (is_own(path) or is_derived(path) or is_manifest(path))
    ]


# -- adopt


def adopt(place: Place, folder: Path, source: Path, run_id: str, scheme: IdScheme) -> list[str]:
    """Copy what the store lacks beside it, prove it, then rename it in, parents first; return the paths."""
    wanted = [gen_path(stage, name) for stage in STAGES for name in _folders(source / GENS / stage) if name[:1] != "."]
    wanted += [f"{COHORTS}/{name}" for name in _folders(source / COHORTS)]
    wanted = [path for path in wanted if not (place.real / path).exists()]
    if not wanted:
        return []
    _require_fitting(place, source, wanted, scheme)
    staging = workshop.opened(place)
    moves = []
    for number, path in enumerate(wanted):
        copy = staging / f"{number:06}"
        tree.copy(listing.walk(source / path), source / path, copy, jobs=1)
        moves.append((str(copy), path))
    files.sync_file_system(staging)
    owed = Journal(ADOPT, run_id, str(folder), tuple(moves))
    journal.write(place.state, owed)
    try:
        _settle_adoption(place, owed)
    except (OSError, MemoryError) as error:
        raise CareNeeded(
            f"adopting from run {run_id} was begun and is not complete: {errors.described(error)}",
            where=place.root,
            hint="look at the disk; the next writing command completes it",
        ) from error
    return wanted


def _folders(folder: Path) -> list[str]:
    try:
        return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.is_symlink())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _require_fitting(place: Place, source: Path, wanted: Sequence[str], scheme: IdScheme) -> None:
    """Each generation must have its own id and a parent in the store or among those that come."""
    theirs, ours = Inventory.read(source, scheme), Inventory.read(place.real, scheme)
    coming = {gen.key for gen in theirs.gens.values() if gen.path in wanted}
    problems: list[Problem] = [p for p in theirs.problems if p.blocking and any(p.path.startswith(w) for w in wanted)]
    for key in sorted(coming):
        gen = theirs.gens[key]
        problems += judge(theirs, gen)
        if gen.parent_key and not ours.exists(gen.parent_key) and gen.parent_key not in coming:
            problems.append(
                Problem("missing-parent", gen.stage, gen.gen_id, gen.path, "its parent is in neither store")
            )
    if problems:
        lines = "; ".join(f"{p.kind} {p.path}: {p.message}" for p in problems[:5])
        stand = "1 thing stands" if len(problems) == 1 else f"{len(problems)} things stand"
        raise DecisionNeeded(f"{stand} against it: {lines}", where=source)


def _settle_adoption(place: Place, owed: Journal) -> str:
    """Rename in what is not there yet; every piece was complete and durable before the first rename."""
    for copy, path in owed.moves:
        if Path(copy).exists():
            target = place.real / path
            files.make_dirs(target.parent)
            files.rename(copy, target)
    for folder in sorted({(place.real / path).parent for _, path in owed.moves}):
        files.sync_dir(folder)
    files.remove_tree(place.workshop)
    journal.remove(place.state)
    return f"adopting from run {owed.run_id} is complete now"


# -- cohorts


def is_enrolled(owed: Journal) -> bool:
    """Whether a build of a cohort is committed: its membership.csv has left the folder where it was made."""
    return not (Path(owed.folder) / MEMBERSHIP).exists()


def _settle_enrolment(place: Place, owed: Journal) -> str:
    if is_enrolled(owed):
        finish_enrolment(place, owed)
        return f"building cohort {owed.run_id} had been committed; its record is complete now"
    kept = undo_enrolment(place, owed)
    more = f" (but for {len(kept)} of its generations: somebody has worked on them since)" if kept else ""
    return f"building cohort {owed.run_id} had been interrupted before its commit; what it had made is removed{more}"


def finish_enrolment(place: Place, owed: Journal) -> None:
    """Put the manifest of a cohort that is committed in its place; nothing is owed any more."""
    record = Path(owed.folder) / MANIFEST
    if record.exists():
        target = place.real / COHORTS / owed.run_id
        files.rename(record, target / MANIFEST)
        files.sync_dir(target)
    journal.remove(place.state)
    files.remove_tree(Path(owed.folder))


def undo_enrolment(place: Place, owed: Journal) -> list[str]:
    """Take back what a build had put into the tree; return the paths that stay: they are no more as we made them."""
    kept = []
    for copy, path in owed.moves:
        source = place.real / path
        if Path(copy).exists() or not source.exists():
            continue
        if _is_as_planned(source, owed.digests[path]):
            files.rename(source, copy)
            if _is_as_planned(Path(copy), owed.digests[path]):
                continue
            files.rename(copy, source)  # somebody wrote into it between the look and the rename
        kept.append(path)
    for path in reversed(owed.made):
        folder = place.real / path
        if folder.is_dir() and not any(folder.iterdir()):
            files.remove_dir(folder)
    files.sync_file_system(place.real)
    journal.remove(place.state)
    files.remove_tree(Path(owed.folder))
    return kept


def _is_as_planned(folder: Path, digest: str) -> bool:
    """Whether a generation has nothing but the metadata.json that a build gave it."""
    path = folder / METADATA
    return (
        os.listdir(folder) == [METADATA]
        and not path.is_symlink()
        and path.is_file()
        and journal.digest(path.read_bytes()) == digest
    )
