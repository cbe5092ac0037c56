"""The proof that a snapshot is what it was: sealed manifests, and no damage that is not found."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from migrator.engine import ledger, listing, snapshots
from migrator.engine.listing import Entry
from migrator.engine.snapshots import Manifest, Run
from migrator.errors import CareNeeded, UsageError
from tests.engine.trees import To, make, root_only

STORE = {
    "a/one": b"1111",
    "a/two": b"2222",
    "a/sub/three": b"3",
    "empty": None,
    "link": To("a/one"),
    os.fsdecode(b"odd \xff"): b"odd",
}


def manifest_of(root: Path) -> Manifest:
    """The manifest of a tree as it is now."""
    entries = listing.walk(root)
    paths = [entry.path for entry in entries if entry.kind == listing.FILE]
    return snapshots.manifest_of(entries, listing.hash_files(root, paths))


# -- manifests

NAMES = st.text(
    st.characters(blacklist_characters="/\0", blacklist_categories=("Cs",)), min_size=1, max_size=20
) | st.binary(min_size=1, max_size=20).map(os.fsdecode)
NUMBERS = st.integers(0, 2**63)
ENTRIES = st.lists(
    st.tuples(NAMES, st.sampled_from("dfl?"), st.integers(0, 0o7777), *[NUMBERS] * 5, NAMES | st.just("")).map(
        lambda values: Entry(*values)
    ),
    unique_by=lambda entry: entry.path,
)
ODD = [
    "\t",
    "\n",
    '"',
    '"x',
    "\\",
    "\\n",
    '""',
    "\u2028",
    "\x85",
    "a\tb",
    "[]",
    "null",
    "-",
    " ",
    "\udcff",
    "é",
]


@settings(max_examples=50)
@given(ENTRIES)
def test_what_is_rendered_is_read(tmp_path_factory: pytest.TempPathFactory, entries: list[Entry]) -> None:
    """Every name that a file system takes, in paths and in links; every number."""
    digests = {entry.path: hashlib.md5(os.fsencode(entry.path)).hexdigest() for entry in entries if entry.kind == "f"}
    path = tmp_path_factory.getbasetemp() / "manifest"
    manifest = Manifest(entries, digests)
    path.write_bytes(manifest.render())
    found = snapshots.read_manifest(path)
    assert (found.entries, found.digests) == (entries, digests)
    assert found.digest() == manifest.digest()


def test_odd_names_are_read(tmp_path: Path) -> None:
    """Those that a line of tabs and quotes could lose, as paths and as targets."""
    entries = [Entry(name, "l", 0o777, 0, 0, 1, 2, 3, target) for name in ODD for target in ("x", name)][::2]
    entries += [Entry(name + "/x", "l", 0o777, 0, 0, 1, 2, 3, name) for name in ODD]
    (tmp_path / "m").write_bytes(Manifest(entries, {}).render())
    assert snapshots.read_manifest(tmp_path / "m").entries == entries


def test_a_manifest_of_a_tree(tmp_path: Path) -> None:
    """Folders and links have no digest; a file that cannot be read has none either."""
    root = make(tmp_path / "t", STORE)
    manifest = manifest_of(root)
    assert sorted(manifest.digests) == sorted(["a/one", "a/two", "a/sub/three", os.fsdecode(b"odd \xff")])
    (tmp_path / "m").write_bytes(manifest.render())
    assert snapshots.read_manifest(tmp_path / "m") == manifest
    assert snapshots.manifest_of([], {"x": "", "y": "1"}).digests == {"y": "1"}


def test_an_empty_manifest(tmp_path: Path) -> None:
    """No entry, and a seal."""
    (tmp_path / "m").write_bytes(Manifest([], {}).render())
    assert snapshots.read_manifest(tmp_path / "m") == Manifest([], {})


def test_every_torn_or_altered_manifest_is_refused(tmp_path: Path) -> None:
    """Cut at any byte, any byte flipped, a line dropped, doubled or moved: exit 10."""
    path = tmp_path / "m"
    data = manifest_of(make(tmp_path / "t", STORE)).render()
    lines = data.splitlines(keepends=True)
    altered = [data[:cut] for cut in range(0, len(data) - 1, 5)]
    altered += [data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :] for at in range(0, len(data) - 1, 7)]
    altered += [b"".join(lines[1:]), b"".join([lines[1], lines[0], *lines[2:]]), lines[0] + data, data + data]
    altered += [b"{}\n", b"null\n", b'{"entries": 0, "sha256": ""}\n', data + b"x"]
    for wrong in altered:
        path.write_bytes(wrong)
        with pytest.raises(CareNeeded, match="cannot be trusted"):
            snapshots.read_manifest(path)
    path.write_bytes(data)
    snapshots.read_manifest(path)


def test_a_missing_manifest_needs_care(tmp_path: Path) -> None:
    """Without it nothing is proven."""
    with pytest.raises(CareNeeded):
        snapshots.read_manifest(tmp_path / "missing")


def test_the_digest_of_a_tree_is_that_of_its_content() -> None:
    """Times and owners do not count; path, kind, mode, content and target do."""
    one = Entry("a", "f", 0o644, 0, 0, 1, 2, 3)
    digest = Manifest([one], {"a": "d"}).digest()
    assert Manifest([one._replace(uid=5, gid=5, mtime_ns=9, ctime_ns=9)], {"a": "d"}).digest() == digest
    others = [
        Manifest([one._replace(path="b")], {"b": "d"}),
        Manifest([one._replace(kind="l")], {"a": "d"}),
        Manifest([one._replace(mode=0o600)], {"a": "d"}),
        Manifest([one], {"a": "e"}),
        Manifest([one], {}),
        Manifest([one._replace(target="x")], {"a": "d"}),
        Manifest([], {}),
    ]
    assert len({digest, *(other.digest() for other in others)}) == 8


def test_blanks_do_not_make_two_trees_one() -> None:
    """A link `c` to `a b` is not a link `b c` to `a`."""
    one = Manifest([Entry("c", "l", 0o777, 0, 0, 3, 1, 1, "a b")], {})
    two = Manifest([Entry("b c", "l", 0o777, 0, 0, 1, 1, 1, "a")], {})
    assert one.digest() != two.digest()


# -- damages


def flip(path: Path) -> None:
    """One bit, in place, with the time set back."""
    data, status = bytearray(path.read_bytes()), path.stat()
    data[0] ^= 1
    path.write_bytes(bytes(data))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def swap(root: Path) -> None:
    """Two files of one size change their names; all times as they were."""
    folder = (root / "a").stat()
    os.rename(root / "a/one", root / "a/x")
    os.rename(root / "a/two", root / "a/one")
    os.rename(root / "a/x", root / "a/two")
    os.utime(root / "a", ns=(folder.st_atime_ns, folder.st_mtime_ns))


def relink(root: Path) -> None:
    """Another target of the same length, the time as it was."""
    status = os.lstat(root / "link")
    (root / "link").unlink()
    (root / "link").symlink_to("a/two")
    os.utime(root / "link", ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=False)


def replace_by_folder(root: Path) -> None:
    """A folder where a file was."""
    (root / "a/one").unlink()
    (root / "a/one").mkdir()


DAMAGES: list[tuple[str, Callable[[Path], object], set[str]]] = [
    ("flip", lambda root: flip(root / "a/one"), {"a/one has another content"}),
    ("flip deep", lambda root: flip(root / "a/sub/three"), {"a/sub/three has another content"}),
    ("rewrite", lambda root: (root / "a/one").write_bytes(b"1112"), {"a/one has another time"}),
    ("truncate", lambda root: os.truncate(root / "a/one", 3), {"a/one has changed"}),
    ("empty", lambda root: os.truncate(root / "a/one", 0), {"a/one has changed"}),
    ("add", lambda root: (root / "empty/new").touch(), {"empty/new was added", "empty has another time"}),
    (
        "add folder",
        lambda root: (root / "empty/new").mkdir(),
        {"empty/new was added", "empty has another time"},
    ),
    ("delete", lambda root: (root / "a/one").unlink(), {"a/one is missing", "a has another time"}),
    ("delete folder", lambda root: (root / "empty").rmdir(), {"empty is missing", ". has another time"}),
    ("touch", lambda root: os.utime(root / "a/one"), {"a/one has another time"}),
    ("touch folder", lambda root: os.utime(root / "a"), {"a has another time"}),
    ("touch link", lambda root: os.utime(root / "link", follow_symlinks=False), {"link has another time"}),
    ("chmod", lambda root: os.chmod(root / "a/one", 0o600), {"a/one has another mode or owner"}),
    ("chmod root", lambda root: os.chmod(root, 0o700), {". has another mode or owner"}),
    ("relink", relink, {"link has changed", ". has another time"}),
    ("kind", replace_by_folder, {"a/one has changed", "a has another time"}),
]


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(("damage", "expected"), [case[1:] for case in DAMAGES], ids=[case[0] for case in DAMAGES])
def test_damages_are_found(tmp_path: Path, damage: Callable[[Path], object], expected: set[str], full: bool) -> None:
    """Each kind, named, and nothing else; also without reading everything."""
    root = make(tmp_path / "t", STORE)
    for path in [*root.rglob("*"), root]:
        os.utime(path, ns=(1, 10**18), follow_symlinks=False)
    manifest = manifest_of(root)
    assert snapshots.damages(root, manifest, full=full) == []
    time.sleep(0.01)  # the kernel's clock for change times ticks every few ms
    damage(root)
    assert set(snapshots.damages(root, manifest, full=full)) == expected


@root_only
@pytest.mark.parametrize(("uid", "gid"), [(1234, -1), (-1, 4321)])
def test_another_owner_is_damage(tmp_path: Path, uid: int, gid: int) -> None:
    """A file that the pipeline cannot read any more is not what it was."""
    root = make(tmp_path / "t", STORE)
    manifest = manifest_of(root)
    os.chown(root / "a/one", uid, gid)
    assert snapshots.damages(root, manifest, full=False) == ["a/one has another mode or owner"]


@pytest.mark.parametrize("full", [False, True])
def test_two_swapped_files_are_found(tmp_path: Path, full: bool) -> None:
    """Same names, same sizes, same times: their change times are not."""
    root = make(tmp_path / "t", STORE)
    for name in ("one", "two"):
        os.utime(root / "a" / name, ns=(1, 10**18))
    manifest = manifest_of(root)
    time.sleep(0.01)
    swap(root)
    expected = ["a/one has another content", "a/two has another content"]
    assert snapshots.damages(root, manifest, full=full) == expected


def test_damage_below_the_file_system_is_found_by_reading_all(tmp_path: Path) -> None:
    """A disk that lies changes no time at all: `full` reads every byte. (Here the manifest lies.)"""
    root = make(tmp_path / "t", STORE)
    manifest = manifest_of(root)
    lie = Manifest(manifest.entries, {**manifest.digests, "a/one": "0" * 40})
    assert snapshots.damages(root, lie, full=False) == []
    assert snapshots.damages(root, lie, full=True) == ["a/one has another content"]


def test_a_file_read_again_and_found_the_same_is_no_damage(tmp_path: Path) -> None:
    """A backup tool that sets times back changes the change time: the content decides."""
    root = make(tmp_path / "t", STORE)
    manifest = manifest_of(root)
    time.sleep(0.01)
    os.chmod(root / "a/one", 0o600)
    os.chmod(root / "a/one", 0o644)
    assert listing.walk(root) != manifest.entries
    assert snapshots.damages(root, manifest, full=False) == []


def test_paths_left_out_are_not_looked_at(tmp_path: Path) -> None:
    """Neither missing nor added nor changed."""
    root = make(tmp_path / "t", STORE)
    manifest = manifest_of(root)
    os.chmod(root / "a/one", 0o600)
    (root / "a/sub/three").unlink()
    (root / "new").touch()
    ignored = ["a/one", "a/sub/three", "a/sub", "new", ""]
    assert snapshots.damages(root, manifest, full=True, ignore=ignored) == []


def test_later_work_is_content(tmp_path: Path) -> None:
    """Added, changed and removed count; a touched file, a folder whose time moved and a new owner do not."""
    root = make(tmp_path / "t", STORE)
    manifest = manifest_of(root)
    time.sleep(0.01)
    os.utime(root / "a/two")
    assert snapshots.changed_content(root, manifest) == []
    (root / "new").mkdir()
    (root / "new/x").touch()
    flip(root / "a/one")
    (root / "a/sub/three").unlink()
    os.chmod(root / "empty", 0o700)
    expected = [
        ("a/one", "changed"),
        ("a/sub/three", "removed"),
        ("empty", "changed"),
        ("new", "added"),
        ("new/x", "added"),
    ]
    assert snapshots.changed_content(root, manifest) == expected


# -- runs


def run(run_id: str, number: int, root: str = "/data", **values: object) -> Run:
    """A record."""
    return Run(run_id, root, number, snapshots.COMMITTED, f"/b/{run_id}/tree", **values)  # type: ignore[arg-type]


def written(backups: Path, *runs: Run) -> Path:
    """A folder of run folders."""
    for one in runs:
        (backups / one.run_id).mkdir(parents=True)
        snapshots.write(backups / one.run_id, one)
    return backups


@pytest.mark.parametrize(
    "root",
    [
        "/data",
        "/é 模板",
        pytest.param(os.fsdecode(b"/\xff/data"), id="no text"),
    ],
)
def test_a_record_is_read_as_written(tmp_path: Path, root: str) -> None:
    """Wherever the data root lies."""
    one = run("20260101-120000", 3, root, steps=["0001 a"], counts={"renamed": 2}, note="why", link=root)
    written(tmp_path, one)
    assert snapshots.read(tmp_path / one.run_id) == one


RUN_IDS = ["20260101-120000", "20260101-120000-2", "20260101-120000-9999"]
NO_RUN_IDS = [
    "",
    "x",
    "../../x",
    "/etc",
    "..",
    "20260101-120000/..",
    "20260101-120000\n",
    "20260101-120000-",
    "-rf",
    "a\0b",
]
NO_RUN_IDS += ["20260101-120000-12345", "２0260101-120000"]


def test_run_ids_are_nothing_but_that() -> None:
    """They become paths."""
    assert [ledger.check_run_id(text) for text in RUN_IDS] == RUN_IDS
    for text in NO_RUN_IDS:
        with pytest.raises(UsageError, match="is not a run id"):
            ledger.check_run_id(text)


def test_runs_are_in_the_order_in_which_they_ran(tmp_path: Path) -> None:
    """A clock that went back, and the same second twice, change nothing; other roots are left out."""
    runs = [
        run("20260301-000000", 1),
        run("20260101-000000", 2),
        run("20260101-000000-2", 3),
        run("20260101-000000-10", 4),
        run("20250101-000000", 5),
    ]
    written(tmp_path, *reversed(runs), run("20260201-000000", 9, "/other"))
    make(tmp_path, {"20260401-000000": None, "notes": None, "20260501-000000": b"", "x/run.json": b"{"})
    assert snapshots.of_root(tmp_path, Path("/data")) == runs
    assert [one.run_id for one in snapshots.of_root(tmp_path, Path("/other"))] == ["20260201-000000"]


def test_no_backups_are_no_runs(tmp_path: Path) -> None:
    """Before the first run."""
    assert snapshots.of_root(tmp_path / "missing", Path("/data")) == []


def test_only_a_committed_run_has_a_snapshot() -> None:
    """After a rollback its tree is the one from after, and is never offered; nor is a pruned one."""
    states = [snapshots.BUILDING, snapshots.COMMITTED, snapshots.FAILED, snapshots.ROLLED_BACK]
    assert [run("r", 1).with_(state=state).has_snapshot for state in states] == [False, True, False, False]
    assert not run("r", 1, pruned=True).has_snapshot


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"{}", b"\xff", b'{"run_id": "x", "newer": 1}'])
def test_a_torn_record_needs_care(tmp_path: Path, data: bytes) -> None:
    """Exit 10 with its path; a run that is not there is a usage error."""
    make(tmp_path, {"20260101-000000/run.json": data})
    with pytest.raises(CareNeeded) as error:
        snapshots.read(tmp_path / "20260101-000000")
    assert error.value.where == str(tmp_path / "20260101-000000/run.json")
    with pytest.raises(UsageError):
        snapshots.read(tmp_path / "20260101-000001")


def test_a_record_with_impossible_values_needs_care(tmp_path: Path) -> None:
    """Runs are ordered by their number."""
    values = json.loads(json.dumps({**run("20260101-000000", 1).__dict__, "number": "one"}))
    make(tmp_path, {"20260101-000000/run.json": json.dumps(values).encode()})
    written(tmp_path, run("20260102-000000", 2))
    with pytest.raises(CareNeeded):
        snapshots.of_root(tmp_path, Path("/data"))


@pytest.mark.parametrize("name", ["root", "tree", "link", "mapping"])
def test_a_record_with_a_path_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    run = Run("20260101-120000", "/data", 1, snapshots.COMMITTED, "/b/tree").with_(**{name: "/a\0b"})
    (tmp_path / run.run_id).mkdir()
    snapshots.write(tmp_path / run.run_id, run)
    with pytest.raises(CareNeeded, match="is no path"):
        snapshots.read(tmp_path / run.run_id)


def test_a_manifest_is_the_same_however_many_lines_are_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    """Large listings are joined some lines together: bytes and digest do not show where."""
    entries = [listing.Entry(f"p{n}", "f", 0o644, 0, 0, n, n, n) for n in range(25)]
    found = set()
    for together in (1, 7, 25, 100):
        monkeypatch.setattr(snapshots, "_TOGETHER", together)
        manifest = snapshots.manifest_of(entries, {entry.path: "ab" for entry in entries})
        found.add((manifest.render(), manifest.digest()))
    assert len(found) == 1
    assert next(iter(found))[0].count(b"\n") == 26
