"""The way back: a run is undone by the same exchange, and later work that it set aside is brought in again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from migrator import commit, incident, recovery
from migrator.engine import journal, ledger, listing, lock, snapshots, steps
from migrator.engine.journal import Journal
from migrator.engine.listing import Entry
from migrator.engine.snapshots import Run
from migrator.engine.workers import Beside
from migrator.errors import CareNeeded, DecisionNeeded, MigratorError
from migrator.site import Outcome, Site, settle

LINK_HAZARD = "payload is one file in both trees; a program that rewrites it in place changes the snapshot too"


def rollback(
    site: Site,
    run_id: str | None = None,
    *,
    set_aside_new: bool = False,
    full: bool = False,
    confirm: Callable[[Run, Sequence[tuple[str, str]]], bool] | None = None,
) -> Outcome:
    """Undo the latest run. One that failed or was killed has changed nothing: its recovery is completed.

    Raises DecisionNeeded where later work would go and `set_aside_new` is not given, CareNeeded where the snapshot is
    not what it was.
    """
    site.place.require()
    with lock.hold(site.place.state, "rollback", wait=site.wait):
        notes = tuple(settle(site))
        incident.record_killed(site)
        run = _run_to_undo(site, run_id)
        if run.state in (snapshots.FAILED, snapshots.ROLLED_BACK):
            return Outcome("as-before", run=run, details=notes)
        folder = site.folder(run.run_id)
        live = listing.walk_shared(site.place.real, site.jobs)
        site.notify("phase", name="verify", files=len(live))
        untouched = Beside(lambda: live == _listed(folder, snapshots.AFTER).entries, len(live), site.jobs)
        try:
            before = _listed(folder, snapshots.BEFORE)
            proven = require_sound(run, before, full)
            later = [] if untouched.result() else recovery.later_work(site.place.real, _listed(folder, snapshots.AFTER))
        finally:
            untouched.abandon()
        if later and not set_aside_new:
            shown = "; ".join(f"{path} ({what})" for path, what in later[:10])
            more = f"; and {len(later) - 10} more" if len(later) > 10 else ""
            raise DecisionNeeded(
                f"work that came after run {run.run_id} would go: {shown}{more}",
                where=site.place.root,
                hint=f"migrator rollback {run.run_id} --set-aside-new   (adopt brings it back later)",
            )
        if confirm and not confirm(run, later):
            return Outcome("refused", run=run, details=("declined",))
        journal.write(site.place.state, Journal(journal.ROLLBACK, run.run_id, str(folder)))
        site.notify("phase", name="commit")
        displaced = site.place.real if run.linked else Path(run.tree)
        ending = partial(recovery.finish_rollback, site.place, folder, run.with_(tree=str(displaced)))
        try:
            commit.run(site.place, Path(run.tree), live, lambda: proven, link=run.link, jobs=site.jobs, after=ending)
        except CareNeeded as error:
            _report(site, run, error)
            raise
        except BaseException as error:
            recovery.undo_rollback(site.place, folder, run)
            _report(site, run, error)
            raise
        site.notify("rolled-back", run_id=run.run_id)
        return Outcome("rolled-back", run=snapshots.read(folder), details=tuple(path for path, _ in later))


def _listed(folder: Path, name: str) -> snapshots.Manifest:
    return snapshots.read_manifest(folder / name)


def _report(site: Site, run: Run, error: BaseException) -> None:
    page = incident.record(site, run, "rollback", "commit", error)
    if isinstance(error, MigratorError):
        error.incident = str(page) if page else None


def _run_to_undo(site: Site, run_id: str | None) -> Run:
    runs = site.runs()
    applied = ledger.runs(site.ledger())
    hint = "migrator history   (shows the runs)"
    if run_id is None:
        if not runs:
            raise MigratorError("there is no run to undo", where=site.backups, hint=hint)
        run_id = runs[-1].run_id
    run = snapshots.read(site.folder(run_id))
    if run.root != str(site.place.root):
        raise MigratorError(f"run {run_id} is one of another data root", where=run.root, hint=hint)
    if run.state in (snapshots.FAILED, snapshots.ROLLED_BACK):
        return run
    if not applied or applied[-1] != run_id:
        newest = applied[-1] if applied else "none"
        raise MigratorError(f"only the newest run of the ledger can be undone: that is {newest}", hint=hint)
    if run.pruned:
        raise MigratorError(f"the snapshot of run {run_id} was pruned", where=site.folder(run_id), hint=hint)
    return run


def require_sound(run: Run, before: snapshots.Manifest, full: bool) -> Sequence[Entry]:
    """The listing of a snapshot. Raises CareNeeded where it is missing or is not what its manifest says."""
    if not Path(run.tree).is_dir():
        raise CareNeeded(f"the snapshot of run {run.run_id} is missing", where=run.tree, hint="restore it there")
    entries = listing.walk_shared(Path(run.tree))
    found = snapshots.damages(Path(run.tree), before, full=full, entries=entries)
    if before.digest() != run.before:
        found.append("its manifest is not the one of this run")
    if found:
        raise CareNeeded(
            f"the snapshot of run {run.run_id} is not what it was: {'; '.join(found[:5])}"
            + (f"; and {len(found) - 5} more" if len(found) > 5 else "")
            + (f" (--link: {LINK_HAZARD})" if run.payload == snapshots.LINKED else ""),
            where=run.tree,
            hint=f"migrator snapshots verify {run.run_id}   (the live tree is untouched)",
        )
    return entries


def adopt(site: Site, run_id: str) -> Outcome:
    """Bring back the generations and cohorts of a rolled-back run that the store does not have. Copies, never moves."""
    site.require_folders()
    with lock.hold(site.place.state, "adopt", wait=site.wait):
        settle(site)
        run = snapshots.read(site.folder(run_id))
        if run.root != str(site.place.root):
            raise MigratorError(f"run {run_id} is one of another data root", where=run.root)
        if run.state != snapshots.ROLLED_BACK:
            raise MigratorError(f"run {run_id} was not rolled back: it set nothing aside", hint="migrator history")
        if ledger.pending(steps.discover(site.migrations), site.ledger()):
            raise DecisionNeeded(
                "the work was done on the upgraded store, and this one is not",
                hint="migrator upgrade   (then adopt again)",
            )
        brought = recovery.adopt(site.place, site.folder(run_id), Path(run.tree), run_id, site.scheme)
        site.notify("adopted", run_id=run_id, things=len(brought))
        return Outcome("adopted" if brought else "up-to-date", run=run, details=tuple(brought))
