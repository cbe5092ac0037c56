"""Forked children: what they give back, and what they cannot."""

from __future__ import annotations

import copyreg
import marshal
import os
from itertools import pairwise

import pytest

from migrator.engine import workers
from migrator.engine.workers import Beside, Shared, borders, reap, spread
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


@pytest.mark.usefixtures("childless")
def test_half_of_a_result_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that dies while it tells has told nothing, also where the half can be read."""

    class Torn(bytes):
        def __len__(self) -> int:
            return super().__len__() + 1

    monkeypatch.setattr(workers, "_outcome", lambda function: (b"v", Torn(marshal.dumps(function()))))
    with pytest.raises(OSError, match="a worker process died"):
        Beside(lambda: 7, 1, jobs=2).result()
    reap()


@pytest.mark.usefixtures("childless")
def test_nothing_is_left_of_children_that_were_seen_off() -> None:
    """Whoever asks for results does not wait until the system has taken back their memory."""
    assert spread(lambda part: part, range(8), 8, jobs=3) == list(range(8))
    reap()


@pytest.mark.usefixtures("childless")
def test_children_begin_before_anybody_asks() -> None:
    """And an error before anybody does ends them."""
    told, tell = os.pipe()

    def work(part: int) -> int:
        os.write(tell, b".")
        return os.getpid()

    with Shared(work, range(8), 8, jobs=2) as shared:
        for _ in range(8):
            os.read(told, 1)
        assert os.getpid() not in shared.results()
    with pytest.raises(ValueError, match="on the way"), Shared(work, range(8), 8, jobs=2):
        raise ValueError("on the way")
    reap()


@pytest.mark.parametrize("number", [1, 2, 8, 1000])
def test_parts_become_smaller(number: int) -> None:
    """From the beginning to the end of the work; the last one is a small part of the mean."""
    found = borders(number)
    sizes = [after - before for before, after in pairwise(found)]
    assert (found[0], found[-1], len(sizes)) == (0, 1, number)
    assert sizes == sorted(sizes, reverse=True)
    assert number == 1 or 0 < sizes[-1] < 1 / number < sizes[0] < 1.5 / number
