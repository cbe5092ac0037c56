"""`migrator completion`: a script for each shell, and it completes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from migrator.cli import main
from tests.cli.conftest import STORE, as_tree
from tests.random_stores import write_tree


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


def completed(folder: Path, line: str, shell: str = "bash") -> list[str]:
    """What a shell is offered for the last word of a line."""
    words = line.split(" ")
    asked = {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    if shell == "fish":
        asked = {"COMP_WORDS": " ".join(words[:-1]), "COMP_CWORD": words[-1]}
    environment = os.environ | asked | {"_MIGRATOR_COMPLETE": f"{shell}_complete", "PYTHONPATH": str(PACKAGE)}
    command = [sys.executable, "-c", "from migrator.cli import main; main()"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.stderr == ""
    lines = done.stdout.split("\n")
    if shell == "zsh":  # type, value, help: three lines each
        return [offer for offer in lines[1::3] if offer]
    return [offer.partition(",")[2].partition("\t")[0] for offer in lines if offer]


PACKAGE = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two envs, one of them upgraded once."""
    base = tmp_path_factory.mktemp("project")
    write_tree(as_tree(STORE), base / "data")
    (base / "migrator.toml").write_text('[env.staging]\ndata_root = "data"\n[env.prod]\ndata_root = "nothing"\n')
    command = [sys.executable, "-m", "migrator", "--env", "staging", "upgrade", "--yes"]
    subprocess.run(command, cwd=base, env=os.environ | {"PYTHONPATH": str(PACKAGE)}, check=True, capture_output=True)
    return base


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize(
    ("line", "offers"),
    [
        ("migrator --env st", ["staging"]),
        ("migrator --env staging upgrade --from pr", ["prod"]),
        ("migrator --env staging rollback ", ["RUN"]),
        ("migrator --env staging adopt 2", ["RUN"]),
        ("migrator --env staging plan --to 000", ["0001", "0002", "0003", "0004"]),
        ("migrator --env staging explain old-", ["old-draft", "old-essay", "old-evaluation"]),
        ("migrator --env staging map v_", ["ID"]),
        ("migrator --env nonsense explain ", []),
        ("migrator --env prod map ", []),
    ],
)
def test_values_complete_too(project: Path, shell: str, line: str, offers: list[str]) -> None:
    """Environments, run ids, steps and ids of generations, old and new; what cannot be read completes to nothing."""
    (run,) = (path.name for path in (project / "backups").iterdir())
    (gen_id,) = (path.name for path in (project / "data/gens/evaluation").iterdir())
    assert completed(project, line, shell) == [{"RUN": run, "ID": gen_id}.get(offer, offer) for offer in offers]
