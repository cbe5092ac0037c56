"""Every mutation is made here, seen by the hook, and never through a symbolic link."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from migrator.engine import files
from migrator.errors import MigratorError
from tests.engine.trees import To, make, names

PROJECT = Path(__file__).resolve().parents[2]


@contextmanager
def hooked(hook: files.Hook) -> Iterator[None]:
    """Call `hook` before every mutation."""
    files.hook = hook
    try:
        yield
    finally:
        files.hook = None


@contextmanager
def failing(call: str, code: int = errno.EIO) -> Iterator[list[str]]:
    """The first `call` raises; the list says that it was reached."""
    fired: list[str] = []

    def hook(name: str, path: str) -> None:
        if name == call and not fired:
            fired.append(path)
            raise OSError(code, os.strerror(code), path)

    with hooked(hook):
        yield fired
    assert fired, f"no {call} happened: the test proves nothing"


# -- replacing


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    """New or old, a mode for all to read whatever the umask, nothing left beside it."""
    path = tmp_path / "x.json"
    old = os.umask(0o077)
    try:
        files.replace_file(path, b"one")
        files.replace_file(path, b"two", 0o600)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        files.replace_file(path, b"three")
    finally:
        os.umask(old)
    assert names(tmp_path) == {"x.json": b"three"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_a_reader_never_finds_half_a_file(tmp_path: Path) -> None:
    """Read all the time while it is replaced: always one of the whole contents."""
    path = tmp_path / "x"
    contents = [bytes([letter]) * 200_000 for letter in b"ab"]
    files.replace_file(path, contents[0])
    stop, seen = threading.Event(), set[bytes]()

    def read() -> None:
        while not stop.is_set():
            seen.add(path.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(40):
        files.replace_file(path, contents[number % 2])
    stop.set()
    reader.join()
    assert seen
    assert seen <= set(contents)


@pytest.mark.parametrize("call", ["create", "write", "attributes", "fsync", "rename"])
def test_a_failure_before_the_end_leaves_the_old_file(tmp_path: Path, call: str) -> None:
    """A full disk or an I/O error at any point; the next try cleans up behind it."""
    path = tmp_path / "x"
    files.replace_file(path, b"old")
    with pytest.raises(OSError, match="error"), failing(call):
        files.replace_file(path, b"new")
    assert path.read_bytes() == b"old"
    files.replace_file(path, b"new")
    assert names(tmp_path) == {"x": b"new"}


def test_the_order_of_a_replacement(tmp_path: Path) -> None:
    """Content durable before the name, the name durable before anything that follows."""
    calls: list[str] = []
    with hooked(lambda call, path: calls.append(call)):
        files.replace_file(tmp_path / "x", b"data")
    assert calls[-6:] == ["create", "write", "attributes", "fsync", "rename", "fsync-dir"]


def test_a_link_in_a_files_place_is_replaced_not_followed(tmp_path: Path) -> None:
    """What it points to stays as it is."""
    make(tmp_path, {"outside": b"mine", "in/x": To("../outside"), "in/.x.tmp": To("../outside")})
    files.replace_file(tmp_path / "in/x", b"new")
    assert names(tmp_path) == {"outside": b"mine", "in": None, "in/x": b"new"}


def test_a_new_file_must_be_new(tmp_path: Path) -> None:
    """Neither a file nor a link, dangling or not, is written to."""
    make(tmp_path, {"file": b"mine", "link": To("file"), "dangling": To("nowhere")})
    before = names(tmp_path)
    for name in ("file", "link", "dangling"):
        with pytest.raises(FileExistsError):
            files.write_new(tmp_path / name, b"new")
    assert names(tmp_path) == before


def test_a_new_file_is_private_until_it_is_finished(tmp_path: Path) -> None:
    """Nobody else reads it meanwhile."""
    fd = files.new_file(tmp_path / "x")
    assert stat.S_IMODE(os.fstat(fd).st_mode) == 0o600
    files.finish(fd, tmp_path / "x", 0o644, None, 7)
    os.close(fd)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o644
    assert (tmp_path / "x").stat().st_mtime_ns == 7


def test_short_writes_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system may take less than it is given."""
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:3]))
    files.write_new(tmp_path / "x", b"0123456789")
    monkeypatch.undo()
    assert (tmp_path / "x").read_bytes() == b"0123456789"


def test_lines_are_appended(tmp_path: Path) -> None:
    """The file is made where it is missing; a link is not followed."""
    files.append(tmp_path / "log", b"a\n")
    files.append(tmp_path / "log", b"b\n")
    assert (tmp_path / "log").read_bytes() == b"a\nb\n"
    (tmp_path / "link").symlink_to("log")
    with pytest.raises(OSError, match="symbolic links"):
        files.append(tmp_path / "link", b"c\n")


# -- folders


def test_folders_are_made_where_missing(tmp_path: Path) -> None:
    """Twice is fine."""
    files.make_dirs(tmp_path / "a/b/c")
    files.make_dirs(tmp_path / "a/b/c")
    assert names(tmp_path) == {"a": None, "a/b": None, "a/b/c": None}


def test_a_tree_is_removed_and_what_it_links_to_is_not(tmp_path: Path) -> None:
    """Links to files and folders, absolute, relative, upwards: only the links go."""
    outside = {"outside/file": b"mine", "outside/folder/x": b"mine"}
    content = {
        "t/a/b/c": b"",
        "t/empty": None,
        "t/file": To("../outside/file"),
        "t/folder": To("../outside/folder"),
        "t/a/up": To("../.."),
        "t/absolute": To(str(tmp_path / "outside")),
        "t/dangling": To("nowhere"),
        os.fsdecode(b"t/\xff"): b"",
    }
    make(tmp_path, {**outside, **content})
    files.remove_tree(tmp_path / "t")
    assert {path: what for path, what in names(tmp_path).items() if what is not None} == outside


def test_a_link_to_a_folder_is_no_folder_to_remove(tmp_path: Path) -> None:
    """It stays, and so does what it points to."""
    make(tmp_path, {"outside/file": b"mine", "t": To("outside")})
    with pytest.raises(OSError, match=r"Not a directory|symbolic links"):
        files.remove_tree(tmp_path / "t")
    assert (tmp_path / "outside/file").read_bytes() == b"mine"


def test_a_missing_tree_is_removed_already(tmp_path: Path) -> None:
    """Recovery may do it twice."""
    files.remove_tree(tmp_path / "missing")


READ_ONLY = """
import os, sys
from pathlib import Path
from migrator.engine import files
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
base = Path(sys.argv[1])
files.remove_tree(base / "t")
print(sorted(os.listdir(base)))
"""


@pytest.mark.parametrize(
    "path",
    ["t/a/b", "t/a", "t"],
)
def test_read_only_folders_of_our_own_are_removed(tmp_path: Path, path: str) -> None:
    """As a user whom permissions stop: a read-only folder, the topmost too, does not stay for ever."""
    make(tmp_path, {"t/a/b/c": b""})
    os.chmod(tmp_path / path, 0o555)
    if os.geteuid() == 0:
        for folder, folders, found in os.walk(tmp_path):
            for name in [".", *folders, *found]:
                os.chown(os.path.join(folder, name), 65534, 65534)
    os.chmod(tmp_path, 0o777)
    for parent in tmp_path.parents[:3]:
        os.chmod(parent, 0o755)
    done = subprocess.run([sys.executable, "-c", READ_ONLY, str(tmp_path)], capture_output=True, text=True, cwd=PROJECT)
    assert done.stdout == "[]\n", done.stderr


# -- moving


def test_two_folders_are_exchanged(tmp_path: Path) -> None:
    """One call, both names; also a folder and a file."""
    make(tmp_path, {"a/x": b"1", "b/y": b"2", "f": b"3"})
    files.exchange(tmp_path / "a", tmp_path / "b")
    files.exchange(tmp_path / "b", tmp_path / "f")
    assert names(tmp_path) == {"a": None, "a/y": b"2", "b": b"3", "f": None, "f/x": b"1"}


def test_a_failed_exchange_names_both(tmp_path: Path) -> None:
    """The kernel's code, and the two paths, for the message."""
    (tmp_path / "a").mkdir()
    with pytest.raises(FileNotFoundError) as error:
        files.exchange(tmp_path / "a", tmp_path / "missing")
    assert (error.value.filename, error.value.filename2) == (str(tmp_path / "a"), str(tmp_path / "missing"))


def test_a_link_is_replaced_in_one_step(tmp_path: Path) -> None:
    """A left-over of a killed try does not stand in the way."""
    make(tmp_path, {"state/link": To("left over"), "root": To("one")})
    files.replace_link(tmp_path / "root", "two", tmp_path / "state")
    assert names(tmp_path) == {"state": None, "root": To("two")}


# -- durability


@pytest.mark.parametrize("sync", [files.sync_dir, files.sync_file_system])
def test_syncing_something_that_is_not_there_is_an_error(tmp_path: Path, sync: Callable[[Path], None]) -> None:
    """Never a silent success."""
    sync(tmp_path)
    with pytest.raises(FileNotFoundError):
        sync(tmp_path / "missing")


def test_a_failed_sync_of_a_folder_is_not_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel forgets the error after telling it once; a second try would lie."""
    calls: list[int] = []

    def fsync(fd: int) -> None:
        calls.append(fd)
        raise OSError(errno.EIO, "I/O error")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="I/O error"):
        files.sync_dir(tmp_path)
    assert len(calls) == 1


def test_a_file_system_that_cannot_sync_folders_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """EINVAL says that there is nothing to do."""

    def fsync(fd: int) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", fsync)
    files.sync_dir(tmp_path)


# -- the one writer

AUDIT = '''
"""Upgrade, roll back, upgrade, roll back with later work, adopt, prune; each mutation must be announced."""
import json, os, sys
from pathlib import Path
from migrator import runner, undo, upkeep
from migrator.site import Site
from migrator.engine import files
from migrator.engine.exchange import Place

base, kind = Path(sys.argv[1]), sys.argv[2]
MUTATING = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.symlink", "os.link", "os.chmod", "os.chown",
            "os.utime", "os.setxattr", "os.removexattr", "os.truncate", "os.mkfifo", "os.mknod", "os.chflags"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
announced, faults, seen, watching = None, set(), set(), False


def point(call, path):
    global announced
    announced = sys._getframe(2)  # the function of files.py that calls _point


def audit(event, arguments):
    if not watching or not (event in MUTATING or event == "open" and arguments[2] & WRITING):
        return
    frame = sys._getframe(1)
    place = f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_code.co_name}"
    seen.add(event)
    if frame is announced and frame.f_code.co_filename == files.__file__:
        return
    if place == "files.py:open_lock" and event == "open" and os.path.exists(arguments[0]):
        return  # the lock file is there: nothing is made
    faults.add(f"{event} in {place}")


store = base / "gens" / "draft"
site = Site(Place.at(base / "data"), Path(sys.argv[3]), base / "b", base / "m", jobs=1)
files.hook = point
sys.addaudithook(audit)
watching = True
assert runner.upgrade(site).status == "committed"
assert undo.rollback(site).status == "rolled-back"
first = runner.upgrade(site).run.run_id
watching = False
new = base / "data/gens/draft/d_new"
new.mkdir()
record = {"stage": "draft", "template_id": "t", "combo_id": "c2", "llm_model_id": "m", "replicate": 1}
from migrator import compute_gen_id
gen_id = compute_gen_id("draft", ("c2", "t", "m", 1))
new = new.rename(new.with_name(gen_id))
(new / "metadata.json").write_text(json.dumps({**record, "gen_id": gen_id}))
watching = True
assert undo.rollback(site, set_aside_new=True).status == "rolled-back"
assert runner.upgrade(site).status == "committed"
assert undo.adopt(site, first).status == "adopted"
assert len(upkeep.prune(site, 1, rolled_back=True)) == 2
watching = False
print(json.dumps({"faults": sorted(faults), "seen": sorted(seen)}))
'''


@pytest.mark.parametrize(
    "kind",
    ["plain", "linked", pytest.param("read-only")],
)
def test_every_mutation_is_pointed_out(tmp_path: Path, kind: str) -> None:
    """An audit hook of the interpreter sees each open for writing, rename, mkdir, unlink, chmod and the like.

    None may happen outside files.py, and none without the hook's having been called by the same
    function: what the crash tests do not see they cannot interrupt.
    """
    record = {"stage": "draft", "template_id": "t", "combo_id": "c", "llm_model_id": "m", "replicate": 1}
    place = "data" if kind != "linked" else "store"
    make(
        tmp_path / place,
        {
            "gens/draft/old/metadata.json": json.dumps(record).encode(),
            "gens/draft/old/parsed.txt": b"text",
            "gens/draft/old/link": To("parsed.txt"),
            "1_raw/x/y/z": b"",
        },
    )
    if kind == "linked":
        (tmp_path / "data").symlink_to("store")
    if kind == "read-only":
        os.chmod(tmp_path / "data/1_raw/x", 0o555)
    command = [sys.executable, "-c", AUDIT, str(tmp_path), kind, str(PROJECT / "migrations")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["faults"] == []
    assert {"open", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.chmod", "os.utime"} <= set(result["seen"])


@pytest.mark.parametrize("name", [".migrator", ".migrator/mappings"])
@pytest.mark.parametrize("absolute", [pytest.param(True), False])
def test_nothing_is_written_through_a_link_in_our_own_place(tmp_path: Path, name: str, absolute: bool) -> None:
    """`.migrator` in the data root as a symbolic link: refused, and what it points to stays as it is."""
    from migrator import runner
    from migrator.engine.exchange import Place
    from migrator.errors import MigratorError
    from migrator.site import Site

    record = {"stage": "draft", "template_id": "t", "combo_id": "c", "llm_model_id": "m", "replicate": 1}
    make(
        tmp_path,
        {
            "data/gens/draft/old/metadata.json": json.dumps(record).encode(),
            f"data/{name}": To(str(tmp_path / "outside") if absolute else "../" * len(name.split("/")) + "outside"),
            "outside/mine": b"",
        },
    )
    site = Site(Place.at(tmp_path / "data"), PROJECT / "migrations", tmp_path / "b", tmp_path / "m", jobs=1)
    try:
        assert runner.upgrade(site).status == "refused"
    except MigratorError as error:
        assert error.exit_code != 10, error
    assert names(tmp_path / "outside") == {"mine": b""}
    assert [path.name for path in (tmp_path / "data/gens/draft").iterdir()] == ["old"]


def test_a_link_put_in_a_folders_place_is_not_written_through(tmp_path: Path) -> None:
    """Swapped between check and use: a new tree's folder becomes a link out of it while a build is under way."""
    from migrator.engine import listing, tree

    source, outside = tmp_path / "source", tmp_path / "outside"
    for folder in ("a/b/c", "a/b/d"):
        (source / folder).mkdir(parents=True)
        (source / folder / "file").write_text("x")
    outside.mkdir()

    def swap(call: str, path: str) -> None:
        made = tmp_path / "new/a/b/d"
        if call == "mkdir" and path.endswith("a/b/d"):
            made.symlink_to(outside)

    files.hook = swap
    try:
        with pytest.raises((OSError, MigratorError)):
            tree.copy(listing.walk(source), source, tmp_path / "new", jobs=1)
    finally:
        files.hook = None
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_a_removal_never_follows_a_link_at_any_level(tmp_path: Path, depth: int) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("x")
    folder = tmp_path / "tree"
    for level in range(depth):
        folder = folder / f"level{level}"
    folder.mkdir(parents=True)
    (folder / "link").symlink_to(outside)
    files.remove_tree(tmp_path / "tree")
    assert not (tmp_path / "tree").exists()
    assert (outside / "kept").read_text() == "x"
