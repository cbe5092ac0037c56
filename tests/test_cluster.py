"""Dask workers as processes of their own, over one linked data root: the same tree, or the old one and a clear no."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, Future
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from migrator import cluster, runner, undo
from migrator.engine import exchange, workers
from migrator.engine.exchange import Place
from migrator.errors import MigratorError, TryAgain, UsageError
from migrator.site import RunFailed, settle
from tests.faults import content, exact, hooked, site
from tests.test_sharing import NOON, large_store

pytest.importorskip("distributed", reason="the extra is not installed")
ROOT = Path(__file__).resolve().parents[1]


class Dask:
    """A scheduler with workers that can be killed."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "scheduler.json"
        self.folder = folder
        self.started: list[subprocess.Popen[bytes]] = []
        host = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        self.scheduler = self.start("scheduler", *host, "--scheduler-file", str(self.file))
        self.address = str(self._told()["address"])

    def start(self, kind: str, *args: str) -> subprocess.Popen[bytes]:
        """One process, in the folder of the project, where workers find the package."""
        log = (self.folder / f"{kind}-{len(self.started)}.log").open("wb")
        process = subprocess.Popen(
            [sys.executable, "-m", "dask", kind, *args], cwd=ROOT, stdout=log, stderr=subprocess.STDOUT
        )
        log.close()
        self.started.append(process)
        return process

    def worker(self) -> subprocess.Popen[bytes]:
        """One more worker, a process with one thread."""
        scratch = ("--local-directory", str(self.folder))
        return self.start("worker", self.address, "--no-nanny", "--nthreads", "1", "--no-dashboard", *scratch)

    def _told(self) -> Any:
        for _ in range(600):
            if self.file.exists() and (text := self.file.read_text()):
                return json.loads(text)
            time.sleep(0.1)
        raise AssertionError((self.folder / "scheduler-0.log").read_text())

    def stop(self) -> None:
        """End all of it."""
        for process in reversed(self.started):
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dask]:
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    found = Dask(tmp_path_factory.mktemp("dask"))
    try:
        yield found
    finally:
        found.stop()


def linked(base: Path) -> Path:
    """A store behind a symbolic link at base/data."""
    base.mkdir(exist_ok=True)
    large_store(base / "store")
    (base / "data").symlink_to("store")
    return base


def wait_for(client: Any, count: int) -> None:
    """Until the scheduler has so many workers, no more and no less."""
    for _ in range(600):
        if len(client.scheduler_info()["workers"]) == count:
            return
        time.sleep(0.1)
    raise AssertionError(f"there are not {count} workers")


@pytest.fixture
def two(dask: Dask) -> list[subprocess.Popen[bytes]]:
    """Two workers that are alive."""
    import distributed

    alive = [process for process in dask.started[1:] if process.poll() is None]
    alive += [dask.worker() for _ in range(2 - len(alive))]
    with distributed.Client(dask.address, set_as_default=False) as client:  # type: ignore[no-untyped-call]
        wait_for(client, 2)
    return alive


def test_two_workers_make_the_same_tree(tmp_path: Path, dask: Dask, two: list[subprocess.Popen[bytes]]) -> None:
    """To the byte that of one process and that of forked children, with all that is ours; and so is the way back."""
    found = []
    for name in ("one", "forked", "dask"):
        base = linked(tmp_path / name)
        before = exact(base / "data")
        if name == "dask":
            with cluster.connected(dask.address, Place.at(base / "data")) as hands:
                done = runner.upgrade(site(base, jobs=hands, clock=lambda: NOON))
        else:
            done = runner.upgrade(site(base, jobs={"one": 1, "forked": 2}[name], clock=lambda: NOON))
        assert done.run
        assert done.run.executor == (dask.address if name == "dask" else "")
        found.append({path: (entry[:3], entry[4]) for path, entry in exact(base / "data").items()})
        assert undo.rollback(site(base)).status == "rolled-back"
        assert exact(base / "data") == before
    assert found[1] == found[0]
    assert found[2] == found[0]


def test_the_command(tmp_path: Path, dask: Dask, two: list[subprocess.Popen[bytes]]) -> None:
    base = linked(tmp_path / "s")
    command = [sys.executable, "-m", "migrator", "--data-root", str(base / "data"), "upgrade", "--yes", "--json"]
    done = subprocess.run([*command, "--scheduler", dask.address], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["status"] == "committed"
    assert (base / "data").readlink() != Path("store")


def test_a_worker_that_is_killed(
    tmp_path: Path, dask: Dask, two: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of copying: the run ends with the old tree in place and no left-over, or with the right one."""
    base = linked(tmp_path / "s")
    before = exact(base / "data")
    victim = two[0]
    copied: list[int] = []

    def kill(files: int, size: int) -> None:
        copied.append(files)
        if victim.poll() is None:
            victim.kill()
            victim.wait()

    monkeypatch.setattr(workers, "_FEWEST_PARTS", 40)

    def notify(event: str, **fields: Any) -> None:
        if event == "progress":
            kill(fields["files"], fields["bytes"])

    with cluster.connected(dask.address, Place.at(base / "data")) as hands:
        one = site(base, jobs=hands, notify=notify)
        try:
            assert runner.upgrade(one).status == "committed"
        except RunFailed as error:
            assert error.exit_code == TryAgain.exit_code
            assert exact(base / "data") == before
            assert sorted(path.name for path in base.iterdir()) == [".data.migrator", "b", "data", "store"]
    assert copied
    assert victim.poll() == -signal.SIGKILL
    if content(base / "data") == content(base / "store"):
        assert runner.upgrade(site(base)).status == "committed"
    right = linked(tmp_path / "right")
    runner.upgrade(site(right))
    assert content(base / "data") == content(right / "data")


@pytest.mark.parametrize("answer", [{}, {"workers": {}}])
def test_a_scheduler_that_names_nobody_is_given_up(answer: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Dask's answer has no workers at all while a connection is lost or closed; the watch must outlive that."""
    monkeypatch.setattr(cluster, "_TICK", 0.01)
    monkeypatch.setattr(cluster, "_ALONE", 0.05)
    client = mock.Mock(status="running")
    client.scheduler_info.return_value = answer
    hands = cluster.Cluster(client, "tcp://nowhere")
    try:
        with pytest.raises(BrokenExecutor, match="no worker of tcp://nowhere is left"):
            hands.submit(int).result(timeout=10)
    finally:
        hands.close()


def test_when_nobody_is_left_the_run_ends(
    tmp_path: Path, dask: Dask, two: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dask would wait for another worker for ever, with the store locked."""
    base = linked(tmp_path / "s")
    before = exact(base / "data")
    monkeypatch.setattr(cluster, "_ALONE", 2.0)

    def notify(event: str, **fields: Any) -> None:
        if event == "phase" and fields["name"] == "build":
            for process in two:
                process.kill()
                process.wait()

    with (
        cluster.connected(dask.address, Place.at(base / "data")) as hands,
        pytest.raises(RunFailed, match="a worker was lost") as error,
    ):
        runner.upgrade(site(base, jobs=hands, notify=notify))
    assert error.value.exit_code == TryAgain.exit_code
    assert exact(base / "data") == before


def test_a_run_that_is_killed_leaves_workers_nothing_to_write_to(tmp_path: Path) -> None:
    """A worker of a killed run may still write: its tree goes out of the way, and what it adds meanwhile goes too."""
    base = linked(tmp_path / "s")
    one = site(base)
    child = os.fork()
    if child == 0:
        killed = site(base, notify=lambda event, **f: os.kill(os.getpid(), 9) if f.get("name") == "verify" else None)
        with workers_named("tcp://lost"):
            runner.upgrade(killed)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    (built,) = base.glob("data.2*")
    held = os.open(built / "gens" / "draft", os.O_RDONLY)
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set() and number < 100_000:
            number += 1
            try:
                os.close(os.open(f"late{number}", os.O_CREAT | os.O_WRONLY, dir_fd=held))
            except FileNotFoundError:
                return  # the folder is gone

    removed: list[bool] = []

    def note(call: str, path: str) -> None:
        if (call, path) == ("unlink", "metadata.json"):
            removed.append(built.exists())

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with hooked(note):
            settle(one)
    finally:
        stop.set()
        writer.join()
        os.close(held)
    assert removed
    assert not any(removed)  # nobody finds a path to what is being removed
    assert sorted(path.name for path in base.iterdir()) == [".data.migrator", "b", "data", "store"]


class workers_named:
    """Runs in here are recorded as those of an executor."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> None:
        self.kept = workers.name_of
        workers.name_of = lambda jobs: self.name

    def __exit__(self, *error: object) -> None:
        workers.name_of = self.kept


# -- refused before anything is begun


def test_a_plain_data_root_is_refused(tmp_path: Path) -> None:
    large_store(tmp_path / "data")
    with (
        pytest.raises(UsageError, match="symbolic link") as error,
        cluster.connected("tcp://x:1", Place.at(tmp_path / "data")),
    ):
        pass
    assert error.value.hint == exchange.way_out(Place.at(tmp_path / "data"))


def test_without_the_extra_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    base = linked(tmp_path / "s")
    with (
        pytest.raises(MigratorError, match="not installed") as error,
        cluster.connected("tcp://x:1", Place.at(base / "data")),
    ):
        pass
    assert error.value.hint == "pip install 'migrator[distributed]'"


def test_no_scheduler_is_a_matter_of_usage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_CONNECT", 0.5)
    base = linked(tmp_path / "s")
    with (
        pytest.raises(UsageError, match="no scheduler at"),
        cluster.connected("tcp://127.0.0.1:9", Place.at(base / "data")),
    ):
        pass


class Answering:
    """A client whose workers give these answers."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers

    def run(self, *args: Any, **options: Any) -> dict[str, Any]:
        """What Client.run gives."""
        return self.answers


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"data root": (1, 2)}, "has another data root"),
        ({"version of Python": "2.7", "user": -1}, "has another version of Python and another user"),
        (FileNotFoundError("nothing there"), "does not see the data root: nothing there"),
    ],
)
def test_a_worker_that_differs_is_refused(tmp_path: Path, change: Any, text: str) -> None:
    """Other files, other interpreters, other owners: the tree would not be the same."""
    base = linked(tmp_path / "s")
    mine = cluster.seen(str(base / "store"))
    answer = change if isinstance(change, Exception) else mine | change
    place = Place.at(base / "data")
    cluster._require_alike(Answering({"tcp://a": mine}), place)
    with pytest.raises(MigratorError, match=text):
        cluster._require_alike(Answering({"tcp://a": mine, "tcp://b": answer}), place)
    with pytest.raises(MigratorError, match="has no workers"):
        cluster._require_alike(Answering({}), place)


@pytest.mark.parametrize(
    ("outcome", "told"),
    [
        (TryAgain("begun already"), TryAgain),
        (asyncio.CancelledError(), BrokenExecutor),
        (type("KilledWorker", (Exception,), {})(), BrokenExecutor),
    ],
)
def test_a_result_that_cannot_be_fetched_ends_the_wait(outcome: BaseException, told: type[BaseException]) -> None:
    """A worker may die between the end of its part and the fetching of the result: nobody may wait for ever."""

    class Inner:
        def result(self) -> None:
            raise outcome

    outer: Future[None] = Future()
    cluster._passed_on(Inner(), outer)
    assert isinstance(outer.exception(timeout=0), told)
