"""`migrator demo`: the walk works everywhere, asks nothing and harms nothing."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from migrator.cli import main
from tests.cli.conftest import Cli


def demo(folder: Path, *args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A demo in a process of its own, without a terminal."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "MIGRATOR_"))}
    here = {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    return subprocess.run(
        [sys.executable, "-c", "from migrator.cli import main; main()", "demo", *args],
        cwd=folder,
        env=kept | here | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )


def test_the_whole_walk(tmp_path: Path) -> None:
    """In the C locale, without a terminal: every command is shown and works; the end says where to look."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = demo(tmp_path, LC_ALL="C")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stdout
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 20  # of a processor, not of the clock
    typed = [line.split()[2] for line in done.stdout.splitlines() if line.startswith("$ migrator")]
    assert typed == ["status", "plan", "upgrade", "check", "map", "rollback", "upgrade"]
    places = [tmp_path / "demo-store" / name for name in ("data", "migrator.toml", "backups", "mappings")]
    assert all(place.exists() for place in places)
    named = [line.split()[-1] for line in done.stdout.splitlines() if line.startswith("  old and new ids")]
    assert (tmp_path / "demo-store" / named[0]).is_file()
    assert "Traceback" not in done.stdout


def test_settings_of_the_environment_do_not_reach_it(cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MIGRATOR_ENV=prod or a data root of one's own must not be migrated by a demo."""
    live = here / "live"
    (live / "gens").mkdir(parents=True)
    monkeypatch.setenv("MIGRATOR_DATA_ROOT", str(live))
    monkeypatch.setenv("MIGRATOR_ENV", "prod")
    assert cli("demo", "here").code == 0
    assert [path.name for path in live.rglob("*")] == ["gens"]


@pytest.mark.parametrize("former", [True, False])
def test_what_is_there_is_never_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], former: bool
) -> None:
    """Refused, with a name that is free as the hint."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "demo-store"
    folder.mkdir()
    (folder / "migrator.toml").write_text("[env.demo]\n" if former else "# mine\n")
    with pytest.raises(SystemExit) as ended:
        main(["demo"])
    assert ended.value.code == 1
    assert [path.name for path in folder.iterdir()] == ["migrator.toml"]
    assert "demo-store-2" in capsys.readouterr().err
