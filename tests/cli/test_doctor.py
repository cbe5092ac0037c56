"""`migrator doctor`: what it finds, and that it leaves no trace."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from migrator.cli import doctor, main
from migrator.cli.doctor import BAD, FINE, NOTE, WARN, Mount
from migrator.engine import lock
from migrator.engine.exchange import Place

MOUNTINFO = r"""
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:25 / /srv/my\040data rw,relatime - nfs4 server:/x rw
31 22 0:26 / /srv/fuse rw - fuse.sshfs host:/ rw
32 22 0:27 / /srv/fuse ro shared:3 master:1 - tmpfs tmpfs ro
torn line
"""

Doctor = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small data root; the current folder is the one above."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/gens/draft/one").mkdir(parents=True)
    return tmp_path / "data"


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Doctor:
    """Calls the command with --json; returns (exit code, facts by name)."""

    def call(*args: object) -> tuple[int, dict[str, Any]]:
        with pytest.raises(SystemExit) as ended:
            main([*map(str, args), "doctor", "--json"])
        found = json.loads(capsys.readouterr().out)
        assert isinstance(ended.value.code, int)
        assert found["ready"] == (ended.value.code == 0)
        return ended.value.code, {fact["name"]: fact for fact in found["facts"]}

    return call


def test_it_writes_nothing(root: Path, call: Doctor) -> None:
    """No folder, no lock, no probe: not in the data root, not beside it."""
    before = {path: path.lstat().st_mtime_ns for path in (root.parent, *root.parent.rglob("*"))}
    call("--data-root", root)
    assert before == {path: path.lstat().st_mtime_ns for path in (root.parent, *root.parent.rglob("*"))}


def test_a_screen_for_people(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every group is there, and the last line is the verdict."""
    with pytest.raises(SystemExit):
        main(["--data-root", str(root), "doctor"])
    out = capsys.readouterr().out
    for name in ("Python", "file system", "backups", "disk", "lock", "pandas"):
        assert name in out
    assert "a run" in out.splitlines()[-1]


@pytest.mark.parametrize(
    ("kind", "linked", "state"),
    [
        ("ext4", False, FINE),
        ("tmpfs", False, FINE),
        ("nfs4", False, BAD),
        ("fuse.sshfs", False, BAD),
        ("9p", False, BAD),
        ("overlay", False, WARN),
        ("newfs", False, WARN),
        ("nfs4", True, FINE),
    ],
)
def test_what_a_file_system_means(
    root: Path, call: Doctor, monkeypatch: pytest.MonkeyPatch, kind: str, linked: bool, state: str
) -> None:
    """Where folders cannot be exchanged the way out is a link; with a link everything goes."""
    monkeypatch.setattr(doctor, "read_mounts", lambda: [Mount("/", kind, "rw")])
    where = root
    if linked:
        where = root.parent / "link"
        where.symlink_to(root)
    _, facts = call("--data-root", where)
    assert facts["file system"]["state"] == state
    assert ("ln -s" in facts["file system"]["meaning"]) == (state != FINE)


def test_mounts_are_read_as_the_kernel_writes_them(tmp_path: Path) -> None:
    """Blanks in octal, optional fields, the later of two on one point; other lines are passed over."""
    file = tmp_path / "mountinfo"
    file.write_text(MOUNTINFO)
    mounts = doctor.read_mounts(file)
    kinds = {
        path: doctor.mount_of(Path(path), mounts) for path in ("/srv/my data/x", "/srv/fuse", "/srv", "/srv/fusee")
    }
    assert {path: mount.kind for path, mount in kinds.items() if mount} == {
        "/srv/my data/x": "nfs4",
        "/srv/fuse": "tmpfs",
        "/srv": "ext4",
        "/srv/fusee": "ext4",
    }
    assert doctor.read_mounts(tmp_path / "missing") == []


def test_a_mount_point_and_mounts_inside_are_refused(root: Path, call: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither can be exchanged."""
    mounts = [Mount("/", "ext4", "rw"), Mount(str(root), "ext4", "rw"), Mount(f"{root}/gens", "tmpfs", "rw")]
    monkeypatch.setattr(doctor, "read_mounts", lambda: mounts)
    code, facts = call("--data-root", root)
    assert code == 1
    assert facts["mount point"]["state"] == facts["mounts inside"]["state"] == BAD


def test_backups_elsewhere_are_refused(root: Path, call: Doctor, other_disk: Path) -> None:
    """Trees are exchanged within one file system."""
    code, facts = call("--data-root", root, "--backups", other_disk / "backups")
    assert code == 1
    assert facts["backups"]["state"] == BAD


def test_too_little_room(root: Path, call: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told before a run would find out."""
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 4096}))
    code, facts = call("--data-root", root)
    assert code == 1
    assert facts["disk"]["state"] == BAD


def test_every_fact_says_what_it_means_for_a_run(root: Path, call: Doctor) -> None:
    """Versions speak for themselves."""
    _, facts = call("--data-root", root)
    assert [name for name, fact in facts.items() if not fact["meaning"] and fact["group"] != "versions"] == []
    assert {"file system", "reflink", "disk", "inodes", "lock", "Dagster instance", "migrator"} <= facts.keys()


@pytest.mark.parametrize(("home", "state"), [("", NOTE), ("nowhere", WARN), ("/nowhere", WARN), ("{here}", FINE)])
def test_the_dagster_instance(root: Path, call: Doctor, monkeypatch: pytest.MonkeyPatch, home: str, state: str) -> None:
    """None is no fault; one that Dagster could not open is."""
    monkeypatch.setenv("DAGSTER_HOME", home.format(here=root.parent))
    assert call("--data-root", root)[1]["Dagster instance"]["state"] == state


def test_somebody_holds_the_lock(root: Path, call: Doctor) -> None:
    """A run would have to wait: no reason to call the machine unfit."""
    with lock.hold(Place.at(root).state, "upgrade"):
        code, facts = call("--data-root", root)
    assert code == 0
    assert facts["lock"]["state"] == WARN
    assert "upgrade" in facts["lock"]["value"]


def test_without_a_data_root_it_is_a_usage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with every command."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["doctor"])
    assert ended.value.code == 2
