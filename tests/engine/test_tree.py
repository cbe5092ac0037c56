"""A tree is listed, copied with all that it has, and hashed; a recipe changes what it names, no more."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.engine import files, listing, tree, workers
from migrator.engine.listing import FOLDER, Entry, Listing
from migrator.engine.tokens import Hit, Tokens
from migrator.engine.tree import Recipe
from migrator.errors import MigratorError, TryAgain
from tests.engine.trees import To, build, everything, make, names, root_only

PROJECT = Path(__file__).resolve().parents[2]
LONG = "n" * 255
BYTES = os.fsdecode(b"\xff\xfe name")
STORE = {
    "a": b"1",
    "b/c/d/e/f": b"deep",
    "b/c/g": b"",
    "empty": None,
    "b/empty": None,
    "odd/ ": b"blank",
    "odd/\n\t\x1b[1m": b"control",
    "odd/é模板": b"other scripts",
    f"odd/{LONG}": b"long",
    f"odd/{BYTES}": b"no text",
    "z/to file": To("../a"),
    "z/to folder": To("../b"),
    "z/dangling": To("nowhere"),
    "z/absolute": To("/etc/hostname"),
    "z/itself": To("itself"),
    f"z/{BYTES}": To(BYTES),
}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """One of each kind."""
    return make(tmp_path / "store", STORE)


def copied(source: Path, recipe: Recipe | None = None, jobs: int = 1, **options: object) -> Path:
    """A copy beside the original."""
    target = source.with_name(f"{source.name} copied {jobs}")
    build(listing.walk(source), source, target, recipe or Recipe(), jobs=jobs, **options)
    return target


# -- listing


def test_a_walk_lists_parents_first_and_names_sorted(tmp_path: Path) -> None:
    """The order is that of code points, whatever the file system says; a folder comes before its content."""
    make(tmp_path / "t", {"b/z": b"", "b/a": b"", "B": b"", "a.b": b"", "a/x/y": b"", "é": b"", "_": None})
    paths = [entry.path for entry in listing.walk(tmp_path / "t")]
    assert paths == ["", "B", "_", "a", "a/x", "a/x/y", "a.b", "b", "b/a", "b/z", "é"]


def test_a_walk_tells_what_each_thing_is(store: Path) -> None:
    """Kind, mode, size and target; a link is not followed, a folder has size 0."""
    os.chmod(store / "a", 0o4750)
    found = {entry.path: entry for entry in listing.walk(store)}
    assert found["a"][:6] == ("a", listing.FILE, 0o4750, os.geteuid(), os.getegid(), 1)
    assert found["a"].mtime_ns == (store / "a").stat().st_mtime_ns
    assert found["a"].ctime_ns == (store / "a").stat().st_ctime_ns
    assert (found["b"].kind, found["b"].size) == (listing.FOLDER, 0)
    assert (found["z/to folder"].kind, found["z/to folder"].target) == (listing.LINK, "../b")
    assert not any(path.startswith("z/to folder/") for path in found)


def test_special_files_are_listed_as_such(tmp_path: Path) -> None:
    """A FIFO or a socket hangs nothing; who copies decides what it means."""
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "s"))
    assert [(entry.path, entry.kind) for entry in listing.walk(tmp_path)[1:]] == [("fifo", "?"), ("s", "?")]


def test_a_root_that_cannot_be_listed_is_told(tmp_path: Path) -> None:
    """Missing, a file, a symbolic link: a message with the path."""
    make(tmp_path, {"file": b"", "folder": None, "link": To("folder")})
    for name in ("missing", "file", "link"):
        with pytest.raises(MigratorError, match="cannot be read") as error:
            listing.walk(tmp_path / name)
        assert error.value.where == str(tmp_path / name)


def test_what_vanishes_meanwhile_is_try_again(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody is at work in the tree: exit 5."""
    listed = os.listdir
    monkeypatch.setattr(os, "listdir", lambda fd: [*listed(fd), "gone"])
    with pytest.raises(TryAgain):
        listing.walk(store)


def settled(before: Listing) -> Listing:
    """A listing as if it had been made long after the last change: times of folders are believed."""
    return Listing(before, before.began + 10**12)


@pytest.mark.parametrize("by_times", [False, True])
def test_differences_are_any_attribute(store: Path, by_times: bool) -> None:
    """Content rewritten, touched, chmod, added, removed: each is seen, and nothing else."""
    before = settled(listing.walk(store))
    assert listing.differences(store, before, by_times=by_times) == []
    (store / "a").write_bytes(b"2")
    os.utime(store / "b/c/g", ns=(1, 1))
    os.chmod(store / "empty", 0o700)
    (store / f"odd/{LONG}").unlink()
    (store / "new").touch()
    changed = listing.differences(store, before, by_times=by_times)
    assert changed == ["", "a", "b/c/g", "empty", "new", "odd", f"odd/{LONG}"]


def test_a_rewrite_with_size_and_time_restored_is_seen(store: Path) -> None:
    """The kernel's change time cannot be set back."""
    before, status = listing.walk(store), (store / "a").stat()
    time.sleep(0.02)
    (store / "a").write_bytes(b"2")
    os.utime(store / "a", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert listing.differences(store, before) == ["a"]


def _rewrite(path: Path) -> None:
    path.write_bytes(b"2")


def _rewrite_in_secret(path: Path) -> None:
    status = path.stat()
    path.write_bytes(b"2")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _replace(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _relink(path: Path) -> None:
    path.unlink()
    path.symlink_to("else")


CHANGES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "content": ("a", _rewrite),
    "content, the time put back": ("a", _rewrite_in_secret),
    "time": ("b/c/g", lambda path: os.utime(path, ns=(1, 1))),
    "mode of a file": ("a", lambda path: path.chmod(0o600)),
    "mode of a folder": ("empty", lambda path: path.chmod(0o700)),
    "mode of the tree": ("", lambda path: path.chmod(0o700)),
    "time of the tree": ("", lambda path: os.utime(path, ns=(1, 1))),
    "added": ("b/empty/new", Path.touch),
    "added at the top": ("new", Path.touch),
    "removed": (f"odd/{LONG}", Path.unlink),
    "kind": ("a", _replace),
    "target": ("z/dangling", _relink),
    "folder gone": ("empty", Path.rmdir),
}


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("change", CHANGES)
def test_by_times_each_single_change_is_seen(store: Path, change: str, jobs: int) -> None:
    """One at a time, since the first one that is met ends the quick look."""
    path, act = CHANGES[change]
    before = settled(listing.walk(store))
    time.sleep(0.02)  # the clock for change times ticks every few ms
    act(store / path)
    assert path in listing.differences(store, before, jobs, by_times=True)


@pytest.mark.parametrize(
    ("path", "field"),
    [
        (path, field)
        for path in ("a", "empty", "z/dangling", "")
        for field in Entry._fields[1:]
        if not (field == "size" and path in ("empty", "")) and (field != "target" or path == "z/dangling")
    ],
)
def test_by_times_each_field_counts_by_itself(store: Path, path: str, field: str) -> None:
    """No more is taken from the change time than it must be: two changes may have got the same one."""
    now = listing.walk(store)
    place = listing.place_of(now, path)
    assert place is not None
    value = getattr(now[place], field)
    other = listing.OTHER if field == "kind" else "else" if field == "target" else value ^ 1
    now[place] = now[place]._replace(**{field: other})
    assert listing.differences(store, settled(now), by_times=True) == [path]


def test_by_times_what_is_gone_is_seen(store: Path) -> None:
    """By itself, whatever its folder's times say."""
    now = listing.walk(store)
    place = listing.place_of(now, "b/c/g")
    assert place is not None
    now.insert(place + 1, now[place]._replace(path="b/c/h"))
    assert listing.differences(store, settled(now), by_times=True) == ["b/c/h"]


def test_a_folder_is_listed_again_that_changed_when_it_was_listed(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that came within the same tick of the clock left no other time: so only old times are believed."""
    now = listing.walk(store)
    before = Listing([entry for entry in now if entry.path != "b/c/g"], now.began)
    assert listing.differences(store, before, by_times=True) == ["b/c/g"]
    assert listing.differences(store, settled(before), by_times=True) == []
    assert listing.differences(store, list(settled(before)), by_times=True) == ["b/c/g"]  # nobody knows when
    seconds = Listing(before, before.began + 10**9)
    assert listing.differences(store, seconds, by_times=True) == []
    monkeypatch.setattr(listing, "_SECOND", 1)  # as if the clock of the file system had no parts of a second
    assert listing.differences(store, seconds, by_times=True) == ["b/c/g"]


def test_names_at_the_top_are_always_listed(store: Path) -> None:
    """The change time of the tree itself is not noted, and its other time may have been put back."""
    now = listing.walk(store)
    before = settled(Listing([entry for entry in now if entry.path != "a"], now.began))
    assert listing.differences(store, before, by_times=True) == ["a"]


def test_a_tree_is_walked_in_two_halves(store: Path) -> None:
    """Wherever the border lies, both together are the whole, each thing once."""
    make(store, {f"g/s{n}/id{m}/{name}": b"" for n in range(2) for m in range(2) for name in ("x", "y/z")})
    whole = listing.walk(store)
    for entry in whole[1:]:
        assert listing.walk(store, stop=entry.path) + listing.walk(store, start=entry.path) == whole


@given(st.sets(st.lists(st.sampled_from(["a", "a-", "a.b", "b", "é"]), min_size=1, max_size=4).map("/".join)))
def test_a_place_in_a_listing_is_found(paths: set[str]) -> None:
    """Of what is there, of what is not, of what lies in a folder and of what does not, by their names."""
    whole = {"", *paths, *(path.rsplit("/", depth)[0] for path in paths for depth in range(1, path.count("/") + 1))}
    entries = [Entry(path, FOLDER, 0, 0, 0, 0, 0, 0) for path in sorted(whole, key=lambda path: path.split("/"))]
    for path in [*whole, "c", "a/zz", "a-/a-/a-/a-/a-"]:
        place = listing.place_of(entries, path)
        assert (None if place is None else entries[place].path) == (path if path in whole else None)
    for folder in whole:
        below = [entry for entry in entries if entry.path.startswith(f"{folder}/" if folder else "") and entry.path]
        inside = [entry for entry in below if entry.path != folder and "/" not in entry.path[len(folder) + 1 :]]
        if not folder:
            inside = [entry for entry in below if "/" not in entry.path]
        assert listing.children(entries, folder) == inside
        left = {entry.path for entry in entries} - {entry.path for entry in below} - {folder}
        assert {entry.path for entry in listing.outside(entries, folder)} == left


@pytest.mark.parametrize("jobs", [1, 2])
def test_differences_are_found_on_both_sides_of_a_border(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: int
) -> None:
    """A large tree is looked through by two processes: no change falls between them."""
    monkeypatch.setattr(workers, "_SERIAL_FILES", 1)
    root = make(tmp_path / "t", {f"g/s{n}/id{m}/x/y": b"" for n in range(3) for m in range(4)} | {"z": b""})
    paths = [entry.path for entry in listing.walk(root)]
    for path in paths[1:]:
        before = listing.walk(root)
        os.utime(root / path, ns=(7, 7) if (root / path).stat().st_mtime_ns != 7 else (8, 8))
        assert listing.differences(root, before, jobs) == [path]
    for path in ("g/s1/id2", "g/s1", "g", "z"):
        before = listing.walk(root)
        os.rename(root / path, tmp_path / "away")
        gone = [entry.path for entry in before if (entry.path + "/").startswith(path + "/")]
        assert set(gone) <= set(listing.differences(root, before, jobs)) <= {*gone, "", "g", "g/s1"}
        os.rename(tmp_path / "away", root / path)


# -- building


def test_a_copy_is_the_same_in_everything(store: Path) -> None:
    """Contents, modes, times in ns, links, empty folders, names of any bytes."""
    os.chmod(store / "a", 0o400)
    os.chmod(store / "b/c/g", 0o755)
    os.chmod(store / "b/c", 0o2751)
    os.chmod(store / "empty", 0o1777)
    os.chmod(store / "b/c/d/e/f", 0o4711)
    for number, path in enumerate(["a", "b/c", "b/empty", "z/dangling", "empty", "b", ""]):
        times = (1_600_000_000_123_456_789 + number,) * 2
        os.utime(store / path, ns=times, follow_symlinks=False)
    assert everything(copied(store)) == everything(store)


def test_extended_attributes_are_kept(store: Path) -> None:
    """On files and folders, where the file system has them."""
    try:
        for path in ("a", "b/c", "empty", ""):
            os.setxattr(store / path, "user.note", f"of {path}".encode())
    except OSError as error:
        assert error.errno == errno.ENOTSUP
        pytest.skip("this file system has no user.* attributes")
    os.chmod(store / "a", 0o400)
    assert everything(copied(store)) == everything(store)
    assert os.getxattr(copied(store, jobs=2) / "b/c", "user.note") == b"of b/c"


@root_only
def test_owners_are_kept(store: Path) -> None:
    """Of files, folders and links; a change of owner must not cost the setgid bit."""
    for path in ("a", "b/c", "z/dangling", ""):
        os.chown(store / path, 1234, 4321, follow_symlinks=False)
    os.chmod(store / "b/c", 0o2755)
    os.chmod(store / "a", 0o6755)
    assert everything(copied(store)) == everything(store)


def test_hard_links_become_copies(store: Path) -> None:
    """A writer in place must reach one tree only, and one of two names."""
    os.link(store / "a", store / "also a")
    target = copied(store)
    inodes = {(target / "a").stat().st_ino, (target / "also a").stat().st_ino, (store / "a").stat().st_ino}
    assert len(inodes) == 3
    assert (target / "also a").read_bytes() == b"1"


def test_read_only_folders_are_filled(store: Path) -> None:
    """Folders get their mode when everything is in them."""
    for path in ("b/c/d/e", "b/c/d", "b/c", "b", "empty"):
        os.chmod(store / path, 0o555)
    assert everything(copied(store)) == everything(store)


def test_the_live_tree_is_not_touched(store: Path) -> None:
    """Not a byte, not a time, not a name."""
    before = listing.walk(store)
    recipe = Recipe({"a": "A", "b/c": "b/C"}, {"a": b"new"}, {"b/new/x": b"x"})
    copied(store, recipe)
    assert listing.differences(store, before) == []


def test_a_recipe_moves_rewrites_and_adds(store: Path) -> None:
    """What lies below a moved folder moves with it; all else is copied as it is."""
    recipe = Recipe(
        {"b/c": "b/C", "a": "A", "b/c/g": "b/C/G"},
        {"b/c/d/e/f": b"new", "a": b"newer"},
        {"b/made/here/x": b"x"},
    )
    expected = {path.replace("b/c", "b/C"): what for path, what in names(store).items()}
    expected |= {
        "A": b"newer",
        "b/C/d/e/f": b"new",
        "b/made/here/x": b"x",
        "b/made": None,
        "b/made/here": None,
    }
    expected |= {"b/C/G": b""}
    del expected["a"], expected["b/C/g"]
    assert names(copied(store, recipe)) == expected


def test_what_is_rewritten_keeps_mode_and_owner_and_gets_a_new_time(store: Path) -> None:
    """Only the content was asked for."""
    os.chmod(store / "a", 0o640)
    os.utime(store / "a", ns=(5, 5))
    target = copied(store, Recipe(contents={"a": b"longer than before"}))
    assert stat.S_IMODE((target / "a").stat().st_mode) == 0o640
    assert (target / "a").stat().st_mtime_ns > 5
    assert (target / "a").read_bytes() == b"longer than before"
    assert (target / "").stat().st_mtime_ns == store.stat().st_mtime_ns


def test_names_are_swapped_and_passed_around(tmp_path: Path) -> None:
    """Swaps, chains and cycles: all names change at once."""
    source = make(
        tmp_path / "s",
        {f"g/x/{name}/id": name.encode() for name in "abcdef"} | {"f1": b"1", "f2": b"2", "f3": b"3"},
    )
    moves = {
        "g/x/a": "g/x/b",
        "g/x/b": "g/x/a",
        "g/x/c": "g/x/d",
        "g/x/d": "g/x/e",
        "g/x/e": "g/x/c",
        "g/x/f": "g/x/z",
    }
    moves |= {"f1": "f2", "f2": "f3", "f3": "f1"}
    result = {path: what for path, what in names(copied(source, Recipe(moves))).items() if what is not None}
    assert result == {
        "g/x/b/id": b"a",
        "g/x/a/id": b"b",
        "g/x/d/id": b"c",
        "g/x/e/id": b"d",
        "g/x/c/id": b"e",
        "g/x/z/id": b"f",
        "f2": b"1",
        "f3": b"2",
        "f1": b"3",
    }


TWICE = [
    pytest.param({"a": "b"}, id="onto a file that stays"),
    pytest.param({"a": "n", "b": "n"}, id="two to one"),
    pytest.param({"a": "f"}, id="a file onto a folder"),
    pytest.param({"f": "a"}, id="a folder onto a file"),
    pytest.param({"f/x": "f/y"}, id="in a folder"),
    pytest.param({"a": "b", "b": "c", "c": "b"}, id="a chain that ends on another"),
]


@pytest.mark.parametrize("moves", TWICE)
def test_two_things_with_one_name_are_refused(tmp_path: Path, moves: dict[str, str]) -> None:
    """Before anything is written."""
    source = make(tmp_path / "s", {"a": b"", "b": b"", "c": b"", "f/x": b"", "f/y": b""})
    with pytest.raises(MigratorError, match="two things would get one name"):
        copied(source, Recipe(moves))
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def test_a_move_into_another_folder_arrives_there_or_is_refused(tmp_path: Path) -> None:
    """A recipe is not half followed."""
    source = make(tmp_path / "s", {"a/x": b"1", "b": None})
    try:
        target = copied(source, Recipe({"a/x": "b/x"}))
    except MigratorError:
        return
    assert names(target) == {"a": None, "b": None, "b/x": b"1"}


@pytest.mark.parametrize("mask", [0o077, 0o000, 0o022])
def test_the_umask_decides_nothing(store: Path, mask: int) -> None:
    """New folders and files get the mode of the folder they lie in; copies have their own."""
    os.chmod(store / "b", 0o2775)
    os.chmod(store / "empty", 0o711)
    additions = {"b/new/deep/x": b"", "b/y": b"", "empty/z": b""}
    with umask(mask):
        target = copied(store, Recipe(additions=additions))
    modes = {path: entry[0] & 0o7777 for path, entry in everything(target).items()}
    assert (modes["b/new"], modes["b/new/deep"]) == (0o2775, 0o2775)
    assert (modes["b/new/deep/x"], modes["b/y"], modes["empty/z"]) == (0o664, 0o664, 0o600)
    assert {path: entry for path, entry in everything(target).items() if path in everything(store) and path != "b"} == {
        path: entry for path, entry in everything(store).items() if path != "b"
    }


@contextmanager
def umask(mask: int) -> Iterator[None]:
    """Another umask for a while."""
    old = os.umask(mask)
    try:
        yield
    finally:
        os.umask(old)


@root_only
def test_additions_have_the_owner_of_their_folder(store: Path) -> None:
    """A store that belongs to the pipeline's user goes on belonging to it."""
    os.chown(store / "b", 1234, 4321)
    target = copied(store, Recipe(additions={"b/new/x": b"", "b/y": b""}))
    for path in ("b/new", "b/new/x", "b/y"):
        assert ((target / path).stat().st_uid, (target / path).stat().st_gid) == (1234, 4321)


def test_an_addition_never_replaces(store: Path) -> None:
    """A name that is taken is an error, not a loss."""
    with pytest.raises(FileExistsError):
        copied(store, Recipe(additions={"b/c/g": b"new"}))


def test_the_target_must_be_new(store: Path) -> None:
    """Two builds never share a folder."""
    (store.parent / f"{store.name} copied 1").mkdir()
    with pytest.raises(FileExistsError):
        copied(store)


def test_any_number_of_workers_makes_the_same_tree(tmp_path: Path) -> None:
    """Times of written files apart; and the same list of what was placed, and of what was found."""
    content = {f"g/s{n % 3}/id{n:03}/{name}": b"old1 x%d" % n for n in range(60) for name in ("m.json", "sub/raw.txt")}
    source = make(tmp_path / "s", {**content, **STORE})
    recipe = Recipe(
        {f"g/s0/id{n:03}": f"g/s0/new{n:03}" for n in range(0, 60, 3)},
        {"g/s1/id001/m.json": b"rewritten old1"},
        {"g/s2/made/x": b"x"},
    )
    results = []
    for jobs in (1, 2):
        target = tmp_path / f"t{jobs}"
        entries = listing.walk(source)
        built = build(entries, source, target, recipe, tokens=Tokens(["old1"]), jobs=jobs)
        found = {
            path: entry[:3] + entry[4:]
            for path, entry in everything(target).items()
            if "made" in path or "id001" in path
        }
        kept = {path: entry for path, entry in everything(target).items() if path not in found}
        results.append((built, kept, found))
    assert results[0] == results[1]
    assert len(results[0][0].hits) == 120


def test_what_was_placed_is_told(tmp_path: Path) -> None:
    """Both digests of every file by its path today; links have none."""
    source = make(tmp_path / "s", {"b": b"1", "a": b"2", "aa/l": To("x")})
    built = build(listing.walk(source), source, tmp_path / "t", Recipe({"a": "c"}, {"b": b"3"}), jobs=1)
    one, two, three = (hashlib.sha256(data).hexdigest() for data in (b"1", b"2", b"3"))
    assert built.digests == {"a": (two, two), "aa/l": ("", ""), "b": (one, three)}


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_comes_later_may_say_later_what_it_holds(tmp_path: Path, jobs: int) -> None:
    """The rest is copied meanwhile; a later file that nobody speaks of is copied as well, and times are kept."""
    source = make(tmp_path / "s", {"a/b/c": b"1", "t/one": b"old", "t/two": b"stays", "top": b"x"})
    os.utime(source / "t", ns=(5, 5))
    target = tmp_path / "t"
    later = {"t/one", "t/two", "top", "nowhere"}
    told: list[tuple[int, int]] = []
    options = {"later": later, "jobs": jobs, "progress": lambda *done: told.append(done)}
    with tree.Building(listing.walk(source), source, target, Recipe(), **options) as building:  # type: ignore[arg-type]
        assert not (target / "t/one").exists()
        built = building.finish(Recipe(contents={"t/one": b"new"}, additions={"t/three": b"3"}))
    contents = {path: data for path, data in names(target).items() if data is not None}
    assert contents == {"a/b/c": b"1", "t/one": b"new", "t/two": b"stays", "t/three": b"3", "top": b"x"}
    assert built.digests["t/one"] == (listing.hash_bytes(b"old"), listing.hash_bytes(b"new"))
    assert built.digests.keys() == {"a/b/c", "t/one", "t/two", "top"}
    assert (target / "t").stat().st_mtime_ns == 5
    assert told[-1][0] >= len(later) - 1


def test_contents_may_be_made_where_a_file_is_copied(tmp_path: Path) -> None:
    """A function of the old bytes; None leaves the file as it is, its time too."""
    source = make(tmp_path / "s", {"a": b"old", "b": b"old", "c": b""})
    for name in "abc":
        os.utime(source / name, ns=(5, 5))
    recipe = Recipe(contents={"a": bytes.upper, "b": _nothing, "c": lambda data: data + b"x"})
    built = build(listing.walk(source), source, tmp_path / "t", recipe, tokens=Tokens(["old", "OLD"]), jobs=1)
    assert names(tmp_path / "t") == {"a": b"OLD", "b": b"old", "c": b"x"}
    assert [(tmp_path / "t" / name).stat().st_mtime_ns == 5 for name in "abc"] == [False, True, False]
    assert [after for _, after in built.digests.values()] == [
        listing.hash_bytes(data) for data in (b"OLD", b"old", b"x")
    ]
    assert [before for before, _ in built.digests.values()] == [
        listing.hash_bytes(data) for data in (b"old", b"old", b"")
    ]
    assert built.hits == [Hit("a", 1, "OLD"), Hit("b", 1, "old")]


def _nothing(data: bytes) -> None:
    return None


def test_old_names_are_looked_for_in_the_new_tree(tmp_path: Path) -> None:
    """In copies and in new contents, under the new path; not in what was replaced; large files in pieces."""
    large = b"\n" * (1 << 20) + b"old1\n" * 3
    source = make(tmp_path / "s", {"a": b"\nold1", "b": b"old1", "c/d": large, "e": b"", "l": To("old1")})
    recipe = Recipe({"c": "C", "a": "A"}, {"b": b"new1", "e": b"x\nx\nold1"})
    built = build(listing.walk(source), source, tmp_path / "t", recipe, tokens=Tokens(["old1"]), jobs=1)
    expected = [
        Hit("A", 2, "old1"),
        *(Hit("C/d", (1 << 20) + n, "old1") for n in (1, 2, 3)),
        Hit("e", 3, "old1"),
    ]
    assert built.hits == expected


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, (2 << 20), (2 << 20) + 5])
def test_files_of_every_size_are_whole(tmp_path: Path, size: int) -> None:
    """Around the borders of the blocks that are read."""
    data = bytes(range(251)) * (size // 251 + 1)
    source = make(tmp_path / "s", {"x": data[:size]})
    built = build(listing.walk(source), source, tmp_path / "t", Recipe(), tokens=Tokens(["zzz"]), jobs=1)
    digest = hashlib.sha256(data[:size]).hexdigest()
    assert (tmp_path / "t/x").read_bytes() == data[:size]
    assert built.digests == {"x": (digest, digest)}
    assert listing.hash_files(tmp_path / "t", ["x"]) == {"x": digest}


def test_progress_counts_files_and_bytes(store: Path) -> None:
    """It ends with all of them."""
    seen: list[tuple[int, int]] = []
    copied(store, progress=lambda count, size: seen.append((count, size)))
    entries = [entry for entry in listing.walk(store) if entry.kind != listing.FOLDER]
    assert seen[-1] == (len(entries), sum(entry.size for entry in entries))
    assert seen == sorted(seen)


VANISHED = [("a", "file"), ("b/c/d/e", "folder")]


@pytest.mark.parametrize(("path", "kind"), VANISHED)
def test_what_vanished_since_it_was_listed_is_try_again(store: Path, path: str, kind: str) -> None:
    """Somebody is at work in the tree: exit 5, and the caller removes what was built."""
    entries = listing.walk(store)
    os.rename(store / path, store / "elsewhere")
    with pytest.raises(TryAgain, match=f"a {kind} changed during the run"):
        build(entries, store, store.with_name("t"), Recipe(), jobs=1)


def test_a_link_put_in_a_files_place_is_not_followed(store: Path) -> None:
    """Nobody can make a run read what lies outside."""
    entries = listing.walk(store)
    (store / "a").unlink()
    (store / "a").symlink_to("/etc/hostname")
    with pytest.raises(TryAgain):
        build(entries, store, store.with_name("t"), Recipe(), jobs=1)


# -- hashing


def test_hashes_of_files(store: Path) -> None:
    """SHA-256 of each content; "" where there is no file to read; the same with any number of workers."""
    os.mkfifo(store / "fifo")
    paths = ["a", "b/c/d/e/f", "missing", "b", "z/to file", "fifo", f"odd/{BYTES}"]
    expected = {path: "" for path in paths}
    for path in ("a", "b/c/d/e/f", f"odd/{BYTES}"):
        expected[path] = hashlib.sha256((store / path).read_bytes()).hexdigest()
    got = listing.hash_files(store, paths)
    assert got.pop("fifo") in (
        "",
        listing.hash_bytes(b""),
    )  # no writer, no byte: what matters is that it did not hang
    del expected["fifo"]
    assert got == expected
    assert listing.hash_files(store, list(expected), jobs=2) == expected
    assert listing.hash_files(store, []) == {}


# -- workers

PARENT = """
import time
from migrator.engine.workers import Beside
children = [Beside(lambda: time.sleep(60), 10, 3) for _ in range(2)]
print(*[child._pid for child in children], flush=True)
children[0].result()
"""


def test_workers_die_with_their_parent() -> None:
    """A run that is killed leaves nobody who goes on writing or keeps the lock."""
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, cwd=PROJECT) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    assert len(pids) == 2
    deadline = time.monotonic() + 5
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < deadline, "a worker outlived its parent"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether a process still runs (one that is dead and not yet fetched does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_failure_in_a_worker_comes_through(store: Path) -> None:
    """The error of a child is that of the call, with its exit code."""
    entries = listing.walk(store)
    (store / "a").unlink()
    with pytest.raises(TryAgain):
        build(entries, store, store.with_name("t"), Recipe(), jobs=2)
    files.remove_tree(store.with_name("t"))
    assert not store.with_name("t").exists()


@pytest.fixture
def forking(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child also for few files."""
    monkeypatch.setattr(workers, "_SERIAL_FILES", 0)


@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_results_stand_in_the_order_of_their_parts(jobs: int) -> None:
    """Whichever process took which part, slow ones first; none is done twice, none left out."""

    def slow_at_first(number: int) -> tuple[int, int]:
        time.sleep(0.02 if number < 2 else 0)
        return number, os.getpid()

    found = workers.spread(slow_at_first, range(20), 20, jobs)
    assert [number for number, _ in found] == list(range(20))
    assert len({pid for _, pid in found}) <= jobs
    assert workers.spread(slow_at_first, [], 20, jobs) == []


@pytest.mark.usefixtures("childless")
def test_a_part_that_fails_ends_the_others() -> None:
    """Its error is raised here, and no child is left that goes on."""

    def fail(number: int) -> int:
        if number == 3:
            raise TryAgain("not now")
        return number

    with pytest.raises(TryAgain):
        workers.spread(fail, range(50), 50, jobs=3)
    workers.reap()


@pytest.mark.usefixtures("forking")
def test_a_listing_by_several_processes_is_that_of_one(store: Path) -> None:
    """In every order of files and folders at the top, with names that no text can hold."""
    (store / "gens" / "draft").mkdir(parents=True, exist_ok=True)
    for name in ("a", "a-b", "a b", "é", "a.b"):
        (store / "gens" / "draft" / name).mkdir()
        (store / "gens" / "draft" / name / "x").write_text(name)
        (store / "gens" / f"{name}.txt").write_text(name)
    os.mkdir(os.fsencode(store / "gens" / "draft") + b"/\xff")
    assert listing.walk_shared(store, 3) == listing.walk(store)
    assert listing.walk_shared(store, 1) == listing.walk(store)
    with pytest.raises(MigratorError):
        listing.walk_shared(store / "nowhere", 2)


@pytest.mark.usefixtures("forking")
def test_a_function_beside_gives_its_value() -> None:
    """From another process, or at once where one process is wanted; asked twice it says the same."""
    beside, here = workers.Beside(os.getpid, 1, jobs=2), workers.Beside(os.getpid, 1, jobs=1)
    assert beside.result() != os.getpid()
    assert beside.result() == beside.result()
    assert here.result() == os.getpid()


@pytest.mark.usefixtures("forking")
def test_an_error_beside_is_raised_here() -> None:
    """With its kind and its words."""

    def fail() -> None:
        raise TryAgain("not now", where="/data", hint="wait")

    with pytest.raises(TryAgain, match="not now") as error:
        workers.Beside(fail, 1, jobs=2).result()
    assert (error.value.where, error.value.hint) == ("/data", "wait")


@pytest.mark.usefixtures("forking")
def test_a_child_that_dies_is_an_error() -> None:
    """Killed for want of memory, say: never taken for a result."""
    beside = workers.Beside(lambda: os.kill(os.getpid(), signal.SIGKILL), 1, jobs=2)
    with pytest.raises(OSError, match="a worker process died"):
        beside.result()


@pytest.mark.usefixtures("forking")
def test_a_child_that_nobody_needs_any_more_is_ended() -> None:
    """At once, however long it would have worked; twice is fine."""
    began = time.monotonic()
    beside = workers.Beside(lambda: time.sleep(60), 1, jobs=2)
    beside.abandon()
    beside.abandon()
    assert time.monotonic() - began < 5
