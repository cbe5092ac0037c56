"""Others at the same time: runners, readers, writers that know no lock, and parents that die before their workers."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from migrator import runner, undo, upkeep
from migrator.engine import exchange, files, lock
from migrator.engine.exchange import Place
from migrator.errors import DecisionNeeded, MigratorError, TryAgain
from tests.faults import hooked, points
from tests.faults import site as site_at
from tests.torture.crash import told
from tests.torture.kinds import Kind, Tally, in_order, tallied
from tests.torture.world import ACTIONS, LAYOUTS, LINKED, PLAIN, World, exact, remember_steps, tiny_store

LATE = b"late,row\n"
_forked = multiprocessing.get_context("fork")


# -- a writer that does not know the lock


def writer(action: str, layout: str, way: str, base: Path, stride: int) -> Tally:
    """At each act of an action somebody rewrites a file in place (by its path, or through a descriptor from before)."""
    world = World(base, ACTIONS[action], layout)
    acts = points(world.act)
    switch = acts.index(("exchange" if layout == PLAIN else "rename", str(world.work / "data")))

    def runs() -> Iterator[list[str]]:
        for k in in_order(list(range(len(way) % min(stride, len(acts)), len(acts), stride))):
            world.reset()
            yield told(world, f"written {way} before act {k} {acts[k]}", _one_writer(world, way, k, switch))

    return tallied(len(acts), runs())


def _one_writer(world: World, way: str, k: int, switch: int) -> list[str]:
    name = "2_tasks/evaluation_tasks.csv"
    path = world.work / "data" / name
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    count = 0

    def hook(call: str, target: str) -> None:
        nonlocal count
        if count == k and way == "by descriptor":
            os.write(fd, LATE)
        elif count == k:
            with path.open("ab") as file:
                file.write(LATE)
        count += 1

    refusal: MigratorError | None = None
    try:
        with hooked(hook):
            world.act()
    except MigratorError as error:
        refusal = error
    finally:
        os.close(fd)
    found = [] if count > k else ["nobody wrote"]
    if LATE in path.read_bytes():
        if refusal and "during the exchange" in refusal.message and k < switch - 3:
            found.append("written well before the exchange, and found only after it")
        # to be tried again; or, for a rollback that finds it before it begins, a person decides about later work
        right = refusal is None or refusal.exit_code in (TryAgain.exit_code, DecisionNeeded.exit_code)
        return found if right else [*found, f"{refusal!r}"]
    if refusal:
        return [*found, f"refused, and the write is gone: {refusal!r}"]
    if k <= switch:
        found.append("written before the exchange, done all the same, and the write is gone from the live tree")
    if world.action.gives_back:  # what was written to the tree from after lies there, as all later work
        kept = any(LATE in Path(run.tree, name).read_bytes() for run in world.site().runs())
        return found if kept else [*found, "the write is nowhere"]
    known = any(line.startswith(name) for line in upkeep.status(world.site()).late_writes)
    return found if known else [*found, "nobody knows of the write"]


# -- the lock


def lock_is_held(action: str, layout: str, base: Path, stride: int) -> Tally:
    """From the first act that finds the lock taken to the last one, nobody else could get it."""
    world = World(base, ACTIONS[action], layout)
    held: list[bool] = []

    def hook(call: str, path: str) -> None:
        held.append(lock.is_held(world.site().place.state))

    with hooked(hook):
        world.act()
    first = held.index(True) if True in held else len(held)
    found = ["the lock was never taken"] if first > 3 else []
    if not all(held[first:]):
        found.append(f"somebody else could get the lock at {held[first:].count(False)} of {len(held)} acts")
    return Tally(len(held), len(held), tuple(told(world, "lock", found)))


def handed_over(base: Path, stride: int) -> Tally:
    """Whoever waited for the lock has it alone: a third one is refused."""
    state = base / "state"

    def one() -> list[str]:
        has, done = threading.Event(), threading.Event()

        def wait() -> None:
            with lock.hold(state, "second", wait=5):
                has.set()
                done.wait(5)

        with lock.hold(state, "first"):
            second = threading.Thread(target=wait)
            second.start()
            time.sleep(0.05)
        found = [] if has.wait(5) else ["the one who waited did not get it"]
        try:
            with lock.hold(state, "third"):
                found.append("two hold the lock")
        except TryAgain:
            pass
        done.set()
        second.join()
        return found

    return tallied(20, (one() for _ in range(0, 20, min(stride, 10))))


def _runner(base: Path, pipe: Connection) -> None:
    remember_steps()
    while pipe.recv():
        try:
            pipe.send(runner.upgrade(site_at(base)).status)
        except MigratorError as error:
            pipe.send(type(error).__name__)


def runners(base: Path, stride: int) -> Tally:
    """Four start an upgrade at once: one commits, the others are told to wait or find it done."""
    base.mkdir(parents=True)
    tiny_store(base / "data")
    first = exact(base / "data")
    remember_steps()
    pipes = []
    processes = []
    for _ in range(4):
        here, there = _forked.Pipe()
        processes.append(_forked.Process(target=_runner, args=(base, there), daemon=True))
        pipes.append(here)
    for process in processes:
        process.start()

    def one() -> list[str]:
        for pipe in pipes:
            pipe.send(True)
        answers = sorted(pipe.recv() for pipe in pipes)
        found = []
        if answers.count("committed") != 1 or not set(answers) <= {"committed", "TryAgain", "up-to-date"}:
            found.append(f"four runners: {answers}")
        undo.rollback(site_at(base))
        if exact(base / "data") != first:
            found.append("the tree from before is not back")
        upkeep.prune(site_at(base), 1, rolled_back=True)
        return found

    try:
        return tallied(200, (one() for _ in range(0, 200, stride)))
    finally:
        for pipe in pipes:
            pipe.send(False)
        for process in processes:
            process.join()


# -- readers


def _reader(root: Path, stop: Any, pipe: Connection) -> None:
    seen = missing = mixed = 0
    while not stop.is_set():
        try:
            fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
            try:
                names = {_text(fd, name) for name in ("one", "two")}
            finally:
                os.close(fd)
            mixed += len(names) != 1
            (root / "one").read_bytes()
            seen += 1
        except FileNotFoundError:
            missing += 1
    pipe.send((seen, missing, mixed))


def _text(folder: int, name: str) -> bytes:
    fd = os.open(name, os.O_RDONLY, dir_fd=folder)
    try:
        return os.read(fd, 10)
    finally:
        os.close(fd)


def readers(layout: str, base: Path, stride: int) -> Tally:
    """Two read without a break while the trees are exchanged ten thousand times: none finds nothing, or a mix."""
    base.mkdir(parents=True)
    for text in ("a", "b"):
        (base / f"tree.{text}").mkdir()
        for name in ("one", "two"):
            (base / f"tree.{text}" / name).write_text(text)
    if layout == LINKED:
        (base / "data").symlink_to("tree.a")
    else:
        (base / "tree.a").rename(base / "data")
    place = Place.at(base / "data")
    files.make_dirs(place.state)
    stop = _forked.Event()
    pipes = [_forked.Pipe() for _ in range(2)]
    processes = [_forked.Process(target=_reader, args=(place.root, stop, there), daemon=True) for _, there in pipes]
    for process in processes:
        process.start()
    rounds = 10_000 // stride
    started = time.monotonic()
    other = base / "tree.b"
    for _ in range(rounds):
        other = exchange.switch(place, other)
    stop.set()
    found = []
    for here, _ in pipes:
        seen, missing, mixed = here.recv()
        if missing or mixed or not seen:
            found.append(f"{layout}: of {seen} looks {missing} found nothing and {mixed} a mix")
    for process in processes:
        process.join()
    return Tally(rounds, rounds, tuple(found), time.monotonic() - started)


# -- a parent that dies


def orphans(base: Path, stride: int) -> Tally:
    """A run with workers is killed while they are at work: the lock is free and they are gone within a second."""
    world = World(base, ACTIONS["upgrade"], PLAIN, jobs=2)

    def one(number: int) -> list[str]:
        world.reset()
        parent = os.fork()
        if parent == 0:
            _die_with_workers(world, number)
        os.waitpid(parent, 0)
        workers = [int(word) for word in (world.base / "workers").read_text().split()]
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline and (any(map(_alive, workers)) or lock.is_held(world.site().place.state)):
            time.sleep(0.01)
        found = [] if workers else ["there were no workers"]
        alive = [worker for worker in workers if _alive(worker)]
        if alive:
            found.append(f"{len(alive)} workers outlive the run")
        if lock.is_held(world.site().place.state):
            found.append("the lock is held by nobody's worker")
        for worker in alive:
            os.kill(worker, signal.SIGKILL)
        (world.base / "workers").unlink()
        return told(world, "killed with workers", found + world.whole() + world.recovers())

    return tallied(30, (one(number) for number in range(0, 30, min(stride, 15))))


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _die_with_workers(world: World, number: int) -> None:
    """In the child: its worker notes itself at its so-manieth act, kills its parent, and would go on for long.

    The parent stands still while it has a worker: else it may have done all the work before the worker came that far.
    """
    me = os.getpid()
    note = world.base / "workers"
    children = Path(f"/proc/{me}/task/{me}/children")
    count = 0

    def hook(call: str, path: str) -> None:
        nonlocal count
        if os.getpid() == me:
            while any(_alive(int(child)) for child in children.read_text().split()):
                time.sleep(0.01)
            return
        count += 1
        if count > number:
            note.write_text(str(os.getpid()))
            os.kill(me, signal.SIGKILL)
            time.sleep(30)

    files.hook = hook
    try:
        world.act()
    finally:
        os._exit(0)


WRITERS = Kind(
    "writer without lock",
    800,
    [
        partial(writer, action, layout, way)
        for action in ("upgrade", "rollback")
        for layout in LAYOUTS
        for way in ("by path", "by descriptor")
    ],
)
LOCKS = Kind(
    "lock", 500, [partial(lock_is_held, action, layout) for action in ACTIONS for layout in LAYOUTS] + [handed_over]
)
RUNNERS = Kind("four runners", 200, [runners])
READERS = Kind("exchanges under readers", 20_000, [partial(readers, layout) for layout in LAYOUTS])
ORPHANS = Kind("killed with workers", 30, [orphans])
