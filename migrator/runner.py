"""The one place that joins the stages: read -> plan -> build -> verify -> commit. And back.

Everything that writes holds the lock and first finishes or undoes what an earlier run owes. The clock is read here and
nowhere else. Progress and findings go out through `site.notify`; printing is done elsewhere.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from migrator import __version__, build, commit, recovery, verify
from migrator import plan as planning
from migrator.engine import exchange, files, journal, ledger, lock, snapshots, steps, tree
from migrator.engine.exchange import Place
from migrator.engine.journal import Journal
from migrator.engine.ledger import Applied
from migrator.engine.snapshots import Run
from migrator.engine.steps import Step
from migrator.engine.workers import Beside
from migrator.errors import CareNeeded, DecisionNeeded, MigratorError, TryAgain
from migrator.plan import Plan
from migrator.store.ids import DEFAULT_SCHEME, IdScheme
from migrator.store.inventory import Inventory
from migrator.store.layout import LEDGER
from migrator.store.problems import ID_COLLISION, Problem

Notify = Callable[..., None]


def _silent(event: str, **fields: Any) -> None:
    pass


@dataclass(frozen=True)
class Site:
    """One data root with its folders, as the operator named them; `env` is the name of a section of the settings."""

    place: Place
    migrations: Path
    backups: Path
    mappings: Path
    env: str = ""
    proved_on: Place | None = None
    proved_on_name: str = ""
    scheme: IdScheme = DEFAULT_SCHEME
    jobs: int | None = None
    wait: float = 0
    notify: Notify = _silent
    clock: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))

    def require_folders(self) -> None:
        """Raise UsageError where the folders do not fit together, before anything else is done."""
        self.place.require()
        self.place.require_outside(self.backups, "backups")
        self.place.require_outside(self.mappings, "mappings")
        self.place.require_same_file_system(self.backups)

    def ledger(self) -> list[Applied]:
        """What the live tree has seen."""
        return ledger.read(self.place.real / LEDGER)

    def runs(self) -> list[Run]:
        """The runs of this root, oldest first."""
        return snapshots.of_root(self.backups, self.place.root)

    def folder(self, run_id: str) -> Path:
        """The folder of a run."""
        return self.backups / snapshots.check_run_id(run_id)


@dataclass(frozen=True)
class Outcome:
    """How a command ended: `status` is committed, up-to-date, refused, rolled-back, as-before, adopted."""

    status: str
    plan: Plan | None = None
    run: Run | None = None
    problems: tuple[Problem, ...] = ()
    details: tuple[str, ...] = ()


class RunFailed(MigratorError):
    """A run that was undone: the tree is as before. `run` is its record; the exit code is that of the cause."""

    def __init__(self, run: Run, cause: BaseException) -> None:
        text = _described(cause)
        where = cause.where if isinstance(cause, MigratorError) else None
        hint = cause.hint if isinstance(cause, MigratorError) else None
        super().__init__(f"{text}; the run was undone, the data root is as before", where=where, hint=hint)
        self.run = run
        if isinstance(cause, MigratorError):
            self.exit_code = cause.exit_code


def _described(cause: BaseException) -> str:
    if isinstance(cause, MigratorError):
        return cause.message
    if isinstance(cause, OSError):
        return f"{cause.strerror or cause}" + (f": {cause.filename}" if cause.filename else "")
    if isinstance(cause, KeyboardInterrupt):
        return "interrupted"
    return f"internal error: {cause!r}"


# -- reading


def read_pending(site: Site, to: str | None = None) -> list[Step]:
    """Steps still to run. Raises DecisionNeeded where steps and ledger do not fit."""
    site.place.require()
    return ledger.pending(steps.discover(site.migrations), site.ledger(), to)


def read_plan(site: Site, to: str | None = None, accept: Collection[str] = ()) -> Plan | None:
    """The plan of what is pending, or None where nothing is. Writes nothing."""
    pending = read_pending(site, to)
    if not pending:
        return None
    site.notify("phase", name="read")
    entries = tree.walk(site.place.real)
    store = Inventory.read(site.place.real, site.scheme)
    site.notify("phase", name="plan", generations=len(store.gens))
    return planning.make(entries, store, pending, site.ledger(), accept)


# -- upgrade


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
        if read_pending(site, to):
            files.make_dirs(site.backups)
            exchange.require_switch(site.place, site.backups)
        plan = read_plan(site, to, accept)
        if plan is None:
            if kept is not None:
                raise TryAgain("the kept plan is stale: its steps are applied already", hint="migrator status")
            return Outcome("up-to-date")
        if kept is not None and kept != plan.fingerprint:
            raise TryAgain(
                "the kept plan is stale: the store or the steps have changed since it was made",
                where=site.place.root,
                hint="migrator plan --out DIR, look at it, then upgrade --plan DIR/plan.json",
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
        return _execute(site, plan, override)


def require_proof(site: Site, plan: Plan, override: str = "") -> None:
    """Raise DecisionNeeded where the settings want these very steps proven on another root and they are not."""
    if site.proved_on is None or override:
        return
    proof, name = site.proved_on, site.proved_on_name
    hint = f"migrator --env {name} upgrade first, or --override-staging REASON"
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
    if free < plan.bytes_needed:
        raise MigratorError(
            f"the new tree needs {plan.bytes_needed / 1e6:,.1f} MB and {free / 1e6:,.1f} MB are free",
            where=site.backups,
            hint="migrator snapshots prune --keep 1, or free some space",
        )


def _execute(site: Site, plan: Plan, note: str) -> Outcome:
    run = _begin(site, plan, note)
    folder = site.folder(run.run_id)
    try:
        site.notify("run", folder=str(folder), run_id=run.run_id, steps=run.steps)
        for problem in plan.problems:
            if problem.kind == ID_COLLISION:
                site.notify("collision", level="critical", **problem.row())
        site.notify("phase", name="build", files=len(plan.entries), bytes=sum(e.size for e in plan.entries))
        new = Path(run.tree)
        done = build.run(plan, new, jobs=site.jobs, progress=_progress(site))
        applied = _applied(site, plan, run, note)
        done = build.record(done, plan, run.run_id, applied)
        site.notify("phase", name="verify", files=len(done.expected))
        before = Beside(lambda: (done.before.render(), done.before.digest()), len(plan.entries), site.jobs)
        try:
            finished = verify.run(done, plan, jobs=site.jobs)
            listed, before_digest = before.result()
        finally:
            before.abandon()
        files.write_new(folder / snapshots.BEFORE, listed)
        files.write_new(folder / snapshots.AFTER, finished.render())
        displaced = site.place.real if run.linked else new
        run = run.with_(before=before_digest, after=finished.digest(), ended=applied[-1].end, tree=str(displaced))
        snapshots.write(folder, run)
        site.notify("phase", name="commit")
        ending = partial(recovery.finish_upgrade, site.place, folder, run)
        commit.run(site.place, new, plan.entries, finished.entries, after=ending)
    except CareNeeded:
        raise
    except BaseException as error:  # the one broad handler: undo, say so, pass it on
        failed = recovery.undo_upgrade(site.place, folder, run, _described(error))
        site.notify("failed", level="error", run_id=run.run_id, reason=_described(error))
        if isinstance(error, Exception):
            raise RunFailed(failed, error) from error
        raise
    copy_mappings(site)
    site.notify("committed", run_id=run.run_id)
    return Outcome("committed", plan, snapshots.read(folder), tuple(done.problems))


def _progress(site: Site) -> Callable[[int, int], None]:
    return lambda done_files, done_bytes: site.notify("progress", files=done_files, bytes=done_bytes)


def _begin(site: Site, plan: Plan, note: str) -> Run:
    """Make the run's folder, its record and the journal: from here on a crash leaves something to undo."""
    now = site.clock()
    stamp = now.strftime("%Y%m%d-%H%M%S")
    run_id, tries = stamp, 1
    while True:
        try:
            files.make_dir(site.backups / run_id)
            break
        except FileExistsError:  # the same second twice, or a clock that went back
            tries += 1
            run_id = f"{stamp}-{tries}"
    folder = site.backups / run_id
    run = Run(
        run_id=run_id,
        root=str(site.place.root),
        number=max((run.number for run in site.runs()), default=0) + 1,
        state=snapshots.BUILDING,
        tree=str(site.place.new_tree(folder, run_id)),
        linked=site.place.linked,
        link=str(site.place.root.readlink()) if site.place.linked else "",
        steps=[str(step) for step, _ in plan.steps],
        started=now.isoformat(timespec="milliseconds"),
        counts=dict(plan.counts),
        mapping=str(site.mappings / run_id),
        note=note,
    )
    snapshots.write(folder, run)
    files.sync_dir(site.backups)
    journal.write(site.place.state, Journal(journal.UPGRADE, run_id, str(folder)))
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


# -- recovery


def settle(site: Site) -> list[str]:
    """Finish or undo what an earlier run owes, and say so. The lock must be held."""
    notes = recovery.settle(site.place, site.backups)
    notes += [f"copied the mapping of run {run_id}" for run_id in copy_mappings(site)]
    for note in notes:
        site.notify("recovered", level="warning", what=note)
    return notes


def copy_mappings(site: Site) -> list[str]:
    """Copy the mappings of the tree's runs to the folder outside, where they are missing; return the run ids.

    The tree has them all; a copy that cannot be made is told and made by the next writing command.
    """
    copied = []
    for run_id in ledger.runs(site.ledger()):
        target = site.mappings / run_id
        if target.is_dir():
            continue
        source = site.place.real / LEDGER.replace("ledger.jsonl", f"mappings/{run_id}")
        temporary = site.mappings / f".{run_id}.tmp"
        try:
            files.make_dirs(site.mappings)
            files.remove_tree(temporary)
            files.make_dir(temporary)
            for path in sorted(source.iterdir()):
                files.write_new(temporary / path.name, path.read_bytes())
            files.sync_dir(temporary)
            files.rename(temporary, target)
            copied.append(run_id)
        except OSError as error:
            site.notify("mapping-not-copied", level="warning", run_id=run_id, reason=str(error))
    return copied


# -- rollback


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
        run = _run_to_undo(site, run_id)
        if run.state in (snapshots.FAILED, snapshots.ROLLED_BACK):
            return Outcome("as-before", run=run, details=notes)
        folder = site.folder(run.run_id)
        before = snapshots.read_manifest(folder / snapshots.BEFORE)
        site.notify("phase", name="verify", files=len(before.entries))
        _require_sound(run, before, full)
        live = tree.walk(site.place.real)
        later = recovery.later_work(site.place.real, snapshots.read_manifest(folder / snapshots.AFTER))
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
            commit.run(site.place, Path(run.tree), live, before.entries, link=run.link, after=ending)
        except CareNeeded:
            raise
        except BaseException:
            recovery.undo_rollback(site.place, folder, run)
            raise
        site.notify("rolled-back", run_id=run.run_id)
        return Outcome("rolled-back", run=snapshots.read(folder), details=tuple(path for path, _ in later))


def _run_to_undo(site: Site, run_id: str | None) -> Run:
    runs = site.runs()
    applied = ledger.runs(site.ledger())
    hint = "migrator history shows the runs"
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


def _require_sound(run: Run, before: snapshots.Manifest, full: bool) -> None:
    if not Path(run.tree).is_dir():
        raise CareNeeded(f"the snapshot of run {run.run_id} is missing", where=run.tree, hint="restore it there")
    found = snapshots.damages(Path(run.tree), before, full=full)
    if found:
        raise CareNeeded(
            f"the snapshot of run {run.run_id} is not what it was: {'; '.join(found[:5])}"
            + (f"; and {len(found) - 5} more" if len(found) > 5 else ""),
            where=run.tree,
            hint=f"migrator snapshots verify {run.run_id}   (the live tree is untouched)",
        )


# -- adopt


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
                hint="migrator upgrade, then adopt again",
            )
        brought = recovery.adopt(site.place, site.folder(run_id), Path(run.tree), run_id, site.scheme)
        site.notify("adopted", run_id=run_id, things=len(brought))
        return Outcome("adopted" if brought else "up-to-date", run=run, details=tuple(brought))


# -- snapshots


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
                _require_sound(good[-1], manifest, full=True)
            for run in doomed:
                if Path(run.tree).is_dir() and os.path.samefile(run.tree, site.place.real):
                    raise CareNeeded(f"the tree of run {run.run_id} is the live one", where=run.tree)
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


# -- a staging root


def stage(site: Site, origin: Place) -> bool:
    """Make the data root as a copy of another, under that one's shared lock, where it is not there yet."""
    if site.place.real.is_dir():
        return False
    origin.require()
    with lock.hold(site.place.state, "stage", wait=site.wait), lock.hold(origin.state, "stage", shared=True):
        entries = tree.walk(origin.real)
        strange = [entry.path for entry in entries if entry.kind == tree.OTHER]
        if strange:
            raise MigratorError("it holds what cannot be copied", where=origin.real / strange[0])
        site.notify("phase", name="copy", files=len(entries), bytes=sum(entry.size for entry in entries))
        copy = site.place.state / "copy"
        files.remove_tree(copy)
        try:
            tree.build(entries, origin.real, copy, tree.Recipe(), jobs=site.jobs, progress=_progress(site))
            files.sync_file_system(copy)
            changed = tree.differences(origin.real, entries)
            if changed:
                raise TryAgain(f"the origin changed while it was copied: {changed[0]}", where=origin.root)
            files.rename(copy, site.place.root)
            files.sync_dir(site.place.root.parent)
        except BaseException:
            files.remove_tree(copy)
            raise
    return True


# -- status


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
    return Status(
        applied=applied,
        pending=pending,
        faults=faults,
        owed=None if held else recovery.described(site.place, owed, runs),
        run_in_progress=(lock.holder(site.place.state) or "a step of the pipeline") if held else None,
        missing_mappings=[run_id for run_id in ledger.runs(applied) if not (site.mappings / run_id).is_dir()],
        runs=runs,
        generations=_count(site.place.real),
        late_writes=_late_writes(site, runs),
    )


def _count(root: Path) -> dict[str, int]:
    from migrator.store.layout import GENS, STAGES

    counts = {}
    for stage in STAGES:
        try:
            with os.scandir(root / GENS / stage) as entries:
                counts[stage] = sum(e.is_dir(follow_symlinks=False) and not e.name.startswith(".") for e in entries)
        except (FileNotFoundError, NotADirectoryError):
            counts[stage] = 0
    return counts


def _late_writes(site: Site, runs: Sequence[Run]) -> list[str]:
    """Paths in the newest snapshot that were written after the exchange, by a process that still holds the old tree."""
    newest = next((run for run in reversed(runs) if run.has_snapshot), None)
    if newest is None or not Path(newest.tree).is_dir():
        return []
    try:
        manifest = snapshots.read_manifest(site.folder(newest.run_id) / snapshots.BEFORE)
    except CareNeeded:
        return []
    return snapshots.damages(Path(newest.tree), manifest, full=False)


def with_notify(site: Site, notify: Notify) -> Site:
    """The same site with another listener."""
    return replace(site, notify=notify)
