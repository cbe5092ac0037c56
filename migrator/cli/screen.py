"""What the commands print with, and how errors look. Imports rich only when something is printed.

Standard output holds results, standard error everything else; with --json standard output is one JSON object.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

import click

from migrator.report.text import escape, grid, marked, plain, sign

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from migrator.errors import MigratorError

__all__ = ["confirmed", "console", "error_console", "escape", "interactive", "json_option", "mark", "plain",
           "print_json", "report_error", "symbol", "table", "wants_json", "yes_option"]

JSON = "json"  # key in the context's meta
_WIDE = 10_000  # columns of a pipe or a file: nothing is folded there
_F = TypeVar("_F", bound=Callable[..., Any])


# -- options that many commands have


def json_option(command: _F) -> _F:
    """Add --json, which is remembered for the whole call: `wants_json` tells it, no parameter is passed."""

    def remember(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
        ctx.meta[JSON] = value

    return click.option(
        "--json",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=remember,
        help="Print one JSON object and nothing else on standard output.",
    )(command)


def yes_option(command: _F) -> _F:
    """Add --yes, given to the command as `yes`."""
    return click.option("--yes", is_flag=True, help="Answer confirmations with yes.")(command)


def wants_json() -> bool:
    """Whether this call prints JSON."""
    ctx = click.get_current_context(silent=True)
    return bool(ctx and ctx.meta.get(JSON))


# -- printing


def console() -> Console:
    """Standard output: colour on a terminal (NO_COLOR counts), nothing folded or cut in a pipe."""
    return _console(sys.stdout)


def error_console() -> Console:
    """Standard error, for progress and questions."""
    return _console(sys.stderr)


def _console(stream: TextIO) -> Console:
    from rich.console import Console

    wide = None if stream.isatty() else _WIDE
    return Console(file=stream, width=wide, highlight=False, emoji=False, soft_wrap=False)


def print_json(obj: object) -> None:
    """One JSON object on standard output, in ASCII: any reader can take it."""
    click.echo(json.dumps(obj, indent=2, default=str))


def table(*headers: str) -> Table:
    """A table of the family for `console().print`; a header that starts with `>` is set to the right."""
    return grid(*headers)


def symbol(name: str) -> str:
    """A sign (done, change, new, bad, warning, none, to) as this standard output can show it."""
    return sign(name, sys.stdout.encoding or "ascii")


def mark(name: str) -> str:
    """A sign as markup, in its colour."""
    return marked(name, sys.stdout.encoding or "ascii")


# -- questions and errors


def interactive() -> bool:
    """Whether somebody is there to answer."""
    return sys.stdin.isatty() and not wants_json()


def confirmed(question: str, name: str = "") -> bool:
    """Ask on standard error; with `name` that word must be typed. Anything else is a no."""
    answer = click.prompt(plain(question), default="", show_default=False, prompt_suffix=" ", err=True)
    return bool(answer.strip() == name if name else answer.strip().lower() in ("y", "yes"))


def report_error(error: MigratorError) -> None:
    """What happened, where, and what to type next, on standard error; with --json also as the one object."""
    if wants_json():
        print_json(error_object(error))
    say_error(error.message, error.where, error.hint)


def error_object(error: MigratorError) -> dict[str, object]:
    """The JSON object of an error; a run that was undone says so and names itself."""
    run = getattr(error, "run", None)
    result: dict[str, object] = {
        "status": "rolled-back" if run is not None else "refused",
        "error": error.message,
        "where": error.where,
        "hint": error.hint,
        "exit_code": error.exit_code,
    }
    return result | ({"run_id": run.run_id} if run is not None else {})


def say_error(message: str, where: str | None = None, hint: str | None = None) -> None:
    """The three lines of an error on standard error; colour only on a terminal."""
    color = sys.stderr.isatty() and "NO_COLOR" not in os.environ
    click.echo(click.style("error", fg="red", bold=True) + f": {plain(message)}", err=True, color=color)
    if where:
        click.echo(f"  where: {plain(where)}", err=True, color=color)
    if hint:
        click.echo("  hint: " + click.style(plain(hint), bold=True), err=True, color=color)
