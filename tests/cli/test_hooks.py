"""[hooks] of migrator.toml: what is refused, what the operator sees, what stands in the run's log."""

import json
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Cli

SETTINGS = 'default_env = "here"\n{0}\n[env.here]\ndata_root = "data"\n'


def settings(root: Path, *lines: str) -> None:
    """A migrator.toml beside the data root."""
    (root.parent / "migrator.toml").write_text(SETTINGS.format("\n".join(lines)))


@pytest.mark.parametrize(
    ("lines", "error", "hint"),
    [
        (["[hooks]", 'afer = "x"'], "unknown key hooks.afer", "did you mean hooks.after?"),
        (["[hooks]", 'before = "x"'], "unknown key hooks.before", "known keys: after, failed, timeout"),
        (["[hooks]", "after = 3"], "hooks.after must be a str", None),
        (["[hooks]", "timeout = true"], "hooks.timeout must be a int", None),
        (["[hooks]", "timeout = 0"], "hooks.timeout must be at least 1 (seconds)", None),
        (["[hooks]", 'after = ""'], "the after hook is empty", 'hooks.after = "command", or leave it out'),
        (["[hooks]", 'failed = "sh -c \'open"'], "the failed hook cannot be read: No closing quotation", None),
        (['hook = "x"'], "unknown key hook", "did you mean hooks?"),
        (['hooks = "x"'], "hooks must be a dict", None),
    ],
)
def test_what_makes_no_sense_is_refused(cli: Cli, root: Path, lines: list[str], error: str, hint: str | None) -> None:
    settings(root, *lines)
    answer = cli("upgrade", "--yes", "--json")
    assert answer.code == 2
    assert (answer.json["error"], answer.json["hint"]) == (error, hint)


def test_output_goes_into_the_log_and_no_escape_code_reaches_a_screen(cli: Cli, root: Path) -> None:
    settings(root, "[hooks]", """after = 'sh -c "printf \\"\\\\033[31mred\\n\\"; exit 3"'""")
    answer = cli("upgrade", "--yes")
    assert answer.code == 1
    assert "error: the after hook said no (exit 3): \\x1b[31mred; the run was undone" in answer.err
    assert "\x1b" not in answer.err + answer.out
    (log,) = (root.parent / "backups").glob("*/log.jsonl")
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert [event["line"] for event in events if event["event"] == "hook-output"] == ["\x1b[31mred"]
    assert "\x1b" not in log.read_text()
    shown = cli("history").out
    assert "rolled-back" in shown and "\\x1b[31mred" in shown and "\x1b" not in shown


def test_a_failed_hook_is_an_answer_in_json_too(cli: Cli, root: Path) -> None:
    settings(root, "[hooks]", 'after = "false"')
    answer = cli("upgrade", "--yes", "--json")
    assert (answer.code, answer.json["status"]) == (1, "rolled-back")
    assert answer.json["run_id"] and answer.json["hint"].startswith("migrator ")


def test_a_hook_may_look_at_the_store_with_the_command_itself(cli: Cli, root: Path) -> None:
    """MIGRATOR_ENV names the store; the lock is held, and what reads needs none."""
    settings(root, "[hooks]", f"after = \"sh -c '{sys.executable} -m migrator status --json >seen.json'\"")
    assert cli("upgrade", "--yes").code == 0
    seen = json.loads((root.parent / "seen.json").read_text())
    assert (len(seen["applied"]), seen["pending"]) == (4, [])


def test_another_data_root_calls_nobody(cli: Cli, root: Path) -> None:
    settings(root, "[hooks]", 'after = "false"')
    assert cli("--data-root", root, "upgrade", "--yes").code == 0
