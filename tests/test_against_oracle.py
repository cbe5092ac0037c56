"""The implementation against the naive model made from the contract alone: the same tree, byte for byte."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from migrator import runner
from migrator.engine.exchange import Place
from migrator.site import Outcome, Site
from tests import oracle
from tests.oracle import WARNINGS, Link, Tree, gen_id_of
from tests.random_stores import random_store, read_tree, write_tree
from tests.tables import model

MIGRATIONS = Path(__file__).parents[1] / "migrations"
EVERYDAY, SLOW = range(30), range(30, 1060)


def site_at(tree: Tree, folder: Path) -> Site:
    write_tree(tree, folder / "data")
    return Site(Place.at(folder / "data"), MIGRATIONS, folder / "backups", folder / "mappings", jobs=1)


def kinds(outcome: Outcome, *, blocking: bool) -> set[oracle.Problem]:
    """Findings as the model tells them."""
    return {
        (p.kind, p.stage, p.gen_id or p.path)
        for p in outcome.problems
        if (p.blocking if blocking else p.kind in WARNINGS)
    }


def agree(tree: Tree, folder: Path) -> None:
    """Run both on one store and compare all that the model knows."""
    site = site_at(tree, folder)
    before = read_tree(folder / "data")
    expected = oracle.migrate(before)
    outcome = runner.upgrade(site)
    after = read_tree(folder / "data")
    assert kinds(outcome, blocking=True) == expected.blocking
    if expected.blocking:
        assert outcome.status == "refused"
        assert after == before
        return
    assert outcome.status == "committed"
    assert outcome.plan and outcome.run
    own = {path for path in after if path.startswith(".migrator/")}
    left_out = own | {path for path in after if is_manifest(path)}
    tables = {**model.tables(expected.tree), **dict.fromkeys(folders_of(model.TABLES))}
    wanted = {path: data for path, data in {**expected.tree, **tables}.items() if data is not None}
    assert {path: data for path, data in after.items() if path not in left_out} == {
        path: data for path, data in wanted.items() if not is_manifest(path)
    }
    assert kinds(outcome, blocking=False) == {p for p in expected.problems if p[0] in WARNINGS}
    assert list(outcome.plan.mapping) == expected.mapping
    folder_of_run = folder / "data/.migrator/mappings" / outcome.run.run_id
    assert [tuple(row.values()) for row in rows(folder_of_run / "mapping.csv")] == expected.mapping
    synthetic = rows(folder_of_run / "synthetic_drafts.csv")
    assert sorted(synthetic, key=by_essay) == sorted(expected.synthetic, key=by_essay)
    assert all(data == (folder / "data" / path).read_bytes() for path, data in after.items() if path in own)


def is_manifest(path: str) -> bool:
    return path.startswith("cohorts/") and path.endswith("/manifest.json") and path.count("/") == 2


def folders_of(paths: Iterable[str]) -> list[str]:
    """How a tree names the folders, where they are empty."""
    return [path.partition("/")[0] + "/" for path in paths]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def by_essay(row: dict[str, str]) -> str:
    return row["essay_old_gen_id"]


@pytest.mark.parametrize("seed", EVERYDAY)
def test_random_stores(seed: int, tmp_path: Path) -> None:
    """Every third store has one to three blocking problems."""
    agree(random_store(seed, blocking=seed % 3 == 2), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("blocking", [False, True], ids=["sound", "blocking"])
@pytest.mark.parametrize("seed", SLOW)
def test_many_random_stores(seed: int, blocking: bool, tmp_path: Path) -> None:
    agree(random_store(seed, blocking=blocking), tmp_path)


# -- small stores on purpose


DRAFT = gen_id_of("draft", ("c", "t", "m", 1))
ESSAY = gen_id_of("essay", (DRAFT, "et", 1))


def put(stage: str, gen_id: str, **metadata: Any) -> Tree:
    document = {"stage": stage, "gen_id": gen_id, **metadata}
    return {f"gens/{stage}/{gen_id}/metadata.json": json.dumps(document).encode()}


def draft(gen_id: str = DRAFT, **more: Any) -> Tree:
    return put("draft", gen_id, **{"template_id": "t", "combo_id": "c", "llm_model_id": "m", "replicate": 1, **more})


def essay(gen_id: str = ESSAY, **more: Any) -> Tree:
    return put("essay", gen_id, **{"template_id": "et", "parent_gen_id": DRAFT, "replicate": 1, **more})


def copied(gen_id: str, text: bytes | None = b"text", **more: Any) -> Tree:
    """An essay of a lost draft that would be DRAFT."""
    facts = {
        "parent_gen_id": "lost",
        "mode": "copy",
        "draft_template": "t",
        "combo_id": "c",
        "llm_model_id": "m",
    }
    files: Tree = {} if text is None else {f"gens/essay/{gen_id}/parsed.txt": text}
    return essay(gen_id, **{**facts, **more}) | files


RIGHT = draft() | essay()  # nothing to rename
MEMBERS = "cohorts/c/membership.csv"
NAMED: dict[str, Tree] = {
    "empty": {"gens/": b""},
    "all ids are right": RIGHT,
    "a blank parent cell, nothing renamed": RIGHT
    | {MEMBERS: f"stage,gen_id,parent_gen_id\ndraft,{DRAFT},\nessay,{ESSAY},\n".encode()},
    "a stale parent cell, nothing renamed": RIGHT
    | {"2_tasks/essay_tasks.csv": f"gen_id,parent_gen_id\n{ESSAY},stale\n".encode()},
    "a selected line with blanks, nothing renamed": RIGHT
    | {"2_tasks/selected_essays.txt": f"  {ESSAY}\t\r\n{DRAFT} ".encode()},
    "blanks around a right replicate": RIGHT
    | {MEMBERS: f'stage,gen_id,replicate\r\ndraft,{DRAFT}, 1\r\nessay,{ESSAY},"1 "\r\n'.encode()},
    "blanks around a wrong replicate": RIGHT
    | {MEMBERS: f'stage,gen_id,replicate\ndraft,{DRAFT}, 2\nessay,{ESSAY},"3 "\n'.encode()},
    "an old draft is called like the one to be made": draft(combo_id="other") | copied("x"),
    "an old draft is called like the one to be made and is right": draft() | copied("x"),
    "text behind a closing quote": draft("old") | {MEMBERS: b'stage,gen_id,note\ndraft,old,"a"b"c\n'},
    "an id with text behind its closing quote": draft("old") | {MEMBERS: b'stage,gen_id\ndraft,"ol"d\n'},
    "two quotes, one of them open": draft("old") | {MEMBERS: b'stage,gen_id,note\ndraft,old,"a""b\ndraft,x,y\n'},
    "an open quote at the very end": draft("old") | {MEMBERS: b'stage,gen_id,note\ndraft,old,"""\n'},
    "a task id with a path in it": draft("old", task_id=f"{ESSAY}__x/gens/draft/old/y")
    | essay("e", parent_gen_id="old"),
    "a path within a path": draft("old", path="/gens/draft/gens/draft/old/raw.txt"),
    "a hidden cohort and a hidden table": RIGHT
    | {"cohorts/.trash/membership.csv": b"\xff", "2_tasks/._a.csv": b"\0\5\x16\7"},
    "the text of a copied essay is a folder": copied("x", None) | {"gens/essay/x/parsed.txt/": b""},
    "the text of a copied essay is a dangling link": copied("x", None) | {"gens/essay/x/parsed.txt": Link("nowhere")},
    "no text at all": copied("x", None),
    "an empty text": copied("x", b""),
    "two drafts have the text": draft("a", replicate=2)
    | draft("b")
    | {"gens/draft/a/parsed.txt": b"text", "gens/draft/b/parsed.txt": b"text"}
    | copied("x"),
    "the text is that of a draft of another task, of raw.txt, or of the blank end": draft("a", llm_model_id="n")
    | draft("b")
    | draft("d", replicate=2)
    | {
        "gens/draft/a/parsed.txt": b"text",
        "gens/draft/b/raw.txt": b"text",
        "gens/draft/d/parsed.txt": b"text\n",
    }
    | copied("x"),
    "two lost names, one text": copied("x") | copied("y", parent_gen_id="lost too"),
    "three texts, two names, one task": copied("a", b"1") | copied("b", b"2") | copied("c", b"3", parent_gen_id="o"),
    "an essay's parent is an evaluation's name": copied("x", parent_gen_id="v")
    | put("evaluation", "v", template_id="n", llm_model_id="m", parent_gen_id="x", replicate=1),
    "ids in another case": draft("D1") | essay("e", parent_gen_id="d1"),
    "parent of itself": essay("e", parent_gen_id="e"),
    "a parent that is a number": draft("7") | essay("e", parent_gen_id=7),
    "Kelvin": draft("a", llm_model_id="\u212a") | draft("b", llm_model_id="K", replicate=1),
    "composed and decomposed": draft("a", combo_id="\u00e9") | draft("b", combo_id="e\u0301"),
    "names that differ in case": draft("Abc") | draft("abc"),
    "a swap": draft(gen_id_of("draft", ("c", "t", "m", 2))) | draft(DRAFT, replicate=2),
    "a line end within an id": draft("a\nb") | {MEMBERS: b'stage,gen_id\ndraft,"a\nb"\n'},
    "a return within an id": draft("a\rb") | {MEMBERS: b'stage,gen_id\ndraft,"a\rb"\n'},
    "a comma and quotes within an id": draft('a,"b') | {MEMBERS: b'stage,gen_id\ndraft,"a,""b"\n'},
    "everything blocks": essay("e", parent_gen_id="gone")
    | copied("y", None)
    | draft("d", combo_id=None, llm_model_id=1.5)
    | put("evaluation", "v", parent_gen_id="nobody", template_id="a|b", llm_model_id="m")
    | {"gens/draft/no/": b"", "gens/draft/bad/metadata.json": b"[]", "gens/draft/link": Link("d")},
    **{
        f"the replicate {value!r}": draft("a", replicate=value) | draft("b", replicate=1)
        for value in (
            0,
            -1,
            True,
            1.9,
            2.0,
            "1.0",
            "1_0",
            "２",
            " 2 ",
            "02",
            10**25,
            "9" * 60,
            1e308,
            None,
            "nan",
            [2],
        )
    },
}


@pytest.mark.parametrize("name", NAMED)
def test_small_stores(name: str, tmp_path: Path) -> None:
    agree(NAMED[name], tmp_path)


def test_what_need_not_change_is_not_written(tmp_path: Path) -> None:
    """Also not with the very bytes that it has: its time would be another one."""
    tree = NAMED["blanks around a right replicate"]
    outcome = runner.upgrade(site_at(tree, tmp_path))
    assert outcome.plan
    assert dict(outcome.plan.recipe.contents) == {}
