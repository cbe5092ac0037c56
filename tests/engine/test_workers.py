"""Forked children: what they give back, and what they cannot."""

from __future__ import annotations

import copyreg

import pytest

from migrator.engine.workers import Beside
from migrator.errors import MigratorError


def test_an_error_comes_back_without_what_it_came_from() -> None:
    """Libraries of workers teach pickle to carry causes along, and a cause may be of a class that nobody can name."""
    tblib = pytest.importorskip("tblib.pickling_support")

    def fail() -> None:
        try:
            raise type("Odd", (Exception,), {})
        except Exception as error:
            raise MigratorError("told", hint="mend it") from error

    tblib.install(MigratorError)
    beside = Beside(fail, 1, jobs=2)
    try:
        with pytest.raises(MigratorError, match="told") as told:
            beside.result()
    finally:
        copyreg.dispatch_table.pop(MigratorError)
        beside.abandon()
    assert told.value.hint == "mend it"
