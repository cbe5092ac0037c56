"""Whatever is not as planned in the new tree is found before the exchange, by one process or by several."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from migrator import runner, verify
from migrator.engine import listing
from migrator.errors import TryAgain
from migrator.site import RunFailed
from migrator.verify import VerificationFailed
from tests.faults import exact, site
from tests.test_crash import small_store


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A store with a link and an empty folder of somebody's."""
    small_store(tmp_path / "data")
    (tmp_path / "data/mine/empty").mkdir(parents=True)
    (tmp_path / "data/mine/link").symlink_to("empty")
    (tmp_path / "data/mine/note").write_text("mine")
    return tmp_path


def _again(path: Path, act: Callable[[], object]) -> None:
    """Do something to a path and leave its times, and those of its folder, as they were."""
    times = {one: os.lstat(one).st_mtime_ns for one in (path, path.parent) if os.path.lexists(one)}
    act()
    for one, time in times.items():
        if os.path.lexists(one):
            os.utime(one, ns=(time, time), follow_symlinks=False)


def _relink(path: Path) -> None:
    path.unlink()
    path.symlink_to("note")


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "mode": (lambda tree: (tree / "mine/note").chmod(0o640), "mine/note has other attributes"),
    "mode of a folder": (lambda tree: (tree / "mine/empty").chmod(0o700), "mine/empty has other attributes"),
    "time": (lambda tree: os.utime(tree / "mine/note", (1, 1)), "mine/note has another time"),
    "time of a folder": (lambda tree: os.utime(tree / "mine/empty", (1, 1)), "mine/empty has another time"),
    "target": (
        lambda tree: _again(tree / "mine/link", lambda: _relink(tree / "mine/link")),
        "mine/link has other attributes",
    ),
    "content": (
        lambda tree: _again(tree / "mine/note", lambda: (tree / "mine/note").write_text("MINE")),
        "mine/note does not have the content that was planned",
    ),
    "file gone": (
        lambda tree: _again(tree / "mine/note", (tree / "mine/note").unlink),
        "mine/note is missing",
    ),
    "link gone": (lambda tree: _again(tree / "mine/link", (tree / "mine/link").unlink), "mine/link is missing"),
    "folder gone": (lambda tree: _again(tree / "mine/empty", (tree / "mine/empty").rmdir), "mine/empty is missing"),
    "file too many": (
        lambda tree: _again(tree / "mine/new", (tree / "mine/new").touch),
        "mine/new does not have the content that was planned",
    ),
    "folder too many": (
        lambda tree: _again(tree / "mine/new", (tree / "mine/new").mkdir),
        "mine/new was not planned",
    ),
    "link too many": (
        lambda tree: _again(tree / "mine/new", lambda: (tree / "mine/new").symlink_to("note")),
        "mine/new was not planned",
    ),
}


def test_what_is_too_many_and_cannot_be_read_is_found(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file without a digest is not one of those that were planned."""
    act, told = DAMAGES["file too many"]
    original, hashed = verify.run, listing.hash_file

    def damaged(build: Any, *values: Any, **options: Any) -> Any:
        act(build.root)
        monkeypatch.setattr(listing, "hash_file", lambda name, *rest: "" if name == "new" else hashed(name, *rest))
        return original(build, *values, **options)

    monkeypatch.setattr(verify, "run", damaged)
    with pytest.raises(RunFailed) as failure:
        runner.upgrade(site(base))
    assert isinstance(failure.value.__cause__, VerificationFailed)
    assert failure.value.__cause__.findings == [told]


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_not_as_planned_is_found(base: Path, damage: str, jobs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """And told by its path; the live tree is as it was."""
    act, told = DAMAGES[damage]
    original = verify.run

    def damaged(build: Any, *values: Any, **options: Any) -> Any:
        act(build.root)
        return original(build, *values, **options)

    before = exact(base / "data")
    monkeypatch.setattr(verify, "run", damaged)
    with pytest.raises(RunFailed) as failure:
        runner.upgrade(site(base, jobs=jobs))
    cause = failure.value.__cause__
    assert isinstance(cause, VerificationFailed)
    assert "; ".join(cause.findings) == told
    assert exact(base / "data") == before


def test_what_a_changed_live_tree_explains_is_told_as_that(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who wrote into the live tree is what the operator has to find, not what is odd in the new one."""
    original = verify.run

    def damaged(build: Any, *values: Any, **options: Any) -> Any:
        (build.root / "mine/note").chmod(0o600)
        (base / "data/mine/note").chmod(0o600)
        return original(build, *values, **options)

    monkeypatch.setattr(verify, "run", damaged)
    with pytest.raises(RunFailed, match="somebody changed the data root during the run: mine/note") as failure:
        runner.upgrade(site(base))
    assert failure.value.exit_code == TryAgain.exit_code


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_copy_that_is_none_is_found_though_it_is_what_was_built(
    base: Path, jobs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what a step rewrites may have other bytes than it had."""
    original = verify.run

    def careless(build: Any, *values: Any, **options: Any) -> Any:
        _again(build.root / "mine/note", lambda: (build.root / "mine/note").write_text("MINE"))
        new = listing.hash_bytes(b"MINE")
        digests = {**build.digests, "mine/note": (listing.hash_bytes(b"mine"), new)}
        return original(replace(build, digests=digests), *values, **options)

    monkeypatch.setattr(verify, "run", careless)
    with pytest.raises(RunFailed, match="mine/note is not the copy of mine/note"):
        runner.upgrade(site(base, jobs=jobs))


def test_a_new_file_that_is_missing_is_told(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the old tree did not have is counted as well."""
    original = verify.run

    def damaged(build: Any, *values: Any, **options: Any) -> Any:
        folder = next((build.root / ".migrator/mappings").iterdir())
        (folder / "issues.csv").unlink()
        return original(build, *values, **options)

    monkeypatch.setattr(verify, "run", damaged)
    with pytest.raises(RunFailed, match=r"\.migrator/mappings/[0-9-]+/issues\.csv is missing"):
        runner.upgrade(site(base))
