"""Faults on purpose: a run that is killed, or told an error, at its k-th mutation. Each test asserts that it fired."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from migrator.engine import files
from migrator.engine.exchange import Place
from migrator.site import Site
from tests.random_stores import read_tree

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


def content(root: Path) -> dict[str, object]:
    """What a reader sees below a root, without what is ours."""
    return {path: data for path, data in read_tree(root).items() if not path.startswith(".migrator")}


def exact(root: Path) -> dict[str, tuple[object, ...]]:
    """Everything a rollback must give back: kind, mode, owner, time in ns, content or link target."""
    found = {}
    for folder, folders, names in os.walk(root):
        for name in [*folders, *names, "."]:
            path = os.path.join(folder, name)
            status = os.lstat(path)
            body: object = os.readlink(path) if os.path.islink(path) else None
            if os.path.isfile(path) and not os.path.islink(path):
                body = Path(path).read_bytes()
            relative = os.path.relpath(path, root)
            found[relative] = (status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns, body)
    return found


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
