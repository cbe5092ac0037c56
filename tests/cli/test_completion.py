"""`migrator completion`: a script for each shell, and it completes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from migrator.cli import main


@pytest.mark.parametrize(("shell", "mark"), [("bash", "complete -o"), ("zsh", "#compdef"), ("fish", "complete ")])
def test_a_script_for_each_shell(capsys: pytest.CaptureFixture[str], shell: str, mark: str) -> None:
    """Printed on standard output, for the program's own name."""
    with pytest.raises(SystemExit) as ended:
        main(["completion", shell])
    out = capsys.readouterr().out
    assert ended.value.code == 0
    assert mark in out
    assert "_MIGRATOR_COMPLETE" in out


def test_another_shell_is_a_usage_error() -> None:
    """With the ones there are."""
    with pytest.raises(SystemExit) as ended:
        main(["completion", "tcsh"])
    assert ended.value.code == 2


def test_it_completes_commands(tmp_path: Path) -> None:
    """What bash would ask, answered."""
    environment = os.environ | {
        "_MIGRATOR_COMPLETE": "bash_complete",
        "COMP_WORDS": "migrator expl",
        "COMP_CWORD": "1",
        "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
    }
    command = [sys.executable, "-c", "from migrator.cli import main; main()"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.stdout.split() == ["plain,explain"]
