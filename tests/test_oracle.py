"""The oracle itself: the contract's vectors, the real store, and what must hold for any store."""

import os
import tarfile
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from tests.oracle import METADATA, STAGES, Link, Result, Tree, gen_id_of, migrate, split_csv
from tests.random_stores import random_store, read_tree, write_tree

PACKED = Path(__file__).parents[2] / "shared" / "data" / "daydreaming-legacy-store.tar.xz"
UNPACKED = os.environ.get("MIGRATOR_REAL_STORE")
SEEDS = range(25)

VECTORS = [
    ("draft|combo_v1_0a1b2c3d4e5f|creative-synthesis-v2|gemini_25_pro|1", "d_4py995ydm8lggqs"),
    ("draft|combo_v1_0a1b2c3d4e5f|creative-synthesis-v2|gemini_25_pro|2", "d_3mtvk4yzrgz0mnql"),
    ("draft|combo_é|naïve-模板|sonnet-4|10", "d_3afdy7b6zt9p7pnt"),
    ("essay|d_4py995ydm8lggqs|parsed-from-links-v1|1", "e_4nyhf2w3mpgelz3h"),
    ("essay|d_4py995ydm8lggqs|novel-elaboration-v8|3", "e_2zphbbq0wxw4cx8v"),
    ("evaluation|e_4nyhf2w3mpgelz3h|novelty|qwen3_235b|1", "v_393dzd2gfe1kff1v"),
    ("evaluation|e_4nyhf2w3mpgelz3h|novelty|qwen3_235b|4", "v_1xlbj8zxolgoupve"),
]


@pytest.mark.parametrize(("canonical", "expected"), VECTORS)
def test_ids_are_the_contracts(canonical: str, expected: str) -> None:
    stage, *fields = canonical.split("|")
    assert gen_id_of(stage, fields) == expected


def generations(tree: Tree) -> set[tuple[str, str]]:
    """Stage and id of each generation that has metadata."""
    parts = [path.split("/") for path in tree if path.endswith(f"/{METADATA}")]
    return {(p[1], p[2]) for p in parts if len(p) == 4 and p[0] == "gens" and p[1] in STAGES and p[2][0] != "."}


def payload(tree: Tree) -> Counter[tuple[str, bytes]]:
    """Every payload file by name and bytes."""
    names = ("prompt.txt", "raw.txt", "parsed.txt")
    files = ((path.rsplit("/", 1)[-1], entry) for path, entry in tree.items() if path.startswith("gens/"))
    return Counter((name, entry) for name, entry in files if name in names and not isinstance(entry, Link))


def synthetic_folders(result: Result) -> list[str]:
    """Folders of the generations that came into being."""
    known = {(stage, new) for stage, _, new in result.mapping}
    return [f"gens/{stage}/{name}/" for stage, name in generations(result.tree) - known]


@cache
def migrated(seed: int) -> Result:
    """A random store, migrated."""
    return migrate(random_store(seed))


@pytest.fixture
def real_store(tmp_path: Path) -> Tree:
    """The real legacy store: the folder named in MIGRATOR_REAL_STORE, or unpacked from the archive."""
    if UNPACKED:
        return read_tree(Path(UNPACKED))
    if not PACKED.is_file():
        pytest.skip("no real store: name an unpacked one in MIGRATOR_REAL_STORE")
    with tarfile.open(PACKED) as archive:
        archive.extractall(tmp_path, filter="data")
    return read_tree(next(tmp_path.glob("**/gens")).parent)


def test_real_store(real_store: Tree) -> None:
    """1,212 generations become 1,231, and nothing blocks."""
    before = real_store
    result = migrate(before)
    assert result.blocking == set()
    assert len(generations(before)) == len(result.mapping) == 1212
    assert len(generations(result.tree)) == 1231
    assert len(synthetic_folders(result)) == 19
    assert migrate(result.tree).tree == result.tree


@pytest.mark.parametrize("seed", SEEDS)
def test_migrating_twice_changes_nothing(seed: int) -> None:
    once = migrated(seed)
    twice = migrate(once.tree)
    assert once.blocking == twice.blocking == set()
    assert twice.tree == once.tree
    assert twice.synthetic == []
    assert all(old == new for _, old, new in twice.mapping)


@pytest.mark.parametrize("seed", SEEDS)
def test_payload_and_generations_survive(seed: int) -> None:
    before, result = random_store(seed), migrated(seed)
    made = synthetic_folders(result)
    after = {path: entry for path, entry in result.tree.items() if not path.startswith(tuple(made))}
    assert payload(after) == payload(before)
    assert len(after) == len(before)
    assert len({(stage, new) for stage, _, new in result.mapping}) == len(generations(before))
    named = {row["draft_gen_id"] for row in result.synthetic if row["how"] == "made"}
    assert named == {folder.split("/")[2] for folder in made}


@pytest.mark.parametrize("seed", SEEDS)
def test_blocking_stores_stay_as_they_are(seed: int) -> None:
    before = random_store(seed, blocking=True)
    result = migrate(before)
    assert result.blocking
    assert result.tree == before


@pytest.mark.parametrize("seed", range(10))
def test_trees_survive_the_disk(seed: int, tmp_path: Path) -> None:
    tree = random_store(seed, blocking=seed % 2 == 1)
    write_tree(tree, tmp_path / "store")
    assert read_tree(tmp_path / "store") == tree


def test_csv_is_cut_without_loss() -> None:
    text = '\na, "b" ,"c ""d""\r\ne"\r\n\r\rx,,\n"",",",last'
    lines = split_csv(text)
    assert "".join(",".join(cell.raw for cell in line.cells) + line.end for line in lines) == text
    assert [[cell.value for cell in line.cells] for line in lines if line.cells] == [
        ["a", ' "b" ', 'c "d"\r\ne'],
        ["x", "", ""],
        ["", ",", "last"],
    ]
