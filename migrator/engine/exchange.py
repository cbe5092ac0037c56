"""Where a data root lies, and how a finished tree takes its place in one act.

A plain folder is exchanged with renameat2; a symbolic link is replaced by another. There is no third way: where
neither can be done the run refuses before any work and says how to turn the root into a link.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from migrator.engine import files
from migrator.errors import CareNeeded, MigratorError, UsageError

STATE_SUFFIX = ".migrator"
_TELLING = frozenset({b"ext4", b"tmpfs", b"xfs"})  # each is put to the proof in tests/test_places.py
_OCTAL = re.compile(rb"\\([0-7]{3})")  # how the kernel writes blanks in a path


@dataclass(frozen=True)
class Place:
    """A data root as named: `root` (absolute, its last component not followed) and `state`, our folder beside it.

    `real` is the tree itself: `root`, or what the link points to now.
    """

    root: Path
    state: Path

    @classmethod
    def at(cls, path: str | Path) -> Place:
        """The place of a data root. Raises UsageError where there is none."""
        absolute = Path(os.path.abspath(path))
        parent = Path(os.path.realpath(absolute.parent))
        root = parent / absolute.name
        if not absolute.name:
            raise UsageError("the root of the file system cannot be a data root", where=absolute)
        return cls(root, parent / f".{absolute.name}{STATE_SUFFIX}")

    @property
    def mark(self) -> str:
        """What tells our left-overs in shared backups from those of another root."""
        return hashlib.blake2b(os.fsencode(self.root), digest_size=8).hexdigest()

    @property
    def linked(self) -> bool:
        """Whether the root is a symbolic link."""
        return self.root.is_symlink()

    @property
    def real(self) -> Path:
        """The folder that holds the tree now."""
        return Path(os.path.realpath(self.root)) if self.linked else self.root

    def require(self) -> None:
        """Raise UsageError where there is no folder at the root."""
        if not self.real.is_dir():
            raise UsageError(
                "there is no such data root",
                where=self.root,
                hint="migrator --help   (--data-root DIR names a store, --env NAME a section of migrator.toml)",
            )

    def require_same_file_system(self, folder: Path) -> None:
        """Raise UsageError where `folder` (or what will hold it) is on another file system than the tree."""
        existing = folder
        while not existing.exists():
            existing = existing.parent
        if os.stat(existing).st_dev != os.stat(self.real).st_dev:
            raise UsageError(
                "the backups are on another file system than the data root: trees could not be exchanged",
                where=folder,
                hint=f"name a folder with --backups on the file system of {self.real}",
            )

    def require_outside(self, folder: Path, name: str) -> None:
        """Raise UsageError where a folder of ours lies inside the tree, which would be copied into itself."""
        real = os.path.realpath(folder)
        if real == str(self.real) or real.startswith(f"{self.real}{os.sep}"):
            raise UsageError(f"the {name} lie inside the data root", where=folder, hint=f"--{name} DIR elsewhere")

    @property
    def workshop(self) -> Path:
        """Where what will be renamed into the tree is made: beside it, and swept by recovery."""
        return self.real.parent / f".{self.root.name}.workshop" if self.linked else self.state / "workshop"

    def new_tree(self, run_folder: Path, run_id: str) -> Path:
        """Where the new tree of a run is built: in the run's folder, or beside the link's target."""
        return self.real.parent / f"{self.root.name}.{run_id}" if self.linked else run_folder / "tree"


def _mountinfo() -> list[list[bytes]]:
    """The fields of each mount of this process, as the kernel lists them."""
    try:
        return [line.split(b" ") for line in Path("/proc/self/mountinfo").read_bytes().splitlines()]
    except OSError:
        return []


def mounts() -> list[str]:
    """Mount points of this process."""
    points = (fields[4] for fields in _mountinfo())
    return [os.fsdecode(_OCTAL.sub(lambda match: bytes([int(match[1], 8)]), point)) for point in points]


def folders_tell(root: Path) -> bool:
    """Whether a folder's change time tells of every name that comes or goes: on the file systems known for it.

    Of others, such as those that a program or another machine makes up, nobody knows.
    """
    device = os.stat(root).st_dev
    number = b"%d:%d" % (os.major(device), os.minor(device))
    return any(fields[2] == number and fields[fields.index(b"-") + 1] in _TELLING for fields in _mountinfo())


def way_out(place: Place) -> str:
    """How to turn a data root into a linked one."""
    store = place.root.with_name(place.root.name + ".store")
    return f"mv {place.root} {store} && ln -s {store.name} {place.root}   (a linked root is switched by its link)"


def require_switch(place: Place, backups: Path) -> None:
    """Prove, with two empty folders or a link, that the tree can be switched here. Raises MigratorError if not."""
    real = str(place.real)
    listed = mounts()
    below = [mount for mount in listed if mount.startswith(real + "/")]
    if below:
        raise MigratorError("a file system is mounted inside the data root", where=below[0], hint=f"umount {below[0]}")
    if real in listed:
        inner = place.root / "store"
        link = place.root.with_name(place.root.name + ".link")
        raise MigratorError(
            "the data root is a mount point, which cannot be exchanged",
            where=place.root,
            hint=f"move its content into {inner}, then ln -s {inner} {link} and use --data-root {link}",
        )
    try:
        if place.linked:
            _probe_link(place)
        else:
            _probe_exchange(place, backups)
    except OSError as error:
        if error.errno not in (
            errno.EINVAL,
            errno.ENOSYS,
            errno.EXDEV,
            errno.ENOTSUP,
            errno.EPERM,
            errno.EBUSY,
        ):
            raise MigratorError(f"a run cannot write here: {error.strerror}", where=error.filename) from error
        raise MigratorError(
            f"this file system cannot exchange two folders in one step ({error.strerror})",
            where=place.root,
            hint=way_out(place),
        ) from None


def _probe_exchange(place: Place, backups: Path) -> None:
    here, there = place.state / "probe", backups / f".probe-{place.mark}"
    for folder in (here, there):
        files.remove_tree(folder)
    try:
        files.make_dir(here)
        files.make_dir(there)
        files.exchange(here, there)
    finally:
        for folder in (here, there):
            files.remove_tree(folder)


def _probe_link(place: Place) -> None:
    probe = place.state / "probe-link"
    beside = place.real.parent / f".{place.root.name}.probe"
    files.remove_tree(beside)
    try:
        files.make_dir(beside)
        files.replace_link(probe, "nowhere", place.state)
        files.replace_link(probe, "elsewhere", place.state)
    finally:
        for path in (probe, place.state / "link"):
            if path.is_symlink():
                files.remove_file(path)
        files.remove_tree(beside)


def link_text(place: Place, tree: Path) -> str:
    """What the link must say to mean `tree`: relative where it is so today."""
    today = os.readlink(place.root)
    candidate = os.path.join(os.path.dirname(today), tree.name)
    means = os.path.realpath(os.path.join(place.root.parent, os.path.dirname(today)))
    return candidate if Path(means) == tree.parent else str(tree)


def switch(place: Place, tree: Path, link: str = "") -> Path:
    """Put `tree` in the root's place; return where the tree that was there lies now. One system call decides.

    `link` is what a linked root shall say, where that is known from before.
    """
    if place.linked:
        displaced = place.real
        files.replace_link(place.root, link or link_text(place, tree), place.state)
        return displaced
    files.exchange(place.root, tree)
    return tree


def keep_time(tree: Path, mtime_ns: int) -> None:
    """Give the top of a switched tree the time that it had: to xfs an exchange is a change of both, to ext4 not."""
    if tree.stat().st_mtime_ns != mtime_ns:
        files.set_time(tree, mtime_ns)
        files.sync_dir(tree)


def sync_switch(place: Place, tree: Path) -> None:
    """Make a switch durable. Raises CareNeeded where that fails: the switch has happened and is not undone."""
    try:
        files.sync_dir(place.root.parent)
        if tree.parent.is_dir():
            files.sync_dir(tree.parent)
    except OSError as error:
        raise CareNeeded(
            f"the trees are exchanged, but whether that survives a power cut is unknown: {error.strerror}",
            where=place.root,
            hint="sync; then look at the kernel's log for I/O errors",
        ) from error
