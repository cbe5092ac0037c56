"""Demands and filling (contract, section 5): what is reused, what is minted; building again changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from migrator import IdScheme, compute_gen_id, compute_signature
from migrator.cohorts.building import Building, plan
from migrator.errors import UsageError
from tests.cohorts.stores import cohort, draft, essay, evaluation, select, tables, write

NOBODY: dict[str, str] = {}


def build(root: Path, name: str | None = "new", **options: Any) -> Building:
    """Plan a build, and write what it would write, as plainly as can be."""
    found = plan(root, name, environment=NOBODY, **options)
    for (stage, gen_id), data in found.minted.items() if found.status == "built" else ():
        (root / "gens" / stage / gen_id).mkdir(parents=True)
        (root / "gens" / stage / gen_id / "metadata.json").write_bytes(data)
    for name_, data in (("membership.csv", found.table), ("manifest.json", found.record)):
        if data is not None:
            (root / "cohorts" / found.cohort_id).mkdir(parents=True, exist_ok=True)
            (root / "cohorts" / found.cohort_id / name_).write_bytes(data)
    return found


def counts(found: Building) -> dict[str, tuple[int, int, int, int]]:
    """Per stage: wanted, own, of others, created."""
    assert found.allocation is not None
    return {
        stage: (one.wanted, one.reused_own, one.reused_other, one.created)
        for stage, one in found.allocation.counts.items()
    }


def members(found: Building, stage: str) -> list[str]:
    assert found.allocation is not None
    return [member.gen_id for member in found.allocation.members if member.stage == stage]


def replicates(found: Building, stage: str) -> list[int]:
    assert found.allocation is not None
    return [member.replicate for member in found.allocation.members if member.stage == stage]


def messages(found: Building) -> list[tuple[str, str]]:
    return [(problem.kind, problem.message) for problem in found.problems]


def snapshot(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


# -- cartesian


def test_a_cartesian_cohort_of_an_empty_store(tmp_path: Path) -> None:
    root = tables(tmp_path, combos=["a", "b"], evaluation={"v1": 1, "v2": 1}, replication=(2, 1, 3))
    found = build(root)
    assert found.status == "built"
    assert counts(found) == {"draft": (4, 0, 0, 4), "essay": (4, 0, 0, 4), "evaluation": (24, 0, 0, 24)}
    signature = compute_signature("draft", combo_id="a", draft_template_id="dt", generation_model_id="m1", replicate=2)
    assert members(found, "draft")[1] == compute_gen_id("draft", signature)
    assert found.missing_outputs == {"draft": 4, "essay": 4, "evaluation": 24}


def test_what_is_written_for_a_new_generation(tmp_path: Path) -> None:
    from migrator.store import codec

    root = tables(tmp_path, draft={"DT": 1}, essay={"copy-it": 1})
    found = build(root)
    records = [codec.loads(data) for data in found.minted.values()]
    one, two, three = (members(found, stage)[0] for stage in ("draft", "essay", "evaluation"))
    same = {"origin_cohort_id": "new", "combo_id": "c1", "replicate": 1}
    assert records == [
        {"stage": "draft", "gen_id": one, "mode": "llm", "template_id": "DT", "llm_model_id": "m1", **same},
        {
            "stage": "essay",
            "gen_id": two,
            "mode": "copy",
            "template_id": "copy-it",
            "parent_gen_id": one,
            "llm_model_id": "m1",
            **same,
        },
        {
            "stage": "evaluation",
            "gen_id": three,
            "mode": "llm",
            "template_id": "vt",
            "parent_gen_id": two,
            "llm_model_id": "judge",
            **same,
        },
    ]
    assert (root / "cohorts/new/membership.csv").read_text() == (
        "stage,gen_id,cohort_id,parent_gen_id,combo_id,template_id,llm_model_id,replicate\n"
        f"draft,{one},new,,c1,DT,m1,1\n"
        f"essay,{two},new,{one},c1,copy-it,m1,1\n"
        f"evaluation,{three},new,{two},c1,vt,judge,1\n"
    )


def test_building_again_mints_nothing_and_changes_no_byte(tmp_path: Path) -> None:
    root = tables(tmp_path, combos=["a", "b"], replication=(2, 1, 3))
    build(root)
    before = snapshot(root)
    again = build(root)
    assert (again.status, again.table, again.record) == ("unchanged", None, None)
    assert counts(again) == {"draft": (4, 4, 0, 0), "essay": (4, 4, 0, 0), "evaluation": (12, 12, 0, 0)}
    assert snapshot(root) == before


def test_what_others_have_made_is_reused_lowest_replicate_first_and_the_rest_is_minted(tmp_path: Path) -> None:
    root = tables(tmp_path, replication=(3, 1, 1))
    third, second = draft(root, 3), draft(root, 2, output=False)
    found = build(root)
    assert members(found, "draft")[:2] == [second, third]
    assert replicates(found, "draft") == [2, 3, 1]
    assert counts(found)["draft"] == (3, 0, 2, 1)
    assert found.allocation is not None
    assert found.allocation.counts["draft"].sources == {"first": 2}
    assert found.missing_outputs is not None
    assert found.missing_outputs["draft"] == 2


def test_own_members_come_before_lower_replicates_of_others(tmp_path: Path) -> None:
    root = tables(tmp_path, replication=(1, 1, 1), essay={"et": 0}, evaluation={"vt": 0})
    draft(root, 1)
    mine = draft(root, 2)
    cohort(root, "new", ("draft", mine))
    assert (build(root).status, members(build(root), "draft")) == ("unchanged", [mine])


def test_tasks_are_compared_normalised(tmp_path: Path) -> None:
    root = tables(tmp_path, combos=[" C1"], draft={"DT": 1}, models={"M1": (1, 0), "judge": (0, 1)})
    there = draft(root)
    assert members(build(root), "draft") == [there]


def test_manifests_change_no_build(tmp_path: Path) -> None:
    root = tables(tmp_path, replication=(2, 1, 1))
    build(root)
    kept = snapshot(root)
    (root / "cohorts/new/manifest.json").unlink()
    again = build(root)
    assert (again.status, again.table) == ("unchanged", None)
    assert snapshot(root) == kept


# -- an existing membership


def test_a_build_that_would_change_the_members_is_refused_and_shows_the_difference(tmp_path: Path) -> None:
    root = tables(tmp_path)
    build(root)
    tables(root, draft={"dt": 0, "d2": 1})
    before = snapshot(root)
    found = build(root)
    assert (found.status, found.undecided) == ("refused", True)
    assert [stage for stage, _ in found.added] == [stage for stage, _ in found.gone] == ["draft", "essay", "evaluation"]
    assert snapshot(root) == before


def test_extending_adds_rows_and_removes_none(tmp_path: Path) -> None:
    root = tables(tmp_path)
    first = build(root)
    tables(root, draft={"dt": 0, "d2": 1})
    found = build(root, extend=True)
    assert (found.status, len(found.added), len(found.gone)) == ("built", 3, 3)
    rows = (root / "cohorts/new/membership.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows[1:]] == ["draft"] * 2 + ["essay"] * 2 + ["evaluation"] * 2
    assert [row.split(",")[1] for row in rows[1::2]] == [gen_id for _, gen_id in first.added]
    assert build(root, extend=True).status == "unchanged"


def test_extending_keeps_schema_line_ends_and_mark_of_an_older_table(tmp_path: Path) -> None:
    root = tables(tmp_path, replication=(2, 1, 1), essay={"et": 0})
    there = draft(root)
    below = essay(root, there)
    path = cohort(root, "old")
    text = f"\ufeffgen_id,stage,note,draft_template\r\n{below},essay,kept,\r\n{there},draft,too,dt"
    path.write_bytes(text.encode())
    found = build(root, "old", extend=True)
    assert [stage for stage, _ in found.added] == ["draft"]
    assert path.read_bytes().decode() == f"{text}\r\n{found.added[0][1]},draft,,dt\r\n"


def test_the_same_members_in_any_schema_and_order_are_no_change(tmp_path: Path) -> None:
    root = tables(tmp_path)
    one = draft(root)
    two = essay(root, one)
    three = evaluation(root, two)
    path = cohort(root, "old", ("evaluation", three), ("draft", one), ("essay", two), ("draft", one))
    before = path.read_bytes()
    found = build(root, "old")
    assert found.status == "unchanged"
    assert counts(found) == {"draft": (1, 1, 0, 0), "essay": (1, 1, 0, 0), "evaluation": (1, 1, 0, 0)}
    assert path.read_bytes() == before


def test_a_member_that_is_in_no_store_stands_against_it(tmp_path: Path) -> None:
    root = tables(tmp_path)
    build(root)
    path = root / "cohorts/new/membership.csv"
    path.write_text(path.read_text() + "draft,d_gone,,,,,,\n")
    found = build(root)
    assert found.status == "refused"
    assert messages(found) == [("unknown-member", "line 5 names draft 'd_gone', which is not in the store")]


# -- curated


def selected_store(root: Path, *, essays: int = 1, **values: Any) -> tuple[str, list[str]]:
    """One draft of another cohort with some essays, all selected; replication 2, 1, 3."""
    tables(root, **{"replication": (2, 1, 3), **values})
    parent = draft(root)
    found = sorted(essay(root, parent, number + 1) for number in range(essays))
    return parent, found


def test_regenerate_makes_new_drafts_essays_and_evaluations(tmp_path: Path) -> None:
    parent, (chosen,) = selected_store(tmp_path)
    select(tmp_path, chosen)
    found = build(tmp_path)
    assert found.mode == "regenerate"
    assert counts(found) == {"draft": (2, 0, 0, 2), "essay": (2, 0, 0, 2), "evaluation": (6, 0, 0, 6)}
    assert replicates(found, "draft") == [2, 3]
    assert not {parent, chosen} & {*members(found, "draft"), *members(found, "essay")}
    assert build(tmp_path).status == "unchanged"


def test_equal_tasks_add_up(tmp_path: Path) -> None:
    """Two essays below one draft with one template: twice as many new drafts, and the essays below each."""
    _, chosen = selected_store(tmp_path, essays=2)
    select(tmp_path, *chosen)
    found = build(tmp_path)
    assert counts(found) == {"draft": (4, 0, 0, 4), "essay": (4, 0, 0, 4), "evaluation": (12, 0, 0, 12)}
    assert replicates(found, "draft") == [2, 3, 4, 5]
    select(tmp_path, *reversed(chosen))
    assert build(tmp_path).status == "unchanged"


def test_the_order_of_the_lines_means_nothing(tmp_path: Path) -> None:
    """Also where two essays of other templates share their new drafts' task."""
    tables(tmp_path)
    parent = draft(tmp_path)
    chosen = [essay(tmp_path, parent, template=name) for name in ("x", "y", "z")]
    select(tmp_path, *chosen)
    build(tmp_path)
    select(tmp_path, *reversed(chosen))
    assert build(tmp_path).status == "unchanged"


def test_the_new_drafts_model_is_the_essays_else_the_drafts(tmp_path: Path) -> None:
    tables(tmp_path)
    parent = draft(tmp_path)
    select(tmp_path, essay(tmp_path, parent, model="m2"), essay(tmp_path, parent, 2, model=""))
    found = build(tmp_path)
    assert found.allocation is not None
    drafts = [(one.model, one.replicate) for one in found.allocation.members if one.stage == "draft"]
    assert sorted(drafts) == [("m1", 2), ("m2", 1)]


def test_reuse_drafts_takes_the_draft_and_makes_new_essays(tmp_path: Path) -> None:
    parent, (chosen,) = selected_store(tmp_path, replication=(2, 2, 1))
    select(tmp_path, "# mode: reuse-drafts", chosen)
    found = build(tmp_path)
    assert members(found, "draft") == [parent]
    assert replicates(found, "essay") == [2, 3]
    assert counts(found) == {"draft": (1, 0, 1, 0), "essay": (2, 0, 0, 2), "evaluation": (2, 0, 0, 2)}
    assert build(tmp_path).status == "unchanged"


def test_reuse_essays_takes_both_and_makes_new_evaluations(tmp_path: Path) -> None:
    parent, (chosen,) = selected_store(tmp_path)
    evaluation(tmp_path, chosen, 2)
    select(tmp_path, "# mode: reuse-essays", chosen)
    found = build(tmp_path)
    assert (members(found, "draft"), members(found, "essay")) == ([parent], [chosen])
    assert replicates(found, "evaluation") == [1, 3, 4]
    assert build(tmp_path).status == "unchanged"


@pytest.mark.parametrize(("there", "made"), [(0, 3), (1, 2), (2, 1), (3, 0), (5, 0)])
def test_fill_up_makes_what_lacks_and_lists_what_is_there(tmp_path: Path, there: int, made: int) -> None:
    _, (chosen,) = selected_store(tmp_path)
    old = [evaluation(tmp_path, chosen, number + 1) for number in range(there)]
    select(tmp_path, "# mode: evaluation-only", "# fillup", chosen)
    found = build(tmp_path)
    assert counts(found)["evaluation"] == (3, 0, min(there, 3), made)
    assert members(found, "evaluation")[: len(old)] == old[:3]
    assert build(tmp_path).status == "unchanged"


def test_a_new_demand_is_not_met_by_members_that_another_cohort_asked_for(tmp_path: Path) -> None:
    _, (chosen,) = selected_store(tmp_path, replication=(1, 1, 1))
    others = evaluation(tmp_path, chosen, 1)
    select(tmp_path, "# mode: reuse-essays", "# fill-up", chosen)
    assert members(build(tmp_path), "evaluation") == [others]
    select(tmp_path, "# mode: reuse-essays", chosen)
    found = build(tmp_path, extend=True)
    assert replicates(found, "evaluation") == [2]


def test_a_selected_essay_of_this_cohort_is_not_new(tmp_path: Path) -> None:
    tables(tmp_path)
    first = build(tmp_path)
    chosen = members(first, "essay")[0]
    select(tmp_path, "# mode: reuse-drafts", chosen)
    found = build(tmp_path, extend=True)
    assert members(found, "essay") != [chosen]
    assert replicates(found, "essay") == [2]


def test_old_ids_resolve_through_the_mappings(tmp_path: Path) -> None:
    _, (chosen,) = selected_store(tmp_path)
    write(tmp_path, ".migrator/ledger.jsonl", ['{"run_id": "20260101-120000"}'])
    rows = ["stage,old_gen_id,new_gen_id", f"essay,k3j9x0q2,{chosen}"]
    write(tmp_path, ".migrator/mappings/20260101-120000/mapping.csv", rows)
    select(tmp_path, "# mode: reuse-essays", "k3j9x0q2", chosen)
    found = build(tmp_path)
    assert members(found, "essay") == [chosen]
    select(tmp_path, "# mode: reuse-essays", chosen)
    assert build(tmp_path).status == "unchanged"


# -- what is refused


def damage(root: Path, stage: str, gen_id: str, text: str) -> None:
    (root / "gens" / stage / gen_id / "metadata.json").write_text(text)


def test_metadata_that_the_build_needs_must_be_right(tmp_path: Path) -> None:
    parent, (chosen,) = selected_store(tmp_path)
    select(tmp_path, "# mode: reuse-essays", chosen)
    damage(tmp_path, "draft", parent, "{")
    assert [kind for kind, _ in messages(build(tmp_path))] == ["invalid-json"]
    damage(tmp_path, "essay", chosen, "[]")
    assert [kind for kind, _ in messages(build(tmp_path))] == ["invalid-json"]


def test_what_the_build_does_not_need_may_be_broken(tmp_path: Path) -> None:
    root = tables(tmp_path)
    damage(root, "draft", draft(root, combo="elsewhere"), "{")
    damage(root, "essay", essay(root, "d_elsewhere"), "")
    assert build(root).status == "built"


@pytest.mark.parametrize("replicate", [1, 2])
def test_a_broken_replicate_is_never_skipped(tmp_path: Path, replicate: int) -> None:
    """Its folder bears the id of a replicate that would be reused or minted: nobody can tell what it is."""
    root = tables(tmp_path, replication=(2, 1, 1))
    for number in (1, 2):
        draft(root, number)
    broken = draft(root, 3) if replicate == 3 else sorted((root / "gens/draft").iterdir())[replicate - 1].name
    damage(root, "draft", broken, "{")
    found = build(root)
    assert (found.status, [kind for kind, _ in messages(found)]) == ("refused", ["invalid-json"])


def test_a_replicate_that_is_no_number_is_never_skipped(tmp_path: Path) -> None:
    root = tables(tmp_path)
    damage(
        root, "draft", draft(root), '{"combo_id": "c1", "template_id": "dt", "llm_model_id": "m1", "replicate": "x"}'
    )
    assert [kind for kind, _ in messages(build(root))] == ["invalid-field"]


def test_a_selected_essay_needs_its_draft(tmp_path: Path) -> None:
    tables(tmp_path)
    select(tmp_path, "# mode: reuse-essays", essay(tmp_path, "d_gone"))
    assert messages(build(tmp_path)) == [("missing-parent", "its parent, the draft 'd_gone', is not in the store")]


def test_members_that_stay_need_their_parents(tmp_path: Path) -> None:
    root = tables(tmp_path)
    lone = essay(root, draft(root, combo="other"))
    apart = evaluation(root, lone, template="other")
    cohort(root, "old", ("essay", lone), ("evaluation", apart))
    found = build(root, "old", extend=True)
    assert [(problem.kind, problem.gen_id) for problem in found.problems] == [("missing-parent", lone)]


def test_a_collision_is_refused_until_it_is_accepted_by_name(tmp_path: Path) -> None:
    scheme = IdScheme(digest_size=1)
    root = tables(tmp_path, combos=[f"c{number}" for number in range(40)], essay={"et": 0})
    found = build(root, scheme=scheme)
    assert (found.status, found.undecided) == ("refused", True)
    names = sorted({problem.gen_id for problem in found.problems})
    assert {kind for kind, _ in messages(found)} == {"id-collision"}
    accepted = build(root, scheme=scheme, accept=names)
    assert accepted.status == "built"
    assert len(set(members(accepted, "draft"))) == 40
    assert any(gen_id.endswith("-1") for gen_id in members(accepted, "draft"))
    assert build(root, scheme=scheme).status == "unchanged"


def test_who_bears_an_id_keeps_it(tmp_path: Path) -> None:
    scheme = IdScheme(digest_size=1)
    root = tables(tmp_path, combos=[f"c{number}" for number in range(40)], essay={"et": 0})
    old = [draft(root, combo=f"c{number}", scheme=scheme) for number in range(1)]
    names = {problem.gen_id for problem in build(root, scheme=scheme).problems}
    assert members(build(root, scheme=scheme, accept=names), "draft")[0] == old[0]


def test_a_folder_that_bears_the_id_of_another_task_is_told(tmp_path: Path) -> None:
    root = tables(tmp_path)
    wanted = members(plan(root, "new", environment=NOBODY), "draft")[0]
    draft(root, combo="elsewhere", gen_id=wanted)
    assert [(problem.kind, problem.gen_id) for problem in build(root).problems] == [("gen-id-mismatch", wanted)]


@pytest.mark.parametrize("folder", ["cohorts", "gens/draft", "gens"])
def test_nothing_is_written_through_a_link(tmp_path: Path, folder: str) -> None:
    root = tables(tmp_path / "data")
    (root / folder).rename(tmp_path / "elsewhere") if (root / folder).exists() else (tmp_path / "elsewhere").mkdir()
    (root / folder).symlink_to(tmp_path / "elsewhere")
    found = build(root)
    assert found.status == "refused"
    assert {kind for kind, _ in messages(found)} == {"unsafe-path"}


def test_a_linked_cohort_is_refused(tmp_path: Path) -> None:
    root = tables(tmp_path / "data")
    (root / "cohorts").mkdir()
    (root / "cohorts/new").symlink_to(tmp_path)
    assert [problem.path for problem in build(root).problems] == ["cohorts/new"]


# -- names


def test_a_cohort_without_a_name_is_called_after_what_it_is_built_from(tmp_path: Path) -> None:
    root = tables(tmp_path, combos=["a", "b"], draft={"d1": 1, "d2": 1})
    first = plan(root, None, environment=NOBODY).cohort_id
    assert first.startswith("cohort-")
    assert len(first) == len("cohort-") + 12
    tables(root, combos=["b", "a"], draft={"d2": 1, "d1": 1})
    assert plan(root, None, environment=NOBODY).cohort_id == first
    others = {first}
    for values in ({"combos": ["a"]}, {"replication": (2, 1, 1)}, {"models": {"x": (1, 1)}}, {"essay": {"e9": 1}}):
        tables(root, **{"combos": ["a", "b"], "draft": {"d1": 1, "d2": 1}, **values})  # type: ignore[arg-type]
        others.add(plan(root, None, environment=NOBODY).cohort_id)
    parent = draft(root)
    chosen = [essay(root, parent, number) for number in (1, 2)]
    for lines in ([chosen[0]], chosen, ["# mode: reuse-drafts", *chosen], ["# mode: reuse-essays", *chosen]):
        select(root, *lines)
        others.add(plan(root, None, environment=NOBODY).cohort_id)
    select(root, "# mode: reuse-essays", "# fill-up", *chosen)
    others.add(plan(root, None, environment=NOBODY).cohort_id)
    assert len(others) == 10
    select(root, "# mode: evaluation-only", "# fillup", *reversed(chosen))
    assert plan(root, None, environment=NOBODY).cohort_id in others


@pytest.mark.parametrize("unset", ["", "0", "false", "None", "NULL", "  "])
def test_the_environment_names_a_cohort_where_the_command_does_not(tmp_path: Path, unset: str) -> None:
    root = tables(tmp_path)
    assert plan(root, None, environment={"DD_COHORT": "mine"}).cohort_id == "mine"
    assert plan(root, "given", environment={"DD_COHORT": "mine"}).cohort_id == "given"
    assert plan(root, None, environment={"DD_COHORT": unset}).cohort_id.startswith("cohort-")


PAYLOADS = [
    "../../x",
    "/etc/x",
    "..",
    ".",
    "",
    "a/b",
    "a\\..\\b",
    "a\0b",
    "a\nb",
    "-rf",
    "~root",
    "$HOME",
    ".hidden",
    "x.tmp",
    "x" * 256,
    "\x1b[31m",
    "=1+1",
    "nan",
    " x",
    "x ",
]


@pytest.mark.parametrize("name", PAYLOADS)
def test_unsafe_names_are_refused(tmp_path: Path, name: str) -> None:
    root = tables(tmp_path)
    before = snapshot(root)
    with pytest.raises(UsageError, match="cannot be the name of a cohort"):
        plan(root, name, environment=NOBODY)
    assert snapshot(root) == before


@pytest.mark.parametrize("name", ["fusion-a", "café-模板", "a b", "v1.2", "2026_01"])
def test_sound_names(tmp_path: Path, name: str) -> None:
    assert build(tables(tmp_path), name).status == "built"
