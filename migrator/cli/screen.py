"""What the commands print with, and how errors look. Imports rich only when something is printed with it.

Standard output holds results, standard error everything else; with --json standard output is one JSON object.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

import click
from click.core import ParameterSource

from migrator.errors import MigratorError, TryAgain, UsageError
from migrator.report.text import escape, grid, marked, plain, sign

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

    from migrator.cli.settings import Env

__all__ = [
    "confirmed",
    "consent",
    "console",
    "error_console",
    "error_defaults",
    "escape",
    "interactive",
    "json_option",
    "mark",
    "note_interrupt",
    "plain",
    "print_json",
    "report_error",
    "report_interrupt",
    "report_usage",
    "require_name",
    "show",
    "show_facts",
    "symbol",
    "table",
    "typed",
    "wants_json",
    "yes_option",
]

# keys in the context's meta, which all commands of one call share
JSON, DEFAULTS, BROKEN_OFF, ARGUMENTS = "json", "error defaults", "broken off", "arguments"
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
    return Console(file=stream, width=wide, highlight=False, emoji=False)


def show(*things: RenderableType) -> None:
    """Print texts (markup; wrapped at words) and tables on standard output; nothing where there are none."""
    if not things:
        return
    out = console()
    with out.capture() as captured:
        for thing in things:
            out.print(thing)
    lines = captured.get().splitlines()
    click.echo("\n".join(line.rstrip(" ") for line in lines), color=True)


def show_facts(facts: Iterable[tuple[str, object, str]]) -> None:
    """Lines of (label, text, remark): paths and commands, never broken, so that they can be copied whole."""
    rows = [(label, plain(text), remark) for label, text, remark in facts]
    first = max((len(label) for label, _, _ in rows), default=0)
    out = console()
    for label, text, remark in rows:
        out.print(
            f"  [dim]{label:{first}}[/]  {escape(text)}" if first else f"  {escape(text)}",
            soft_wrap=True,
            end="",
        )
        fits = first + len(text) + len(remark) + 7 <= out.width
        gap = "   " if fits else "\n" + " " * (first + 4)
        out.print(f"{gap}[dim]{escape(remark)}[/]" if remark else "", soft_wrap=True)


def print_json(obj: object) -> None:
    """One JSON object on standard output, in ASCII: any reader can take it."""
    click.echo(json.dumps(obj, indent=2, default=str))


def table(*headers: str) -> Table:
    """A table of the family for `show`; a header with `>` is set to the right, cells are markup."""
    return grid(*headers)


def symbol(name: str) -> str:
    """A sign (done, change, new, bad, warning, none, to) as this standard output can show it."""
    return sign(name, sys.stdout.encoding or "ascii")


def mark(name: str) -> str:
    """A sign as markup, in its colour."""
    return marked(name, sys.stdout.encoding or "ascii")


# -- questions


def interactive() -> bool:
    """Whether somebody is there to answer."""
    return sys.stdin.isatty() and not wants_json()


def confirmed(question: str, name: str = "") -> bool:
    """Ask on standard error; with `name` that word must be typed. Anything else is a no."""
    answer = str(click.prompt(plain(question), default="", show_default=False, prompt_suffix=" ", err=True)).strip()
    return answer == name if name else answer.lower() in ("y", "yes")


def require_name(env: Env, name: str | None) -> None:
    """Raise UsageError where --confirm names another env than the one that is chosen."""
    if name is not None and (name != env.name or not name):
        chosen = f"this is env {env.name}" if env.name else "no env is chosen"
        raise UsageError(f"--confirm {name}, but {chosen}", hint="--env NAME and --confirm NAME must name the same env")


def consent(env: Env, question: str, *, yes: bool, name: str | None) -> bool:
    """Whether the operator agrees: by --yes, by --confirm (proven by `require_name`), or by an answer now.

    Raises UsageError where nobody can answer, and where --yes is not enough.
    """
    if name or (yes and not env.confirm):
        return True
    if env.confirm:
        if not interactive():
            raise UsageError(
                f"env {env.name} wants its name, --yes is not enough; nothing has been changed",
                hint=typed_again(f"--confirm {env.name}"),
            )
        return confirmed(f"{question} Type {env.name} to go on:", env.name)
    if not interactive():
        raise UsageError("nobody is there to answer; nothing has been changed", hint=typed_again("--yes"))
    return confirmed(f"{question} [y/N]")


# -- commands to type


def typed(command: str) -> str:
    """A command line that works as it is: with the global options of this call."""
    ctx = click.get_current_context(silent=True)
    return f"migrator {_global_options(ctx)}{command}"


def typed_again(option: str) -> str:
    """This very command line with one more option."""
    ctx = click.get_current_context(silent=True)
    words = [word for word in (ctx.meta.get(ARGUMENTS, []) if ctx else []) if word != "--yes"]
    return f"{shlex.join(['migrator', *words])} {option}".rstrip()


def _global_options(ctx: click.Context | None) -> str:
    """The global options given on the command line, ready to be typed again, with a space behind."""
    root = ctx.find_root() if ctx else None
    words = []
    for name, value in root.params.items() if root else ():
        if value is not None and root and root.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            words += [f"--{name.replace('_', '-')}", shlex.quote(str(value))]
    return "".join(word + " " for word in words)


def _complete(hint: str) -> str:
    """A hint whose commands name the same data root as this call; one that has options of its own stays."""
    options = _global_options(click.get_current_context(silent=True))
    return re.sub(r"\bmigrator (?=[a-z])(?!.*--yes)(?!.*--confirm)", lambda _: f"migrator {options}", hint)


# -- errors


_kept: list[object] = []


def keep_to_the_end(thing: object) -> None:
    """Do not free a thing before the process ends: of a large store that takes longer than to print of it."""
    _kept.append(thing)


def error_defaults(**keys: object) -> None:
    """Keys that this command's JSON object always has: an error's object has them too."""
    click.get_current_context().meta[DEFAULTS] = keys


def note_interrupt(status: str) -> None:
    """How the run stands that is being broken off: rolled-back, committed, or refused (it never began)."""
    click.get_current_context().meta[BROKEN_OFF] = status


def report_error(error: MigratorError) -> None:
    """What happened, where, and what to type next, on standard error; with --json also as the one object."""
    hint = _complete(error.hint) if error.hint else None
    if wants_json():
        run = getattr(error, "run", None)
        status = "rolled-back" if run is not None else "refused"
        found: dict[str, object] = {"run_id": run.run_id, "steps": run.steps} if run is not None else {}
        if error.incident:
            found["incident"] = error.incident
        print_json(_error_object(status, error.message, error.where, hint, error.exit_code) | found)
    say_error(error.message, error.where, hint, _next(error, hint))
    if error.incident:
        click.echo(f"  incident: {plain(error.incident)}", err=True)


def _next(error: MigratorError, hint: str | None) -> str | None:
    """The command to type next, where the hint is none itself: every error ends with one that works."""
    if hint and hint.startswith("migrator "):
        return None
    if error.exit_code == TryAgain.exit_code:
        return typed_again("")
    if error.exit_code != UsageError.exit_code:
        return typed("status")
    ctx = click.get_current_context(silent=True)
    name = ctx.invoked_subcommand if ctx else None
    return f"migrator {name} --help" if name else "migrator --help"


_BROKEN_OFF = {
    "refused": "interrupted; nothing has been changed",
    "rolled-back": "interrupted; the data root is as before",
    "committed": "interrupted after the commit: the run stands",
    "": "interrupted; the data root is whole",
}


def report_interrupt() -> None:
    """Say that the user broke off, and how things stand; what a run had begun is undone by then."""
    ctx = click.get_current_context(silent=True)
    status = ctx.meta.get(BROKEN_OFF, "") if ctx else ""
    hint = typed("status")
    if wants_json():
        print_json(_error_object(status or "refused", _BROKEN_OFF[status], None, hint, 130))
    say_error(_BROKEN_OFF[status], None, hint)


def report_usage(error: click.ClickException, *, as_json: bool) -> None:
    """An error of click's, in the same form; the context it happened in is closed already."""
    ctx = getattr(error, "ctx", None)
    hint = f"{ctx.command_path if ctx else 'migrator'} --help"
    if as_json:
        print_json(_error_object("refused", error.format_message(), None, hint, error.exit_code))
    say_error(error.format_message(), None, hint)


def _error_object(status: str, message: str, where: str | None, hint: str | None, exit_code: int) -> dict[str, object]:
    ctx = click.get_current_context(silent=True)
    keys: dict[str, object] = dict(ctx.meta.get(DEFAULTS, {})) if ctx else {}
    return {
        "status": status,
        "error": message,
        "where": where,
        "hint": hint,
        "exit_code": exit_code,
        **{name: value for name, value in keys.items() if name != "status"},
    }


def say_error(message: str, where: str | None = None, hint: str | None = None, next_: str | None = None) -> None:
    """The lines of an error on standard error, the last one a command to type; colour only on a terminal.

    On a terminal the message is wrapped at words. A path or a command is not: it can be copied whole.
    """
    color = sys.stderr.isatty() and "NO_COLOR" not in os.environ
    said = f"error: {plain(message)}"
    if sys.stderr.isatty():
        said = textwrap.fill(
            said,
            shutil.get_terminal_size().columns,
            subsequent_indent="       ",
            break_long_words=False,
            break_on_hyphens=False,
        )
    click.echo(click.style("error", fg="red", bold=True) + said.removeprefix("error"), err=True, color=color)
    if where:
        click.echo(f"  where: {plain(where)}", err=True, color=color)
    if hint:
        click.echo("  hint: " + click.style(plain(hint), bold=True), err=True, color=color)
    if next_:
        click.echo("  next: " + click.style(plain(next_), bold=True), err=True, color=color)
