"""The Dagster resource: which data root, and how long a step waits for an upgrade to end."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import dagster as dg

from migrator.engine.exchange import Place
from migrator.errors import MigratorError, TryAgain, UsageError
from migrator.pipeline.access import Access
from migrator.site import Site

RESOURCE = "migrator"  # the key of the resource in every definition here
_PREFIX = "MIGRATOR_"  # of settings in the environment


class Store(dg.ConfigurableResource):  # type: ignore[type-arg] # generic in what it resolves to: itself
    """A data root and where its runs lie. What is blank comes from the environment, as for the command line:
    MIGRATOR_DATA_ROOT, MIGRATOR_BACKUPS and MIGRATOR_MAPPINGS; the last two are by default beside the data root.

    `wait_seconds` is the patience of a step that finds an upgrade under way: its answer has been paid for.
    """

    data_root: str = ""
    backups: str = ""
    mappings: str = ""
    wait_seconds: float = 3600.0

    def root(self) -> Path:
        """The data root, absolute. Raises UsageError where none is named."""
        given = self.data_root or os.environ.get(f"{_PREFIX}DATA_ROOT", "")
        if not given:
            raise UsageError("no data root is named", hint=f"set {_PREFIX}DATA_ROOT, or data_root of the resource")
        return Path(os.path.abspath(given))

    def access(self, what: str, wait: float | None = None) -> Access:
        """One step's way to the store; `what` is who it is, for those who wait for it."""
        return Access(self.root(), what, self.wait_seconds if wait is None else wait)

    def site(self) -> Site:
        """The data root with its folders, for building a cohort. No step of a migration runs from here."""
        root = self.root()

        def folder(name: str) -> Path:
            given = getattr(self, name, "") or os.environ.get(f"{_PREFIX}{name.upper()}", "")
            return Path(os.path.abspath(given or root.parent / name))

        return Site(
            place=Place.at(root),
            migrations=folder("migrations"),
            backups=folder("backups"),
            mappings=folder("mappings"),
            wait=self.wait_seconds,
            jobs=1,  # a process with threads must not fork
        )


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Turn an error of ours into a failure of the step that says what to do; only a held lock is worth a retry."""
    try:
        yield
    except MigratorError as error:
        hint = f"\n{error.hint}" if error.hint else ""
        raise dg.Failure(f"{error}{hint}", allow_retries=isinstance(error, TryAgain)) from error
