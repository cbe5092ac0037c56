"""Numbered steps in a folder: found, checked, loaded. Knows nothing of what they change."""

from __future__ import annotations

import ast
import grp
import hashlib
import os
import pwd
import re
import shlex
import stat
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from migrator.errors import DecisionNeeded, MigratorError

_NAME = re.compile(r"([0-9]{4})_([a-z0-9_]+)\.py")


@dataclass(frozen=True)
class Step:
    """One file NNNN_name.py. `digest` is that of its text with line ends normalised: the ledger freezes it."""

    number: str
    name: str
    title: str
    digest: str
    path: Path
    changes: Callable[[Any], Iterable[Any]] = field(compare=False)
    check: Callable[[Any, Any], Iterable[Any]] | None = field(compare=False, default=None)

    def __str__(self) -> str:
        return f"{self.number} {self.name}"


def digest(source: bytes) -> str:
    """BLAKE2b-160 of a step's text, the same on every platform and Python."""
    return hashlib.blake2b(source.replace(b"\r\n", b"\n").replace(b"\r", b"\n"), digest_size=20).hexdigest()


def discover(folder: Path) -> list[Step]:
    """All steps, by number. Reads and runs their files, writes nothing, not even byte code.

    Raises DecisionNeeded for a gap, a number twice or a file that is no step, MigratorError for one that cannot run.
    """
    if not folder.is_dir():
        raise MigratorError(
            "there is no folder of steps",
            where=folder,
            hint="migrator init   (makes it; --migrations DIR names another)",
        )
    _require_own(folder)
    found = sorted(path for path in folder.glob("*.py") if not path.name.startswith(("_", ".", "test_")))
    matches = [(path, _NAME.fullmatch(path.name)) for path in found]
    faults = [f"{path.name} is not called NNNN_name.py" for path, match in matches if not match]
    numbers = [match[1] for _, match in matches if match]
    faults += [f"two steps have the number {n}" for n in sorted({n for n in numbers if numbers.count(n) > 1})]
    expected = [f"{n:04}" for n in range(1, int(max(numbers, default="0")) + 1)]
    missing = sorted(set(expected) - set(numbers))
    if missing:
        faults.append(f"the numbers have a gap: {', '.join(missing)} missing")
    if faults:
        raise DecisionNeeded("the folder of steps is not in order: " + "; ".join(faults), where=folder)
    return [_load(path, match[1], match[2]) for path, match in matches if match]


def _require_own(path: Path) -> None:
    """Raise MigratorError where somebody else could have put code here: a step runs with all that we may do.

    The group may write where it is the owner's private group (umask 002 on most systems) or nobody else is in it.
    """
    status = path.stat()
    if status.st_uid not in (0, os.geteuid()):
        raise MigratorError(
            "steps are run as code, and these belong to somebody else",
            where=path,
            hint=f"look at them, then sudo chown -R {os.geteuid()} {shlex.quote(str(path))}",
        )
    open_to = "others" if status.st_mode & stat.S_IWOTH else "a group of several" if _is_shared(status) else ""
    if open_to:
        raise MigratorError(
            f"steps are run as code, and {open_to} can write here",
            where=path,
            hint=f"look at them, then chmod -R go-w {shlex.quote(str(path))}",
        )


def _is_shared(status: os.stat_result) -> bool:
    """Whether the group may write, and somebody beside the owner is in it."""
    if not status.st_mode & stat.S_IWGRP:
        return False
    try:
        owner, group = pwd.getpwuid(status.st_uid), grp.getgrgid(status.st_gid)
    except KeyError:
        return status.st_gid not in (0, os.getegid())
    return bool(set(group.gr_mem) - {owner.pw_name}) or (owner.pw_gid != status.st_gid)


def _load(path: Path, number: str, name: str) -> Step:
    _require_own(path)
    try:
        source = path.read_bytes()
        tree = ast.parse(source, str(path))
        module = ModuleType(f"migrations_{number}_{name}")
        module.__file__ = str(path)
        sys.modules[module.__name__] = module  # dataclasses look their module up
        exec(compile(source, str(path), "exec", dont_inherit=True), module.__dict__)
    except (OSError, SyntaxError, ValueError) as error:
        raise MigratorError(f"step {path.name} cannot be read: {error}", where=path) from None
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the author's code may raise anything; it is told, not passed on
        raise MigratorError(f"step {path.name} fails when it is imported: {error!r}", where=path) from None
    changes = module.__dict__.get("changes")
    if not callable(changes):
        raise MigratorError(f"step {path.name} has no function changes(store)", where=path)
    title = (ast.get_docstring(tree) or name.replace("_", " ")).splitlines()[0].rstrip(".")
    return Step(number, name, title, digest(source), path, changes, module.__dict__.get("check"))
