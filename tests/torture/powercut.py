"""A power cut, modelled: what no barrier covers may be on the disk or not, in any combination that we have time for.

The system calls of an action are recorded with their data. For every prefix of them a state of the disk is made with
all of them, without those that no fsync covers, without each single one of these, and with each single one alone.
Calls are kept by inode: a write goes where its file went, also when the rename before it is lost.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from migrator.engine import snapshots
from migrator.errors import MigratorError
from tests.faults import marks_of
from tests.torture.crash import told
from tests.torture.kinds import Kind, Tally, in_order, tallied
from tests.torture.system import system
from tests.torture.world import ACTIONS, LAYOUTS, World


@dataclass
class Node:
    """An inode. A folder has `names`, a file `data`, a link `target`."""

    mode: int
    owner: tuple[int, int] = (0, 0)
    mtime: int = 0
    data: bytes = b""
    target: str = ""
    names: dict[str, int] = field(default_factory=dict)
    marks: dict[str, bytes] = field(default_factory=dict)  # extended attributes

    def copy(self) -> Node:
        return replace(self, names=dict(self.names), marks=dict(self.marks))


Disk = dict[int, Node]
Effect = Callable[[Disk], None]
TOP = 0


@dataclass(frozen=True)
class Operation:
    """One call. It is durable when each of the inodes in one of `covers` is synced after it."""

    effect: Effect
    covers: frozenset[int]
    syncs: frozenset[int] = frozenset()
    syncs_all: bool = False
    text: str = ""


def load(root: Path) -> Disk:
    """A folder as a disk; the number of the top is TOP."""
    disk: Disk = {}

    def add(path: str) -> int:
        number, status = len(disk), os.lstat(path)
        node = disk[number] = Node(status.st_mode, (status.st_uid, status.st_gid), status.st_mtime_ns)
        if stat.S_ISDIR(status.st_mode):
            node.names = {name: add(f"{path}/{name}") for name in sorted(os.listdir(path))}
        elif stat.S_ISLNK(status.st_mode):
            node.target = os.readlink(path)
        else:
            node.data = Path(path).read_bytes()
        node.marks = dict(marks_of(path))
        return number

    add(str(root))
    return disk


def store(disk: Disk, root: Path) -> None:
    """Write a disk out into a folder."""
    shutil.rmtree(root, ignore_errors=True)

    def put(number: int, path: str) -> None:
        node = disk[number]
        if stat.S_ISLNK(node.mode):
            os.symlink(node.target, path)
        elif stat.S_ISDIR(node.mode):
            os.mkdir(path)
            for name, child in node.names.items():
                put(child, f"{path}/{name}")
        else:
            with open(path, "wb") as file:
                file.write(node.data)
        if not stat.S_ISLNK(node.mode):
            os.chmod(path, stat.S_IMODE(node.mode))
        for name, value in node.marks.items():
            os.setxattr(path, name, value, follow_symlinks=False)
        os.utime(path, ns=(node.mtime, node.mtime), follow_symlinks=False)

    put(TOP, str(root))


def fingerprint(disk: Disk, number: int = TOP) -> tuple[object, ...]:
    """What can be seen of a disk: two states with the same one are one state. Times of folders do not count."""
    node = disk[number]
    if stat.S_ISDIR(node.mode):
        marks = tuple(sorted(node.marks.items()))
        return (node.mode, marks, tuple((name, fingerprint(disk, child)) for name, child in sorted(node.names.items())))
    marks = tuple(sorted(node.marks.items()))
    return (node.mode, marks, node.mtime if stat.S_ISREG(node.mode) else 0, node.data, node.target)


class Recorder:
    """Turns system calls, told before they happen, into operations on inodes; `now` is the disk with all of them."""

    def __init__(self, root: Path) -> None:
        self.root = str(root)
        self.first = load(root)
        self.now = {number: node.copy() for number, node in self.first.items()}
        self.operations: list[Operation] = []
        self._next = len(self.first)
        self._times: dict[int, int] = {}  # of files that were written and never told a time

    def end(self) -> None:
        """Learn the times that the kernel gave. Raises AssertionError where the recording is not what happened."""
        self._learn(load(Path(self.root)), TOP, TOP)
        self.now = disk_of(self.first, self.operations, set())
        if fingerprint(self.now) != fingerprint(load(Path(self.root))):
            raise AssertionError("the recorded calls do not give what is on the disk")

    def _learn(self, real: Disk, there: int, here: int) -> None:
        self._times[here] = real[there].mtime
        for name, number in self.now[here].names.items():
            if name in real[there].names:
                self._learn(real, real[there].names[name], number)

    def __call__(self, name: str, path: str, args: tuple[Any, ...]) -> None:
        """The hook."""
        make = getattr(self, f"_{name}", None)
        operation = make(path, *args) if make else None
        if operation:
            self.operations.append(operation)
            operation.effect(self.now)

    def _find(self, path: str) -> tuple[int, str]:
        """(number of the folder that holds it, its name)."""
        parts = os.path.relpath(path, self.root).split("/")
        number = TOP
        for part in parts[:-1]:
            node = self.now[self.now[number].names[part]]
            number = self.now[number].names[part]
            if stat.S_ISLNK(node.mode):
                number = self.now[TOP].names[node.target]  # the linked root's target lies in the top folder
        return number, parts[-1]

    def _new(self, path: str, node: Node) -> Operation | None:
        folder, name = self._find(path)
        if name in self.now[folder].names:
            return None
        number, self._next = self._next, self._next + 1

        def effect(disk: Disk) -> None:
            if folder in disk:
                disk[number] = replace(node, mtime=self._times.get(number, 0), names={}, marks={})
                disk[folder].names[name] = number

        return Operation(effect, frozenset({folder}), text=f"new {path}")

    def _mkdir(self, path: str, mode: int = 0o777) -> Operation | None:
        return self._new(path, Node(stat.S_IFDIR | (mode & 0o755)))

    def _create(self, path: str, flags: int, mode: int) -> Operation | None:
        return self._new(path, Node(stat.S_IFREG | (mode & 0o644)))

    def _symlink(self, path: str, target: str) -> Operation | None:
        return self._new(path, Node(stat.S_IFLNK | 0o777, target=target))

    def _on(self, path: str, change: Callable[[Node], None], text: str) -> Operation:
        number = self._entry(path)

        def effect(disk: Disk) -> None:
            if number in disk:
                change(disk[number])

        return Operation(effect, frozenset({number}), text=f"{text} {path}")

    def _entry(self, path: str) -> int:
        if path == self.root:
            return TOP
        folder, name = self._find(path)
        return self.now[folder].names[name]

    def _write(self, path: str, offset: int, data: bytes) -> Operation:
        data, number = bytes(data), self._entry(path)

        def change(node: Node) -> None:
            node.mtime = self._times.get(number, 0)
            node.data = node.data[:offset].ljust(offset, b"\0") + data + node.data[offset + len(data) :]

        return self._on(path, change, "write")

    def _ftruncate(self, path: str, length: int) -> Operation:
        return self._on(path, lambda node: setattr(node, "data", node.data[:length]), "truncate")

    def _fchmod(self, path: str, mode: int) -> Operation:
        return self._on(path, lambda node: setattr(node, "mode", stat.S_IFMT(node.mode) | mode), "chmod")

    _chmod = _fchmod

    def _setxattr(self, path: str, name: str, value: bytes) -> Operation:
        return self._on(path, lambda node: node.marks.update({name: value}), "setxattr")

    def _utime(self, path: str, mtime: int) -> Operation:
        return self._on(path, lambda node: setattr(node, "mtime", mtime), "utime")

    def _unlink(self, path: str) -> Operation | None:
        folder, name = self._find(path)
        if name not in self.now[folder].names:
            return None

        def effect(disk: Disk) -> None:
            if folder in disk:
                disk[folder].names.pop(name, None)

        return Operation(effect, frozenset({folder}), text=f"unlink {path}")

    _rmdir = _unlink

    def _rename(self, old: str, new: str) -> Operation:
        (from_folder, from_name), (to_folder, to_name) = self._find(old), self._find(new)

        def effect(disk: Disk) -> None:
            if from_folder in disk and to_folder in disk and from_name in disk[from_folder].names:
                disk[to_folder].names[to_name] = disk[from_folder].names.pop(from_name)

        return Operation(effect, frozenset({to_folder}), text=f"rename {old} {new}")

    def _exchange(self, one: str, other: str) -> Operation:
        (a, a_name), (b, b_name) = self._find(one), self._find(other)

        def effect(disk: Disk) -> None:
            if a in disk and b in disk and a_name in disk[a].names and b_name in disk[b].names:
                first, second = disk[a].names[a_name], disk[b].names[b_name]
                disk[a].names[a_name], disk[b].names[b_name] = second, first

        return Operation(effect, frozenset({a, b}), text=f"exchange {one} {other}")

    def _fsync(self, path: str) -> Operation:
        return Operation(lambda disk: None, frozenset(), frozenset({self._entry(path)}), text=f"fsync {path}")

    def _syncfs(self, path: str) -> Operation:
        return Operation(lambda disk: None, frozenset(), syncs_all=True, text="syncfs")


def uncovered(operations: list[Operation]) -> list[int]:
    """Operations that no barrier after them makes durable."""
    synced: set[int] = set()
    loose = []
    for index in range(len(operations) - 1, -1, -1):
        operation = operations[index]
        if operation.syncs_all:
            break
        synced |= operation.syncs
        if operation.covers and not operation.covers <= synced:
            loose.append(index)
    return loose[::-1]


def disk_of(first: Disk, operations: list[Operation], without: set[int]) -> Disk:
    """The disk after some operations, but for these."""
    disk = {number: node.copy() for number, node in first.items()}
    for index, operation in enumerate(operations):
        if index not in without:
            operation.effect(disk)
    return disk


def states(recorder: Recorder, stride: int) -> Iterator[tuple[str, bool, Disk]]:
    """(where, whether all had been acknowledged, disk) of every state that differs from those before it.

    Of the many calls before the first syncfs (the build, which nothing can see yet) only each so-manieth is the cut.
    """
    operations = recorder.operations
    built = next((i for i, operation in enumerate(operations) if operation.syncs_all), 0)
    seen: set[int] = set()
    thin = max(stride // 8, 1)
    for end in in_order(list(range(len(operations) + 1))):
        if end < built and end % (4 * stride):
            continue
        loose = uncovered(operations[:end])
        few = loose if end > built else loose[end % stride :: stride]
        variants = [("all", set[int]()), ("none that is not synced", set(loose))]
        variants += [(f"all but {operations[i].text}", {i}) for i in few]
        variants += [(f"of the unsynced only {operations[i].text}", set(loose) - {i}) for i in few]
        for text, without in variants:
            disk = disk_of(recorder.first, operations[:end], without)
            mark = hash(fingerprint(disk))
            if mark in seen:
                continue
            seen.add(mark)
            if len(seen) % thin == 1 or thin == 1:
                yield f"cut after call {end} of {len(operations)}, {text}", end == len(operations), disk


def record(world: World) -> Recorder:
    """The operations of an action that goes well."""
    world.reset()
    recorder = Recorder(world.work)
    with system(recorder):
        world.act()
    recorder.end()
    return recorder


def sweep(action: str, layout: str, base: Path, stride: int) -> Tally:
    """Every state that a power cut during an action may leave, by the model."""
    world = World(base, ACTIONS[action], layout)
    recorder = record(world)

    def runs() -> Iterator[list[str]]:
        for where, acknowledged, disk in states(recorder, stride):
            store(disk, world.work)
            found = world.whole()
            if acknowledged and not world.is_new():
                found.append("acknowledged, and not on the disk")
            found += _sound(world) + world.recovers()
            yield told(world, where, found)

    return tallied(len(recorder.operations), runs())


def _sound(world: World) -> list[str]:
    """After an upgrade: where the new tree is live it is what was verified, attributes too."""
    if world.action.name != "upgrade" or not os.path.isdir(world.work / "data") or not world.is_new():
        return []
    try:
        run = next(iter(world.site().runs()))
        manifest = snapshots.read_manifest(world.site().folder(run.run_id) / snapshots.AFTER)
        return snapshots.damages(world.real, manifest, full=True)
    except (MigratorError, StopIteration) as error:
        return [f"the new tree is live without its record: {error!r}"]


CASES = [(action, layout) for action in ACTIONS for layout in LAYOUTS]
MODELLED = Kind("power cut, modelled", 5000, [partial(sweep, *case) for case in CASES])
