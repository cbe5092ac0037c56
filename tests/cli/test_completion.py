"""`migrator completion`: a script for each shell, and it completes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import get_completion_class

from migrator.cli import group, main
from migrator.engine.exchange import Place
from migrator.runner import upgrade
from migrator.site import Site, shipped_migrations
from tests.cli.conftest import STORE, as_tree
from tests.random_stores import write_tree

PACKAGE = Path(__file__).resolve().parents[2]


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
        "PYTHONPATH": str(PACKAGE),
    }
    command = [sys.executable, "-c", "from migrator.cli import main; main()"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.stdout.split() == ["plain,explain"]


def completed(monkeypatch: pytest.MonkeyPatch, line: str, shell: str) -> list[str]:
    """What a shell is offered for the last word of a line."""
    words = line.split(" ")
    asked = {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    if shell == "fish":
        asked = {"COMP_WORDS": " ".join(words[:-1]), "COMP_CWORD": words[-1]}
    for name, value in asked.items():
        monkeypatch.setenv(name, value)
    kind = get_completion_class(shell)
    assert kind is not None
    lines = kind(group, {}, "migrator", "_MIGRATOR_COMPLETE").complete().split("\n")
    if shell == "zsh":  # type, value, help: three lines each
        return [offer for offer in lines[1::3] if offer]
    return [offer.partition(",")[2].partition("\t")[0] for offer in lines if offer]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two envs, one of them upgraded once."""
    base = tmp_path_factory.mktemp("project")
    write_tree(as_tree(STORE), base / "data")
    (base / "migrator.toml").write_text('[env.staging]\ndata_root = "data"\n[env.prod]\ndata_root = "nothing"\n')
    upgrade(Site(Place.at(base / "data"), shipped_migrations(), base / "backups", base / "mappings", jobs=1))
    (base / "bin").mkdir()
    program = base / "bin" / "migrator"  # what the shells call
    program.write_text(f'#!/bin/sh\nPYTHONPATH="{PACKAGE}" exec "{sys.executable}" -m migrator "$@"\n')
    program.chmod(0o755)
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
def test_values_complete_too(
    project: Path, monkeypatch: pytest.MonkeyPatch, shell: str, line: str, offers: list[str]
) -> None:
    """Environments, run ids, steps and ids of generations, old and new; what cannot be read completes to nothing."""
    monkeypatch.chdir(project)
    (run,) = (path.name for path in (project / "backups").iterdir())
    (gen_id,) = (path.name for path in (project / "data/gens/evaluation").iterdir())
    assert completed(monkeypatch, line, shell) == [{"RUN": run, "ID": gen_id}.get(offer, offer) for offer in offers]


# each asks its shell's own completion what stands for the last word of each of $LINES, and says so in <...>
ASK = {
    "bash": """
        source <(migrator completion bash)
        complete=$(complete -p migrator | sed 's/.*-F \\([^ ]*\\) .*/\\1/')
        while read -r line; do
            COMPREPLY=()
            read -ra COMP_WORDS <<< "$line"
            COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
            $complete migrator "${COMP_WORDS[-1]}" "${COMP_WORDS[-2]}"
            echo "<${COMPREPLY[*]}>"
        done <<< "$LINES_TO_ASK"
    """,
    "fish": """
        migrator completion fish | source
        for line in (string split \\n $LINES_TO_ASK)
            echo "<"(complete -C "$line")">"
        end
    """,
    # zsh completes in its line editor alone: there the line is typed, a tab, and the key that shows the line; what is
    # waited for stands in no line that is typed, since a busy machine echoes those late
    "zsh": """
        zmodload zsh/zpty
        zpty shell zsh -f -i
        zpty -w shell 'PS1=; autoload -U compinit; compinit -u -D; source <(migrator completion zsh)'
        zpty -w shell 'show() { print -r -- "@""@${BUFFER% }%""%"; BUFFER=; }; zle -N show; bindkey ^X show'
        zpty -w shell 'print rea''dy'
        zpty -r -m shell answer '*ready*'
        for line in ${(f)LINES_TO_ASK}; do
            zpty -w -n shell "$line"$'\\t\\x18'
            zpty -r -m shell answer '*@@*%%*'
            print -r -- "<${${answer##* }%%\\%\\%*}>"
        done
    """,
}


@pytest.mark.parametrize("shell", ASK)
def test_the_shells_themselves_complete(project: Path, tmp_path: Path, shell: str) -> None:
    """Bash, zsh and fish with the script that is printed for them: environments, run ids, ids of generations."""
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"there is no {shell} (Debian: apt install {shell})")
    (run,) = (path.name for path in (project / "backups").iterdir())
    (gen_id,) = (path.name for path in (project / "data/gens/evaluation").iterdir())
    wanted = {
        "migrator --env st": "staging",
        f"migrator --env staging rollback {run[:5]}": run,
        f"migrator --env staging map {gen_id[:6]}": gen_id,
    }
    done = subprocess.run(
        [program, "-c", ASK[shell]],
        cwd=project,
        env={
            "PATH": f"{project / 'bin'}:{os.environ['PATH']}",
            "HOME": str(tmp_path),
            "TERM": "dumb",
            "LC_ALL": "C.UTF-8",
            "LINES_TO_ASK": "\n".join(wanted),
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert re.findall("<(.*)>", done.stdout) == list(wanted.values()), done
