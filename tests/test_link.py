"""`--link`: payload is one file in both trees. The same tree, atomic as ever, and its hazard is found and named."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from migrator import runner, undo, upkeep
from migrator.engine import files, listing, snapshots
from migrator.engine.tokens import Tokens
from migrator.engine.tree import Recipe
from migrator.errors import CareNeeded, MigratorError, TryAgain
from migrator.site import RunFailed, Site, settle
from migrator.store.layout import is_payload
from tests.engine.trees import build, make
from tests.faults import Fault, content, exact, hooked, killed_at, points, site
from tests.test_crash import STRIDE, small_store


@pytest.fixture(params=["plain", "linked root"])
def base(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder with a data root, once plain and once behind a symbolic link."""
    folder = tmp_path / "base"
    folder.mkdir()
    small_store(folder / ("data" if request.param == "plain" else "store"))
    if request.param != "plain":
        (folder / "data").symlink_to("store")
    return folder


def texts(root: Path) -> dict[str, int]:
    """Path below gens/ -> inode, of every file that is payload."""
    found = {str(path.relative_to(root)): path.lstat().st_ino for path in root.glob("gens/*/*/*.txt")}
    assert found
    return found


def snapshot(one: Site) -> Path:
    return Path(one.runs()[-1].tree)


def test_payload_is_shared_and_nothing_else(base: Path) -> None:
    """The tree of a copying run to the byte; of the old tree only texts of generations are used again."""
    other = base.with_name("other")
    shutil.copytree(base, other, symlinks=True)
    before = exact(base / "data")
    assert runner.upgrade(site(other)).status == "committed"
    done = runner.upgrade(site(base, link=True))
    assert done.run
    assert done.run.payload == snapshots.LINKED
    assert content(base / "data") == content(other / "data")
    assert site(other).runs()[-1].payload == snapshots.COPIED
    assert site(other).runs()[-1].after != ""
    old = {path.lstat().st_ino: path for path in snapshot(site(base)).rglob("*") if not path.is_dir()}
    new = {path.lstat().st_ino: path for path in base.joinpath("data").resolve().rglob("*") if not path.is_dir()}
    shared = sorted(str(new[inode].name) for inode in old.keys() & new.keys())
    assert shared == ["parsed.txt"] * 4
    assert all(damages == [] for _, damages in upkeep.verify_snapshots(site(base)))
    assert undo.rollback(site(base), full=True).status == "rolled-back"
    assert exact(base / "data") == before


@pytest.mark.parametrize("jobs", [1, 3])
def test_the_digests_are_those_of_the_bytes(tmp_path: Path, jobs: int) -> None:
    """Small files and such as are read in pieces; old names in them are found as in copies."""
    large = b"x" * ((1 << 20) - 5) + b" old1 " + b"y" * 100
    source = make(tmp_path / "s", {f"gens/draft/d{n}/{name}": b"old1" for n in range(9) for name in ("a", "m.json")})
    (source / "gens/draft/d1/large").write_bytes(large)
    found = []
    for linked in (None, is_payload):
        target = tmp_path / f"t{linked is None}"
        recipe = Recipe({"gens/draft/d2": "gens/draft/e2"}, {"gens/draft/d3/a": b"new"})
        built = build(listing.walk(source), source, target, recipe, tokens=Tokens(["old1"]), linked=linked, jobs=jobs)
        found.append((built, content(target)))
    assert found[0] == found[1]
    assert (tmp_path / "tFalse/gens/draft/d3/a").stat().st_nlink == 1


def test_a_rewrite_in_place_is_found_and_named(base: Path) -> None:
    """It changes both trees: the snapshot is damaged, and a rollback is refused as for any damaged snapshot."""
    one = site(base, link=True)
    runner.upgrade(one)
    name, _ = min(texts(snapshot(one)).items())
    (target,) = [
        path for path in (base / "data").resolve().glob("gens/*/*/*.txt") if path.samefile(snapshot(one) / name)
    ]
    target.write_text("rewritten in place")
    ((_, damages),) = upkeep.verify_snapshots(one)
    assert damages == [f"{name} has changed"]
    with pytest.raises(CareNeeded, match=f"{name} has changed .*--link: payload is one file in both trees"):
        undo.rollback(one, set_aside_new=True)


def test_a_rewrite_with_size_and_time_kept_is_found(base: Path) -> None:
    one = site(base, link=True)
    runner.upgrade(one)
    name, _ = min(texts(snapshot(one)).items())
    old = (snapshot(one) / name).stat()
    (snapshot(one) / name).write_bytes(b"x" * old.st_size)
    os.utime(snapshot(one) / name, ns=(old.st_atime_ns, old.st_mtime_ns))
    ((_, damages),) = upkeep.verify_snapshots(one)
    assert damages == [f"{name} has another content"]


def test_a_file_that_is_replaced_harms_nobody(base: Path) -> None:
    """Written beside and renamed, as careful programs do: the snapshot keeps the old one."""
    one = site(base, link=True)
    before = exact(base / "data")
    runner.upgrade(one)
    for path in (base / "data").resolve().glob("gens/*/*/*.txt"):
        path.with_suffix(".new").write_text("new")
        path.with_suffix(".new").rename(path)
    assert [damages for _, damages in upkeep.verify_snapshots(one)] == [[]]
    assert undo.rollback(one, set_aside_new=True).status == "rolled-back"
    assert exact(base / "data") == before


def test_what_comes_during_the_run_is_seen(base: Path) -> None:
    """Linking gives a file another change time; that must not hide a writer."""
    one = site(base, link=True)
    written = base / "data/gens/draft/a1/parsed.txt"

    def write(call: str, path: str) -> None:
        if call == "link":
            written.write_text("somebody else's")

    with hooked(write), pytest.raises(RunFailed, match="changed the data root during the run") as error:
        runner.upgrade(one)
    assert error.value.exit_code == TryAgain.exit_code
    assert written.read_text() == "somebody else's"


@pytest.mark.parametrize("code", [errno.EXDEV, errno.EPERM, errno.EMLINK])
def test_where_nothing_can_be_linked_it_says_so(base: Path, code: int) -> None:
    """Another file system, one without hard links, too many of them: undone, with the way out."""
    before = exact(base / "data")

    def refuse(call: str, path: str) -> None:
        if call == "link":
            raise OSError(code, os.strerror(code))

    with hooked(refuse), pytest.raises(MigratorError, match="cannot be linked") as error:
        runner.upgrade(site(base, link=True))
    assert error.value.hint == "leave --link out: all is copied then"
    assert exact(base / "data") == before


def test_it_needs_no_room_for_payload(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (base / "data/gens/draft/a1/raw.txt").write_bytes(bytes(1 << 20))
    usage = shutil.disk_usage(base)._replace(free=1 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(MigratorError, match="the new tree needs"):
        runner.upgrade(site(base))
    assert runner.upgrade(site(base, link=True)).status == "committed"


# -- every mutation as a crash point


def test_killed_anywhere_the_tree_is_old_or_new_and_recovers(base: Path) -> None:
    """Links that an undone run leaves behind are names only: removing them takes nothing from the old tree."""
    kept = base.with_name("kept")
    shutil.copytree(base, kept, symlinks=True)
    old = exact(base / "data")
    calls = points(lambda: runner.upgrade(site(base, link=True)))
    new = content(base / "data")
    links = [k for k, (call, _) in enumerate(calls) if call == "link"]
    assert len(links) == 4
    for k in sorted({*links, *range(3, len(calls), 2 * STRIDE)}):
        shutil.rmtree(base)
        shutil.copytree(kept, base, symlinks=True)
        assert killed_at(k, lambda: runner.upgrade(site(base, link=True))), f"point {k} never came"
        where = f"killed before point {k}: {calls[k]}"
        assert exact(base / "data") == old or content(base / "data") == new, where
        settle(site(base))
        assert exact(base / "data") == old or content(base / "data") == new, where
        assert runner.upgrade(site(base, link=True)).status in ("committed", "up-to-date"), where
        assert content(base / "data") == new, where
        assert undo.rollback(site(base), full=True).status == "rolled-back", where
        assert exact(base / "data") == old, where


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_an_error_at_any_link_undoes_the_run(base: Path, code: int) -> None:
    before = exact(base / "data")
    calls = points(lambda: runner.upgrade(site(base, link=True)))
    undo.rollback(site(base))
    for k in [k for k, (call, _) in enumerate(calls) if call == "link"]:
        fault = Fault(k, lambda: OSError(code, os.strerror(code)))
        with hooked(fault), pytest.raises(RunFailed):
            runner.upgrade(site(base, link=True))
        assert fault.fired
        assert files.hook is None
        assert exact(base / "data") == before
