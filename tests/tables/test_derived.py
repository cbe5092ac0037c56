"""The three tables: columns, order, pooling, exact numbers; what an unmigrated store can say."""

from __future__ import annotations

import csv
import io
import random
import subprocess
import sys
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from migrator import rebuild
from migrator.store.inventory import Inventory
from migrator.tables import derived
from tests.conftest import Write
from tests.tables import model

PARSED = "parsed.txt"


def gen(**metadata: Any) -> dict[str, Any]:
    text = metadata.pop("text", None)
    return {"metadata.json": metadata} | ({} if text is None else {PARSED: text})


def draft(combo: str = "c", template: str = "t", model_id: str = "m", replicate: int = 1) -> dict[str, Any]:
    return gen(combo_id=combo, template_id=template, llm_model_id=model_id, replicate=replicate)


def essay(parent: str, template: str = "e", replicate: int = 1, **more: Any) -> dict[str, Any]:
    return gen(parent_gen_id=parent, template_id=template, replicate=replicate, **more)


def judged(parent: str, text: str | None = None, template: str = "novelty", by: str = "sonnet", **more: Any) -> Any:
    return gen(parent_gen_id=parent, template_id=template, llm_model_id=by, text=text, **{"replicate": 1, **more})


STORE: dict[str, Any] = {
    "draft": {"d1": draft(), "d2": draft(replicate=2), "d3": draft("a,b", model_id="n")},
    "essay": {"e1": essay("d1"), "e2": essay("d2"), "e3": essay("d3", llm_model_id="other"), "e4": essay("d1", "f")},
    "evaluation": {
        "v1": judged("e1", "7.1"),
        "v2": judged("e1", "7.2", replicate=2),
        "v3": judged("e2", "7.3"),
        "v4": judged("e1", "0", template="style", origin_cohort_id="main"),
        "v5": judged("e3", "bad"),
        "v6": judged("e3", by="haiku"),
    },
}


def rebuilt(root: Path) -> dict[str, bytes]:
    store = Inventory.read(root)
    assert not [problem for problem in store.problems if problem.blocking]
    return rebuild.tables_of(store)


def rows(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode(), newline="")))


def test_the_first_table_has_a_row_an_evaluation(store: Write) -> None:
    table = rebuilt(store(STORE))[model.AGGREGATED]
    assert tuple(rows(table)[0]) == model.COLUMNS
    assert [row["gen_id"] for row in rows(table)] == ["v1", "v2", "v3", "v4", "v5", "v6"]
    assert rows(table)[3] == {
        "gen_id": "v4",
        "parent_gen_id": "e1",
        "evaluation_template": "style",
        "evaluation_llm_model": "sonnet",
        "score": "0",
        "error": "",
        "evaluation_response_path": "gens/evaluation/v4/parsed.txt",
        "combo_id": "c",
        "draft_template": "t",
        "generation_template": "e",
        "generation_model": "m",
        "generation_response_path": "gens/essay/e1/parsed.txt",
        "origin_cohort_id": "main",
        "draft_replicate": "1",
        "essay_replicate": "1",
        "evaluation_replicate": "1",
    }
    assert [(row["score"], row["error"], row["generation_model"]) for row in rows(table)[4:]] == [
        ("", "parsed.txt is not a decimal number", "n"),  # the draft's model, not the essay's
        ("", "missing parsed.txt", "n"),
    ]


def test_the_pivots_in_full(store: Write) -> None:
    """An essay without a score has its row; the mean is the exact one; n is 0 and never blank; a comma is quoted."""
    tables = rebuilt(store(STORE))
    head = "combo_id,draft_template,generation_template,generation_model"
    evaluators = ["novelty__haiku", "novelty__sonnet", "style__sonnet"]
    columns = ",".join(f"{name}{end}" for name in evaluators for end in ("", "_min", "_max", "_n"))
    none = ",,,0"
    assert tables[model.BY_ESSAY].decode().splitlines() == [
        f"{head},gen_id,{columns}",
        f'"a,b",t,e,n,e3,{none},{none},{none}',
        f"c,t,e,m,e1,{none},7.15,7.1,7.2,2,0.0,0.0,0.0,1",
        f"c,t,e,m,e2,{none},7.3,7.3,7.3,1,{none}",
        f"c,t,f,m,e4,{none},{none},{none}",
    ]
    assert tables[model.BY_TASK].decode().splitlines() == [
        f"{head},{columns}",
        f'"a,b",t,e,n,{none},{none},{none}',
        f"c,t,e,m,{none},7.2,7.1,7.3,3,0.0,0.0,0.0,1",
        f"c,t,f,m,{none},{none},{none}",
    ]


def test_a_store_without_generations_has_headers(store: Write) -> None:
    tables = rebuilt(store({}))
    assert list(tables) == list(model.TABLES)
    assert [data.count(b"\n") for data in tables.values()] == [1, 1, 1]


@given(st.lists(st.lists(st.text() | st.integers() | st.floats(), min_size=2), min_size=1))
@example([["a", "b"], ["c,", "d"]])
@example([["a", "b"], ["c", '"']])
@example([["a", "b"], ["c\n", "d"]])
@example([["a", "b"], ["c\r", "d"]])
def test_a_table_is_what_the_standard_library_writes(cells: list[list[object]]) -> None:
    """Whatever stands in a cell, and however long the rows are."""
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n").writerows(cells)
    assert derived._csv([str(cell) for cell in cells[0]], cells[1:]) == out.getvalue().encode()


@given(st.lists(st.decimals(0, 9, places=None, allow_nan=False), min_size=1))
@example([Decimal("1"), Decimal("0.00000099992901")])  # the second is 9.9992901E-7 to Python: fewer digits than places
def test_a_mean_is_the_float_next_to_the_exact_one(scores: list[Decimal]) -> None:
    """However many digits a score has."""
    assert derived._mean(scores) == float(sum(map(Fraction, scores)) / len(scores))


def random_literal(seed: int) -> dict[str, Any]:
    """Some hundred evaluations, good and bad scores, in a shuffled order of making."""
    rng = random.Random(seed)
    texts = ["7", "7.0", "3.14159265358979", "0.1", "0.2", "0.3", "9", "0.0001", "bad", "", "9.1", "-1", None]
    combos = [f"d{n}" for n in range(rng.randint(1, 6))]
    drafts = {name: draft(rng.choice("xyz"), rng.choice("tu"), rng.choice("mn"), n) for n, name in enumerate(combos)}
    essays = {f"e{n}": essay(rng.choice(combos), rng.choice("ef"), n + 1) for n in range(rng.randint(1, 12))}
    evaluations = {
        f"v{n}": judged(rng.choice(list(essays)), rng.choice(texts), rng.choice("pq"), rng.choice("rs"), replicate=n)
        for n in range(rng.randint(0, 120))
    }
    stages = {"draft": drafts, "essay": essays, "evaluation": evaluations}
    return {stage: dict(rng.sample(list(gens.items()), len(gens))) for stage, gens in stages.items()}


def as_tree(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("seed", range(12))
def test_brute_force_gives_the_same_bytes(store: Write, seed: int) -> None:
    root = store(random_literal(seed))
    assert rebuilt(root) == model.tables(as_tree(root))


def test_neither_the_order_of_making_nor_the_hash_seed_shows(store: Write) -> None:
    first, literal = store(random_literal(3), "one"), random_literal(3)
    other = store({stage: dict(reversed(literal[stage].items())) for stage in reversed(literal)}, "two")
    program = "import sys, pathlib; from tests.tables.test_derived import *; print(rebuilt(pathlib.Path(sys.argv[1])))"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program, str(root)],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[2])},
            capture_output=True,
            check=True,
        ).stdout
        for root, seed in ((first, "1"), (other, "2"))
    }
    assert len(outputs) == 1


def test_spellings_of_one_value_are_pooled_in_the_pivots_under_the_first(store: Write) -> None:
    """As signatures do: `Novelty` and `novelty ` judge the same task. The first table says what the records say."""
    literal = {
        "draft": {"d1": draft("C"), "d2": draft("c ", replicate=2)},
        "essay": {"e1": essay("d1"), "e2": essay("d2")},
        "evaluation": {"v1": judged("e1", "1", "Novelty"), "v2": judged("e2", "2", "novelty ")},
    }
    tables = rebuilt(store(literal))
    assert [row["evaluation_template"] for row in rows(tables[model.AGGREGATED])] == ["Novelty", "novelty"]
    assert [(row["combo_id"], row["Novelty__sonnet"]) for row in rows(tables[model.BY_TASK])] == [("C", "1.5")]


def test_evaluators_that_would_share_a_column_do_not(store: Write) -> None:
    literal = {
        "draft": {"d": draft()},
        "essay": {"e": essay("d")},
        "evaluation": {
            "v1": judged("e", "1", "a", "b__c"),
            "v2": judged("e", "2", "a__b", "c"),
            "v3": judged("e", "3", "a", "b__c_min"),
        },
    }
    row = rows(rebuilt(store(literal))[model.BY_ESSAY])[0]
    assert len(row) == len(model.TASK) + 1 + 3 * 4
    means = {name: value for name, value in row.items() if name[:1] == "a" and row.get(f"{name}_n")}
    assert means == {"a__b__c": "1.0", "a__b__c_min~2": "3.0", "a__b__c~2": "2.0"}


def test_an_unmigrated_store_says_what_its_records_say(store: Write) -> None:
    """Older keys, rows and lost parents: what is known is told, the rest is blank; replicates are never floats."""
    literal = {
        "draft": {"d": gen(draft_template="t", model_id="m", replicate=2.0)},
        "essay": {
            "e": gen(draft_gen_id="d", essay_template="e", combo_id="from the essay"),
            "lost": gen(parent_gen_id="gone", template_id="e", draft_template="u", combo_id="k", llm_model_id="m"),
        },
        "evaluation": {
            "v1": gen(essay_gen_id="e", evaluation_template="n", text="5"),
            "v2": gen(parent_gen_id="lost", template_id="n", model_id="s", text="6"),
            "v3": gen(parent_gen_id="nobody", template_id="n", model_id="s", text="7"),
        },
        "cohorts/one/membership.csv": "stage,gen_id,evaluation_model,replicate\nevaluation,v1,sonnet,3\n",
    }
    tables = rebuilt(store(literal))
    shown = [
        tuple(row[name] for name in (*model.TASK, "evaluation_llm_model", "draft_replicate", "evaluation_replicate"))
        for row in rows(tables[model.AGGREGATED])
    ]
    assert shown == [
        ("from the essay", "t", "e", "m", "sonnet", "2", "3"),
        ("k", "u", "e", "m", "s", "", ""),
        ("", "", "", "", "s", "", ""),
    ]
    assert [row["gen_id"] for row in rows(tables[model.BY_ESSAY])] == ["e", "lost"]
