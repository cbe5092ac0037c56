"""Events: what is loud goes to standard error, everything of a run into its log.jsonl."""

import errno
import json
import subprocess
import sys
from pathlib import Path

import pytest

from migrator.cli.log import Log
from tests.cli.conftest import Cli
from tests.faults import hooked


def test_the_log_of_a_run_is_one_json_object_a_line(cli: Cli, root: Path) -> None:
    run_id = cli("--data-root", root, "upgrade", "--yes", "--json").json["run_id"]
    lines = (root.parent / "backups" / run_id / "log.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    assert events[0]["event"] == "run"
    assert "committed" in [event["event"] for event in events]
    assert all({"timestamp", "level", "event"} <= event.keys() for event in events)


def test_a_log_does_without_rich() -> None:
    """Which takes as long to import as all else of it; whoever wants rich later has it."""
    program = (
        "import sys\n"
        "from migrator.cli.log import Log\n"
        "Log().notify('odd', level='warning')\n"
        "assert 'structlog' in sys.modules and 'rich' not in sys.modules\n"
        "import rich.console\n"
        "Log().notify('odd', level='warning')\n"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (answer.returncode, answer.stderr.count("odd")) == (0, 2)


def test_a_run_that_fails_at_once_is_logged_too(cli: Cli, root: Path) -> None:
    """Also where not even the folder of the new tree can be made."""

    def full(call: str, path: str) -> None:
        if call == "mkdir" and path.endswith("/tree"):
            raise OSError(errno.ENOSPC, "no space left on device", path)

    with hooked(full):
        answer = cli("--data-root", root, "upgrade", "--yes", "--json")
    assert answer.code == 1
    lines = (root.parent / "backups" / answer.json["run_id"] / "log.jsonl").read_text().splitlines()
    assert "failed" in [json.loads(line)["event"] for line in lines]


def test_warnings_are_told_and_infos_are_not(capsys: pytest.CaptureFixture[str]) -> None:
    with Log() as log:
        log.notify("something", number=1)
        log.notify("recovered", level="warning", what="a \x1b[31m run")
    error = capsys.readouterr().err
    assert "something" not in error
    assert "event='recovered'" in error
    assert "\x1b" not in error


def test_the_environment_says_how_much_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIGRATOR_LOG", "info")
    with Log() as log:
        log.notify("something", number=1)
    assert "event='something'" in capsys.readouterr().err


def test_a_collision_is_told_once_and_logged_as_critical(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Log() as log:
        log.notify("collision", level="critical", gen_id="d_1")
        log.notify("run", folder=str(tmp_path), run_id="x")
        log.notify("collision", level="critical", gen_id="d_1")
    assert capsys.readouterr().err.count("level='critical'") == 1
    events = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [(event["event"], event["level"]) for event in events] == [
        ("run", "info"),
        ("collision", "critical"),
    ]


def test_progress_is_a_line_now_and_then_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("migrator.cli.log.time.monotonic", lambda: now[0])
    with Log() as log:
        log.notify("phase", name="build", files=100, bytes=100_000_000)
        for second in range(1, 13):
            now[0] = second
            log.notify("progress", files=second, bytes=second * 1_000_000)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "building the new tree: 5 files, 5.0 MB of 100 files, 100.0 MB, 1.0 MB/s, 2 min left",
        "building the new tree: 10 files, 10.0 MB of 100 files, 100.0 MB, 1.0 MB/s, 2 min left",
        "building the new tree: done, 100 files, 100.0 MB, 12.0 s",
    ]


def test_a_log_that_cannot_be_written_does_not_stop_a_run(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").mkdir()
    with Log() as log:
        log.notify("run", folder=str(tmp_path), run_id="x")
