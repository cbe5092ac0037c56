"""CohortScope: look-ups over the whole store from one cohort's view; the manifest only ever saves reading."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from migrator import CohortScope, MigratorError, compute_signature
from migrator.cohorts import scope as module
from migrator.cohorts.manifest import changed_manifests
from migrator.store.index import Index
from tests.cohorts.stores import cohort, draft, essay, evaluation, tables, write


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two drafts; `mine` has the first, which is its own, and the second, which is of `first`."""
    root = tables(tmp_path / "data")
    one, two = draft(root, 1, origin="mine"), draft(root, 2, output=False)
    cohort(root, "mine", ("draft", one), ("draft", two))
    draft(root, 3)
    return root


def signature(replicate: int, combo: str = "c1") -> tuple[str | int, ...]:
    values = {"combo_id": combo, "draft_template_id": "dt", "generation_model_id": "m1"}
    return compute_signature("draft", **values, replicate=replicate)


def write_manifests(root: Path) -> None:
    for path, data in changed_manifests(root).files:
        (root / path).write_bytes(data)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Every pass over the store's metadata."""
    seen: list[Path] = []
    read = Index.read.__func__  # type: ignore[attr-defined]

    def counted(cls: type[Index], root: Path, *more: object) -> object:
        seen.append(root)
        return read(cls, root, *more)

    monkeypatch.setattr(module.Index, "read", classmethod(counted))
    return seen


@pytest.mark.parametrize("cached", [False, True], ids=["metadata", "manifest"])
def test_look_ups(root: Path, cached: bool) -> None:
    if cached:
        write_manifests(root)
    scope = CohortScope(root, "mine")
    own = scope.find_existing_gen_id("draft", signature(1))
    assert own is not None
    assert (own.origin_cohort_id, own.is_reused) == ("mine", False)
    for replicate in (2, 3):
        other = scope.find_existing_gen_id("draft", signature(replicate))
        assert other is not None
        assert (other.origin_cohort_id, other.is_reused) == ("first", True)
    assert scope.find_existing_gen_id("draft", (" C1", "DT", "M1", 1)) == own
    assert scope.find_existing_gen_id("draft", signature(4)) is None
    assert scope.signature_for_gen("draft", own.gen_id) == signature(1)
    assert scope.signature_for_gen("draft", "d_nobody") is None


def test_a_fresh_manifest_saves_reading_for_members_and_for_nobody_else(root: Path, passes: list[Path]) -> None:
    write_manifests(root)
    passes.clear()
    scope = CohortScope(root, "mine")
    assert scope.find_existing_gen_id("draft", signature(1))
    assert passes == []
    assert scope.find_existing_gen_id("draft", signature(3))
    assert len(passes) == 1


@pytest.mark.parametrize("fault", ["missing", "stale", "damaged", "of an older era"])
def test_without_a_fresh_manifest_the_metadata_answers_and_that_is_logged(
    root: Path, fault: str, passes: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    write_manifests(root)
    path = root / "cohorts/mine/manifest.json"
    if fault == "missing":
        path.unlink()
    elif fault == "stale":
        write(root, ".migrator/ledger.jsonl", ['{"run_id": "20260101-120000"}'])
    elif fault == "damaged":
        path.write_bytes(path.read_bytes().replace(b"d_", b"x_"))
    else:
        path.write_text('{"combos": []}')
    passes.clear()
    with caplog.at_level(logging.WARNING):
        scope = CohortScope(root, "mine")
        found = [scope.find_existing_gen_id("draft", signature(1)) for _ in range(3)]
    assert found[0] is not None
    assert found[0] == found[2]
    assert len(passes) == 1
    assert [record.getMessage() for record in caplog.records] == [
        f"the manifest of cohort mine is {fault}: reading metadata.json instead"
    ]


def test_a_manifest_never_names_what_has_gone(root: Path) -> None:
    write_manifests(root)
    scope = CohortScope(root, "mine")
    found = scope.find_existing_gen_id("draft", signature(1))
    assert found is not None
    shutil.rmtree(root / "gens/draft" / found.gen_id)
    assert scope.find_existing_gen_id("draft", signature(1)) is None
    assert scope.signature_for_gen("draft", found.gen_id) is None


def test_it_reads_again_when_the_store_has_changed_and_only_then(root: Path, passes: list[Path]) -> None:
    scope = CohortScope(root)
    for _ in range(3):
        assert scope.find_existing_gen_id("draft", signature(4)) is None
    assert len(passes) == 1
    draft(root, 4)
    assert scope.find_existing_gen_id("draft", signature(4))
    assert len(passes) == 2
    write(root, ".migrator/ledger.jsonl", ['{"run_id": "20260101-120000"}'])
    scope.find_existing_gen_id("draft", signature(1))
    assert len(passes) == 3
    other = root.with_name("other")
    shutil.copytree(root, other)
    os.rename(root, root.with_name("gone"))
    os.rename(other, root)
    scope.find_existing_gen_id("draft", signature(1))
    assert len(passes) == 4
    scope.refresh()
    scope.find_existing_gen_id("draft", signature(1))
    assert len(passes) == 5


def test_a_linked_root_is_followed_when_its_link_is(root: Path) -> None:
    link = root.with_name("link")
    link.symlink_to(root)
    scope = CohortScope(link, "mine")
    assert scope.find_existing_gen_id("draft", signature(4)) is None
    other = root.with_name("other")
    shutil.copytree(root, other)
    draft(other, 4)
    link.unlink()
    link.symlink_to(other)
    assert scope.find_existing_gen_id("draft", signature(4))


def test_metadata_that_cannot_be_used_is_an_error_where_it_is_asked_for(root: Path) -> None:
    gen_id = draft(root, 9)
    (root / "gens/draft" / gen_id / "metadata.json").write_text("{")
    scope = CohortScope(root)
    with pytest.raises(MigratorError, match="has no signature: is not JSON"):
        scope.signature_for_gen("draft", gen_id)
    assert scope.find_existing_gen_id("draft", signature(1))


def test_signatures_that_cannot_be(root: Path) -> None:
    scope = CohortScope(root)
    for stage, values in (("draft", ("c1", "dt", 1)), ("link", ("c1",)), ("draft", ("c1", "dt", "m1", 0))):
        with pytest.raises(ValueError, match="signature"):
            scope.find_existing_gen_id(stage, values)
    with pytest.raises(ValueError, match="unknown stage"):
        scope.signature_for_gen("link", "x")


def test_members_are_text_and_missing_are_those_without_parsed(root: Path) -> None:
    write(root, "cohorts/odd/membership.csv", ["stage,gen_id,note", "draft,007,1e5", "essay,nan,", "draft, 1 ,NA"])
    scope = CohortScope(root, "mine")
    assert scope.members("odd").to_dict("list") == {
        "stage": ["draft", "essay", "draft"],
        "gen_id": ["007", "nan", "1"],
        "note": ["1e5", "", "NA"],
    }
    assert len(scope.members()) == 2
    assert list(scope.missing()["gen_id"]) == [scope.find_existing_gen_id("draft", signature(2)).gen_id]  # type: ignore[union-attr]
    assert len(scope.missing("odd")) == 3


@pytest.mark.parametrize("name", ["nobody", "../../etc", ""])
def test_a_cohort_that_is_not_there(root: Path, name: str) -> None:
    with pytest.raises(MigratorError, match="there is no cohort"):
        CohortScope(root).members(name)
    with pytest.raises(ValueError, match="which cohort"):
        CohortScope(root).members()


def test_a_table_that_cannot_be_trusted(root: Path) -> None:
    (root / "cohorts/mine/membership.csv").write_text("stage\ndraft\n")
    with pytest.raises(MigratorError, match="cannot be trusted: the header lacks the column gen_id"):
        CohortScope(root, "mine").members()


def test_importing_it_loads_no_pandas() -> None:
    code = (
        "import sys; from migrator import CohortScope; sys.exit('pandas' in sys.modules or 'structlog' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_further_look_ups_do_not_depend_on_the_size_of_the_store(root: Path) -> None:
    parent = essay(root, draft(root, 5))
    for number in range(300):
        evaluation(root, parent, number + 1)
    scope = CohortScope(root)
    scope.find_existing_gen_id("draft", signature(1))
    started = time.process_time()
    for number in range(300):
        assert scope.find_existing_gen_id("evaluation", (parent, "vt", "judge", number + 1))
    assert (time.process_time() - started) / 300 < 0.001
