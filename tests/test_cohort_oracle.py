"""The model of cohort builds itself, by cases that were worked out by hand from the contract, section 5."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cohort_oracle import Expected, build, gen_id_of
from tests.oracle import Tree
from tests.random_cohorts import (
    COMBO_TABLE,
    MODEL_TABLE,
    RUNS,
    SELECTION,
    WRONG,
    ledger_line,
    record,
    small_tables,
    table_of,
)
from tests.random_stores import read_tree, write_tree
from tests.test_oracle import VECTORS


def d(replicate: int, model: str = "m", combo: str = "c") -> str:
    return gen_id_of("draft", (combo, "dt", model), replicate)


def e(draft: str, replicate: int, template: str = "et") -> str:
    return gen_id_of("essay", (draft, template), replicate)


def v(essay: str, replicate: int, template: str = "vt") -> str:
    return gen_id_of("evaluation", (essay, template, "m"), replicate)


def draft(replicate: int, **more: Any) -> Tree:
    facts = {"combo_id": "c", "template_id": "dt", "llm_model_id": "m", "replicate": replicate}
    return record("draft", d(replicate), **{**facts, **more})


def essay(parent: str, replicate: int, **more: Any) -> Tree:
    facts = {"parent_gen_id": parent, "template_id": "et", "replicate": replicate}
    return record("essay", e(parent, replicate), **{**facts, **more})


def evaluation(parent: str, replicate: int, **more: Any) -> Tree:
    facts = {"parent_gen_id": parent, "template_id": "vt", "llm_model_id": "m", "replicate": replicate}
    return record("evaluation", v(parent, replicate), **{**facts, **more})


def members(*rows: tuple[str, str]) -> Tree:
    text = "stage,gen_id\n" + "".join(f"{stage},{gen_id}\n" for stage, gen_id in rows)
    return {"cohorts/mine/membership.csv": text.encode()}


def selected(*lines: str) -> Tree:
    return {SELECTION: "\n".join(lines).encode()}


def told(folder: Path, *trees: Tree, extend: bool = False) -> Expected:
    """The model's word for building the cohort `mine`; it writes nothing."""
    tree: Tree = {"gens/.keep": b""}
    for one in trees:
        tree = tree | one
    write_tree(tree, folder / "data")
    before = read_tree(folder / "data")
    expected = build(folder / "data", "mine", extend=extend)
    assert read_tree(folder / "data") == before
    return expected


def counts(wanted: int, own: int, other: int, created: int, missing: int) -> dict[str, int]:
    names = ("wanted", "reused_own", "reused_other", "created", "missing_outputs")
    return dict(zip(names, (wanted, own, other, created, missing), strict=True))


def told_members(expected: Expected) -> tuple[set[str], set[str], set[str]]:
    assert expected.status in ("built", "unchanged"), expected
    return set(expected.members["draft"]), set(expected.members["essay"]), set(expected.members["evaluation"])


@pytest.mark.parametrize(("text", "gen_id"), VECTORS)
def test_ids_are_the_contracts(text: str, gen_id: str) -> None:
    stage, *task, replicate = text.split("|")
    assert gen_id_of(stage, tuple(task), int(replicate)) == gen_id


# --- cartesian ---------------------------------------------------------------------------------------------


def test_cartesian_from_nothing(tmp_path: Path) -> None:
    """Two drafts, an essay under each, and two evaluations under each of these."""
    expected = told(tmp_path, small_tables(2, 1, 2))
    drafts = {d(1), d(2)}
    essays = {e(d(1), 1), e(d(2), 1)}
    evaluations = {v(e(d(1), 1), 1), v(e(d(1), 1), 2), v(e(d(2), 1), 1), v(e(d(2), 1), 2)}
    assert expected.status == "built"
    assert told_members(expected) == (drafts, essays, evaluations)
    assert expected.counts == {
        "draft": counts(2, 0, 0, 2, 2),
        "essay": counts(2, 0, 0, 2, 2),
        "evaluation": counts(4, 0, 0, 4, 4),
    }


def test_what_is_minted_says_all_that_it_is(tmp_path: Path) -> None:
    """The essay's generator copies, and its model is the draft's."""
    copies = {table_of("essay"): b"template_id,generator,active\net,copy,1\n"}
    created = told(tmp_path, small_tables(), copies).created
    shared = {"origin_cohort_id": "mine", "combo_id": "c", "llm_model_id": "m", "replicate": 1}
    first = e(d(1), 1)
    assert created == {
        ("draft", d(1)): {"stage": "draft", "gen_id": d(1), "mode": "llm", "template_id": "dt", **shared},
        ("essay", first): {
            **{"stage": "essay", "gen_id": first, "mode": "copy", "template_id": "et"},
            **{"parent_gen_id": d(1), **shared},
        },
        ("evaluation", v(first, 1)): {
            **{"stage": "evaluation", "gen_id": v(first, 1), "mode": "llm", "template_id": "vt"},
            **{"parent_gen_id": first, **shared},
        },
    }


@pytest.mark.parametrize(("cell", "mode"), [("copy", "copy"), ("LLM", "llm"), ("", "llm"), ("  ", "llm")])
def test_the_generator_is_the_mode(cell: str, mode: str, tmp_path: Path) -> None:
    table: Tree = {table_of("essay"): f"template_id,generator,active\net,{cell},1\n".encode()}
    assert told(tmp_path, small_tables(), table).created["essay", e(d(1), 1)]["mode"] == mode


def test_cartesian_takes_what_the_store_has_lowest_replicate_first(tmp_path: Path) -> None:
    """Replicates 2, 3 and 5 are there, one with its text; of two wanted, 2 and 3 are taken."""
    text: Tree = {f"gens/draft/{d(2)}/parsed.txt": b"x"}
    expected = told(tmp_path, small_tables(2), draft(5), draft(3), draft(2), text)
    assert told_members(expected)[0] == {d(2), d(3)}
    assert expected.counts["draft"] == counts(2, 0, 2, 0, 1)


def test_cartesian_mints_into_the_gaps(tmp_path: Path) -> None:
    """Replicates 2 and 4 are there; of four wanted, 1 and 3 are made."""
    expected = told(tmp_path, small_tables(4), draft(2), draft(4))
    assert told_members(expected)[0] == {d(1), d(2), d(3), d(4)}
    assert {key for key in expected.created if key[0] == "draft"} == {("draft", d(1)), ("draft", d(3))}
    assert expected.counts["draft"] == counts(4, 0, 2, 2, 4)


def test_own_members_come_before_lower_replicates_of_others(tmp_path: Path) -> None:
    """One draft is wanted: replicate 3 is a member, replicate 1 is not. What is not listed yet is 4."""
    mine = members(("draft", d(3)))
    expected = told(tmp_path, small_tables(), draft(1), draft(3), mine, extend=True)
    assert told_members(expected)[0] == {d(3)}
    assert expected.counts["draft"] == counts(1, 1, 0, 0, 1)
    assert expected.counts["essay"] == counts(1, 0, 0, 1, 1)


def test_names_in_tables_are_compared_as_signatures_do(tmp_path: Path) -> None:
    tables: Tree = {
        COMBO_TABLE: b"\xef\xbb\xbfconcept,combo_id\r\nx, C \r\ny,c\r\n",
        table_of("draft"): b'active,template_id\nYes,"DT "\nNo,other\n',
        MODEL_TABLE: b"id,for_generation,for_evaluation\nM,1,0\n m,no,TRUE\nn,false,no\n",
    }
    expected = told(tmp_path, small_tables(), tables, draft(1))
    assert told_members(expected) == ({d(1)}, {e(d(1), 1)}, {v(e(d(1), 1), 1)})
    assert expected.counts["draft"] == counts(1, 0, 1, 0, 1)


# --- curated -----------------------------------------------------------------------------------------------

FIRST = e(d(1), 1)
STORE = draft(1) | essay(d(1), 1) | evaluation(FIRST, 2)


def test_regenerate_makes_everything_anew(tmp_path: Path) -> None:
    """The draft's replicate 1 is another's, so 2 and 3 are made; below them all is new."""
    expected = told(tmp_path, small_tables(2), STORE, selected(FIRST))
    assert told_members(expected) == (
        {d(2), d(3)},
        {e(d(2), 1), e(d(3), 1)},
        {v(e(d(2), 1), 1), v(e(d(3), 1), 1)},
    )
    assert expected.counts["draft"] == counts(2, 0, 0, 2, 2)


def test_regenerate_asks_the_essays_model_first(tmp_path: Path) -> None:
    expected = told(tmp_path, small_tables(), draft(1), essay(d(1), 1, llm_model_id="X "), selected(FIRST))
    assert told_members(expected)[0] == {d(1, "x")}


@pytest.mark.parametrize("nothing", [None, "", "nan", "Unknown"])
def test_regenerate_falls_back_to_the_drafts_model(nothing: Any, tmp_path: Path) -> None:
    expected = told(tmp_path, small_tables(), draft(1), essay(d(1), 1, llm_model_id=nothing), selected(FIRST))
    assert told_members(expected)[0] == {d(2)}


def test_regenerate_adds_equal_tasks_up(tmp_path: Path) -> None:
    """Two essays of one draft, of two templates: one draft for each, and its own template under each."""
    other = record("essay", e(d(1), 1, "et2"), parent_gen_id=d(1), template_id="et2")
    expected = told(tmp_path, small_tables(), STORE, other, selected(FIRST, e(d(1), 1, "et2")))
    low, high = sorted([(FIRST, "et"), (e(d(1), 1, "et2"), "et2")])
    assert told_members(expected)[:2] == ({d(2), d(3)}, {e(d(2), 1, low[1]), e(d(3), 1, high[1])})


def test_what_is_shared_out_is_in_the_order_of_replicates(tmp_path: Path) -> None:
    """Of two drafts, 5 was there and 2 is made: 2 is for the first essay, as it will be when both are members."""
    origin = {"origin_cohort_id": "mine"}
    other = record("essay", e(d(1), 1, "et2"), parent_gen_id=d(1), template_id="et2")
    before = draft(5, **origin) | members(("draft", d(5)))
    lines = selected(FIRST, e(d(1), 1, "et2"))
    expected = told(tmp_path, small_tables(), STORE, other, before, lines, extend=True)
    low, high = sorted([(FIRST, "et"), (e(d(1), 1, "et2"), "et2")])
    assert told_members(expected)[:2] == ({d(2), d(5)}, {e(d(2), 1, low[1]), e(d(5), 1, high[1])})


def test_reuse_drafts_keeps_the_draft_and_makes_the_essay_anew(tmp_path: Path) -> None:
    expected = told(tmp_path, small_tables(9, 2), STORE, selected("# mode: reuse-drafts", FIRST))
    new = {e(d(1), 2), e(d(1), 3)}
    assert told_members(expected) == ({d(1)}, new, {v(essay_id, 1) for essay_id in new})
    assert expected.counts["draft"] == counts(1, 0, 1, 0, 1)
    assert expected.counts["essay"] == counts(2, 0, 0, 2, 2)


@pytest.mark.parametrize(("told_model", "model"), [("x", "x"), (None, "m"), ("nan", "m")])
def test_reuse_drafts_makes_the_essay_with_its_own_model(told_model: Any, model: str, tmp_path: Path) -> None:
    lines = selected("# mode: reuse-drafts", FIRST)
    expected = told(tmp_path, small_tables(), draft(1), essay(d(1), 1, llm_model_id=told_model), lines)
    assert expected.created["essay", e(d(1), 2)]["llm_model_id"] == model


def test_reuse_drafts_adds_equal_tasks_up(tmp_path: Path) -> None:
    """Two essays of one draft and template: two new ones, one draft."""
    lines = ("# mode: reuse_drafts", FIRST, e(d(1), 2))
    expected = told(tmp_path, small_tables(), STORE, essay(d(1), 2), selected(*lines))
    assert told_members(expected)[:2] == ({d(1)}, {e(d(1), 3), e(d(1), 4)})
    assert expected.counts["draft"] == counts(1, 0, 1, 0, 1)


def test_reuse_essays_makes_only_evaluations(tmp_path: Path) -> None:
    """Replicate 2 is another's and is left to it: 1 and 3 are made."""
    expected = told(tmp_path, small_tables(9, 9, 2), STORE, selected("# mode: evaluation-only", FIRST, FIRST))
    assert told_members(expected) == ({d(1)}, {FIRST}, {v(FIRST, 1), v(FIRST, 3)})
    assert expected.counts == {
        "draft": counts(1, 0, 1, 0, 1),
        "essay": counts(1, 0, 1, 0, 1),
        "evaluation": counts(2, 0, 0, 2, 2),
    }


@pytest.mark.parametrize(
    ("wanted", "listed", "created"),
    [(1, {2}, 0), (2, {2, 1}, 1), (3, {1, 2, 3}, 2)],
)
def test_fill_up_lists_what_exists_and_makes_the_rest(
    wanted: int, listed: set[int], created: int, tmp_path: Path
) -> None:
    lines = ("# mode: reuse-essays", "# skip-existing-evaluations", FIRST)
    expected = told(tmp_path, small_tables(9, 9, wanted), STORE, selected(*lines))
    assert told_members(expected)[2] == {v(FIRST, replicate) for replicate in listed}
    assert expected.counts["evaluation"] == counts(wanted, 0, 1, created, wanted)


def test_new_means_new_to_this_cohort_only(tmp_path: Path) -> None:
    """A member that this cohort asked for counts; one that another asked for does not."""
    lines = ("# mode: reuse-essays", FIRST)
    store = STORE | evaluation(FIRST, 4, origin_cohort_id="mine")
    listed = members(("draft", d(1)), ("essay", FIRST), ("evaluation", v(FIRST, 2)), ("evaluation", v(FIRST, 4)))
    expected = told(tmp_path, small_tables(), store, listed, selected(*lines), extend=True)
    assert expected.status == "unchanged"
    assert expected.counts["evaluation"] == counts(1, 1, 0, 0, 1)


def test_a_member_that_another_cohort_asked_for_is_not_new(tmp_path: Path) -> None:
    """It stays a member, but the new one is made beside it."""
    listed = members(("draft", d(1)), ("essay", FIRST), ("evaluation", v(FIRST, 2)))
    lines = selected("# mode: reuse-essays", FIRST)
    expected = told(tmp_path, small_tables(), STORE, listed, lines, extend=True)
    assert told_members(expected)[2] == {v(FIRST, 1), v(FIRST, 2)}
    assert expected.counts["evaluation"] == counts(1, 0, 0, 1, 1)


@pytest.mark.parametrize("nothing", [{}, {"origin_cohort_id": None}, {"origin_cohort_id": "unknown"}])
def test_an_older_era_said_cohort_id_for_origin(nothing: dict[str, Any], tmp_path: Path) -> None:
    facts = {"stage": "evaluation", "gen_id": v(FIRST, 2), "parent_gen_id": FIRST, "template_id": "vt"}
    facts |= {"llm_model_id": "m", "replicate": 2, "cohort_id": "mine", **nothing}
    mine: Tree = {f"gens/evaluation/{v(FIRST, 2)}/metadata.json": json.dumps(facts).encode()}
    listed = members(("draft", d(1)), ("essay", FIRST), ("evaluation", v(FIRST, 2)))
    expected = told(tmp_path, small_tables(), STORE, mine, listed, selected("# mode: reuse-essays", FIRST))
    assert expected.status == "unchanged"


def test_new_is_not_what_this_cohort_asked_for_but_does_not_list(tmp_path: Path) -> None:
    store = STORE | evaluation(FIRST, 1, origin_cohort_id="mine")
    expected = told(tmp_path, small_tables(), store, selected("# mode: reuse-essays", FIRST))
    assert told_members(expected)[2] == {v(FIRST, 3)}


def test_a_selected_essay_is_never_its_own_regeneration(tmp_path: Path) -> None:
    """This cohort made the essay and its draft; they are still what is to be made anew."""
    origin = {"origin_cohort_id": "mine"}
    listed = members(("draft", d(1)), ("essay", FIRST))
    store = draft(1, **origin) | essay(d(1), 1, **origin)
    (tmp_path / "drafts").mkdir()
    expected = told(tmp_path, small_tables(), store, listed, selected(FIRST), extend=True)
    assert told_members(expected)[:2] == ({d(1), d(2)}, {FIRST, e(d(2), 1)})
    assert expected.counts["draft"] == counts(1, 0, 0, 1, 1)
    drafts = selected("# mode: reuse-drafts", FIRST)
    expected = told(tmp_path / "drafts", small_tables(), store, listed, drafts, extend=True)
    assert told_members(expected)[:2] == ({d(1)}, {FIRST, e(d(1), 2)})


# --- again and more ----------------------------------------------------------------------------------------

REUSED = (("draft", d(1)), ("essay", FIRST), ("evaluation", v(FIRST, 2)))
FILLED = selected("# mode: reuse-essays", "# fill-up", FIRST)


def test_the_same_again_is_unchanged(tmp_path: Path) -> None:
    expected = told(tmp_path, small_tables(), STORE, members(*REUSED), FILLED)
    assert (expected.status, expected.exit_code, expected.created) == ("unchanged", 0, {})
    assert expected.counts["evaluation"] == counts(1, 1, 0, 0, 1)


def test_more_is_refused_without_extend(tmp_path: Path) -> None:
    expected = told(tmp_path, small_tables(1, 1, 2), STORE, members(*REUSED), FILLED)
    assert (expected.status, expected.exit_code, expected.reason) == ("refused", 4, "membership")


def test_more_is_added_with_extend(tmp_path: Path) -> None:
    expected = told(tmp_path, small_tables(1, 1, 2), STORE, members(*REUSED), FILLED, extend=True)
    assert expected.status == "built"
    assert told_members(expected) == ({d(1)}, {FIRST}, {v(FIRST, 1), v(FIRST, 2)})


@pytest.mark.parametrize(("extend", "status"), [(False, "refused"), (True, "unchanged")])
def test_less_removes_nothing(extend: bool, status: str, tmp_path: Path) -> None:
    more = members(*REUSED, ("evaluation", v(FIRST, 5)))
    expected = told(tmp_path, small_tables(), STORE, evaluation(FIRST, 5), more, FILLED, extend=extend)
    assert expected.status == status
    assert v(FIRST, 5) in expected.members.get("evaluation", [v(FIRST, 5)])


# --- the selection -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "mints"),  # which stages are made anew
    [
        ([FIRST], "dev"),
        (["# mode: REGENERATE", FIRST], "dev"),
        (["# mode: reuse-essays", "# Mode: Reuse-Drafts", FIRST], "ev"),
        ([FIRST, "  #mode:reuse_essays  "], "v"),
        (["# mode: evaluations-only", FIRST, "# FillUp"], ""),
        (["# mode: evaluations-only", f"  {FIRST}\t# the best", "", "# model: x"], "v"),
        (["# mode: reuse-essays", "#", "# nothing"], ""),  # cartesian: all is there
        ([], ""),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_directives(lines: list[str], mints: str, end: str, tmp_path: Path) -> None:
    expected = told(tmp_path, small_tables(), STORE, {SELECTION: ("\ufeff" + end.join(lines)).encode()})
    assert "".join(sorted({stage[1] if stage == "evaluation" else stage[0] for stage, _ in expected.created})) == mints


def test_old_ids_lead_to_those_of_today(tmp_path: Path) -> None:
    """Two runs: older -> old -> today. An id that is in use means what bears it."""
    other = e(d(1), 2)
    rows = [f"draft,old,{d(1)}\nessay,older,old\n", f"essay,old,{FIRST}\nessay,{FIRST},{other}\n"]
    header = "stage,old_gen_id,new_gen_id\n"
    past: Tree = {
        f".migrator/mappings/{run}/mapping.csv": (header + text).encode() for run, text in zip(RUNS, rows, strict=False)
    }
    past[".migrator/ledger.jsonl"] = ledger_line(1, RUNS[0]) + ledger_line(2, RUNS[1])
    mode = "# mode: reuse-essays"
    expected = told(tmp_path, small_tables(), STORE, essay(d(1), 2), past, selected(mode, "older", "old", FIRST))
    assert told_members(expected)[1] == {FIRST}


# --- refusals ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WRONG)
def test_wrong_inputs_are_refused(name: str, tmp_path: Path) -> None:
    write_tree(WRONG[name].tree(), tmp_path / "data")
    expected = build(tmp_path / "data", "c1")
    assert expected == Expected("refused", WRONG[name].exit_code, WRONG[name].reason)


def test_the_store_of_the_wrong_inputs_is_sound_without_them(tmp_path: Path) -> None:
    write_tree(WRONG["unknown mode"].tree() | selected(""), tmp_path / "data")
    expected = build(tmp_path / "data", "c1")
    assert (expected.status, expected.created) == ("built", {})


def test_another_signature_under_the_id_is_a_collision(tmp_path: Path) -> None:
    """The id of what would be made is borne by another draft."""
    other = record("draft", d(1), combo_id="other", template_id="dt", llm_model_id="m")
    expected = told(tmp_path, small_tables(), other)
    assert (expected.status, expected.exit_code, expected.reason) == ("refused", 4, "collision")


def test_metadata_is_read_as_it_is(tmp_path: Path) -> None:
    """Spelling and origin of older eras."""
    facts = json.loads(draft(1, combo_id=" C", llm_model_id="M")[f"gens/draft/{d(1)}/metadata.json"])
    facts["cohort_id"] = "mine"
    del facts["origin_cohort_id"]
    tree: Tree = {f"gens/draft/{d(1)}/metadata.json": json.dumps(facts).encode()}
    expected = told(tmp_path, small_tables(), tree)
    assert expected.counts["draft"] == counts(1, 0, 1, 0, 1)
    assert expected.created["essay", FIRST]["combo_id"] == "C"  # stripped, not folded
