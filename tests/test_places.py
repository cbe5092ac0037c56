"""Where a data root may lie: linked, on FUSE, full disks, other file systems. Needs root for mounts; skips visibly."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from migrator import Inventory, runner, undo
from migrator.engine import exchange, listing
from migrator.engine.listing import Listing
from migrator.errors import MigratorError, UsageError
from migrator.store.checks import check
from tests.faults import content, exact, killed_at, points, site
from tests.oracle import migrate
from tests.random_stores import read_tree
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


FOLDING = {  # file systems for which two names that differ in case are one name
    "ext4": ("20M", ["mkfs.ext4", "-q", "-F", "-O", "casefold"]),
    "xfs": ("300M", ["mkfs.xfs", "-q", "-f", "-n", "version=ci"]),
    "vfat": ("20M", ["mkfs.vfat"]),
}


@contextmanager
def on_disk(tmp_path: Path, size: str, make: list[str]) -> Iterator[Path]:
    """A file system of its own in an image."""
    if os.geteuid() != 0 or not shutil.which(make[0]):
        pytest.skip(f"needs root and {make[0]}")
    subprocess.run(["truncate", "-s", size, str(tmp_path / "image")], check=True)
    subprocess.run([*make, str(tmp_path / "image")], check=True, capture_output=True)
    with mounted(["mount", "-o", "loop", str(tmp_path / "image"), str(tmp_path / "mnt")], tmp_path / "mnt") as point:
        yield point


@pytest.fixture(params=["telling them apart", *FOLDING])
def folding(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A folder on a file system that takes `A` for `a`; and one on this one, so that the test itself is tried."""
    if request.param not in FOLDING:
        yield tmp_path
        return
    size, make = FOLDING[request.param]
    with on_disk(tmp_path, size, make) as point:
        (point / "base").mkdir()
        if request.param == "ext4":
            subprocess.run(["chattr", "+F", str(point / "base")], check=True)
        yield point / "base"


def test_ids_are_right_where_two_names_that_differ_in_case_are_one(folding: Path) -> None:
    """Two programs wrote `Case` and `case`: what is on the disk is judged, two generations or one of both."""
    small_store(folding / "data")
    for name in ("Case", "case"):
        folder = folding / "data/gens/draft" / name
        folder.mkdir(exist_ok=True)
        (folder / "metadata.json").write_text('{"combo_id": "C", "template_id": "T", "llm_model_id": "M"}')
    before, expected = exact(folding / "data"), migrate(read_tree(folding / "data"))
    assert runner.upgrade(site(folding)).status == "committed"
    after = read_tree(folding / "data")
    assert {path: data for path, data in after.items() if path.startswith("gens/")} == {
        path: data for path, data in expected.tree.items() if path.startswith("gens/")
    }
    assert check(Inventory.read(folding / "data")) == []
    assert undo.rollback(site(folding)).status == "rolled-back"
    assert exact(folding / "data") == before


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


def test_times_of_folders_are_not_believed_on_fuse(fuse: Path) -> None:
    """What a program answers may be as old as it likes; what it lies on does not matter."""
    (fuse / "store").mkdir()
    (fuse / "data").symlink_to("store")
    assert not exchange.folders_tell(site(fuse).place.real)


DISKS = {
    "tmpfs": None,
    "ext4": ("20M", ["mkfs.ext4", "-q", "-F"]),
    "ext4 in seconds": ("20M", ["mkfs.ext4", "-q", "-F", "-I", "128"]),
    "xfs": ("300M", ["mkfs.xfs", "-q", "-f"]),
}


@pytest.mark.parametrize("disk", DISKS)
def test_each_name_that_comes_or_goes_shows_in_its_folder(tmp_path: Path, disk: str) -> None:
    """What is believed of these file systems is true of them."""
    made, point = DISKS[disk], tmp_path / "mnt"
    with on_disk(tmp_path, *made) if made else mounted(["mount", "-t", "tmpfs", "none", str(point)], point):
        assert exchange.folders_tell(point)
        folder = point / "a/b"
        folder.mkdir(parents=True)
        (folder / "there").touch()
        acts: list[Callable[[], object]] = [
            (folder / "new").touch,
            (folder / "sub").mkdir,
            lambda: (folder / "link").symlink_to("x"),
            lambda: os.link(folder / "there", folder / "second"),
            lambda: os.rename(folder / "new", folder / "newer"),
            lambda: os.rename(folder / "newer", point / "out"),
            lambda: os.rename(point / "out", folder / "there"),
            lambda: os.rename(folder / "there", folder / "sub/in"),
            (folder / "link").unlink,
            (folder / "second").unlink,
        ]
        seconds = disk == "ext4 in seconds"
        for act in acts[:3] if seconds else acts:
            before = listing.walk(point)
            later = Listing(before, before.began + 10**12)  # as if all had been settled long before
            time.sleep(1.01 if seconds else 0.02)
            old = folder.stat().st_ctime_ns
            act()
            assert folder.stat().st_ctime_ns != old  # the other time can be put back
            assert listing.differences(point, later, by_times=True)


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


def test_looks_on_a_read_only_mount_answer_and_write_nothing(tmp_path: Path) -> None:
    (tmp_path / "mnt").mkdir()
    with mounted(["mount", "-t", "tmpfs", "none", str(tmp_path / "mnt")], tmp_path / "mnt") as point:
        small_store(point / "data")
        runner.upgrade(site(point))
        subprocess.run(["mount", "-o", "remount,ro", str(point)], check=True)
        folders = [f"--data-root={point}/data", f"--backups={point}/b", f"--mappings={point}/m"]
        for words in (["status"], ["plan"], ["check"], ["history"], ["snapshots", "list"], ["snapshots", "verify"]):
            done = subprocess.run([sys.executable, "-m", "migrator", *folders, *words], capture_output=True, text=True)
            assert done.returncode == 0, (words, done.stderr)


def test_a_run_on_a_read_only_mount_is_refused_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "mnt").mkdir()
    with mounted(["mount", "-t", "tmpfs", "none", str(tmp_path / "mnt")], tmp_path / "mnt") as point:
        small_store(point / "data")
        subprocess.run(["mount", "-o", "remount,ro", str(point)], check=True)
        with pytest.raises(MigratorError, match="Read-only file system"):
            runner.upgrade(site(point))


def test_a_clock_that_goes_back_changes_no_order(tmp_path: Path) -> None:
    small_store(tmp_path / "data")
    first = exact(tmp_path / "data")
    times = iter([datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC)])
    now = next(times)
    for _ in range(3):
        moment = now
        runner.upgrade(site(tmp_path, clock=lambda moment=moment: moment))
        latest = site(tmp_path).runs()[-1]
        assert latest.state == "committed"
        assert undo.rollback(site(tmp_path)).run.run_id == latest.run_id  # type: ignore[union-attr]
        assert exact(tmp_path / "data") == first
        now = next(times, now)
    assert [run.run_id[:8] for run in site(tmp_path).runs()] == ["20260102", "20260101", "20250101"]


@pytest.mark.parametrize("mask", [0o000, 0o077])
def test_no_umask_decides_who_may_read_the_new_tree(tmp_path: Path, mask: int) -> None:
    """What was there keeps its mode; what a run adds has the mode of the folder that it lies in."""
    small_store(tmp_path / "data")
    modes = {path: value[0] for path, value in exact(tmp_path / "data").items()}
    old = os.umask(mask)
    try:
        runner.upgrade(site(tmp_path))
    finally:
        os.umask(old)
    for path, value in exact(tmp_path / "data").items():
        if path in modes:
            assert value[0] == modes[path], path
        assert stat.S_ISLNK(int(str(value[0]))) or int(str(value[0])) & 0o022 == 0, path
    made = next(path for path in (tmp_path / "data/gens/draft").iterdir() if (path / "raw.txt").exists())
    assert made.stat().st_mode == (tmp_path / "data/gens/draft").stat().st_mode
