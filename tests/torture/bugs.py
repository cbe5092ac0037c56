"""Deliberate bugs in the protocol, put in by replacing one function each: a sweep that catches none proves nothing."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from migrator import build, commit, recovery, runner, site, undo, upkeep
from migrator.engine import exchange, files, folders, journal, listing, lock, snapshots, tree, workers
from migrator.engine.exchange import Place
from migrator.errors import INTERNAL, MigratorError
from migrator.store.layout import LEDGER
from tests.torture import crash, damage, errors, inputs, kinds, machine, powercut, together
from tests.torture.kinds import Job, Kind, Tally
from tests.torture.world import LINKED, PLAIN

Patches = Sequence[tuple[Any, str, Any]]  # (module, name, replacement)


@contextmanager
def replaced(patches: Patches) -> Iterator[None]:
    """Put replacements in their places for a while."""
    originals = [(place, name, getattr(place, name)) for place, name, _ in patches]
    for place, name, value in patches:
        setattr(place, name, value)
    try:
        yield
    finally:
        for place, name, value in reversed(originals):
            setattr(place, name, value)


@dataclass(frozen=True)
class Bug:
    """A bug, how to put it in, and the sweep (with its stride) that must catch it."""

    name: str
    patches: Callable[[], Patches]
    hunt: Job
    stride: int = 1


def _nothing(*args: object, **kwargs: object) -> None:
    pass


# -- durability


def no_syncfs() -> Patches:
    return [(files, "sync_file_system", _nothing)]


def no_dir_fsync() -> Patches:
    return [(files, "sync_dir", _nothing)]


def replaced_without_fsync() -> Patches:
    def replace_file(path: Path, data: bytes, mode: int = 0o644) -> None:
        with contextlib.suppress(FileNotFoundError):
            files.remove_file(files.temporary(path))
        files.write_new(files.temporary(path), data, mode)
        files.rename(files.temporary(path), path)
        files.sync_dir(path.parent)

    return [(files, "replace_file", replace_file)]


def written_in_place() -> Patches:
    def replace_file(path: Path, data: bytes, mode: int = 0o644) -> None:
        fd = files.os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        files.write(fd, data, path)
        files.os.fsync(fd)
        files.os.close(fd)
        files.sync_dir(path.parent)

    return [(files, "replace_file", replace_file)]


def fsync_tried_again() -> Patches:
    def insisting(real: Callable[[Path], None]) -> Callable[[Path], None]:
        def sync(path: Path) -> None:
            try:
                real(path)
            except OSError:
                real(path)

        return sync

    return [(files, name, insisting(getattr(files, name))) for name in ("sync_dir", "sync_file_system")]


def sync_unchecked() -> Patches:
    real = files.sync_file_system

    def sync(path: Path) -> None:
        with contextlib.suppress(OSError):
            real(path)

    return [(files, "sync_file_system", sync)]


# -- the switch


def two_renames() -> Patches:
    def exchange_(a: Path, b: Path) -> None:
        between = f"{b}.between"
        files.rename(a, between)
        files.rename(b, a)
        files.rename(between, b)

    return [(files, "exchange", exchange_)]


def link_removed_first() -> Patches:
    def replace_link(path: Path, target: str, workspace: Path) -> None:
        with contextlib.suppress(FileNotFoundError):
            files.remove_file(path)
        files.symlink(target, path)

    return [(files, "replace_link", replace_link)]


def no_look_before() -> Patches:
    return [(listing, "require_unchanged", _nothing)]


def no_look_after() -> Patches:
    return [(commit, "_late_writer", _nothing)]


def not_exchanged_back() -> Patches:
    real = exchange.switch

    def switch(place: Place, new: Path, link: str = "") -> Path:
        back = (place.real / LEDGER).exists() and not (new / LEDGER).exists()
        return new if back else real(place, new, link)

    return [(exchange, "switch", switch)]


def times_not_kept() -> Patches:
    return [(exchange, "keep_time", _nothing)]


# -- the record


def no_journal() -> Patches:
    return [(journal, "write", _nothing)]


def journal_late() -> Patches:
    real_write, real_switch = journal.write, exchange.switch
    pending: list[tuple[Path, Any]] = []

    def switch(place: Place, new: Path, link: str = "") -> Path:
        displaced = real_switch(place, new, link)
        while pending:
            real_write(*pending.pop())
        return displaced

    return [(journal, "write", lambda *args: pending.append(args)), (exchange, "switch", switch)]


def journal_removed_first() -> Patches:
    def finish(place: Place, folder: Path, run: snapshots.Run) -> snapshots.Run:
        journal.remove(place.state)
        run = run.with_(state=snapshots.COMMITTED)
        snapshots.write(folder, run)
        return run

    return [(recovery, "finish_upgrade", finish)]


def ledger_outside() -> Patches:
    """The ledger is written into the live tree after the exchange, as a second act."""
    real_record, real_switch = build.record, exchange.switch
    pending: list[bytes] = []

    def record(*args: Any) -> build.Build:
        done = real_record(*args)
        pending.append((done.root / LEDGER).read_bytes())
        os.unlink(done.root / LEDGER)
        done.new.pop(LEDGER)
        return done

    def switch(place: Place, new: Path, link: str = "") -> Path:
        displaced = real_switch(place, new, link)
        if pending and place.root.name == "data":
            files.write_new(place.real / LEDGER, pending.pop())
        return displaced

    return [(build, "record", record), (exchange, "switch", switch)]


def ledger_not_asked() -> Patches:
    """Recovery always takes the run for one that had not been committed."""
    return [(recovery, "is_applied", lambda place, run_id: False)]


def build_left_behind() -> Patches:
    def undo_upgrade(place: Place, folder: Path, run: snapshots.Run, reason: str) -> snapshots.Run:
        run = run.with_(state=snapshots.FAILED, reason=reason, tree="")
        snapshots.write(folder, run)
        journal.remove(place.state)
        return run

    return [(recovery, "undo_upgrade", undo_upgrade)]


# -- the lock


def lock_inside() -> Patches:
    real_hold, real_held = lock.hold, lock.is_held

    def inside(state: Path) -> Path:
        return state.parent / state.name.removeprefix(".").removesuffix(".migrator") / ".migrator"

    def hold(folder: Path, what: str, **options: Any) -> Any:
        files.make_dirs(folder)
        return real_hold(inside(folder), what, **options)

    return [(lock, "hold", hold), (lock, "is_held", lambda folder: real_held(inside(folder)))]


def lock_unlinked() -> Patches:
    real = lock.hold

    @contextmanager
    def hold(folder: Path, what: str, **options: Any) -> Iterator[None]:
        with real(folder, what, **options):
            try:
                yield
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(folder / lock.LOCK)

    return [(lock, "hold", hold)]


def no_lock() -> Patches:
    return [(lock, "_acquire", _nothing)]


def workers_outlive() -> Patches:
    return [(workers, "_die_with_parent", _nothing)]


# -- trees and snapshots


def hard_links() -> Patches:
    real = folders.copy_members

    def copy(source: str, target: str, folder: Any, *rest: Any) -> None:
        real(source, target, folder, *rest)
        for member in folder.members:
            if member.entry.kind == listing.FILE and member.content is None:
                os.unlink(f"{target}/{member.name}")
                os.link(f"{source}/{member.entry.path.rpartition('/')[2]}", f"{target}/{member.name}")

    return [(tree, "copy_members", copy)]


def rollback_unverified() -> Patches:
    def believed(run: Any, before: Any, full: bool) -> Any:
        return listing.walk_shared(Path(run.tree))

    return [(undo, "require_sound", believed)]


def any_tree_removed() -> Patches:
    return [(recovery, "require_own", _nothing)]


def prune_unverified() -> Patches:
    return [(upkeep, "require_sound", _nothing)]


def manifest_unsealed() -> Patches:
    """The manifest of a snapshot is believed, whatever run.json says of it."""
    return [(snapshots.Manifest, "digest", lambda self: _Any())]


class _Any(str):
    """Equal to every text."""

    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False


def mappings_in_place() -> Patches:
    """The copy of a mapping is made under its own name: half of it passes for the whole."""

    def copy_mappings(one: site.Site) -> list[str]:
        copied = []
        for run_id in site.ledger.runs(one.ledger()):
            target = one.mappings / run_id
            if not target.is_dir():
                files.make_dirs(target)
                for path in sorted((one.place.real / site.run_mappings(run_id)).iterdir()):
                    files.write_new(target / path.name, path.read_bytes())
                copied.append(run_id)
        return copied

    return [(site, "copy_mappings", copy_mappings), (runner, "copy_mappings", copy_mappings)]


_upgrade_cut = partial(powercut.sweep, "upgrade", PLAIN)
_upgrade_crash = partial(crash.in_process, "upgrade", PLAIN)
_by_path = partial(together.writer, "upgrade", PLAIN, "by path")
BUGS = (
    Bug("no syncfs", no_syncfs, _upgrade_cut, 60),
    Bug("no fsync of folders", no_dir_fsync, _upgrade_cut, 60),
    Bug("files replaced without fsync", replaced_without_fsync, _upgrade_cut, 12),
    Bug("files written in place", written_in_place, partial(crash.torn, "upgrade", PLAIN)),
    Bug(
        "failed fsync tried again",
        fsync_tried_again,
        partial(errors.sweep, "upgrade", PLAIN, "EIO", only=errors.DURABLE),
    ),
    Bug(
        "failed syncfs not noticed", sync_unchecked, partial(errors.sweep, "upgrade", PLAIN, "EIO", only=errors.DURABLE)
    ),
    Bug("two renames", two_renames, _upgrade_crash, 12),
    Bug("link removed, then made", link_removed_first, partial(crash.in_process, "upgrade", LINKED), 12),
    Bug("no look before the exchange", no_look_before, _by_path),
    Bug("no look after the exchange", no_look_after, _by_path),
    Bug("not exchanged back", not_exchanged_back, _by_path),
    Bug("times of the trees not kept", times_not_kept, partial(crash.as_on_xfs, "upgrade"), 12),
    Bug("no journal", no_journal, _upgrade_crash, 12),
    Bug("no journal, in any order", no_journal, partial(machine.stories, PLAIN, 0)),
    Bug("journal late", journal_late, _upgrade_crash, 12),
    Bug("journal removed first", journal_removed_first, _upgrade_crash, 12),
    Bug("ledger outside the exchange", ledger_outside, _upgrade_crash, 12),
    Bug("ledger not asked", ledger_not_asked, _upgrade_crash, 12),
    Bug("build left behind", build_left_behind, _upgrade_crash, 12),
    Bug("mapping copied in place", mappings_in_place, _upgrade_crash, 12),
    Bug("lock inside the tree", lock_inside, partial(together.lock_is_held, "upgrade", PLAIN)),
    Bug("lock unlinked", lock_unlinked, together.handed_over),
    Bug("no lock", no_lock, together.handed_over),
    Bug("workers outlive their parent", workers_outlive, together.orphans),
    Bug("hard-linked tree", hard_links, _upgrade_crash, 12),
    Bug("rollback without verify", rollback_unverified, partial(damage.sweep, "rollback", PLAIN)),
    Bug("prune without verify", prune_unverified, partial(damage.sweep, "prune", PLAIN)),
    Bug("any tree removed", any_tree_removed, partial(inputs.hostile, "tree of an undone run")),
    Bug("manifest believed", manifest_unsealed, partial(damage.sweep, "rollback", PLAIN)),
)


def caught(bug: Bug, base: Path) -> list[str]:
    """The first violation that the sweep finds, or the refusal of an action that has to go well.

    Whatever else breaks the sweep is raised: it says that the bug is not written as the code is, and catches nothing.
    """
    patches = bug.patches()
    kinds.hunting = True
    try:
        with replaced(patches):
            found = list(bug.hunt(base, bug.stride).violations)
    except MigratorError as error:
        found = [f"an action that has to go well is refused: {error!r}"]
    finally:
        kinds.hunting = False
    if any(INTERNAL in text for text in found):
        raise AssertionError(f"the bug {bug.name!r} does not fit the code any more: {found}")
    return found


def hunt(bug: Bug, base: Path, stride: int) -> Tally:
    """A violation is a bug that nobody caught."""
    started = time.monotonic()
    found = caught(bug, base)
    return Tally(1, 1, () if found else (f"not caught: {bug.name}",), time.monotonic() - started)


DELIBERATE = Kind("deliberate bugs", len(BUGS), [partial(hunt, bug) for bug in BUGS])
