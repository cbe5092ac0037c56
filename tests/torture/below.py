"""A linked root where two folders cannot be exchanged: below FUSE (bindfs), and below an overlay's lower layer."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

from tests.torture.crash import each_call
from tests.torture.disks import Unavailable, mount_with, mounted
from tests.torture.kinds import Kind, Tally
from tests.torture.world import ACTIONS, LINKED, Action, World


@contextmanager
def below_fuse(action: Action, base: Path) -> Iterator[World]:
    """Every call goes through bindfs."""
    source, point = base / "source", base / "mnt"
    source.mkdir(parents=True)
    with mount_with("bindfs", source, point):
        yield World(base / "world", action, LINKED, work=point / "work")


class Layered(World):
    """A world whose state before the action lies in the lower layer; bringing it back is an empty upper one."""

    def __init__(self, base: Path, action: Action, point: Path) -> None:
        self.point, self.layers = point, base.with_name("layers")
        super().__init__(base, action, LINKED, work=point / "work")
        shutil.copytree(self.work, self.layers / "lower/work", symlinks=True)
        self.reset()

    def reset(self, name: str = "before") -> None:
        if not (self.layers / "lower/work").exists():  # nothing but the making of it has happened yet
            super().reset(name)
            return
        subprocess.run(["umount", str(self.point)], check=True)
        mount_overlay(self.layers, self.point)


def mount_overlay(layers: Path, point: Path) -> None:
    """An overlay with nothing in its upper layer."""
    for name in ("upper", "inner"):
        shutil.rmtree(layers / name, ignore_errors=True)
        (layers / name).mkdir()
    options = f"lowerdir={layers}/lower,upperdir={layers}/upper,workdir={layers}/inner"
    subprocess.run(["mount", "-t", "overlay", "-o", options, "none", str(point)], check=True)


@contextmanager
def below_overlay(action: Action, base: Path) -> Iterator[World]:
    """What is there lies in the lower layer, where a folder cannot even be renamed."""
    layers, point = base / "layers", base / "mnt"
    for name in ("lower", "upper", "inner"):
        (layers / name).mkdir(parents=True)
    options = f"lowerdir={layers}/lower,upperdir={layers}/upper,workdir={layers}/inner"
    with mounted(point, "-t", "overlay", "-o", options, "none"):
        yield Layered(base / "world", action, point)


PLACES: dict[str, Callable[[Action, Path], AbstractContextManager[World]]] = {
    "bindfs": below_fuse,
    "overlay": below_overlay,
}


def crash_below(place: str, action: str, base: Path, stride: int) -> Tally:
    """Each system call of an action on a linked root there, as in `crash, in process`."""
    try:
        with PLACES[place](ACTIONS[action], base) as world:
            return each_call(world, stride)
    except Unavailable as why:
        return Tally(skipped=f"{place}: {why}")


BELOW = Kind(
    "crash, FUSE and overlay",
    500,
    [partial(crash_below, place, action) for place in PLACES for action in ACTIONS],
    3,
)
