"""The last line of every error is a command, and it works: all that stand in the code, and those of real errors."""

from __future__ import annotations

import ast
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest

from migrator import runner
from migrator.cli import COMMANDS, screen
from migrator.engine import lock
from migrator.engine.exchange import Place
from migrator.errors import CareNeeded
from tests.cli.conftest import Cli
from tests.test_docs import complaint

PACKAGE = Path(runner.__file__).parent


def hints(source: str) -> Iterator[str]:
    """Every text that becomes a hint or is given to `typed`, X standing for what is put in."""
    for node in ast.walk(ast.parse(source)):
        value: ast.AST | None = node.value if isinstance(node, ast.keyword) and node.arg == "hint" else None
        before = ""
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["hint"]:
            value = node.value
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("typed", "screen.typed"):
            value, before = node.args[0], "migrator "
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            yield before + value.value
        if isinstance(value, ast.JoinedStr):
            parts = (str(part.value) if isinstance(part, ast.Constant) else "X" for part in value.values)
            yield before + "".join(parts)


def command_of(line: str) -> str:
    """The command of a hint, without the remark behind it."""
    return line.partition("   ")[0].strip()


def test_every_command_in_a_hint_exists() -> None:
    found = {hint for path in PACKAGE.rglob("*.py") for hint in hints(path.read_text()) if hint.startswith("migrator ")}
    assert len(found) > 30
    assert {hint: why for hint in found if (why := complaint(command_of(hint)))} == {}
    words = {hint: command_of(hint).split() for hint in found}
    assert [hint for hint, parts in words.items() if {"DIR", "FILE", "REASON", "...", "NAME"} & set(parts)] == []
    assert [hint for hint, parts in words.items() if not set(parts) & {*COMMANDS, "--help"}] == []


Prepare = Callable[[Path], object]


def _broken(root: Path) -> None:
    (root / "gens/draft/old-draft/metadata.json").write_text("{broken")


def _edited(root: Path) -> None:
    steps = root.parent / "migrations"
    steps.mkdir()
    for path in (PACKAGE.parent / "migrations").glob("0*.py"):
        (steps / path.name).write_bytes(path.read_bytes() + b"# edited\n")


def _no_steps(root: Path) -> None:
    (root.parent / "migrator.toml").write_text('migrations = "nowhere"\n[env.x]\ndata_root = "data"\n')


def _kept(root: Path) -> None:
    (root.parent / "plan.json").write_text('{"fingerprint": "old", "to": "0004", "accepted": []}')


ERRORS: list[tuple[str, Prepare | None, str]] = [
    ("blocking issues", _broken, "--data-root data plan"),
    ("blocking issues, upgrade", _broken, "--data-root data upgrade --yes"),
    ("nobody answers", None, "--data-root data upgrade"),
    ("stale plan", _kept, "--data-root data upgrade --yes --plan plan.json"),
    ("no plan", None, "--data-root data upgrade --yes --plan nothing.json"),
    ("plan inside", None, "--data-root data plan --out data/plan"),
    ("no data root", None, "--data-root nothing status"),
    ("none named", None, "status"),
    ("no steps", _no_steps, "--env x plan"),
    ("no env", _no_steps, "--env y plan"),
    ("no step", None, "--data-root data plan --to 0099"),
    ("no run to undo", None, "--data-root data rollback --yes"),
    ("no such run", None, "--data-root data rollback 20200101-000000 --yes"),
    ("no run id", None, "--data-root data rollback ../x --yes"),
    ("nothing to adopt", None, "--data-root data adopt 20200101-000000"),
    ("no policy", None, "--data-root data snapshots prune"),
    ("no snapshot", None, "--data-root data snapshots verify 20200101-000000"),
    ("no project", None, "new x"),
    ("no such id", None, "--data-root data explain nothing-like-it"),
    ("nearly an id", None, "--data-root data explain old-drafft"),
    ("unknown command", None, "upgrate"),
    ("unknown option", None, "--data-root data plan --forse"),
]


def last(answer_err: str) -> list[str]:
    """The words of the last line's command."""
    label, _, rest = answer_err.rstrip().splitlines()[-1].partition(": ")
    assert label.strip() in ("hint", "next") or label.strip().startswith("migrator "), answer_err
    rest = rest or label.strip()
    words = shlex.split(command_of(rest))
    assert words[0] == "migrator", answer_err
    return words[1:]


def works(cli: Cli, words: list[str]) -> None:
    """The command is understood; it may still find that something else is wrong."""
    answer = cli(*words)
    assert answer.code != 2 or "nobody is there to answer" in answer.err, (words, answer.err)
    assert "Traceback" not in answer.err


@pytest.mark.parametrize(("prepare", "line"), [error[1:] for error in ERRORS], ids=[error[0] for error in ERRORS])
def test_the_last_line_of_an_error_works(cli: Cli, root: Path, prepare: Prepare | None, line: str) -> None:
    if prepare:
        prepare(root)
    answer = cli(*line.split())
    assert answer.code not in (0, 3)
    works(cli, last(answer.err))


def test_steps_that_were_edited(cli: Cli, root: Path) -> None:
    assert cli("--data-root", root, "upgrade", "--yes").code == 0
    _edited(root)
    answer = cli("--data-root", root, "upgrade", "--yes")
    assert answer.code == 4
    works(cli, last(answer.err))


def test_what_staging_has_not_proven(cli: Cli, project: Path) -> None:
    answer = cli("--env", "prod", "upgrade", "--yes")
    assert answer.code == 4
    works(cli, last(answer.err))


def test_a_lock_that_is_held(cli: Cli, root: Path) -> None:
    with lock.hold(Place.at(root).state, "test"):
        answer = cli("--data-root", root, "upgrade", "--yes")
    assert answer.code == 5
    works(cli, last(answer.err))


def test_later_work_that_a_rollback_would_lose(cli: Cli, root: Path) -> None:
    assert cli("--data-root", root, "upgrade", "--yes").code == 0
    (root / "later.txt").write_text("later")
    answer = cli("--data-root", root, "rollback", "--yes")
    assert answer.code == 4
    works(cli, last(answer.err))


def test_a_snapshot_that_is_damaged(cli: Cli, root: Path) -> None:
    assert cli("--data-root", root, "upgrade", "--yes").code == 0
    (snapshot,) = (root.parent / "backups").glob("*/tree")
    (snapshot / "5_parsing/mine.csv").write_text("other")
    answer = cli("--data-root", root, "rollback", "--yes")
    assert answer.code == 10
    works(cli, last(answer.err))


def test_an_error_whose_hint_is_no_command(cli: Cli, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise CareNeeded("look", hint="stop all writers")

    monkeypatch.setattr("migrator.runner.read_pending", broken)
    answer = cli("--data-root", root, "upgrade", "--yes")
    assert answer.err.endswith(f"  hint: stop all writers\n  next: migrator --data-root {root} status\n")


def test_three_hundred_issues_are_a_digest_and_the_file_that_lists_them(cli: Cli, root: Path) -> None:
    for number in range(300):
        (root / f"gens/draft/x{number:03}").mkdir()
    answer = cli("--data-root", root, "plan")
    assert answer.code == 4
    assert len(answer.out.splitlines()) < 40
    assert "missing-metadata" in answer.out and "and 297 more" in answer.out
    words = last(answer.err)
    cli(*words)
    listed = (root.parent / words[-1] / "issues.csv").read_text()
    assert listed.count("missing-metadata") == 300


def test_a_narrow_terminal_wraps_the_message_at_words_and_breaks_no_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    command = "migrator --data-root /a/very/long/path/to/a/data/root status"
    screen.say_error("one two three four five six seven eight nine", None, None, command)
    said = click.unstyle(capsys.readouterr().err)
    assert said == f"error: one two three four five six seven\n       eight nine\n  next: {command}\n"
