"""`migrator doctor`: what this machine and file system can do, and what that means here. Writes nothing."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from migrator.cli.screen import escape, json_option, mark, print_json, show, table, wants_json
from migrator.report.text import many, size

if TYPE_CHECKING:
    from migrator.engine.exchange import Place
    from migrator.engine.listing import Entry
    from migrator.site import Site

FINE, NOTE, WARN, BAD = "fine", "note", "warn", "bad"
_MARKS = {FINE: "done", NOTE: "none", WARN: "warning", BAD: "bad"}

# renameat2(RENAME_EXCHANGE) is in each of these since Linux 4.x; fs/*/namei.c, fs/libfs.c
EXCHANGES = frozenset({"ext4", "xfs", "btrfs", "tmpfs", "f2fs", "bcachefs", "ubifs"})
SHARES = frozenset({"btrfs", "xfs", "bcachefs"})
NEVER_EXCHANGES = ("fuse", "nfs", "9p", "cifs", "smb", "ceph")
_KERNEL = (3, 15)  # the first with renameat2
_BLOCK = 4096
_LIBRARIES = ("click", "orjson", "pandas", "structlog", "rich", "dagster")


@dataclass(frozen=True)
class Fact:
    """One thing that was found, how good it is (fine, note, warn, bad), and what it means for a run."""

    group: str
    name: str
    value: str
    state: str
    meaning: str


@dataclass(frozen=True)
class Mount:
    """One line of /proc/self/mountinfo."""

    point: str
    kind: str
    options: str


@click.command(short_help="What this machine and file system can do.")
@json_option
@click.pass_context
def command(ctx: click.Context) -> None:
    """Tell whether a run would work here, before one is tried. Writes nothing.

    Exit 0: it would. Exit 1: it could not, and the line says what to do.
    """
    site = ctx.obj.site()
    site.place.require()
    facts = list(examine(site))
    ready = all(fact.state != BAD for fact in facts)
    if wants_json():
        print_json({"ready": ready, "data_root": str(site.place.root), "facts": [asdict(fact) for fact in facts]})
    else:
        _print(site, facts, ready)
    ctx.exit(0 if ready else 1)


def examine(site: Site) -> Iterator[Fact]:
    """Every fact, in the order in which it is shown."""
    from migrator.engine import listing
    from migrator.errors import MigratorError

    yield from _machine()
    yield from _root(site)
    yield from _neighbours(site)
    try:
        entries = listing.walk(site.place.real)
    except MigratorError as error:
        yield Fact("store", "readable", str(error), BAD, "a run reads and copies everything in the data root")
    else:
        yield from _room(site, entries)
        yield from _owners(entries)
    yield from _use(site)
    yield from _dagster()
    yield from _libraries()


# -- machine


def _machine() -> Iterator[Fact]:
    version = platform.python_version()
    fine = sys.version_info >= (3, 11)
    yield Fact("machine", "Python", version, FINE if fine else BAD, "new enough" if fine else "3.11 or newer is needed")
    yield Fact("machine", "platform", f"{platform.system()} {platform.machine()}", *_platform())
    kernel = platform.release()
    numbers = tuple(int(number) for number in re.findall(r"\d+", kernel)[:2])
    old = numbers < _KERNEL
    yield Fact(
        "machine",
        "kernel",
        kernel,
        WARN if old else FINE,
        "no exchange before 3.15: link the root" if old else "knows how to exchange two folders",
    )
    cores = len(os.sched_getaffinity(0))
    meaning = "a large store is built by all of them" if cores > 1 else "a large store is built by one process"
    yield Fact("machine", "cores", str(cores), NOTE, meaning)


def _platform() -> tuple[str, str]:
    if platform.system() != "Linux":
        return BAD, "a run needs Linux: flock, syncfs and renameat2"
    if not hasattr(ctypes.CDLL(None), "renameat2"):
        return BAD, "the C library has no renameat2 (glibc 2.28 and musl 1.2.3 do)"
    return FINE, "has flock, syncfs and renameat2"


# -- the data root


def read_mounts(path: Path = Path("/proc/self/mountinfo")) -> list[Mount]:
    """The mounts of this process, in the kernel's order; none where it does not tell."""
    try:
        lines = path.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        head, _, tail = line.partition(" - ")
        fields, rest = head.split(" "), tail.split(" ")
        if len(fields) > 5 and rest[0]:
            found.append(Mount(_unescaped(fields[4]), rest[0], fields[5]))
    return found


def _unescaped(text: str) -> str:
    """A path of mountinfo: blanks, tabs, line ends and backslashes stand there in octal."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def mount_of(path: Path, mounts: Sequence[Mount]) -> Mount | None:
    """The mount that a path lies on: the last one with the longest mount point above it."""
    best = None
    for mount in mounts:
        if path.is_relative_to(mount.point) and (best is None or len(mount.point) >= len(best.point)):
            best = mount
    return best


def _root(site: Site) -> Iterator[Fact]:
    place, mounts = site.place, read_mounts()
    real = place.real
    what = f"a symbolic link to {real}" if place.linked else "a folder"
    yield Fact(
        "data root",
        "kind",
        what,
        FINE,
        "a run replaces the link" if place.linked else "a run exchanges folders",
    )
    mount = mount_of(real, mounts)
    kind = mount.kind if mount else "unknown"
    yield Fact("data root", "file system", kind, *_exchange(place, kind))
    inside = [other.point for other in mounts if Path(other.point) != real and Path(other.point).is_relative_to(real)]
    if inside:
        yield Fact(
            "data root",
            "mounts inside",
            ", ".join(inside),
            BAD,
            f"a tree is one file system: umount {inside[0]}",
        )
    if mount and Path(mount.point) == real:
        yield Fact("data root", "mount point", "yes", BAD, _mount_point(place))
    else:
        yield Fact("data root", "mount point", "no", FINE, "it can be put in another place")
    shares = "this file system could" if kind in SHARES else "this file system cannot"
    meaning = "not used: a run copies every file, and the snapshot takes its own room"
    yield Fact("data root", "reflink", f"{shares} share blocks between files", NOTE, meaning)


def _exchange(place: Place, kind: str) -> tuple[str, str]:
    from migrator.engine.exchange import way_out

    if place.linked:
        return FINE, "a link can be replaced in one act on every file system"
    if kind in EXCHANGES:
        return FINE, "two folders can be exchanged in one act"
    if kind.startswith(NEVER_EXCHANGES):
        return BAD, f"two folders cannot be exchanged here: {way_out(place)}"
    unsure = (
        "folders of a lower layer cannot be exchanged"
        if kind == "overlay"
        else "not known whether it exchanges folders"
    )
    return WARN, f"{unsure}; a run finds out before any work, and the way out is: {way_out(place)}"


def _mount_point(place: Place) -> str:
    inner, link = place.root / "store", place.root.with_name(place.root.name + ".link")
    return f"cannot be exchanged: move its content into {inner}, ln -s {inner} {link}, use --data-root {link}"


# -- what lies beside it


def _neighbours(site: Site) -> Iterator[Fact]:
    place = site.place
    same = os.stat(_existing(site.backups)).st_dev == os.stat(place.real).st_dev
    meaning = (
        "on the data root's file system: trees can be exchanged"
        if same
        else f"on another file system, trees cannot be exchanged: --backups {place.real.parent / 'backups'}"
    )
    yield Fact("beside it", "backups", str(site.backups), FINE if same else BAD, meaning)
    folders = {
        "folder of the root": place.root.parent,
        "folder of the tree": place.real.parent,
        "backups": site.backups,
    }
    for what, folder in folders.items():
        existing = _existing(folder)
        if not os.access(existing, os.W_OK | os.X_OK):
            why = "read-only file system" if os.statvfs(existing).f_flag & os.ST_RDONLY else "no permission"
            yield Fact("beside it", what, str(existing), BAD, f"a run must write here: {why}")
    steps = site.migrations.is_dir()
    yield Fact(
        "beside it",
        "steps",
        str(site.migrations),
        FINE if steps else BAD,
        f"{_count_steps(site.migrations)}, the same for every environment" if steps else "migrator init makes it",
    )


def _count_steps(folder: Path) -> str:
    return many(len(list(folder.glob("[0-9][0-9][0-9][0-9]_*.py"))), "step")


def _existing(path: Path) -> Path:
    """The path, or what will hold it."""
    while not path.exists():
        path = path.parent
    return path


# -- the store


def _room(site: Site, entries: Sequence[Entry]) -> Iterator[Fact]:
    where = site.place.real.parent if site.place.linked else _existing(site.backups)
    needed = sum(-(-max(entry.size, 1) // _BLOCK) * _BLOCK for entry in entries)
    free = shutil.disk_usage(where).free
    value = f"{size(free)} free, a run takes {size(needed)}"
    if needed > free:
        yield Fact("store", "disk", value, BAD, "free some space, or migrator snapshots prune --keep 1")
    elif 2 * needed > free:
        yield Fact("store", "disk", value, WARN, "enough for one run and its snapshot, not for two")
    else:
        yield Fact("store", "disk", value, FINE, "every run keeps the tree from before as its snapshot")
    inodes = os.statvfs(where)
    if not inodes.f_files:  # btrfs and some network file systems do not count them
        yield Fact("store", "inodes", f"not counted here, a run takes {len(entries):,}", FINE, "nothing to watch")
        return
    short = len(entries) > inodes.f_favail
    value = f"{inodes.f_favail:,} free, a run takes {len(entries):,}"
    meaning = "migrator snapshots prune --keep 1" if short else "each snapshot keeps its own"
    yield Fact("store", "inodes", value, BAD if short else FINE, meaning)


def _owners(entries: Sequence[Entry]) -> Iterator[Fact]:
    """A copy keeps owner and group; only root may give files away."""
    mine, groups = os.geteuid(), {os.getegid(), *os.getgroups()}
    foreign = [entry for entry in entries if entry.uid != mine or entry.gid not in groups]
    if mine == 0 or not foreign:
        yield Fact("store", "owners", "kept", FINE, "the new tree has the owners and groups of the old one")
    else:
        value = f"{many(len(foreign), 'thing')} of other owners, such as {foreign[0].path or 'the root'}"
        yield Fact(
            "store",
            "owners",
            value,
            BAD,
            "a run keeps owners, which takes their owner or root: chown, or sudo",
        )


# -- who is using it


def _use(site: Site) -> Iterator[Fact]:
    from migrator import recovery
    from migrator.engine import journal, lock
    from migrator.errors import MigratorError

    held = lock.is_held(site.place.state)
    if held:
        who = lock.holder(site.place.state) or "a step of the pipeline"
        yield Fact("use", "lock", f"held: {who}", WARN, "a run would exit 5 now; --wait SECONDS waits")
    else:
        yield Fact("use", "lock", "free", FINE, "a run can begin now")
    if held:
        return
    try:
        owed = recovery.described(site.place, journal.read(site.place.state), site.runs())
    except MigratorError as error:
        yield Fact("use", "recovery", str(error), BAD, error.hint or "migrator status")
        return
    meaning = "the next writing command does that first" if owed else "a run begins at once"
    yield Fact("use", "recovery", owed or "nothing is owed", WARN if owed else FINE, meaning)


def _dagster() -> Iterator[Fact]:
    """The instance whose partition keys must follow a run: Dagster finds it by DAGSTER_HOME alone."""
    home = os.environ.get("DAGSTER_HOME", "")
    if not home:
        meaning = "nothing has to follow a run; with a pipeline: export DAGSTER_HOME=DIR, then doctor again"
        yield Fact("use", "Dagster instance", "none: DAGSTER_HOME is not set", NOTE, meaning)
    elif not os.path.isabs(home) or not os.path.isdir(home):
        meaning = (
            "a run works; the pipeline's keys could not follow it: DAGSTER_HOME must be a folder, by its full path"
        )
        yield Fact("use", "Dagster instance", home, WARN, meaning)
    else:
        yield Fact("use", "Dagster instance", home, FINE, "after a run its partition keys must follow")


def _libraries() -> Iterator[Fact]:
    from importlib import metadata

    from migrator import __version__

    yield Fact("versions", "migrator", __version__, FINE, "")
    for name in _LIBRARIES:
        try:
            yield Fact("versions", name, metadata.version(name), FINE, "")
        except metadata.PackageNotFoundError:
            optional = name == "dagster"
            meaning = "only the Dagster side needs it" if optional else f"pip install {name}"
            yield Fact("versions", name, "not installed", NOTE if optional else BAD, meaning)


# -- saying it


def _print(site: Site, facts: Sequence[Fact], ready: bool) -> None:
    env = f"{escape(site.env)}  " if site.env else ""
    show(f"[bold]migrator doctor[/]  {env}[dim]{escape(site.place.root)}[/]\n")
    rows = table("", "", "", "")
    group = ""
    for fact in facts:
        if group and fact.group != group:
            rows.add_row("", "", "", "")
        group = fact.group
        rows.add_row(mark(_MARKS[fact.state]), escape(fact.name), escape(fact.value), f"[dim]{escape(fact.meaning)}[/]")
    show(rows)
    bad = [fact for fact in facts if fact.state == BAD]
    if ready:
        show(f"\n{mark('done')} a run works here. Nothing was written.")
        return
    show(f"\n[red]a run could not work here[/]: {escape(', '.join(fact.name for fact in bad))}")
    show(f"[dim]hint:[/] {escape(bad[0].meaning)}")
