"""Real file systems: power cuts on ext4 and xfs images, and tmpfs that are too small in bytes or in inodes."""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

from migrator.errors import MigratorError
from tests.faults import hooked, points
from tests.torture.crash import told
from tests.torture.kinds import Kind, Tally, tallied
from tests.torture.world import ACTIONS, LAYOUTS, World

IMAGES = {"ext4": ("16M", ["mkfs.ext4", "-q", "-F"]), "xfs": ("300M", ["mkfs.xfs", "-q", "-f"])}
_SHUTDOWN = 0x8004587D  # the same number for ext4 and xfs
LOSE_ALL, KEEP_METADATA = 2, 1
_PATIENCE_SECONDS = 60


class Unavailable(Exception):
    """This machine cannot do it; the text says why, for the table."""


def _run(*command: object) -> str:
    words = [str(word) for word in command]
    if os.geteuid() != 0:
        raise Unavailable("needs root")
    if not shutil.which(words[0]):
        raise Unavailable(f"needs {words[0]}")
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"{words[0]}: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else 'failed'}")
    return done.stdout.strip()


def is_able() -> bool:
    """Whether this machine mounts file systems and has loop devices: then power cuts have to be tried on it."""
    try:
        _run("losetup", "--find")
        with tempfile.TemporaryDirectory() as folder, mounted(Path(folder), "-t", "tmpfs", "none"):
            return True
    except Unavailable:
        return False


def mounted(point: Path, *options: object) -> AbstractContextManager[Path]:
    """A file system for a while."""
    return mount_with("mount", *options, point)


@contextmanager
def mount_with(*command: object) -> Iterator[Path]:
    """What a command mounts at its last word, for a while."""
    point = Path(str(command[-1]))
    point.mkdir(parents=True, exist_ok=True)
    _run(*command)
    try:
        yield point
    finally:
        subprocess.run(["umount", "-l", str(point)], check=False, capture_output=True)


@contextmanager
def attached(image: Path) -> Iterator[str]:
    """An image as a block device that stays the same: mounting with -o loop may find one that is just let go."""
    device = _run("losetup", "--show", "--find", image)
    try:
        yield device
    finally:
        subprocess.run(["losetup", "--detach", device], check=False, capture_output=True)


def shut_down(point: Path, flag: int) -> None:
    """Cut the power of a mounted file system: what is not on its disk is gone."""
    fd = os.open(point, os.O_RDONLY)
    try:
        fcntl.ioctl(fd, _SHUTDOWN, struct.pack("I", flag))
    finally:
        os.close(fd)


def _unmount(point: Path, system: str, device: str) -> None:
    """Unmount, and wait until the file system is really gone.

    A process that was given mount namespaces of its own meanwhile (a browser's sandbox) holds a copy of the mount,
    and mounting again would give the very file system that was shut down.
    """
    subprocess.run(["umount", str(point)], check=True)
    alive = Path("/sys/fs", system, Path(device).name)
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while alive.exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{device} is still mounted in somebody's namespace")
        time.sleep(0.01)


def power_cut(action: str, layout: str, system: str, flag: int, base: Path, stride: int) -> Tally:
    """The power of a real file system is cut before each act, and after the last one."""
    image, point = base / "image", base / "mnt"
    base.mkdir(parents=True)
    try:
        size, make = IMAGES[system]
        _run("truncate", "-s", size, image)
        _run(*make, image)
        with attached(image) as device, mounted(point, "-t", system, device):
            world = World(base / "world", ACTIONS[action], layout, work=point / "work")
            acts = points(world.act)
            chosen = [*range((len(action) + flag) % min(stride, len(acts)), len(acts), stride), len(acts)]
            return tallied(len(acts) + 1, _cuts(world, acts, chosen, system, flag, device, point))
    except Unavailable as why:
        return Tally(skipped=f"{system}: {why}")


def _cuts(
    world: World, acts: list[tuple[str, str]], chosen: list[int], system: str, flag: int, device: str, point: Path
) -> Iterator[list[str]]:
    for k in chosen:
        world.reset()
        os.sync()
        found = [] if _cut_at(world, k, point, flag) else ["the power was not cut"]
        _unmount(point, system, device)
        subprocess.run(["mount", "-t", system, device, str(point)], check=True)
        found += world.whole()
        if k == len(acts) and not world.is_new():
            found.append("acknowledged, and not on the disk")
        found += world.recovers()
        yield told(world, f"{system}, flag {flag}, cut before act {k} {acts[k] if k < len(acts) else 'none'}", found)


def _cut_at(world: World, k: int, point: Path, flag: int) -> bool:
    child = os.fork()
    if child == 0:
        count = 0

        def hook(call: str, path: str) -> None:
            nonlocal count
            if count == k:
                shut_down(point, flag)
                os._exit(9)
            count += 1

        try:
            with hooked(hook):
                world.act()
            shut_down(point, flag)
            os._exit(9)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


# -- no room


def no_room(action: str, layout: str, what: str, base: Path, stride: int) -> Tally:
    """An action with room for so many more bytes, or inodes: it is done, or refused or undone; never in between."""
    point = base / "mnt"
    base.mkdir(parents=True)
    try:
        with mounted(point, "-t", "tmpfs", "-o", "size=64m,nr_inodes=100k", "none"):
            world = World(base / "world", ACTIONS[action], layout, work=point / "work")
            step = max((8 if what == "size" else 4) // (1 if action == "upgrade" else 4), 1)
            extras = range(0, (280 if what == "size" else 100) // (1 if action == "upgrade" else 4), step * stride)
            return tallied(len(extras), _squeezed(world, what, extras, point))
    except Unavailable as why:
        return Tally(skipped=str(why))


def _squeezed(world: World, what: str, extras: range, point: Path) -> Iterator[list[str]]:
    refused = done = 0
    for number, extra in enumerate(extras):
        world.reset()
        now = os.statvfs(point)
        used = (now.f_blocks - now.f_bfree) * now.f_frsize // 1024
        limit = f"size={used + extra}k" if what == "size" else f"nr_inodes={now.f_files - now.f_ffree + extra}"
        _run("mount", "-o", f"remount,{limit}", point)
        found = []
        try:
            world.act()
            done += 1
            if not world.is_new():
                found.append("done, and the tree is the old one")
        except (MigratorError, OSError):
            refused += 1
            if not world.action.piecemeal and not world.is_old():
                found.append("refused, and the tree is not the old one")
        found += world.whole()
        _run("mount", "-o", "remount,size=64m,nr_inodes=100k", point)
        found += world.recovers()
        if number == len(extras) - 1 and not (refused and done):
            found.append(f"{refused} refused and {done} done: the sizes prove nothing")
        yield told(world, f"{what} {extra} more", found)


CUTS = Kind(
    "power cut, real",
    1000,
    [
        partial(power_cut, action, layout, system, flag)
        for system in IMAGES
        for flag in (LOSE_ALL, KEEP_METADATA)
        for action in ACTIONS
        for layout in LAYOUTS
    ],
    2,
    mandatory=True,
)
NO_ROOM = Kind(
    "no space, no inodes",
    60,
    [
        partial(no_room, action, layout, what)
        for action in ("upgrade", "cohort", "regenerate")
        for layout in LAYOUTS
        for what in ("size", "inodes")
    ],
    mandatory=True,
)
