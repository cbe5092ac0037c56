"""The command line: the only place that prints or exits. One file a command; nobody imports it.

Commands are loaded when they are called, so that `--help` imports neither pandas nor structlog nor rich.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from typing import Any, NoReturn

import click

from migrator import __version__
from migrator.cli.settings import Settings

# name -> (module, what it does): the help page is printed without importing any of them
COMMANDS = {
    "init": ("init", "Set up a project: settings, steps, folders."),
    "new": ("new", "Write the next numbered step and its test."),
    "demo": ("demo", "Make a legacy store and walk through a migration."),
    "status": ("status", "Where am I: steps applied and pending, what is owed."),
    "history": ("history", "Runs and steps, the newest last."),
    "plan": ("plan", "Dry run: what each step would do, all issues, disk and time."),
    "upgrade": ("upgrade", "Bring the data root to the newest step, all or nothing."),
    "rollback": ("rollback", "Undo the latest run."),
    "adopt": ("adopt", "Bring back later work that a rollback set aside."),
    "check": ("check", "Guardrail: ids match signatures, parents and members exist."),
    "explain": ("explain", "One id, old or new: signature, lineage, runs."),
    "map": ("map", "Old ids -> the ids of today."),
    "snapshots": ("snapshots", "List, verify or prune the trees from before each run."),
    "doctor": ("doctor", "What this machine and file system can do."),
    "completion": ("completion", "Print the completion script of a shell."),
}


class _Lazy(click.Group):
    """A group that imports a command's module when the command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"migrator.cli.{COMMANDS[cmd_name][0]}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            import difflib

            close = difflib.get_close_matches(args[0], COMMANDS, 1)
            if close:
                error.message += f" Did you mean {close[0]!r}?"
            raise


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "MIGRATOR"})
@click.option("--data-root", metavar="DIR", help="The folder with gens/, or a symbolic link to it.")
@click.option("--migrations", metavar="DIR", help="The folder of numbered steps.")
@click.option("--backups", metavar="DIR", help="Where runs and snapshots lie; on the data root's file system.")
@click.option("--mappings", metavar="DIR", help="Where copies of the mappings go.")
@click.option("--env", metavar="NAME", help="A section [env.NAME] of migrator.toml.")
@click.version_option(__version__, prog_name="migrator")
@click.pass_context
def group(ctx: click.Context, **flags: str | None) -> None:
    """Change large stores of generated artefacts safely.

    Every option is also read from the environment (MIGRATOR_DATA_ROOT, ...) and from migrator.toml.

    Exit codes: 0 done, 1 no, 2 usage, 3 steps pending, 4 a person decides, 5 try again, 10 the store needs care.
    """
    ctx.obj = Settings(flags)


def _terminated(signum: int, frame: Any) -> NoReturn:
    """SIGTERM ends a run as Ctrl-C does: undone, said, exit 130."""
    raise KeyboardInterrupt


def main(args: list[str] | None = None) -> NoReturn:
    """Run the command line. The only place that turns errors into exit codes."""
    from migrator.errors import MigratorError

    signal.signal(signal.SIGTERM, _terminated)
    try:
        code = group.main(args, prog_name="migrator", standalone_mode=False)
    except MigratorError as error:
        from migrator.cli.screen import report_error

        report_error(error)
        code = error.exit_code
    except click.exceptions.Abort:
        code = _interrupted()
    except KeyboardInterrupt:
        code = _interrupted()
    except click.ClickException as error:
        error.show()
        code = 2 if isinstance(error, click.UsageError) else error.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has gone; say nothing more
        code = 1
    sys.exit(code if isinstance(code, int) else 0)


def _interrupted() -> int:
    click.echo("interrupted; the data root is as it was (migrator status tells if anything is owed)", err=True)
    return 130
