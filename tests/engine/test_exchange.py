"""Where a data root lies, and how a tree takes its place: by exchange, or by another link."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from migrator.engine import exchange, files
from migrator.engine.exchange import Place
from migrator.errors import CareNeeded, MigratorError, UsageError
from tests.engine.trees import To, make, names, root_only

PROJECT = Path(__file__).resolve().parents[2]


# -- places


@pytest.mark.parametrize("given", ["data", "data/", "./data", "x/../data", "data/.", "{base}/data", "{base}//data/"])
def test_a_place_is_absolute_however_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    """Trailing slash, dots, relative: one root, one state folder beside it."""
    make(tmp_path, {"data/gens": None, "x": None})
    monkeypatch.chdir(tmp_path)
    place = Place.at(given.format(base=tmp_path))
    assert (place.root, place.state) == (tmp_path / "data", tmp_path / ".data.migrator")
    assert (place.linked, place.real) == (False, tmp_path / "data")


def test_a_parent_that_is_a_link_is_followed(tmp_path: Path) -> None:
    """Two ways to one root take one lock."""
    make(tmp_path, {"real/data": None, "way": To("real")})
    assert Place.at(tmp_path / "way/data") == Place.at(tmp_path / "real/data")


def test_a_linked_root_keeps_its_own_name(tmp_path: Path) -> None:
    """The lock is named after the link: what it points to changes with every run."""
    make(tmp_path, {"elsewhere/one": None, "data": To("elsewhere/one")})
    place = Place.at(tmp_path / "data")
    assert (place.root, place.state) == (tmp_path / "data", tmp_path / ".data.migrator")
    assert (place.linked, place.real) == (True, tmp_path / "elsewhere/one")
    assert place.new_tree(tmp_path / "b/run", "run") == tmp_path / "elsewhere/data.run"
    assert Place.at(tmp_path / "elsewhere/one").new_tree(tmp_path / "b/run", "run") == tmp_path / "b/run/tree"


def test_the_root_of_the_file_system_is_refused() -> None:
    """There is nothing beside it."""
    for path in ("/", "//", "/usr/.."):
        with pytest.raises(UsageError):
            Place.at(path)


@pytest.mark.parametrize("content", [{}, {"data": b""}, {"data": To("nowhere")}, {"data": To("data")}], ids=str)
def test_no_folder_at_the_root_is_a_usage_error(tmp_path: Path, content: dict[str, bytes | To | None]) -> None:
    """Missing, a file, a dangling link, a loop: exit 2, nothing made."""
    make(tmp_path, content)
    with pytest.raises(UsageError, match="no such data root"):
        Place.at(tmp_path / "data").require()
    assert sorted(names(tmp_path)) == sorted(content)


def test_backups_elsewhere_are_refused(tmp_path: Path, other_disk: Path) -> None:
    """On another file system trees could not be exchanged; the folder itself need not be there yet."""
    place = Place.at(make(tmp_path / "data", {}))
    place.require_same_file_system(tmp_path / "not/made/yet")
    with pytest.raises(UsageError, match="another file system"):
        place.require_same_file_system(other_disk / "backups")


# -- switching


def test_two_trees_change_places(tmp_path: Path) -> None:
    """The old tree lies where the new one was built."""
    make(tmp_path, {"data/old": b"", "b/run/tree/new": b""})
    place = Place.at(tmp_path / "data")
    inodes = (tmp_path / "data").stat().st_ino, (tmp_path / "b/run/tree").stat().st_ino
    assert exchange.switch(place, tmp_path / "b/run/tree") == tmp_path / "b/run/tree"
    assert (names(tmp_path / "data"), names(tmp_path / "b/run/tree")) == ({"new": b""}, {"old": b""})
    assert ((tmp_path / "b/run/tree").stat().st_ino, (tmp_path / "data").stat().st_ino) == inodes


LINKS = [
    pytest.param({"one/old": b"", "data": To("one")}, "data.run", "data.run", id="relative, beside"),
    pytest.param({"d/one/old": b"", "data": To("d/one")}, "d/data.run", "d/data.run", id="relative, below"),
    pytest.param({"d/one/old": b"", "data": To("./d//one")}, "d/data.run", "./d/data.run", id="relative, oddly said"),
    pytest.param({"d/one/old": b"", "data": To("{base}/d/one")}, "d/data.run", "{base}/d/data.run", id="absolute"),
    pytest.param({"one/old": b"", "a": To("one"), "data": To("a")}, "data.run", "data.run", id="a chain in one folder"),
    pytest.param(
        {"d/one/old": b"", "e/a": To("../d/one"), "data": To("e/a")},
        "d/data.run",
        "{base}/d/data.run",
        id="a chain through another folder",
    ),
    pytest.param(
        {"d/one/old": b"", "way": To("d"), "data": To("way/one")},
        "d/data.run",
        "way/data.run",
        id="through a linked folder",
    ),
]


@pytest.mark.parametrize(("content", "built", "text"), LINKS)
def test_a_linked_root_is_switched_and_back(
    tmp_path: Path, content: dict[str, bytes | To | None], built: str, text: str
) -> None:
    """The link says what it said, with another name; back it says exactly what it said before."""
    base = str(tmp_path)
    content = {
        path: To(what.target.format(base=base)) if isinstance(what, To) else what for path, what in content.items()
    }
    make(tmp_path, {**content, f"{built}/new": b"", ".data.migrator": None})
    place, before = Place.at(tmp_path / "data"), os.readlink(tmp_path / "data")
    old = place.real
    assert place.new_tree(tmp_path / "b", "run") == tmp_path / built
    assert exchange.switch(place, tmp_path / built) == old
    assert os.readlink(tmp_path / "data") == text.format(base=base)
    assert (names(place.real), names(old)) == ({"new": b""}, {"old": b""})
    assert exchange.switch(place, old, before) == tmp_path / built
    assert os.readlink(tmp_path / "data") == before
    assert names(tmp_path / "data") == {"old": b""}


def test_a_switch_that_cannot_be_made_durable_is_told_and_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 10: applied, durability unknown; nobody undoes it behind a disk that fails."""
    place = Place.at(make(tmp_path / "data", {}))

    def fsync(fd: int) -> None:
        raise OSError(errno.EIO, "I/O error")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(CareNeeded, match="exchanged, but whether that survives"):
        exchange.sync_switch(place, tmp_path / "b")


# -- what cannot be switched


def test_a_place_that_can_be_switched_is_left_as_it_is(tmp_path: Path) -> None:
    """The proof leaves nothing behind, for a folder and for a link; a killed one stops nothing."""
    make(
        tmp_path,
        {"one/x": b"", "data": To("one"), "backups": None, ".one.migrator": None, ".data.migrator": None},
    )
    make(tmp_path, {".one.migrator/probe/x": b"", ".data.migrator/link": To("x")})
    for name in ("one", "data"):
        exchange.require_switch(Place.at(tmp_path / name), tmp_path / "backups")
    left = ["backups", "data", "one", ".one.migrator", ".data.migrator", "one/x"]
    assert sorted(names(tmp_path)) == sorted(left)


REFUSALS = [errno.EINVAL, errno.ENOSYS, errno.EXDEV, errno.EOPNOTSUPP, errno.EPERM, errno.EBUSY]


@pytest.mark.parametrize("code", REFUSALS)
def test_a_file_system_without_exchange_is_told_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """FUSE, NFS, overlay: refused before any work, with commands that make a linked root, and work."""
    make(tmp_path, {"data/x": b"", "backups": None, ".data.migrator": None})
    place = Place.at(tmp_path / "data")

    def refuse(a: object, b: object) -> None:
        raise OSError(code, os.strerror(code), str(a), None, str(b))

    monkeypatch.setattr(files, "exchange", refuse)
    with pytest.raises(MigratorError, match="cannot exchange") as error:
        exchange.require_switch(place, tmp_path / "backups")
    assert sorted(names(tmp_path)) == [".data.migrator", "backups", "data", "data/x"]
    command = str(error.value.hint).partition("   (")[0]
    subprocess.run(command, shell=True, check=True)
    assert Place.at(tmp_path / "data").linked
    assert names(tmp_path / "data") == {"x": b""}
    exchange.require_switch(Place.at(tmp_path / "data"), tmp_path / "backups")


def test_a_folder_that_cannot_be_written_is_no_reason_for_a_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another error is told as what it is."""
    make(tmp_path, {"data": None, "backups": None, ".data.migrator": None})

    def refuse(a: object, b: object) -> None:
        raise OSError(errno.EACCES, os.strerror(errno.EACCES), str(a))

    monkeypatch.setattr(files, "exchange", refuse)
    with pytest.raises(MigratorError, match="cannot write here: Permission denied"):
        exchange.require_switch(Place.at(tmp_path / "data"), tmp_path / "backups")


TRY = """
import sys
from pathlib import Path
from migrator.engine import exchange
from migrator.errors import MigratorError
place = exchange.Place.at(sys.argv[1])
place.state.mkdir(exist_ok=True)
try:
    exchange.require_switch(place, Path(sys.argv[2]))
    print("fine")
except MigratorError as error:
    print(error.message)
    print(error.where)
    print(error.hint)
"""


def mounted(tmp_path: Path, mount: Path, root: Path) -> list[str]:
    """What is said about a root while a folder is mounted onto `mount`, in a world of mounts of its own."""
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        pytest.skip("this machine gives nobody mounts of his own")
    (tmp_path / "other").mkdir()
    script = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'
    python = [sys.executable, "-c", TRY, str(root), str(tmp_path / "backups")]
    command = ["unshare", "-m", "sh", "-c", script, "sh", str(tmp_path / "other"), str(mount), *python]
    done = subprocess.run(command, capture_output=True, cwd=PROJECT)
    assert done.returncode == 0, done.stderr.decode()
    return os.fsdecode(done.stdout).splitlines()


@root_only
def test_a_root_that_is_a_mount_point_is_refused(tmp_path: Path) -> None:
    """It cannot be renamed; the way out is said."""
    make(tmp_path, {"data": None, "backups": None})
    message, where, hint = mounted(tmp_path, tmp_path / "data", tmp_path / "data")
    assert "mount point" in message
    assert where == str(tmp_path / "data")
    assert "ln -s" in hint


@root_only
@pytest.mark.parametrize(
    "name",
    [
        "data",
        "with blank",
        "back\\slash",
        pytest.param("é模板", id="other scripts"),
        pytest.param(os.fsdecode(b"\xff"), id="no text"),
    ],
)
def test_a_mount_inside_the_tree_is_refused(tmp_path: Path, name: str) -> None:
    """It would be copied, and stay behind in the snapshot; whatever the path is called."""
    make(tmp_path, {f"{name}/gens/in": None, "backups": None})
    message, where, hint = mounted(tmp_path, tmp_path / name / "gens/in", tmp_path / name)
    assert "mounted inside the data root" in message
    assert hint.startswith("umount ")
    if name.isascii():
        assert where == str(tmp_path / name / "gens/in")


@root_only
def test_mounts_elsewhere_do_not_matter(tmp_path: Path) -> None:
    """Nor do their names: one that is no text, or begins like the root's."""
    make(tmp_path, {"data": None, "backups": None, "data2": None, os.fsdecode(b"\xff"): None})
    for name in ("data2", os.fsdecode(b"\xff")):
        assert mounted(tmp_path, tmp_path / name, tmp_path / "data") == ["fine"]
        (tmp_path / "other").rmdir()


def test_inside_and_outside(tmp_path: Path) -> None:
    """Folders of ours inside the tree would be copied into themselves."""
    make(tmp_path, {"data/b": None, "data2": None, "way": To("data")})
    place = Place.at(tmp_path / "data")
    for folder in (tmp_path / "data2/b", tmp_path / "b", tmp_path):
        place.require_outside(folder, "backups")
    for folder in (tmp_path / "data", tmp_path / "data/b", tmp_path / "data/not/yet", tmp_path / "way/b"):
        with pytest.raises(UsageError, match="inside the data root"):
            place.require_outside(folder, "backups")


@pytest.mark.parametrize(
    ("kind", "told"), [(b"xfs", True), (b"fuse.virtiofs", False), (b"virtiofs", False), (b"nfs4", False)]
)
def test_a_file_system_is_known_by_its_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: bytes, told: bool
) -> None:
    """Not by where it is mounted, which may be many places; before the dash there are any number of other fields."""
    device = os.stat(tmp_path).st_dev
    ours = b"36 35 %d:%d / /mnt rw,noatime master:1 shared:2 - %s /dev/x rw" % (
        os.major(device),
        os.minor(device),
        kind,
    )
    other = b"37 35 999:999 / / rw - ext4 /dev/y rw"
    monkeypatch.setattr(Path, "read_bytes", lambda path: other + b"\n" + ours + b"\n")
    assert exchange.folders_tell(tmp_path) is told
    monkeypatch.setattr(Path, "read_bytes", lambda path: other + b"\n")
    assert not exchange.folders_tell(tmp_path)
