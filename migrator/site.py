"""One data root with its folders, how commands end, and what is owed before anything is written.

The clock is read through `Site.clock` only. Progress and findings go out through `Site.notify`; others print.
Snapshots and recovery are imported where they are needed: most look-ups need neither.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from migrator.engine import files, ledger
from migrator.engine.exchange import Place
from migrator.engine.hooks import NO_HOOKS, Hooks
from migrator.engine.ledger import Applied
from migrator.errors import MigratorError, described
from migrator.store.ids import DEFAULT_SCHEME, IdScheme
from migrator.store.layout import LEDGER, run_mappings

if TYPE_CHECKING:
    from migrator.engine.snapshots import Run
    from migrator.engine.workers import Jobs
    from migrator.plan import Plan
    from migrator.store.problems import Problem

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
    hooks: Hooks = NO_HOOKS
    scheme: IdScheme = DEFAULT_SCHEME
    jobs: Jobs = None
    link: bool = False  # payload is hard-linked, not copied
    wait: float = 0
    notify: Notify = _silent
    clock: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))

    def require_folders(self) -> None:
        """Raise UsageError where the folders do not fit together, before anything else is done."""
        self.place.require()
        self.place.require_outside(self.backups, "backups")
        self.place.require_outside(self.mappings, "mappings")
        self.place.require_same_file_system(self.backups)

    def progress(self, done_files: int, done_bytes: int) -> None:
        """Tell how far a copy is."""
        self.notify("progress", files=done_files, bytes=done_bytes)

    def ledger(self) -> list[Applied]:
        """What the live tree has seen."""
        return ledger.read(self.place.real / LEDGER)

    def runs(self) -> list[Run]:
        """The runs of this root, oldest first."""
        from migrator.engine import snapshots

        return snapshots.of_root(self.backups, self.place.root)

    def folder(self, run_id: str) -> Path:
        """The folder of a run."""
        return self.backups / ledger.check_run_id(run_id)


@dataclass(frozen=True)
class Outcome:
    """How a command ended: `status` is committed, up-to-date, refused, rolled-back, as-before, adopted.

    `rest` is what else it has in memory: who ends soon need not wait until that is freed.
    """

    status: str
    plan: Plan | None = None
    run: Run | None = None
    problems: tuple[Problem, ...] = ()
    details: tuple[str, ...] = ()
    rest: object = field(default=None, repr=False, compare=False)


class RunFailed(MigratorError):
    """A run that was undone: the tree is as before. `run` is its record; the exit code is that of the cause."""

    def __init__(self, run: Run, plan: Plan, cause: BaseException, incident: Path | None = None) -> None:
        text = described(cause)
        where = cause.where if isinstance(cause, MigratorError) else None
        hint = cause.hint if isinstance(cause, MigratorError) else None
        super().__init__(f"{text}; the run was undone, the data root is as before", where=where, hint=hint)
        self.run = run
        self.incident = None if incident is None else str(incident)
        self.plan = plan
        if isinstance(cause, MigratorError):
            self.exit_code = cause.exit_code


def shipped_migrations() -> Path:
    """The standard steps: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent
    inside = package / "migrations"
    return inside if inside.is_dir() else package.parent / "migrations"


def settle(site: Site) -> list[str]:
    """Finish or undo what an earlier run owes, and say so. The lock must be held."""
    from migrator import recovery

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
        source = site.place.real / run_mappings(run_id)
        temporary = site.mappings / f".{run_id}.tmp"
        try:
            files.make_dirs(site.mappings)
            files.remove_tree(temporary)
            files.make_dir(temporary)
            for path in sorted(source.iterdir()):
                files.write_new(temporary / path.name, path.read_bytes())
            files.sync_file_system(temporary)  # a copy under its own name is believed to be whole
            files.rename(temporary, target)
            copied.append(run_id)
        except (OSError, MemoryError) as error:
            site.notify("mapping-not-copied", level="warning", run_id=run_id, reason=described(error))
    return copied
