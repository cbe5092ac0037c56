"""The one place that joins the stages: read -> plan -> (tables) -> build -> verify -> commit.

A run holds the lock and first finishes or undoes what an earlier one owes; it either commits or leaves no trace.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path

from migrator import __version__, build, commit, incident, rebuild, recovery, rehearsal, verify
from migrator import plan as planning
from migrator.ahead import Ahead
from migrator.build import Build, Building
from migrator.engine import exchange, files, hooks, journal, ledger, listing, lock, snapshots, steps, workers
from migrator.engine.journal import Journal
from migrator.engine.ledger import Applied
from migrator.engine.listing import Entry
from migrator.engine.snapshots import Run, Texts
from migrator.engine.steps import Step
from migrator.engine.survey import Surveyed
from migrator.engine.workers import Jobs
from migrator.errors import CareNeeded, DecisionNeeded, MigratorError, TryAgain, described
from migrator.plan import Plan, room
from migrator.rebuild import Scores
from migrator.site import Outcome, RunFailed, Site, copy_mappings, settle
from migrator.store.inventory import Inventory
from migrator.store.layout import LEDGER, is_payload
from migrator.store.problems import ID_COLLISION


def read_pending(site: Site, to: str | None = None) -> list[Step]:
    """Steps still to run. Raises DecisionNeeded where steps and ledger do not fit."""
    site.place.require()
    return ledger.pending(steps.discover(site.migrations), site.ledger(), to)


def read_plan(site: Site, to: str | None = None, accept: Collection[str] = ()) -> Plan | None:
    """The plan of what is pending, or None where nothing is. Writes nothing."""
    pending = read_pending(site, to)
    return _plan(site, pending, *_read(site), accept, site.jobs) if pending else None


def _read(site: Site) -> tuple[list[Entry], Inventory]:
    site.notify("phase", name="read")
    entries = listing.walk_shared(site.place.real, site.jobs)
    return entries, Inventory.read(site.place.real, site.scheme, share=partial(workers.Shared, jobs=site.jobs))


def _plan(
    site: Site, pending: list[Step], entries: list[Entry], store: Inventory, accept: Collection[str], jobs: Jobs
) -> Plan:
    site.notify("phase", name="plan", generations=len(store.gens))
    return planning.make(entries, store, pending, site.ledger(), accept, jobs)


def upgrade(
    site: Site,
    *,
    to: str | None = None,
    accept: Collection[str] = (),
    kept: str | None = None,
    override: str = "",
    confirm: Callable[[Plan], bool] | None = None,
) -> Outcome:
    """Bring the data root to the newest step (or `to`). All or nothing.

    `kept` is the fingerprint of a kept plan, `override` the reason for doing without the proof on staging, `confirm`
    is asked with the plan before anything is written. Raises MigratorError; after it the live tree is as before,
    unless it is CareNeeded, which says what lies where.
    """
    site.require_folders()
    with lock.hold(site.place.state, "upgrade", wait=site.wait):
        settle(site)
        incident.record_killed(site)
        pending = read_pending(site, to)
        if not pending:
            if kept is not None:
                raise TryAgain("the kept plan is stale: its steps are applied already", hint="migrator status")
            return Outcome("up-to-date")
        files.make_dirs(site.backups)
        exchange.require_switch(site.place, site.backups)
        entries, store = _read(site)
        with Ahead(store, entries, site.jobs) as ahead:
            plan = _plan(site, pending, entries, store, accept, workers.spare(len(entries), site.jobs))
            refused = _refused(site, plan, kept, override, confirm)
            return refused or _execute(site, plan, override, ahead)


def _refused(
    site: Site, plan: Plan, kept: str | None, override: str, confirm: Callable[[Plan], bool] | None
) -> Outcome | None:
    """Why a plan is not carried out, if so. Raises MigratorError where it cannot be."""
    if kept is not None and kept != plan.fingerprint:
        raise TryAgain(
            "the kept plan is stale: the store or the steps have changed since it was made",
            where=site.place.root,
            hint="migrator plan --out next-plan   (look at it, then upgrade --plan next-plan)",
        )
    require_proof(site, plan, override)
    for problem in plan.problems:
        if problem.kind == ID_COLLISION:
            site.notify("collision", level="critical", **problem.row())
    if plan.blocking:
        return Outcome("refused", plan, problems=plan.problems)
    require_space(site, plan)
    if confirm and not confirm(plan):
        return Outcome("refused", plan, problems=plan.problems, details=("declined",))
    return None


def require_proof(site: Site, plan: Plan, override: str = "") -> None:
    """Raise DecisionNeeded where the settings want these very steps proven on another root and they are not."""
    if site.proved_on is None or override:
        return
    proof, name = site.proved_on, site.proved_on_name
    hint = f"migrator --env {name} upgrade   (first; or --override-staging REASON)"
    if not proof.real.is_dir():
        raise DecisionNeeded(f"{name} does not exist, so nothing is proven there", where=proof.root, hint=hint)
    if os.path.samefile(proof.real, site.place.real):
        raise DecisionNeeded(
            f"{name} and {site.env} are one directory: that proves nothing", where=proof.real, hint=hint
        )
    proven = {(entry.number, entry.digest) for entry in ledger.read(proof.real / LEDGER)}
    missing = [str(step) for step, _ in plan.steps if (step.number, step.digest) not in proven]
    if missing:
        raise DecisionNeeded(f"not proven on {name}: {', '.join(missing)}", where=proof.root, hint=hint)


def require_space(site: Site, plan: Plan) -> None:
    """Raise MigratorError where the new tree would not fit on the disk."""
    free = shutil.disk_usage(site.place.real.parent if site.place.linked else site.backups).free
    needed = plan.bytes_needed
    if site.link:
        needed -= room(entry for entry in plan.entries if is_payload(entry.path))
    if free < needed:
        raise MigratorError(
            f"the new tree needs {needed / 1e6:,.1f} MB and {free / 1e6:,.1f} MB are free",
            where=site.backups,
            hint="migrator snapshots prune --keep 1   (or free some space)",
        )


def _execute(site: Site, plan: Plan, note: str, ahead: Ahead) -> Outcome:
    phase = incident.Phase(site.notify)
    site = replace(site, notify=phase)
    run = _begin(site, plan, note)
    folder = site.folder(run.run_id)
    try:
        journal.write(site.place.state, Journal(journal.UPGRADE, run.run_id, str(folder)))
        scores, surveyed = ahead.seen()
        plan_of_tree, done = _built(site, plan, run, scores, surveyed)
        applied = _applied(site, plan, run, note)
        done = build.record(done, plan, run.run_id, applied)
        site.notify("phase", name="verify", files=done.count)
        also = partial(rebuild.changed_scores, plan, scores, done.root, surveyed.digests)
        manifests = verify.run(done, plan_of_tree, surveyed=surveyed.digests, also=also, jobs=site.jobs)
        before, after = _kept(folder, *manifests)
        displaced = site.place.real if run.linked else done.root
        run = run.with_(before=before, after=after, ended=applied[-1].end, tree=str(displaced))
        snapshots.write(folder, run)
        site.notify("phase", name="commit")
        ending = partial(_end, site, folder, run)
        proven = partial(_entries, folder / snapshots.AFTER)
        commit.run(site.place, done.root, done.entries, proven, jobs=site.jobs, after=ending)
    except CareNeeded as error:
        page = incident.record(site, run, "upgrade", phase.name, error, plan.entries)
        error.incident = str(page) if page else None
        _tell_failed(site, folder)
        raise
    except BaseException as error:  # undo, say so, pass it on
        failed = _undo(site, folder, run, error)
        site.notify("failed", level="error", folder=str(folder), run_id=run.run_id, reason=described(error))
        page = incident.record(site, failed, "upgrade", phase.name, error, plan.entries)
        _tell_failed(site, folder)
        if isinstance(error, Exception):
            raise RunFailed(failed, plan, error, page) from error
        raise
    copy_mappings(site)
    site.notify("committed", run_id=run.run_id)
    rest = (plan_of_tree, done, also)
    return Outcome("committed", plan, snapshots.read(folder), tuple(done.problems), rest=rest)


def _built(site: Site, plan: Plan, run: Run, scores: Scores, surveyed: Surveyed) -> tuple[Plan, Build]:
    """Write the new tree. Returns the plan with what is made anew, and what was built."""
    with Building(  # generations are copied from here on
        plan, Path(run.tree), surveyed=surveyed, link=site.link, jobs=site.jobs, progress=site.progress
    ) as building:
        site.notify("run", folder=str(site.folder(run.run_id)), run_id=run.run_id, steps=run.steps)
        for problem in plan.problems:
            if problem.kind == ID_COLLISION:
                site.notify("collision", level="critical", **problem.row())
        site.notify("phase", name="tables", generations=len(plan.after.gens))
        plan_of_tree = rebuild.in_plan(plan, scores, jobs=site.jobs)
        files_to_copy = sum(entry.kind != listing.FOLDER for entry in plan.entries)
        site.notify("phase", name="build", files=files_to_copy, bytes=sum(entry.size for entry in plan.entries))
        return plan_of_tree, building.finish(plan_of_tree)


def _kept(folder: Path, before: Texts, after: Texts) -> tuple[str, str]:
    """Write the manifests of both trees into the run's folder; the digests of both trees."""
    files.write_new(folder / snapshots.AFTER, after[0])
    files.write_new(folder / snapshots.BEFORE, before[0])
    return before[1], after[1]


def _entries(manifest: Path) -> Sequence[Entry]:
    return snapshots.read_manifest(manifest).entries


def _undo(site: Site, folder: Path, run: Run, error: BaseException) -> Run:
    """Undo a run that failed. Raises where that fails too: then the next writing command does it."""
    try:
        return recovery.undo_upgrade(site.place, folder, run, described(error))
    except (OSError, MemoryError) as second:
        raise MigratorError(
            f"{described(error)}; the data root is as before, but what the run built could not be cleared away: "
            f"{described(second)}",
            where=folder,
            hint="mend the cause, then repeat the command: it clears away first",
        ) from error


def _end(site: Site, folder: Path, run: Run) -> None:
    """The last acts, inside the commit: a hook that says no undoes the exchange like any other failure."""
    if site.hooks.after:
        snapshots.write(folder, run.with_(state=snapshots.COMMITTED))  # the hook reads it; the journal still stands
        _hook(site, hooks.AFTER, site.hooks.after, folder)
    recovery.finish_upgrade(site.place, folder, run)


def _tell_failed(site: Site, folder: Path) -> None:
    """Run the `failed` hook; all is settled by then, so what goes wrong with it is only told."""
    if site.hooks.failed:
        try:
            _hook(site, hooks.FAILED, site.hooks.failed, folder)
        except MigratorError as error:
            site.notify("hook-failed", level="warning", hook=hooks.FAILED, reason=error.message)


def _hook(site: Site, name: str, command: str, folder: Path) -> None:
    site.notify("phase", name=f"hook-{name}")
    site.notify("hook", hook=name, command=command)
    tell = partial(site.notify, "hook-output", hook=name)
    hooks.run(name, command, site.hooks, folder / snapshots.RUN_FILE, lambda line: tell(line=line))


def _begin(site: Site, plan: Plan, note: str) -> Run:
    """Make the run's folder with its record: from here on a crash leaves something to undo.

    The folder appears under its name with the record in it: one without would be nobody's to remove.
    """
    now = site.clock()
    stamp = now.strftime("%Y%m%d-%H%M%S")
    number = max((run.number for run in site.runs()), default=0) + 1
    nascent = site.backups / f".run-{site.place.mark}"
    files.remove_tree(nascent)
    files.make_dir(nascent)
    for tries in count(1):
        run_id = stamp if tries == 1 else f"{stamp}-{tries}"  # the same second twice, or a clock that went back
        folder = site.backups / run_id
        if folder.exists():
            continue
        run = Run(
            run_id=run_id,
            root=str(site.place.root),
            number=number,
            state=snapshots.BUILDING,
            tree=str(site.place.new_tree(folder, run_id)),
            linked=site.place.linked,
            link=str(site.place.root.readlink()) if site.place.linked else "",
            steps=[str(step) for step, _ in plan.steps],
            started=now.isoformat(timespec="milliseconds"),
            counts=dict(plan.counts),
            mapping=str(site.mappings / run_id),
            note=note,
            payload=snapshots.LINKED if site.link else snapshots.COPIED,
            executor=workers.name_of(site.jobs),
            shape=rehearsal.shape_of(plan),
        )
        snapshots.write(nascent, run)
        try:
            files.rename(nascent, folder)
        except OSError as error:
            if error.errno in (errno.EEXIST, errno.ENOTEMPTY):  # another root's run, in the same instant
                continue
            raise
        break
    files.sync_dir(site.backups)
    return run


def _applied(site: Site, plan: Plan, run: Run, note: str) -> list[Applied]:
    end = site.clock().isoformat(timespec="milliseconds")
    entries = []
    for step, effect in plan.steps:
        counts: dict[str, int] = {}
        for verbs in effect.touched.values():
            for verb, number in verbs.items():
                counts[verb] = counts.get(verb, 0) + number
        entries.append(
            Applied(
                number=step.number,
                name=step.name,
                title=step.title,
                digest=step.digest,
                run_id=run.run_id,
                start=run.started,
                end=end,
                counts=counts,
                version=__version__,
                who=lock.who(),
                note=note,
            )
        )
    return entries
