"""The frame of the command line: help, exit codes, one JSON object, and how errors are told."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import migrator
from migrator.cli import COMMANDS
from tests.cli.conftest import STORE, Cli, as_tree
from tests.first_hour import terminal
from tests.random_stores import read_tree, write_tree

PACKAGE = Path(migrator.__file__).parents[1]


def run(*words: object, **env: str) -> subprocess.CompletedProcess[str]:
    """The command line as a process of its own."""
    program = "from migrator.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, words)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": str(PACKAGE), **env},
    )


def test_help_loads_nothing_heavy(here: Path) -> None:
    program = (
        "import sys\n"
        "from migrator.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'pandas', 'structlog', 'rich', 'pydantic', 'dagster', 'numpy', 'dask', 'distributed'}\n"
        "print('loaded:', sorted(heavy & {name.partition('.')[0] for name in sys.modules}))\n"
    )
    env = {**os.environ, "PYTHONPATH": str(PACKAGE)}
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=env)
    assert answer.stdout.splitlines()[-1] == "loaded: []"


def test_help_lists_every_command(cli: Cli, here: Path) -> None:
    answer = cli("--help")
    assert answer.code == 0
    for name, (_, text) in COMMANDS.items():
        assert name in answer.out
        assert text in answer.out


def test_a_close_name_is_suggested(cli: Cli, here: Path) -> None:
    answer = cli("plna")
    assert answer.code == 2
    assert "Did you mean 'plan'?" in answer.err


@pytest.mark.parametrize("command", ["status", "plan", "history", "upgrade", "rollback", "snapshots list"])
def test_without_a_data_root_it_is_a_usage_error(cli: Cli, here: Path, command: str) -> None:
    answer = cli(*command.split())
    assert answer.code == 2
    assert answer.err.splitlines()[0] == "error: no data root is named"
    assert answer.err.splitlines()[-1].startswith("  hint: migrator --help   (--data-root DIR")
    assert answer.out == ""


@pytest.mark.parametrize("command", ["status", "plan", "history", "upgrade --yes", "rollback"])
def test_a_data_root_that_is_not_there_is_a_usage_error(cli: Cli, here: Path, command: str) -> None:
    answer = cli("--data-root", here / "nowhere", *command.split())
    assert answer.code == 2
    assert "there is no such data root" in answer.err
    assert list(here.iterdir()) == []


def test_an_unknown_option_with_json_is_one_object(cli: Cli, root: Path) -> None:
    answer = cli("--data-root", root, "plan", "--wrong", "--json")
    assert answer.code == 2
    assert answer.json["exit_code"] == 2
    assert answer.json["status"] == "refused"


def test_an_error_is_what_where_hint_and_the_same_as_json(cli: Cli, root: Path) -> None:
    answer = cli("--data-root", root, "adopt", "20260101-000000", "--json")
    assert answer.code == 2
    assert answer.json["error"] == "there is no run 20260101-000000"
    assert answer.json["where"] == str(root.parent / "backups" / "20260101-000000")
    assert answer.json["hint"] == f"migrator --data-root {root} history   (lists them)"
    assert [line.partition(":")[0].strip() for line in answer.err.splitlines()] == ["error", "where", "hint"]


def test_a_file_that_cannot_be_read_is_no_traceback(cli: Cli, root: Path) -> None:
    (root / ".migrator" / "ledger.jsonl").mkdir(parents=True)
    answer = cli("--data-root", root, "status")
    assert answer.code == 1
    assert answer.err.startswith("error: Is a directory")
    assert "ledger.jsonl" in answer.err


def test_escape_codes_and_markup_in_data_are_shown_and_not_obeyed(cli: Cli, here: Path) -> None:
    name = "[red]bad[bold]\x1b[31m"
    write_tree(as_tree({**STORE, f"gens/draft/{name}/metadata.json": "[]"}), here / "data")
    answer = cli("--data-root", here / "data", "plan")
    assert "gens/draft/[red]bad[bold]\\x1b[31m/metadata.json" in answer.out
    assert "\x1b" not in answer.out + answer.err


def test_no_id_is_cut_in_a_pipe(cli: Cli, here: Path) -> None:
    name = "x" * 240
    write_tree(as_tree({**STORE, f"gens/draft/{name}/metadata.json": "[]"}), here / "data")
    assert f"gens/draft/{name}/metadata.json" in cli("--data-root", here / "data", "plan").out


def on_a_terminal(columns: int, *words: object, **env: str) -> str:
    """What the command line shows on a terminal of so many columns."""
    command = [sys.executable, "-c", "from migrator.cli import main; main()", *map(str, words)]
    inherited = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")}
    here = {"PYTHONPATH": str(PACKAGE), "TERM": "xterm"}
    return terminal(command, Path.cwd(), {**inherited, **here, **env}, columns=columns)[1]


def test_a_narrow_terminal_folds_and_loses_nothing(here: Path) -> None:
    name = "x" * 100
    write_tree(as_tree({**STORE, f"gens/draft/{name}/metadata.json": "[]"}), here / "data")
    shown = on_a_terminal(40, "--data-root", "data", "plan", NO_COLOR="1")
    lines = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line) for line in shown.splitlines()]
    assert name in "".join(lines).replace(" ", "")
    first = lines.index(next(line for line in lines if "Step" in line))
    assert all(len(line) <= 40 for line in lines[first : first + 12])


def test_colour_is_for_terminals_that_want_it(root: Path) -> None:
    red_or_green = re.compile(r"\x1b\[(\d+;)*3[0-9]")
    assert red_or_green.search(on_a_terminal(80, "--data-root", root, "plan"))
    assert not red_or_green.search(on_a_terminal(80, "--data-root", root, "plan", NO_COLOR="1"))
    assert "\x1b" not in run("--data-root", root, "plan").stdout


def test_signs_have_an_ascii_form(root: Path) -> None:
    answer = run("--data-root", root, "plan", PYTHONIOENCODING="ascii", PYTHONUTF8="0", LC_ALL="C")
    assert answer.returncode == 0
    assert answer.stdout.isascii()
    assert "0000 -> 0004" in answer.stdout


def test_a_reader_that_goes_away_is_no_traceback(root: Path) -> None:
    program = f"{sys.executable} -c 'from migrator.cli import main; main()' --data-root {root} plan --json | true"
    env = {**os.environ, "PYTHONPATH": str(PACKAGE)}
    answer = subprocess.run(["sh", "-c", program], capture_output=True, text=True, env=env)
    assert "Traceback" not in answer.stderr


NEXT = "  next: migrator status --help"


def test_settings_are_read_from_the_file(cli: Cli, root: Path) -> None:
    (root.parent / "migrator.toml").write_text('[env.dev]\ndata_root = "data"\n')
    assert "dev" in cli("--env", "dev", "status").out
    assert cli("--env", "dve", "status").err.splitlines()[-2:] == ["  hint: did you mean dev?", NEXT]
    assert cli("status").code == 2


@pytest.mark.parametrize(
    "command",
    [
        "status",
        "plan",
        "history",
        "snapshots list",
        "snapshots verify",
        "upgrade",
        "rollback --yes",
        "upgrade --to 9",
    ],
)
def test_what_looks_or_refuses_leaves_the_tree_as_it_is(cli: Cli, root: Path, command: str) -> None:
    before = read_tree(root)
    cli("--data-root", root, *command.split())
    assert read_tree(root) == before
