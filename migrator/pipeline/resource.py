"""The Dagster resource: which data root, and how long a step waits for an upgrade to end."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import dagster as dg

from migrator.errors import MigratorError, TryAgain, UsageError
from migrator.pipeline.access import Access

RESOURCE = "migrator"  # the key of the resource in every definition here
ROOT_VARIABLE = "MIGRATOR_DATA_ROOT"


class Store(dg.ConfigurableResource):  # type: ignore[type-arg] # generic in what it resolves to: itself
    """A data root. Without `data_root` it is that of the environment variable MIGRATOR_DATA_ROOT.

    `wait_seconds` is the patience of a step that finds an upgrade under way: its answer has been paid for.
    """

    data_root: str = ""
    wait_seconds: float = 3600.0

    def root(self) -> Path:
        """The data root, absolute. Raises UsageError where none is named."""
        given = self.data_root or os.environ.get(ROOT_VARIABLE, "")
        if not given:
            raise UsageError("no data root is named", hint=f"set {ROOT_VARIABLE}, or data_root of the resource")
        return Path(os.path.abspath(given))

    def access(self, what: str, wait: float | None = None) -> Access:
        """One step's way to the store; `what` is who it is, for those who wait for it."""
        return Access(self.root(), what, self.wait_seconds if wait is None else wait)


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Turn an error of ours into a failure of the step that says what to do; only a held lock is worth a retry."""
    try:
        yield
    except MigratorError as error:
        hint = f"\n{error.hint}" if error.hint else ""
        raise dg.Failure(f"{error}{hint}", allow_retries=isinstance(error, TryAgain)) from error
