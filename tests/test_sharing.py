"""Whoever does the work, processes of ours or any executor: the same tree to the byte, the same record of the run."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from migrator import runner, undo
from migrator.engine import workers
from migrator.engine.workers import Common, Jobs, spread
from migrator.errors import MigratorError, TryAgain
from migrator.site import RunFailed
from migrator.store import inventory
from tests.engine.trees import build
from tests.faults import content, exact, site
from tests.test_crash import small_store

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
MANY = 150  # generations, with the fixture below more than one part for readers and more names than go into a part


@pytest.fixture(autouse=True)
def _as_if_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventory, "_KEYS_PER_PART", 40)
    monkeypatch.setattr(workers, "_LARGE", 100)


def large_store(root: Path) -> None:
    """Drafts with sidecars that the run rewrites, beside one of each other thing."""
    small_store(root)
    for number in range(MANY):
        folder = root / "gens" / "draft" / f"x{number}"
        folder.mkdir()
        metadata = {"combo_id": f"c{number}", "template_id": "t", "llm_model_id": "m"}
        (folder / "metadata.json").write_text(json.dumps(metadata))
        (folder / "raw_metadata.json").write_text(json.dumps({"gen_id": f"x{number}", "replicate": "1"}))
        (folder / "raw.txt").write_text(f"text {number} of x{number - 1}")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any]]:
    """What one process makes of the store."""
    base = tmp_path_factory.mktemp("alone")
    large_store(base / "data")
    return outcome(base, 1)


def outcome(base: Path, jobs: Jobs) -> tuple[dict[str, Any], dict[str, Any]]:
    """The tree that an upgrade makes, with everything of ours, and run.json apart from paths and the executor."""
    done = runner.upgrade(site(base, jobs=jobs, clock=lambda: NOON))
    assert done.run
    record = {name: str(value).replace(str(base), "BASE") for name, value in vars(done.run).items()}
    assert record.pop("executor") == workers.name_of(jobs)
    return {path: (entry[:3], entry[4]) for path, entry in exact(base / "data").items()}, record


@contextmanager
def processes() -> Iterator[Executor]:
    """Two processes that inherit nothing."""
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        yield pool


@pytest.mark.parametrize("kind", ["2 jobs", "3 jobs", "threads", "processes"])
def test_the_same_tree_and_the_same_record(tmp_path: Path, alone: tuple[Any, Any], kind: str) -> None:
    large_store(tmp_path / "data")
    before = exact(tmp_path / "data")
    hands: Any = {"threads": lambda: ThreadPoolExecutor(3), "processes": processes}
    with hands.get(kind, lambda: nullcontext(int(kind[0])))() as jobs:
        assert outcome(tmp_path, jobs) == alone
        assert undo.rollback(site(tmp_path, jobs=jobs)).status == "rolled-back"
    assert exact(tmp_path / "data") == before


class Spy(ThreadPoolExecutor):
    """Remembers what it is sent."""

    def __init__(self) -> None:
        super().__init__(1)
        self.sent: list[tuple[int, tuple[Common, ...]]] = []

    def submit(self, function: Any, /, *args: Any, **options: Any) -> Future[Any]:
        part, *common = args
        self.sent.append((len(part), tuple(common)))
        return super().submit(function, *args, **options)


def test_what_all_parts_need_is_no_part_of_any(tmp_path: Path) -> None:
    """The names of a store are one object for the executor, however many parts it is sent."""
    large_store(tmp_path / "data")
    plan = runner.read_plan(site(tmp_path))
    assert plan
    with Spy() as spy:
        build(plan.entries, plan.before.root, tmp_path / "t", plan.recipe, jobs=spy)
    commons = [one for _, common in spy.sent for one in common]
    assert len(spy.sent) >= 8
    assert len({one.key for one in commons}) == len({id(one.data) for one in commons}) == 2  # function, names
    names = max(len(one.data) for one in commons)
    assert names > 25 * MANY
    assert sum(size for size, _ in spy.sent) < 1_100 * MANY  # entries and metadata of each generation, once


def twice(number: int) -> int:
    return 2 * number


def refuse_seven(number: int) -> int:
    if number == 7:
        raise MigratorError("seven", where="there", hint="take eight")
    return number


def test_results_stand_in_the_order_of_their_parts() -> None:
    """More parts than an executor has at a time; each is told once."""
    heard: list[int] = []
    with ThreadPoolExecutor(4) as pool:
        assert spread(twice, range(200), 0, pool, heard.append) == list(range(0, 400, 2))
    assert sorted(heard) == list(range(0, 400, 2))


def test_an_error_is_told_as_it_was() -> None:
    with processes() as pool, pytest.raises(MigratorError, match="seven") as error:
        spread(refuse_seven, range(9), 0, pool)
    assert (error.value.where, error.value.hint) == ("there", "take eight")


def die(number: int) -> int:
    import os
    import signal

    os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_a_lost_process_is_try_again() -> None:
    with processes() as pool, pytest.raises(TryAgain, match="a worker was lost"):
        spread(die, range(9), 0, pool)


def test_a_process_with_threads_does_not_fork() -> None:
    """A child would inherit locks that nobody opens any more."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(int).result()
        assert (workers.processes(10**6), workers.processes(10**6, pool)) == (1, 1)
        assert workers.processes(10**6, 2) == 2
        assert [workers.spare(10**6, jobs) for jobs in (1, 2, 3, pool)] == [1, 1, 3, 1]


def test_what_a_lost_worker_had_begun_is_not_begun_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may still write there. The run ends, the tree stays, and a later run has a folder of its own."""
    large_store(tmp_path / "data")
    before = content(tmp_path / "data")
    begun: list[bytes] = []

    class Forgetful(ThreadPoolExecutor):
        """Does each part twice, as if the first worker had been taken for lost."""

        def submit(self, function: Any, /, *args: Any, **options: Any) -> Future[Any]:
            begun.append(args[0])
            super().submit(function, *args, **options)
            return super().submit(function, *args, **options)

    with Forgetful(2) as pool, pytest.raises(RunFailed, match="a worker was lost") as error:
        runner.upgrade(site(tmp_path, jobs=pool))
    assert begun
    assert error.value.exit_code == TryAgain.exit_code
    assert content(tmp_path / "data") == before
    failed = site(tmp_path).runs()[-1]
    assert not [path for path in (tmp_path / "b" / failed.run_id).iterdir() if "tree" in path.name]
    assert runner.upgrade(site(tmp_path)).status == "committed"


STEP = '''"""Rename one."""

from migrator import Rename


def changes(store):
    """Yield it."""
    yield from (Rename(gen, "z") for gen in store.generations() if gen.gen_id == "a b")
'''


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_is_told_of_a_text_does_not_depend_on_who_looks(tmp_path: Path, jobs: int) -> None:
    """A text that names an id which stays mentions no old one that this id begins with, read ahead or not."""
    (tmp_path / "steps").mkdir()
    (tmp_path / "steps" / "0001_one.py").write_text(STEP)
    for name in ("a b", "a b.c"):
        folder = tmp_path / "data/gens/draft" / name
        folder.mkdir(parents=True)
        (folder / "metadata.json").write_text("{}")
        (folder / "raw.txt").write_text("of a b.c and\nof a b")
    done = runner.upgrade(site(tmp_path, migrations=tmp_path / "steps", jobs=jobs))
    told = [(problem.path, problem.message) for problem in done.problems if problem.kind == "leftover-reference"]
    assert told == [(f"gens/draft/{name}/raw.txt", "line 2 mentions the old id a b") for name in ("a b.c", "z")]
