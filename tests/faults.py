"""Faults on purpose: a run that is killed, or told an error, at its k-th mutation. Each test asserts that it fired."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from migrator.ahead import Ahead
from migrator.engine import files
from migrator.engine.exchange import Place
from migrator.engine.listing import Entry
from migrator.engine.workers import Jobs
from migrator.site import Site
from migrator.store.inventory import Inventory
from tests.random_stores import read_tree

Tree = dict[str, tuple[object, ...]]  # path -> mode, uid, gid, time in ns, content or target, extended attributes

MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"


def site(base: Path, name: str = "data", **values: object) -> Site:
    """A data root at base/data with its folders beside it; one process, so that points are counted in one place."""
    fields: dict[str, object] = {
        "migrations": MIGRATIONS,
        "backups": base / "b",
        "mappings": base / "m",
        "jobs": 1,
    }
    return Site(place=Place.at(base / name), **{**fields, **values})  # type: ignore[arg-type]


class Whole(Ahead):
    """Has read all before anybody asks."""

    def __init__(self, store: Inventory, entries: Sequence[Entry], jobs: Jobs) -> None:
        super().__init__(store, entries, jobs)
        assert self._child is not None
        self._child.result()


def content(root: Path) -> dict[str, object]:
    """What a reader sees below a root, without what is ours."""
    return {path: data for path, data in read_tree(root).items() if not path.startswith(".migrator")}


def exact(root: str | Path, *, times_only: bool = False) -> Tree:
    """Everything that a rollback must give back; with `times_only` what the kernel noted, cheaper and as telling."""
    top = os.stat(root)  # of the folder itself, where the root is a link to it
    found: Tree = {".": (top.st_mode, top.st_uid, top.st_gid, top.st_mtime_ns, None, marks_of(root))}
    _look(os.fspath(root), "", found, times_only)
    return found


def _look(folder: str, prefix: str, found: Tree, times_only: bool) -> None:
    with os.scandir(folder) as entries:
        for entry in entries:
            status = entry.stat(follow_symlinks=False)
            body: object = None
            if times_only:
                body = (status.st_ino, status.st_size, status.st_ctime_ns)
            elif entry.is_symlink():
                body = os.readlink(entry.path)
            elif entry.is_file():
                with open(entry.path, "rb") as file:
                    body = file.read()
            path = prefix + entry.name
            marks = () if times_only else marks_of(entry.path)
            found[path] = (status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns, body, marks)
            if entry.is_dir(follow_symlinks=False):
                _look(entry.path, path + "/", found, times_only)


def marks_of(path: str | Path) -> tuple[tuple[str, bytes], ...]:
    """The extended attributes, where there are such things."""
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError:
        return ()
    return tuple((name, os.getxattr(path, name, follow_symlinks=False)) for name in sorted(names))


@contextmanager
def hooked(hook: files.Hook | None) -> Iterator[None]:
    """Call `hook` before every mutation."""
    files.hook = hook
    try:
        yield
    finally:
        files.hook = None


def points(action: Callable[[], object]) -> list[tuple[str, str]]:
    """(call, path) of every mutation of an action that goes well."""
    seen: list[tuple[str, str]] = []
    with hooked(lambda call, path: seen.append((call, path))):
        action()
    return seen


def killed_at(k: int, action: Callable[[], object]) -> bool:
    """Run an action in a child that is killed before its k-th mutation (from 0); False where it ended before."""
    child = os.fork()
    if child == 0:
        count = 0

        def hook(call: str, path: str) -> None:
            nonlocal count
            if count == k:
                os.kill(os.getpid(), signal.SIGKILL)
            count += 1

        files.hook = hook
        try:
            action()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


class Fault:
    """Raises an error at the k-th mutation, once or from then on; `fired` tells whether it did."""

    def __init__(self, k: int, error: Callable[[], BaseException], *, always: bool = False) -> None:
        self.k, self.error, self.always = k, error, always
        self.count = 0
        self.fired = False

    def __call__(self, call: str, path: str) -> None:
        """The hook."""
        hit = self.count >= self.k if self.always else self.count == self.k
        self.count += 1
        if hit:
            self.fired = True
            raise self.error()
