"""The command line: the only place that prints or exits. One file a command; nobody imports it.

Commands are loaded when they are called, so that `--help` imports neither pandas nor structlog nor rich.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import io
import os
import signal
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import click

from migrator import __version__

if TYPE_CHECKING:
    from migrator.errors import MigratorError

INTERRUPTED = 130

# name -> (module, what it does): the help page is printed without importing any of them
COMMANDS = {
    "init": ("init", "Set up a project: settings, steps, folders."),
    "new": ("new", "Write the next numbered step, its golden pair and its test."),
    "demo": ("demo", "Make a legacy store and walk through a migration."),
    "status": ("status", "Where am I: steps applied and pending, what is owed."),
    "history": ("history", "Runs and steps, the newest last."),
    "plan": ("plan", "Dry run: what each step would do, all issues, disk and time."),
    "upgrade": ("upgrade", "Bring the data root to the newest step, all or nothing."),
    "rollback": ("rollback", "Undo the latest run."),
    "adopt": ("adopt", "Bring back later work that a rollback set aside."),
    "cohort": ("cohort", "Build, show and complete cohorts; their manifests."),
    "check": ("check", "Guardrail: ids match signatures, parents and members exist."),
    "explain": ("explain", "One id, old or new: signature, lineage, runs."),
    "map": ("map", "Old ids -> the ids of today."),
    "snapshots": ("snapshots", "List, verify or prune the trees from before each run."),
    "regenerate": ("regenerate", "Make score tables and manifests anew from the store."),
    "dagster": ("dagster", "A Dagster instance follows the store: partition keys, history."),
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

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse, and remember what was typed: a hint may repeat it."""
        ctx.meta["arguments"] = list(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Call the command; its errors are told here, where it is still known whether JSON is wanted."""
        from migrator.errors import MigratorError

        try:
            return super().invoke(ctx)
        except MigratorError as error:
            return _told(error)
        except BrokenPipeError:
            raise
        except OSError as error:
            return _told(MigratorError(error.strerror or str(error), where=error.filename))
        except MemoryError:
            return _told(MigratorError("there is not enough memory", hint="nothing has been changed"))
        except (KeyboardInterrupt, EOFError, click.Abort):
            from migrator.cli.screen import report_interrupt

            report_interrupt()
            return INTERRUPTED

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
                raise click.UsageError(f"{error.message} Did you mean {close[0]!r}?", error.ctx) from None
            raise


def _complete_envs(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    from migrator.cli.settings import complete_envs

    return complete_envs(ctx, parameter, incomplete)


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "MIGRATOR"})
@click.option("--data-root", metavar="DIR", help="The folder with gens/, or a symbolic link to it.")
@click.option("--migrations", metavar="DIR", help="The folder of numbered steps.")
@click.option("--backups", metavar="DIR", help="Where runs and snapshots lie; on the data root's file system.")
@click.option("--mappings", metavar="DIR", help="Where copies of the mappings go.")
@click.option("--env", metavar="NAME", shell_complete=_complete_envs, help="A section [env.NAME] of migrator.toml.")
@click.version_option(__version__, prog_name="migrator")
@click.pass_context
def group(ctx: click.Context, /, **flags: str | None) -> None:
    """Change large stores of generated artefacts safely.

    Every option is also read from the environment (MIGRATOR_DATA_ROOT, ...) and from migrator.toml.

    Exit codes: 0 done, 1 no, 2 usage, 3 steps pending, 4 a person decides, 5 try again, 10 the store needs
    care, 130 interrupted.
    """
    from migrator.cli.settings import Settings

    ctx.obj = Settings(flags)


def _told(error: MigratorError) -> int:
    from migrator.cli.screen import report_error

    report_error(error)
    return error.exit_code


def _terminated(signum: int, frame: Any) -> NoReturn:
    """SIGTERM ends a run as Ctrl-C does: undone, said, exit 130."""
    raise KeyboardInterrupt


def program() -> NoReturn:
    """`migrator` and `python -m migrator`: run the command line, then end at once.

    A large store is a million objects, and freeing each of them takes longer than rolling a store back.
    """
    try:
        main()
    except SystemExit as end:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(int(end.code or 0))


def main(args: list[str] | None = None) -> NoReturn:
    """Run the command line. The only place that exits; what a command returns is its exit code, None is 0."""
    arguments = sys.argv[1:] if args is None else args
    signal.signal(signal.SIGTERM, _terminated)
    gc.disable()  # one command, then exit: records live to its end, and collecting them is a fifth of a plan
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # an id that the terminal's encoding lacks is no error
    try:
        code = group.main(arguments, prog_name="migrator", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        code = error.exit_code
    except click.ClickException as error:
        from migrator.cli.screen import report_usage

        report_usage(error, as_json="--json" in arguments)
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        code = INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has gone; say nothing more
        code = 1
    sys.exit(code if isinstance(code, int) else 0)
