"""`migrator demo [DIR]`: makes a legacy store and really migrates it, command by command. Asks nothing."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from migrator.cli.screen import plain
from migrator.cli.settings import FILE

DEFAULT = "demo-store"
_STAGES = (("draft", "drafts"), ("essay", "essays"), ("evaluation", "evaluations"))
_PREFIX = "MIGRATOR_"  # of settings in the environment

SETTINGS = """\
# A demo: a store as an old pipeline left it. Delete the whole folder when you have seen enough.

default_env = "demo"

[env.demo]
data_root = "data"
"""


@click.command(short_help="Make a legacy store and walk through a migration.")
@click.argument("directory", metavar="[DIR]", default=DEFAULT, type=click.Path())
@click.pass_context
def command(ctx: click.Context, directory: str) -> None:
    """Make a small legacy store in DIR (default: demo-store) and walk through a migration of it.

    What you see are the commands themselves: status, plan, upgrade, check, map, rollback, and upgrade again.
    Nothing outside DIR is touched, and DIR is never deleted.
    """
    root = Path(os.path.abspath(directory))
    _require_free(root)
    group = ctx.find_root().command
    old_id = _make(root)
    with _alone(root):
        _say(f"$ cd {shlex.quote(plain(directory))}")
        for title, args in _walk(old_id):
            _say(f"\n# {title}\n$ {shlex.join(['migrator', *args])}")
            _call(group, args)
        _end(root, old_id)


def _walk(old_id: str) -> Iterator[tuple[str, list[str]]]:
    """What to say before each command, and its words."""
    yield "Where does the store stand?", ["status"]
    yield "What would the steps do? Nothing is written.", ["plan"]
    yield "Do it: built beside, checked, exchanged in one act.", ["upgrade", "--yes"]
    yield "The guardrail for CI: every id is the function of its metadata.", ["check"]
    yield "What is an old id called today?", ["map", old_id]
    yield "Undo it: the tree from before is back, byte for byte.", ["rollback", "--yes"]
    yield "And do it again: the ids are the same as the first time.", ["upgrade", "--yes"]


def _require_free(root: Path) -> None:
    from migrator.errors import MigratorError

    if not os.path.lexists(root) or (root.is_dir() and not root.is_symlink() and not any(root.iterdir())):
        return
    demo = (root / FILE).is_file() and "[env.demo]" in (root / FILE).read_text(encoding="utf-8", errors="replace")
    other = root.with_name(f"{root.name}-2")
    if demo:
        raise MigratorError(
            "there is a demo already, and it may hold what you tried",
            where=root,
            hint=f"migrator demo {other}",
        )
    raise MigratorError("there is something already", where=root, hint=f"migrator demo {other}")


def _make(root: Path) -> str:
    """The legacy store with its settings; returns the id of one of its essays."""
    from migrator.demo import make_legacy_store
    from migrator.engine import files
    from migrator.errors import MigratorError

    _say(f"# Making a legacy store in {plain(root)}")
    try:
        files.make_dirs(root)
        counts = make_legacy_store(root / "data")
        files.write_new(root / FILE, SETTINGS.encode())
    except UnicodeEncodeError as error:
        raise MigratorError(
            f"names of files cannot be written in the encoding {error.encoding}",
            where=root,
            hint="PYTHONUTF8=1 migrator demo",
        ) from None
    except OSError as error:
        raise MigratorError(f"the demo cannot be written: {error.strerror}", where=error.filename or root) from None
    _say("# " + ", ".join(f"{counts[stage]} {name}" for stage, name in _STAGES) + f", {counts['cohorts']} cohorts\n")
    return min(entry.name for entry in os.scandir(root / "data" / "gens" / "essay") if not entry.name.startswith("."))


@contextlib.contextmanager
def _alone(root: Path) -> Iterator[None]:
    """In the demo's folder, and deaf to the environment: MIGRATOR_ENV=prod must not reach a demo."""
    kept = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith(_PREFIX)}
    try:
        with contextlib.chdir(root):
            yield
    finally:
        os.environ.update(kept)


def _call(group: click.Command, args: list[str]) -> None:
    """Run a command as if it had been typed; a demo that fails says which one it was."""
    from migrator.errors import MigratorError

    code = group.main(list(args), prog_name="migrator", standalone_mode=False)
    sys.stdout.flush()
    sys.stderr.flush()
    if isinstance(code, int) and code != 0:
        raise MigratorError(
            f"the demo's command failed with exit code {code}",
            where=shlex.join(["migrator", *args]),
            hint="migrator doctor",
        )


def _say(text: str) -> None:
    """A line of the walk, in colour on a terminal, before whatever the next command prints."""
    click.echo(click.style(text, bold=True) if "$ " in text else text)
    sys.stdout.flush()


def _end(root: Path, old_id: str) -> None:
    """Where to look next."""
    from migrator.cli.settings import Settings

    run = Settings({}).site().runs()[-1]
    here = os.path.relpath
    _say("\n# Where to look")
    for what, where in (
        ("old and new ids", here(Path(run.mapping) / "mapping.csv")),
        ("the tree from before", here(run.tree)),
        ("the run's record", here(root / "backups" / run.run_id / "run.json")),
        ("all runs", "migrator history"),
        ("its report", here(root / "backups" / run.run_id / "report.html")),
        ("one id", f"migrator explain {old_id}"),
    ):
        click.echo(f"  {what:26}{plain(where)}")
