"""A snapshot is damaged, at random and reproducibly: verify finds it, rollback and prune refuse and touch nothing."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from migrator import undo, upkeep
from migrator.engine import snapshots
from migrator.engine.listing import walk
from migrator.engine.snapshots import Run
from migrator.errors import CareNeeded, MigratorError
from tests.torture.crash import told
from tests.torture.kinds import Kind, Tally, tallied
from tests.torture.world import ACTIONS, LAYOUTS, World, exact

Damage = Callable[[random.Random, Path, Path], str]  # (chance, the snapshot, its run folder) -> what was done


def _files(tree: Path) -> list[Path]:
    found = (Path(folder, name) for folder, _, names in os.walk(tree) for name in names)
    return sorted(path for path in found if not path.is_symlink())


def _rewritten(path: Path, data: bytes, chance: random.Random) -> str:
    """Other bytes in place; half of the time with the old time set back, as a careful vandal would."""
    status = path.lstat()
    with path.open("r+b") as file:
        file.write(data)
        file.truncate(len(data))
    if chance.random() < 0.5:
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    return str(path)


def flip(chance: random.Random, tree: Path, folder: Path) -> str:
    path = chance.choice([path for path in _files(tree) if path.lstat().st_size])
    data = bytearray(path.read_bytes())
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return _rewritten(path, bytes(data), chance)


def truncate(chance: random.Random, tree: Path, folder: Path) -> str:
    path = chance.choice([path for path in _files(tree) if path.lstat().st_size])
    return _rewritten(path, path.read_bytes()[: chance.randrange(path.lstat().st_size)], chance)


def append(chance: random.Random, tree: Path, folder: Path) -> str:
    path = chance.choice(_files(tree))
    return _rewritten(path, path.read_bytes() + b"\0" * chance.randint(1, 9), chance)


def delete(chance: random.Random, tree: Path, folder: Path) -> str:
    path = chance.choice(_files(tree))
    path.unlink()
    return str(path)


def add(chance: random.Random, tree: Path, folder: Path) -> str:
    path = chance.choice(_files(tree)).with_name(f"new{chance.random()}")
    chance.choice([path.touch, path.mkdir, lambda: path.symlink_to("nowhere")])()
    return str(path)


def swap(chance: random.Random, tree: Path, folder: Path) -> str:
    one, other = chance.sample(_files(tree), 2)
    while one.read_bytes() == other.read_bytes() and one.lstat().st_mtime_ns == other.lstat().st_mtime_ns:
        one, other = chance.sample(_files(tree), 2)
    between = tree / "between"
    one.rename(between)
    other.rename(one)
    between.rename(other)
    return f"{one} and {other}"


def mode(chance: random.Random, tree: Path, folder: Path) -> str:
    path = chance.choice(_files(tree))
    path.chmod(path.lstat().st_mode ^ 0o020)
    return str(path)


def time(chance: random.Random, tree: Path, folder: Path) -> str:
    path = chance.choice(_files(tree))
    os.utime(path, ns=(0, path.lstat().st_mtime_ns + 1))
    return str(path)


def link(chance: random.Random, tree: Path, folder: Path) -> str:
    path = tree / "gens/draft/a1/link"
    path.unlink()
    path.symlink_to("metadata.json")
    return str(path)


def file_to_link(chance: random.Random, tree: Path, folder: Path) -> str:
    path = chance.choice(_files(tree))
    copy = folder / "elsewhere"
    copy.write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(copy)
    return str(path)


def manifest_torn(chance: random.Random, tree: Path, folder: Path) -> str:
    path = folder / snapshots.BEFORE
    data = path.read_bytes()
    path.write_bytes(data[: chance.randrange(len(data) - 1)])
    return str(path)


def manifest_flipped(chance: random.Random, tree: Path, folder: Path) -> str:
    path = folder / snapshots.BEFORE
    data = bytearray(path.read_bytes())
    data[chance.randrange(len(data) - 1)] ^= 1
    path.write_bytes(data)
    return str(path)


def manifest_of_another_tree(chance: random.Random, tree: Path, folder: Path) -> str:
    (folder / snapshots.BEFORE).write_bytes((folder / snapshots.AFTER).read_bytes())
    return "the manifest of the other tree"


def stale_manifest(chance: random.Random, tree: Path, folder: Path) -> str:
    """The tree is changed and a new, well-sealed manifest made of it: only run.json still knows."""
    path = chance.choice(_files(tree))
    path.write_bytes(path.read_bytes() + b"x")
    entries = walk(tree)
    digests = snapshots.hash_files(tree, [entry.path for entry in entries if entry.kind == "f"])
    (folder / snapshots.BEFORE).write_bytes(snapshots.manifest_of(entries, digests).render())
    return str(path)


def no_manifest(chance: random.Random, tree: Path, folder: Path) -> str:
    (folder / snapshots.BEFORE).unlink()
    return "the manifest is gone"


def no_tree(chance: random.Random, tree: Path, folder: Path) -> str:
    tree.rename(tree.with_name(f"{tree.name}.moved"))
    return "the tree is gone"


def record_broken(chance: random.Random, tree: Path, folder: Path) -> str:
    path = folder / snapshots.RUN_FILE
    data = json.loads(path.read_bytes())
    key = chance.choice(sorted(data))
    data[key] = chance.choice([None, 1.5, ["x"]])
    path.write_text(json.dumps(data))
    return f"{key} of run.json"


OFTEN: tuple[Damage, ...] = (flip, truncate, append, delete, add, swap, mode, time)
RARELY: tuple[Damage, ...] = (
    link,
    file_to_link,
    manifest_torn,
    manifest_flipped,
    manifest_of_another_tree,
    stale_manifest,
    no_manifest,
    no_tree,
    record_broken,
)
EACH = 400  # damages of a layout by a sweep that takes all


def _newest(world: World) -> Run:
    return next(run for run in reversed(world.site().runs()) if run.has_snapshot)


def one_damage(world: World, number: int) -> list[str]:
    """One damage, and what verify, rollback and prune make of it."""
    world.reset()
    chance = random.Random(number)
    run = _newest(world)
    kinds = OFTEN if number % 3 else RARELY
    damage = kinds[number // 3 % len(kinds)]
    what = f"{damage.__name__} {damage(chance, Path(run.tree), world.site().folder(run.run_id))}"
    seen = exact(world.base, times_only=True)
    found = []
    if not _verify_finds(world):
        found.append("verify did not find it")
    if exact(world.base, times_only=True) != seen:
        found.append("verify wrote something")
    act = undo.rollback if world.action.name == "rollback" else partial(upkeep.prune, keep=1, rolled_back=True)
    try:
        act(world.site())
        found.append(f"{world.action.name} did not refuse")
    except CareNeeded:
        pass
    if exact(world.real) != world.old:
        found.append("the live tree was changed")
    if _without_state(exact(world.base, times_only=True)) != _without_state(seen):
        found.append("something was written or deleted")
    return told(world, what, found)


def _without_state(tree: dict[str, tuple[object, ...]]) -> dict[str, tuple[object, ...]]:
    """Without the note in the lock, and what the folders' times say of it."""
    return {path: value for path, value in tree.items() if ".data.migrator" not in path and path not in (".", "work")}


def _verify_finds(world: World) -> bool:
    try:
        return any(found for _, found in upkeep.verify_snapshots(world.site()))
    except MigratorError:
        return True


def sweep(action: str, layout: str, base: Path, stride: int) -> Tally:
    """Damages of the newest snapshot, before a rollback or a prune."""
    world = World(base, ACTIONS[action], layout)

    def runs() -> Iterator[list[str]]:
        for number in range(0, EACH, stride):
            yield one_damage(world, number)

    return tallied(EACH, runs())


DAMAGES = Kind(
    "snapshot damaged", 1000, [partial(sweep, action, layout) for action in ("rollback", "prune") for layout in LAYOUTS]
)
