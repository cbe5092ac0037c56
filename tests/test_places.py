"""Where a data root may lie: linked, on FUSE, full disks, other file systems. Needs root for mounts; skips visibly."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from migrator import runner, undo
from migrator.errors import MigratorError, UsageError
from tests.faults import content, exact, killed_at, points, site
from tests.test_crash import small_store


@contextmanager
def mounted(command: list[str], point: Path) -> Iterator[Path]:
    """A file system mounted for a while; skips where that cannot be done."""
    if os.geteuid() != 0 or not shutil.which(command[0]):
        pytest.skip(f"needs root and {command[0]}")
    point.mkdir(exist_ok=True)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{command[0]} cannot mount here: {done.stderr.strip()}")
    try:
        yield point
    finally:
        subprocess.run(["umount", "-l", str(point)], check=True)


@pytest.fixture
def fuse(tmp_path: Path) -> Iterator[Path]:
    """A folder below FUSE (bindfs), where renameat2(EXCHANGE) is refused."""
    (tmp_path / "source").mkdir()
    with mounted(["bindfs", str(tmp_path / "source"), str(tmp_path / "mnt")], tmp_path / "mnt") as point:
        yield point


def test_a_plain_root_on_fuse_is_refused_before_any_work_with_the_way_out(fuse: Path) -> None:
    small_store(fuse / "data")
    before = exact(fuse / "data")
    with pytest.raises(MigratorError, match="cannot exchange two folders") as refusal:
        runner.upgrade(site(fuse))
    assert exact(fuse / "data") == before
    assert site(fuse).runs() == []
    assert refusal.value.hint is not None
    subprocess.run(refusal.value.hint.partition("   ")[0], shell=True, check=True)
    assert runner.upgrade(site(fuse)).status == "committed"
    assert undo.rollback(site(fuse)).status == "rolled-back"
    assert exact((fuse / "data").resolve()) == before


def test_a_linked_root_on_fuse_survives_kills(fuse: Path) -> None:
    small_store(fuse / "store")
    (fuse / "data").symlink_to("store")
    old = exact(fuse / "store")
    total = len(points(lambda: runner.upgrade(site(fuse))))
    new = content(site(fuse).place.real)
    undo.rollback(site(fuse))
    for k in range(5, total, total // 6):
        assert killed_at(k, lambda: runner.upgrade(site(fuse)))
        now = site(fuse).place.real
        assert exact(now) == old or content(now) == new
        undo.rollback(site(fuse))
        assert exact(site(fuse).place.real) == old


def test_a_mount_point_as_root_is_refused(tmp_path: Path) -> None:
    small_store(tmp_path / "store")
    with mounted(["mount", "--bind", str(tmp_path / "store"), str(tmp_path / "data")], tmp_path / "data"):
        before = exact(tmp_path / "data")
        with pytest.raises(MigratorError, match="mount point"):
            runner.upgrade(site(tmp_path))
        assert exact(tmp_path / "data") == before


def test_a_mount_inside_the_tree_is_refused(tmp_path: Path) -> None:
    small_store(tmp_path / "data")
    inner = tmp_path / "data" / "mounted"
    with (
        mounted(["mount", "-t", "tmpfs", "none", str(inner)], inner),
        pytest.raises(MigratorError, match="mounted inside"),
    ):
        runner.upgrade(site(tmp_path))


def test_backups_on_another_file_system_are_refused_first(tmp_path: Path) -> None:
    small_store(tmp_path / "data")
    with mounted(["mount", "-t", "tmpfs", "none", str(tmp_path / "b")], tmp_path / "b"):
        with pytest.raises(UsageError, match="another file system"):
            runner.upgrade(site(tmp_path))
        assert list((tmp_path / "b").iterdir()) == []


@pytest.mark.parametrize("kilobytes", [200, 260, 320])
def test_a_full_disk_changes_nothing(tmp_path: Path, kilobytes: int) -> None:
    point = tmp_path / "small"
    with mounted(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "none", str(point)], point):
        small_store(point / "data")
        (point / "data" / "big").write_bytes(b"x" * 120_000)
        before = exact(point / "data")
        with pytest.raises(MigratorError):
            runner.upgrade(site(point))
            pytest.fail("there was room after all")
        assert exact(point / "data") == before


@pytest.mark.parametrize("name", ["b", "m"])
def test_folders_of_ours_inside_the_root_are_refused(tmp_path: Path, name: str) -> None:
    small_store(tmp_path / "data")
    inside = {"b": "backups", "m": "mappings"}[name]
    with pytest.raises(UsageError, match="inside the data root"):
        runner.upgrade(site(tmp_path, **{inside: tmp_path / "data" / name}))
