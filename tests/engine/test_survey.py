"""What files hold is looked up before they are copied, and copies of what was surveyed are those of a build alone."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from pathlib import Path

import pytest

from migrator.engine import files, listing, survey
from migrator.engine.listing import BLOCK, FILE, Entry
from migrator.engine.tokens import Batch, Tokens
from migrator.engine.tree import Recipe
from tests.engine.trees import build, everything, make
from tests.torture.disks import IMAGES, Unavailable, mounted

BYTES = os.fsdecode(b"\xff\xfe name")
STORE = {
    "a": b"old1 and old12",
    "empty": b"",
    "odd/\n\t": b"old1",
    f"odd/{BYTES}": b"x\nold1",
    "large": b"x" * (BLOCK - 5) + b" old1 " + b"y" * 100,
    "block": b"z" * BLOCK,
}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Files of every size and name."""
    return make(tmp_path / "store", STORE)


def to_survey(root: Path) -> list[Entry]:
    return [entry for entry in listing.walk(root) if entry.kind == FILE]


def test_it_finds_what_a_build_finds(store: Path) -> None:
    """The digest of each file, and the hits under their paths of today."""
    entries = to_survey(store)
    digests, hits = survey.survey(store, entries, Batch(Tokens(["old1"])), lambda: False)
    assert digests == {e.path: hashlib.sha256((store / e.path).read_bytes()).hexdigest() for e in entries}
    built = build(listing.walk(store), store, store.with_name("t"), Recipe(), tokens=Tokens(["old1"]), jobs=1)
    assert sorted(hits) == built.hits
    assert {hit[0] for hit in hits} == {"a", "odd/\n\t", f"odd/{BYTES}", "large"}


def test_it_ends_when_it_is_asked_to(tmp_path: Path) -> None:
    """What it has until then is whole; the rest is left to others."""
    entries = to_survey(make(tmp_path / "s", {f"{number:03}": b"old1" for number in range(200)}))
    answers = iter([False, False, True])
    digests, hits = survey.survey(tmp_path / "s", entries, Batch(Tokens(["old1"])), lambda: next(answers))
    assert 0 < len(digests) < len(entries)
    assert len(hits) == len(digests)


def test_what_cannot_be_read_has_no_digest(store: Path) -> None:
    """A file that has vanished, or a link in its place: whoever copies it says what is wrong."""
    entries = to_survey(store)
    (store / "a").unlink()
    (store / "block").unlink()
    (store / "block").symlink_to("large")
    digests, _ = survey.survey(store, entries, Batch(Tokens([])), lambda: False)
    assert {entry.path for entry in entries} - digests.keys() == {"a", "block"}


REFUSALS = {
    "another file system": OSError(errno.EXDEV, ""),
    "an old kernel": OSError(errno.ENOSYS, ""),
    "not on this file system": OSError(errno.EOPNOTSUPP, ""),
    "a file taken for empty": 0,
}


@pytest.mark.parametrize("kernel", ["copies", "copies little at a time", *REFUSALS])
def test_what_was_surveyed_is_copied_alike(store: Path, kernel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the kernel, or where it refuses by reading and writing: bytes, attributes, digests and hits are the same."""
    for number, path in enumerate(sorted(store.rglob("*"))):
        path.chmod(0o700 | number)
        os.utime(path, ns=(number, 1_000_000_007 * number))
    entries = listing.walk(store)
    known = _digests(store)
    alone = build(entries, store, store.with_name("alone"), Recipe(), jobs=1)
    real = os.copy_file_range

    def refuse(source: int, target: int, count: int) -> int:
        if kernel == "copies little at a time":
            return real(source, target, min(count, 1000))
        answer = REFUSALS[kernel]
        if isinstance(answer, OSError):
            raise answer
        return answer

    if kernel != "copies":
        monkeypatch.setattr(os, "copy_file_range", refuse)
    told: list[tuple[int, int]] = []
    progress = lambda *done: told.append(done)  # noqa: E731
    built = build(entries, store, store.with_name("t"), Recipe(), digests=known, jobs=1, progress=progress)
    assert built.digests == alone.digests
    assert told[-1] == (len(STORE), sum(map(len, STORE.values())))
    assert everything(store.with_name("t")) == everything(store.with_name("alone")) == everything(store)


def _digests(store: Path) -> dict[str, str]:
    return survey.survey(store, to_survey(store), Batch(Tokens([])), lambda: False)[0]


def test_a_failure_of_the_kernel_half_way_is_none_to_go_on_from(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk, and any error once something is written."""
    known = {"large": _digests(store)["large"]}
    for answers in ([OSError(errno.ENOSPC, "full")], [1000, OSError(errno.EXDEV, "odd")]):
        left = iter(answers)

        def fail(source: int, target: int, count: int) -> int:
            answer = next(left)  # noqa: B023 - called within this turn only
            if isinstance(answer, OSError):
                raise answer
            return os.sendfile(target, source, None, answer)

        monkeypatch.setattr(os, "copy_file_range", fail)
        target = store.with_name(f"t{len(answers)}")
        with pytest.raises(OSError, match=r"full|odd"):
            build(listing.walk(store), store, target, Recipe(), digests=known, jobs=1)


def test_a_surveyed_file_is_neither_hashed_nor_searched_again(store: Path) -> None:
    """Its digest is that of the survey, so that a file which has changed since is found when the copy is read back."""
    entries = listing.walk(store)
    built = build(
        entries, store, store.with_name("t"), Recipe(), tokens=Tokens(["old1"]), digests={"a": "noted"}, jobs=1
    )
    assert built.digests["a"] == ("noted", "noted")
    assert "a" not in {hit.path for hit in built.hits}
    rewriting = Recipe(contents={"a": b"old1"})
    built = build(
        entries, store, store.with_name("u"), rewriting, tokens=Tokens(["old1"]), digests={"a": "noted"}, jobs=1
    )
    assert "a" in {hit.path for hit in built.hits}
    assert (store.with_name("u") / "a").read_bytes() == b"old1"


def test_what_was_read_is_not_opened_again(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither to be copied nor to be rewritten: its bytes, time, mode and attributes are those it had."""
    os.utime(store / "a", ns=(1, 1_000_000_007))
    (store / "a").chmod(0o640)
    recipe = Recipe(contents={"empty": lambda data: data + b"new"}, read={"a": b"old1 and old12", "empty": b""})
    opened: list[str] = []
    real = os.open
    monkeypatch.setattr(
        os, "open", lambda path, *rest, **more: (opened.append(str(path)), real(path, *rest, **more))[1]
    )
    built = build(listing.walk(store), store, store.with_name("t"), recipe, tokens=Tokens(["old12"]), jobs=1)
    assert opened.count("a") == opened.count("empty") == 1  # to be written
    assert opened.count("large") == 2
    copy = store.with_name("t") / "a"
    assert (copy.read_bytes(), copy.stat().st_mtime_ns, copy.stat().st_mode & 0o777) == (
        b"old1 and old12",
        1_000_000_007,
        0o640,
    )
    assert (store.with_name("t") / "empty").read_bytes() == b"new"
    assert [hit.path for hit in built.hits] == ["a"]


def test_blocks_are_shared_where_a_file_system_can(tmp_path: Path) -> None:
    """xfs (and btrfs): the copy of a surveyed file takes no room until one of the two is written to."""
    size, make_file_system = IMAGES["xfs"]
    image = tmp_path / "image"
    image.touch()
    os.truncate(image, int(size.rstrip("M")) << 20)
    if os.geteuid() != 0 or not shutil.which(make_file_system[0]):
        pytest.skip(f"needs root and {make_file_system[0]}")
    os.spawnlp(os.P_WAIT, make_file_system[0], *make_file_system, str(image))
    try:
        with mounted(tmp_path / "mnt", "-o", "loop", image) as point:
            source = make(point / "s", {"large": os.urandom(20 << 20)})
            files.sync_file_system(source)
            before = os.statvfs(point).f_bfree
            known = _digests(source)
            build(listing.walk(source), source, point / "t", Recipe(), digests=known, jobs=1)
            files.sync_file_system(source)
            taken = (before - os.statvfs(point).f_bfree) * os.statvfs(point).f_frsize
            assert (point / "t/large").read_bytes() == (source / "large").read_bytes()
            assert taken < 2 << 20
    except Unavailable as error:
        pytest.skip(f"cannot mount here: {error}")
