"""`migrator init [DIR]`: a project with settings, steps and folders. Never overwrites."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import click

from migrator.cli.screen import json_option, plain, print_json, symbol, wants_json
from migrator.cli.settings import FILE

MADE, KEPT, EXTENDED = "made", "was there", "extended"

SETTINGS = """\
# Where the stores are, and how careful migrator is with each.
#
# Relative paths start at this file's folder. Steps, backups and mappings lie in the folders migrations/,
# backups/ and mappings/ beside this file. Backups must be on the same file system as the store, because a run
# exchanges whole folders. To keep them elsewhere, put lines like these above the first [env...] section:
#
#   backups = "/srv/pipeline/backups"
#   mappings = "/srv/pipeline/mappings"
#
# No environment is the default: every command says --env staging or --env prod, so that nobody reaches
# production by leaving something out.

# Commands of your own, called with the path of the run's run.json. An `after` that fails undoes the run.
# [hooks]
# after = "bin/after-a-run"
# failed = "bin/page-somebody"

# The rehearsal: a copy of the store, to try things on.
[env.staging]
data_root = "data-staging"

# The real thing.
[env.prod]
data_root = "data"

# Only steps that ran on staging, in exactly this wording, may run here.
# In an emergency: --override-staging "why". The reason is recorded.
proved_on = "staging"

# Before anything happens the word "prod" has to be typed; --yes is not enough. In a script: --confirm prod
confirm = "type-name"

# How many snapshots of earlier trees `migrator snapshots prune` leaves, newest first. Each can be as large as
# the store itself.
keep_snapshots = 5
"""

# Stores and what runs leave behind are no part of a project's history; the two folders are.
IGNORED = (
    "/data",
    "/data-staging",
    "/backups/*",
    "!/backups/.gitkeep",
    "/mappings/*",
    "!/mappings/.gitkeep",
    ".*.migrator/",
)

TEST = '''\
"""The steps of this project: one head, they run and check, nothing the second time, forward and back.

They run on a tiny store. To run them on one of your kind, override the fixture `gens_store` in conftest.py.
"""

from migrator.testing import *  # noqa: F403
'''


@click.command(short_help="Set up a project: settings, steps, folders.")
@click.argument("directory", metavar="[DIR]", default=".", type=click.Path(file_okay=False))
@json_option
def command(directory: str) -> None:
    """Write migrator.toml, the standard steps, folders for backups and mappings, and a test of the steps.

    Whatever is there already is left as it is; .gitignore only gets the lines that it lacks.
    """
    root = Path(os.path.abspath(directory))
    done = dict(_set_up(root))
    if wants_json():
        print_json({"directory": str(root), "files": done})
        return
    signs = {MADE: symbol("new"), KEPT: "=", EXTENDED: symbol("change")}
    for path, what in done.items():
        click.echo(f"{signs[what]} {plain(path)}" + ("" if what == MADE else f"  {what}"))
    click.echo(f"\nNext: put the paths of your stores into {plain(root / FILE)}, then")
    click.echo("  migrator --env staging doctor    can a run work here?")
    click.echo("  migrator --env staging plan      what would it do? Nothing is written.")


def _set_up(root: Path) -> Iterator[tuple[str, str]]:
    """Make what is missing; yield (path, what) for each file."""
    yield FILE, _write(root / FILE, SETTINGS.encode())
    yield from _steps(root)
    for folder in ("backups", "mappings"):
        yield f"{folder}/.gitkeep", _write(root / folder / ".gitkeep", b"")
    yield ".gitignore", _ignore(root / ".gitignore")
    yield "tests/test_migrations.py", _write(root / "tests" / "test_migrations.py", TEST.encode())


def _steps(root: Path) -> Iterator[tuple[str, str]]:
    """The standard steps. A folder that has steps of its own stays as it is: numbers would clash."""
    from migrator.site import shipped_migrations

    folder = root / "migrations"
    if any(folder.glob("*.py")):
        yield "migrations/", KEPT
        return
    for path in sorted(shipped_migrations().glob("[0-9][0-9][0-9][0-9]_*.py")):
        yield f"migrations/{path.name}", _write(folder / path.name, path.read_bytes())


def _write(path: Path, data: bytes) -> str:
    """Make a file, with the folders above it, unless something bears its name."""
    from migrator.engine import files
    from migrator.errors import MigratorError

    try:
        files.make_dirs(path.parent)
        files.write_new(path, data)
    except FileExistsError:
        return KEPT
    except OSError as error:
        raise MigratorError(f"a file cannot be written: {error.strerror}", where=error.filename or path) from None
    return MADE


def _ignore(path: Path) -> str:
    """Add the lines that .gitignore lacks, at its end."""
    from migrator.engine import files
    from migrator.errors import MigratorError

    try:
        present = path.read_bytes() if path.exists() else None
        if present is None:
            return _write(path, ("\n".join(IGNORED) + "\n").encode())
        lines = {line.strip() for line in present.decode(errors="replace").splitlines()}
        lacking = [line for line in IGNORED if line not in lines]
        if not lacking:
            return KEPT
        start = "" if not present or present.endswith(b"\n") else "\n"
        files.append(path, (start + "\n".join(lacking) + "\n").encode())
    except OSError as error:
        raise MigratorError(f".gitignore cannot be extended: {error.strerror}", where=path) from None
    return EXTENDED
