"""A cohort is built in one act: killed anywhere, the store is as before or as after, and the next command cleans up."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from migrator import Inventory, enrolment, runner, undo, upkeep
from migrator.engine import lock
from migrator.engine.exchange import Place
from migrator.errors import CareNeeded, DecisionNeeded, MigratorError, TryAgain, UsageError
from migrator.site import Site
from migrator.store.checks import check
from tests.cohorts.stores import cohort, draft, tables
from tests.faults import Fault, content, exact, hooked, killed_at, points, site
from tests.torture.world import recover

NOBODY: dict[str, str] = {}
STRIDE = 9  # each so-manieth point, the offset by test; tests/torture takes all


@pytest.fixture(params=["plain", "linked"])
def base(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder with a data root of two drafts, once plain and once behind a symbolic link to another folder."""
    template = tmp_path / "template"
    if request.param == "plain":
        store = template / "data"
    else:
        store = template / "elsewhere" / "store"
        store.parent.mkdir(parents=True)
        (template / "data").symlink_to("elsewhere/store")
    tables(store, combos=["c1", "c2"], replication=(2, 1, 1))
    cohort(store, "old", ("draft", draft(store, 1)), ("draft", draft(store, 2)))
    (store / "gens" / "stray").write_text("kept")
    return template


def fresh(base: Path, name: str = "work") -> Path:
    copy = base.parent / name
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(base, copy, symlinks=True)
    return copy


def build(one: Site, name: str = "new", **options: bool) -> enrolment.Building:
    return enrolment.build(one, name, environment=NOBODY, **options)


def leftovers(work: Path) -> list[str]:
    """What lies beside the tree and is nobody's data."""
    one = site(work)
    state = [name for name in os.listdir(one.place.state) if name != "lock"]
    beside = [name for name in os.listdir(one.place.real.parent) if name.endswith((".workshop", ".probe"))]
    return state + beside


@pytest.mark.parametrize(("name", "extend"), [("new", False), ("old", True)])
def test_killed_anywhere_the_store_is_as_before_or_as_after(base: Path, name: str, extend: bool) -> None:
    work = fresh(base)
    old = content(site(work).place.real)
    calls = points(lambda: build(site(work), name, extend=extend))
    new = content(site(work).place.real)
    assert len(calls) > 30
    assert new != old
    commit = max(k for k, (call, path) in enumerate(calls) if call == "rename" and path.endswith("membership.csv"))
    assert 0 < commit < len(calls) - 1
    for k in range(extend % STRIDE, len(calls), STRIDE):
        fresh(base)
        assert killed_at(k, lambda: build(site(work), name, extend=extend)), f"point {k} never came"
        where = f"killed before point {k}: {calls[k]}"
        seen = exact(work)
        upkeep.status(site(work))
        assert exact(work) == seen, f"status wrote something; {where}"
        recover(site(work))
        assert content(site(work).place.real) == (new if k > commit else old), where
        assert (leftovers(work), upkeep.status(site(work)).owed) == ([], None), where
        assert build(site(work), name, extend=extend).status == ("unchanged" if k > commit else "built"), where
        assert content(site(work).place.real) == new, where


def test_killed_again_while_it_is_cleaned_up(base: Path) -> None:
    """Every point of the recovery, from a build that was killed right before its commit and right after it."""
    work = fresh(base)
    old = content(site(work).place.real)
    calls = points(lambda: build(site(work)))
    new = content(site(work).place.real)
    commit = max(k for k, (call, path) in enumerate(calls) if call == "rename" and path.endswith("membership.csv"))
    for killed, result in ((commit, old), (commit + 1, new)):
        fresh(base)
        assert killed_at(killed, lambda: build(site(work)))
        hurt = fresh(work, "hurt")
        recovery_calls = points(lambda: recover(site(work)))
        for j in range(0, len(recovery_calls), STRIDE):
            shutil.rmtree(work)
            shutil.copytree(hurt, work, symlinks=True)
            assert killed_at(j, lambda: recover(site(work)))
            recover(site(work))
            assert content(site(work).place.real) == result, f"{killed}, then {j}: {recovery_calls[j]}"
            assert leftovers(work) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_an_error_anywhere_leaves_the_store_as_before_or_says_what_stands(base: Path, code: int) -> None:
    work = fresh(base)
    old = content(site(work).place.real)
    calls = points(lambda: build(site(work)))
    new = content(site(work).place.real)
    for k in range(code % STRIDE, len(calls), STRIDE):
        fresh(base)
        fault = Fault(k, lambda: OSError(code, os.strerror(code)))
        failure: Exception | None = None
        try:
            with hooked(fault):
                build(site(work))
        except (MigratorError, OSError) as error:
            failure = error
        where = f"point {k}: {calls[k]}"
        assert fault.fired, where
        now = content(site(work).place.real)
        membership = "cohorts/new/membership.csv" in now
        if failure is not None and not isinstance(failure, CareNeeded):
            assert now == old or "lock" in calls[k][1] or not membership, where
        build(site(work))
        assert content(site(work).place.real) == new, where


def failing_from(k: int, act: Callable[[], object], error: BaseException) -> CareNeeded:
    """What is said where everything fails from the k-th mutation on."""
    with hooked(Fault(k, lambda: error, always=True)), pytest.raises(CareNeeded) as care:
        act()
    return care.value


@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), MemoryError()], ids=["EIO", "memory"])
def test_where_half_of_it_stands_the_answer_is_care_and_who_settles_it(base: Path, error: BaseException) -> None:
    """Exit 1 says that the tree is untouched. Here it is not: neither while it is taken back nor after the commit."""
    work = fresh(base)
    old = content(site(work).place.real)
    calls = points(lambda: build(site(work)))
    new = content(site(work).place.real)
    commit = max(k for k, (call, path) in enumerate(calls) if call == "rename" and path.endswith("membership.csv"))
    for k, said, result in ((commit, "could not be taken back", old), (commit + 1, "cohort new is built, but", new)):
        fresh(base)
        care = failing_from(k, lambda: build(site(work)), error)
        assert said in care.message
        assert "next writing command" in str(care.hint)
        recover(site(work))
        assert content(site(work).place.real) == result


def test_an_adoption_that_fails_half_way_is_care_and_is_completed(base: Path) -> None:
    work = fresh(base)
    runner.upgrade(site(work))
    build(site(work))
    undo.rollback(site(work), set_aside_new=True)
    runner.upgrade(site(work))
    kept = fresh(work, "kept")

    def adopt() -> object:
        return undo.adopt(site(work), site(work).runs()[0].run_id)

    calls = points(adopt)
    new = content(site(work).place.real)
    shutil.rmtree(work)
    shutil.copytree(kept, work, symlinks=True)
    last = max(k for k, (call, _) in enumerate(calls) if call == "rename")
    care = failing_from(last, adopt, OSError(errno.EIO, "Input/output error"))
    assert "begun and is not complete: Input/output error" in care.message
    recover(site(work))
    assert content(site(work).place.real) == new


def test_tables_of_which_some_are_replaced_are_care(base: Path) -> None:
    work = fresh(base)
    calls = points(lambda: upkeep.regenerate(site(work)))
    moved = [k for k, (call, path) in enumerate(calls) if call == "rename" and "gens" not in path]
    for k, expected in ((moved[0], OSError), (moved[1], CareNeeded)):
        fresh(base)
        with hooked(Fault(k, lambda: OSError(errno.EIO, "Input/output error"), always=True)), pytest.raises(expected):
            upkeep.regenerate(site(work))


def test_what_somebody_has_worked_on_meanwhile_stays(base: Path) -> None:
    work = fresh(base)
    calls = points(lambda: build(site(work)))
    new = content(site(work).place.real)
    commit = max(k for k, (call, path) in enumerate(calls) if call == "rename" and path.endswith("membership.csv"))
    fresh(base)
    assert killed_at(commit, lambda: build(site(work)))
    root = site(work).place.real
    made = sorted(path.name for path in (root / "gens/essay").iterdir())
    (root / "gens/essay" / made[0] / "parsed.txt").write_text("paid for")
    (root / "gens/essay" / made[1] / "metadata.json").write_text(json.dumps({"mine": 1}))
    recover(site(work))
    left = sorted(path.name for path in (root / "gens/essay").iterdir())
    assert left == made[:2]
    assert not (root / "cohorts/new").exists()
    shutil.rmtree(root / "gens/essay" / made[1])
    assert build(site(work)).status == "built"
    assert {path: data for path, data in content(root).items() if not path.endswith("parsed.txt")}.keys() >= {
        path for path in new if path.endswith("metadata.json")
    }


def test_status_says_what_is_owed(base: Path) -> None:
    work = fresh(base)
    calls = points(lambda: build(site(work)))
    commit = max(k for k, (call, path) in enumerate(calls) if call == "rename" and path.endswith("membership.csv"))
    for killed, text in ((commit, "before its commit"), (commit + 1, "after its commit")):
        fresh(base)
        assert killed_at(killed, lambda: build(site(work)))
        owed = upkeep.status(site(work)).owed
        assert owed is not None
        assert "cohort new" in owed
        assert text in owed


def test_an_unchanged_build_writes_nothing_into_the_tree(base: Path) -> None:
    work = fresh(base)
    build(site(work))
    before = exact(site(work).place.real)
    assert build(site(work)).status == "unchanged"
    assert exact(site(work).place.real) == before


def test_a_refused_build_writes_nothing(base: Path) -> None:
    work = fresh(base)
    before = exact(site(work).place.real)
    found = build(site(work), "old")
    assert (found.status, found.undecided) == ("refused", True)
    assert exact(site(work).place.real) == before


def test_mode_and_owner_of_a_table_that_is_replaced_stay(base: Path) -> None:
    work = fresh(base)
    path = site(work).place.real / "cohorts/old/membership.csv"
    path.chmod(0o640)
    build(site(work), "old", extend=True)
    assert path.stat().st_mode & 0o777 == 0o640


def test_one_at_a_time(base: Path) -> None:
    work = fresh(base)
    with lock.hold(site(work).place.state, "test"), pytest.raises(TryAgain):
        build(site(work))


def test_what_is_built_passes_the_guardrail(base: Path) -> None:
    work = fresh(base)
    build(site(work))
    assert check(Inventory.read(site(work).place.real)) == []


def test_a_new_cohort_is_later_work_for_a_rollback_and_comes_back_by_adopt(base: Path) -> None:
    work = fresh(base)
    one = site(work)
    metadata = next((one.place.real / "gens/draft").iterdir()) / "metadata.json"
    metadata.write_text(metadata.read_text().replace('"llm_model_id"', '"model_id"'))
    before = exact(one.place.real)
    runner.upgrade(one)
    build(one)
    built = content(site(work).place.real)
    with pytest.raises(DecisionNeeded, match="cohorts/new"):
        undo.rollback(site(work))
    undo.rollback(site(work), set_aside_new=True)
    assert exact(site(work).place.real) == before
    runner.upgrade(site(work))
    undo.adopt(site(work), site(work).runs()[0].run_id)
    assert content(site(work).place.real) == built
    assert build(site(work)).status == "unchanged"


def test_manifests_are_written_and_a_second_time_nothing_is(base: Path) -> None:
    work = fresh(base)
    written = enrolment.write_manifests(site(work))
    assert [path for path, _ in written.files] == ["cohorts/old/manifest.json"]
    before = exact(site(work).place.real)
    assert enrolment.write_manifests(site(work)).files == []
    assert exact(site(work).place.real) == before
    assert leftovers(work) == []


def test_a_workshop_on_another_file_system_is_refused(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the data root is a mount point: nothing could be renamed into it."""
    work = fresh(base)
    device = os.stat(work).st_dev
    others = [path for path in (Path("/dev/shm"), Path("/tmp"), Path("/var/tmp")) if os.stat(path).st_dev != device]
    if not others:
        pytest.skip("there is no second file system to write to")
    monkeypatch.setattr(Place, "workshop", others[0] / "never-made")
    before = exact(site(work).place.real)
    with pytest.raises(UsageError, match="another file system"):
        build(site(work))
    assert exact(site(work).place.real) == before
    assert not (others[0] / "never-made").exists()
