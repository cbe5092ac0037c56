"""What a step may say and what becomes of it: refusals, every mention, composition, names on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from migrator.errors import MigratorError
from migrator.store.changes import Add, Change, Edit, Relink, Rename, Renumber, fold, rewritten
from migrator.store.inventory import Inventory
from migrator.store.problems import Problem
from tests.conftest import Write

METADATA = "metadata.json"
Key = tuple[str, str]
MEMBERSHIP = (
    "\ufeffstage,gen_id,parent_gen_id,replicate,note\r\n"
    'draft,d1,, 1,"x, y"\r\n'
    "essay,e1,d1,1,\r\n"
    "\r\n"
    'essay," e2 ",,2,z\n'
    "evaluation,v1,stale,1,\n"
    "essay,never-was,d1,1,\n"
)


@pytest.fixture
def inventory(store: Write) -> Inventory:
    """One draft with two essays, one of them evaluated, and everything that mentions them."""
    return Inventory.read(
        store(
            {
                "draft": {"d1": {METADATA: {"replicate": 1}}, "d2": {METADATA: {"combo_id": "c"}}},
                "essay": {
                    "e1": {
                        METADATA: {"gen_id": "e1", "parent_gen_id": "d1", "replicate": 1},
                        "raw_metadata.json": {"raw_path": "/data/gens/draft/d1/raw.txt", "replicate": "1"},
                        "parsed_metadata.json": {"copied_from": "gens/essay/e1", "k": {"model_id": "m"}},
                    },
                    "e2": {METADATA: {"draft_gen_id": "d1", "replicate": 2}},
                },
                "evaluation": {"v1": {METADATA: {"essay_gen_id": "e1", "task_id": "e1__x"}}},
                "cohorts/c/membership.csv": MEMBERSHIP,
                "cohorts/d/membership.csv": "stage,gen_id\nessay,e2",
                "2_tasks": {
                    "essay_generation_tasks.csv": "gen_id,parent_gen_id\ne2,\nnever-was,d1\n",
                    "selected_essays.txt": "# mode: regenerate\n e1 \nd2\n",
                },
                "selected_essays": {"e1.txt": "copy", "mine.txt": "x"},
            }
        )
    )


def do(store: Inventory, *changes: Change) -> Inventory:
    return fold(store, changes)[0]


def documents(store: Inventory, stage: str, gen_id: str) -> dict[str, Any]:
    return dict(store.gens[stage, gen_id].documents)


# -- silence


def test_silence_changes_nothing(inventory: Inventory) -> None:
    after, effect = fold(inventory, [])
    assert all(after.gens[key] is gen for key, gen in inventory.gens.items())
    assert all(after.tables[path] is table for path, table in inventory.tables.items())
    assert (dict(effect.names), effect.relinked, dict(effect.touched)) == ({}, (), {})


# -- refusals


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            lambda s: [Edit(s.gens["draft", "d1"], {"a": 1}), Add("draft", "d1", {}, {})],
            "draft d1, which is there",
        ),
        (
            lambda s: [Add("draft", "n", {}, {}), Add("draft", "n", {}, {})],
            "adds draft n, which is there already",
        ),
        (lambda s: [Rename(gone(s), "x")], "changes draft d9, which is not in the store"),
        (lambda s: [Edit(gone(s), {"a": 1})], "changes draft d9, which is not in the store"),
        (lambda s: [Relink(gone(s, "essay"), "d1")], "changes essay d9, which is not in the store"),
        (lambda s: [Renumber(gone(s), 1)], "changes draft d9, which is not in the store"),
        (lambda s: [Rename(s.gens["draft", "d1"], name) for name in "xy"], "draft d1 twice in the same way"),
        (lambda s: [Renumber(s.gens["draft", "d1"], 1)] * 2, "draft d1 twice in the same way"),
        (lambda s: [Relink(s.gens["essay", "e1"], "d2")] * 2, "essay e1 twice in the same way"),
        (
            lambda s: [Relink(s.gens["essay", "e1"], "e2")],
            "essay e1 the parent e2, which is not in the store",
        ),
        (lambda s: [Rename(s.gens["draft", "d1"], "d2")], "two generations the name draft d2"),
        (
            lambda s: [Rename(s.gens["draft", d], "x") for d in ("d1", "d2")],
            "two generations the name draft x",
        ),
        (
            lambda s: [Rename(s.gens["draft", "d1"], "n"), Add("draft", "n", {}, {})],
            "two generations the name draft n",
        ),
    ],
)
def test_changes_that_make_no_sense(
    inventory: Inventory, changes: Callable[[Inventory], list[Change]], message: str
) -> None:
    with pytest.raises(MigratorError, match=message):
        fold(inventory, changes(inventory))


def gone(store: Inventory, stage: str = "draft") -> Any:
    """A record that is not of this store."""
    return type(store.gens["draft", "d1"])(stage, "d9", "d9", {METADATA: {}})


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../../x", "/etc/x", ".hidden", "-rf", "a\0b"], ids=repr)
@pytest.mark.parametrize("kind", ["rename", "add"])
def test_a_step_cannot_give_a_name_that_is_unsafe(inventory: Inventory, name: str, kind: str) -> None:
    """A step's author must not be able to write outside the tree."""
    change = Rename(inventory.gens["draft", "d1"], name) if kind == "rename" else Add("draft", name, {}, {})
    with pytest.raises(MigratorError):
        fold(inventory, [change])


def test_a_name_of_a_directory_that_could_not_be_read_is_not_free(store: Write) -> None:
    inventory = Inventory.read(store({"draft": {"d1": {METADATA: {}}, "bad": {METADATA: b""}}}))
    with pytest.raises(MigratorError, match="adds draft bad, which is there already"):
        fold(inventory, [Add("draft", "bad", {}, {})])


def test_a_directory_that_could_not_be_read_is_a_parent(store: Write) -> None:
    root = store({"draft": {"bad": {METADATA: b""}}, "essay": {"e": {METADATA: {"parent_gen_id": "x"}}}})
    after = do(Inventory.read(root), Problem("stale-table"))
    assert after.exists(("draft", "bad"))


# -- rename


def test_every_mention_of_a_renamed_generation_follows(inventory: Inventory) -> None:
    changes = [
        Rename(inventory.gens[key], name)
        for key, name in {
            ("draft", "d1"): "D1",
            ("essay", "e1"): "E1",
            ("essay", "e2"): "E2",
            ("evaluation", "v1"): "V1",
        }.items()
    ]
    after, effect = fold(inventory, changes)
    assert set(after.gens) == {
        ("draft", "D1"),
        ("draft", "d2"),
        ("essay", "E1"),
        ("essay", "E2"),
        ("evaluation", "V1"),
    }
    assert after.gens["essay", "E1"].origin == "e1"
    assert documents(after, "essay", "E1") == {
        METADATA: {"gen_id": "E1", "parent_gen_id": "D1", "replicate": 1},
        "raw_metadata.json": {"raw_path": "/data/gens/draft/D1/raw.txt", "replicate": "1"},
        "parsed_metadata.json": {"copied_from": "gens/essay/E1", "k": {"model_id": "m"}},
    }
    assert documents(after, "essay", "E2") == {METADATA: {"draft_gen_id": "D1", "replicate": 2}}
    assert documents(after, "evaluation", "V1") == {METADATA: {"essay_gen_id": "E1", "task_id": "E1__x"}}
    assert documents(after, "draft", "d2") == documents(inventory, "draft", "d2")
    assert after.tables["cohorts/c/membership.csv"].render().decode() == (
        "\ufeffstage,gen_id,parent_gen_id,replicate,note\r\n"
        'draft,D1,, 1,"x, y"\r\n'
        "essay,E1,D1,1,\r\n"
        "\r\n"
        'essay," E2 ",D1,2,z\n'
        "evaluation,V1,E1,1,\n"
        "essay,never-was,D1,1,\n"
    )
    assert after.tables["2_tasks/essay_generation_tasks.csv"].render() == (
        b"gen_id,parent_gen_id\nE2,D1\nnever-was,D1\n"
    )
    assert after.selections == {"2_tasks/selected_essays.txt": "# mode: regenerate\nE1\nd2\n"}
    assert after.copies == ("E1.txt", "mine.txt")
    assert effect.touched == {"draft": {"rename": 1}, "essay": {"rename": 2}, "evaluation": {"rename": 1}}
    assert effect.names["essay", "e1"] == "E1"


def test_chains_and_cycles_of_renames(store: Write) -> None:
    root = store(
        {
            "draft": {name: {METADATA: {"gen_id": name, "was": name}} for name in ("a", "b", "c", "p", "q")},
            "essay": {"e": {METADATA: {"parent_gen_id": "a"}}, "f": {METADATA: {"parent_gen_id": "p"}}},
        }
    )
    inventory = Inventory.read(root)
    moves = {"a": "b", "b": "c", "c": "new", "p": "q", "q": "p"}
    after = do(inventory, *(Rename(inventory.gens["draft", old], new) for old, new in moves.items()))
    drafts = {gen.gen_id: gen for gen in after.generations("draft")}
    assert {gen_id: gen.metadata["was"] for gen_id, gen in drafts.items()} == {v: k for k, v in moves.items()}
    assert all(gen.metadata["gen_id"] == gen_id for gen_id, gen in drafts.items())
    assert [gen.parent for gen in after.generations("essay")] == ["b", "q"]


def test_steps_compose(inventory: Inventory) -> None:
    """Two folds give what one would; the origin stays the name on disk."""
    once = do(inventory, Rename(inventory.gens["draft", "d1"], "x"), Edit(inventory.gens["draft", "d1"], {"a": 1}))
    twice = do(once, Rename(once.gens["draft", "x"], "y"), Edit(once.gens["essay", "e1"], {"b": 2}))
    assert twice.gens["draft", "y"].origin == "d1"
    assert documents(twice, "draft", "y") == {METADATA: {"replicate": 1, "a": 1}}
    assert twice.gens["essay", "e1"].metadata["parent_gen_id"] == "y"
    assert twice.gens["essay", "e1"].metadata["b"] == 2
    back = do(once, Rename(once.gens["draft", "x"], "d1"))
    assert back.tables["cohorts/c/membership.csv"].render().decode() == MEMBERSHIP.replace(
        '" e2 ",,', '" e2 ",d1,'
    ).replace("v1,stale", "v1,e1")


# -- edit, renumber


def test_edit_sets_in_metadata_and_drops_everywhere(inventory: Inventory) -> None:
    e1 = inventory.gens["essay", "e1"]
    after = do(inventory, Edit(e1, set={"replicate": 3, "new": [1]}, drop=("replicate", "model_id", "gen_id")))
    assert documents(after, "essay", "e1") == {
        METADATA: {"parent_gen_id": "d1", "new": [1]},
        "raw_metadata.json": {"raw_path": "/data/gens/draft/d1/raw.txt"},
        "parsed_metadata.json": {"copied_from": "gens/essay/e1", "k": {}},
    }
    assert e1.metadata == {"gen_id": "e1", "parent_gen_id": "d1", "replicate": 1}


def test_edits_of_one_generation_add_up_and_new_keys_come_last(inventory: Inventory) -> None:
    e1 = inventory.gens["essay", "e1"]
    after = do(inventory, Edit(e1, {"z": 1, "gen_id": "e1"}), Edit(e1, {"y": 2, "z": 3}))
    assert list(after.gens["essay", "e1"].metadata.items()) == [
        ("gen_id", "e1"),
        ("parent_gen_id", "d1"),
        ("replicate", 1),
        ("z", 3),
        ("y", 2),
    ]


def test_drop_reaches_lists_of_lists(store: Write) -> None:
    metadata = {"a": [[{"k": 1, "b": 2}], {"k": {"k": 1}}], "k": [1]}
    inventory = Inventory.read(store({"draft": {"d": {METADATA: metadata}}}))
    after = do(inventory, Edit(inventory.gens["draft", "d"], drop=("k",)))
    assert documents(after, "draft", "d") == {METADATA: {"a": [[{"b": 2}], {}]}}


@pytest.mark.parametrize(
    ("value", "same"), [(1, True), (True, False), (1.0, False), ("1", False), (None, False)], ids=repr
)
def test_a_value_of_another_type_is_another_value(inventory: Inventory, value: object, same: bool) -> None:
    """1, true and 1.0 are equal in Python and three things in JSON."""
    d1 = inventory.gens["draft", "d1"]
    after, effect = fold(inventory, [Edit(d1, {"replicate": value})])
    assert rewritten(d1, after.gens["draft", "d1"]) is not same
    assert effect.touched == ({} if same else {"draft": {"rewrite": 1}})
    assert after.gens["draft", "d1"].metadata["replicate"] is value


def test_an_edit_without_effect_rewrites_nothing(inventory: Inventory) -> None:
    e1 = inventory.gens["essay", "e1"]
    after, effect = fold(inventory, [Edit(e1, {"gen_id": "e1"}, drop=("nothing",))])
    assert rewritten(e1, after.gens["essay", "e1"]) is False
    assert effect.touched == {}


def test_renumber_writes_where_the_key_stands_and_into_every_row(inventory: Inventory) -> None:
    changes = [Renumber(inventory.gens["essay", "e1"], 5), Renumber(inventory.gens["essay", "e2"], 2)]
    after, effect = fold(inventory, changes)
    assert after.gens["essay", "e1"].metadata["replicate"] == 5
    assert documents(after, "essay", "e1")["raw_metadata.json"]["replicate"] == 5
    assert "replicate" not in documents(after, "essay", "e1")["parsed_metadata.json"]
    assert after.tables["cohorts/c/membership.csv"].render().decode() == MEMBERSHIP.replace(
        "essay,e1,d1,1", "essay,e1,d1,5"
    )
    assert effect.touched == {"essay": {"rewrite": 1}}


def test_renumber_keeps_what_was_found_out_and_an_edit_does_not(inventory: Inventory) -> None:
    """A record notes what it has worked out; a step may change what that was worked out from."""
    before = inventory.gens["draft", "d1"]
    noted = (before.key, before.template, before.model, before.combo, before.parent)
    numbered = do(inventory, Renumber(before, 7)).gens["draft", "d1"]
    assert (numbered.key, numbered.template, numbered.model, numbered.combo, numbered.parent) == noted
    assert (numbered.replicate, before.replicate) == (7, before.metadata["replicate"])
    edited = do(inventory, Renumber(before, 7), Edit(before, set={"template_id": "other", "llm_model_id": "other"}))
    assert (edited.gens["draft", "d1"].template, edited.gens["draft", "d1"].model) == ("other", "other")
    essay = inventory.gens["essay", "e1"]
    assert essay.parent == "d1"
    relinked = do(inventory, Relink(essay, "d2"), Renumber(essay, 7)).gens["essay", "e1"]
    assert (relinked.parent, relinked.parent_key) == ("d2", ("draft", "d2"))


def test_renumber_keeps_the_blanks_of_a_cell_and_touches_no_table_that_is_right(inventory: Inventory) -> None:
    d1 = inventory.gens["draft", "d1"]
    after = do(inventory, Renumber(d1, 4))
    assert b"draft,d1,, 4," in after.tables["cohorts/c/membership.csv"].render()
    same = do(inventory, Renumber(d1, 1))
    assert same.tables["cohorts/c/membership.csv"] is inventory.tables["cohorts/c/membership.csv"]


# -- add, relink


def test_a_relinked_essay_brings_its_new_parent_into_every_cohort(inventory: Inventory) -> None:
    new = Add("draft", "d_new", {"gen_id": "d_new", "combo_id": "c", "replicate": 1}, {"raw.txt": b"text"})
    e1, e2 = inventory.gens["essay", "e1"], inventory.gens["essay", "e2"]
    after, effect = fold(inventory, [new, Relink(e1, "d_new"), Relink(e2, "d_new")])
    added = after.gens["draft", "d_new"]
    assert (added.origin, added.texts, added.metadata["combo_id"]) == ("", {"raw.txt": b"text"}, "c")
    assert after.text(added, "parsed.txt", "raw.txt") == b"text"
    assert documents(after, "essay", "e1")[METADATA]["parent_gen_id"] == "d_new"
    assert documents(after, "essay", "e1")["raw_metadata.json"]["raw_path"] == "/data/gens/draft/d_new/raw.txt"
    assert documents(after, "essay", "e2")[METADATA] == {"draft_gen_id": "d_new", "replicate": 2}
    assert after.tables["cohorts/c/membership.csv"].render().decode() == (
        "\ufeffstage,gen_id,parent_gen_id,replicate,note\r\n"
        'draft,d1,, 1,"x, y"\r\n'
        "draft,d_new,,1,\r\n"
        "essay,e1,d_new,1,\r\n"
        "\r\n"
        'essay," e2 ",d_new,2,z\n'
        "evaluation,v1,stale,1,\n"
        "essay,never-was,d1,1,\n"
    )
    assert after.tables["cohorts/d/membership.csv"].render() == b"stage,gen_id\ndraft,d_new\nessay,e2"
    assert effect.relinked == ((("essay", "e1"), ("draft", "d_new")), (("essay", "e2"), ("draft", "d_new")))
    assert effect.touched == {"draft": {"create": 1}, "essay": {"rewrite": 2}}


def test_a_parent_that_a_cohort_lists_already_is_not_listed_twice(store: Write) -> None:
    root = store(
        {
            "draft": {"d1": {METADATA: {}}, "d2": {METADATA: {}}},
            "essay": {"e1": {METADATA: {"parent_gen_id": "d1"}}, "d2": {METADATA: {"parent_gen_id": "d1"}}},
            "cohorts": {
                "a": {"membership.csv": "stage,gen_id\nessay,e1\ndraft, d2\n"},
                "b": {"membership.csv": "stage,gen_id\nessay,d2\nessay,e1\nessay,e1\n"},
                "c": {"membership.csv": "stage,gen_id\nessay,d2\n"},
            },
        }
    )
    inventory = Inventory.read(root)
    after = do(inventory, Relink(inventory.gens["essay", "e1"], "d2"))
    tables = {cohort: table.render() for cohort, _, table in after.cohorts()}
    assert tables == {
        "a": b"stage,gen_id\nessay,e1\ndraft, d2\n",
        "b": b"stage,gen_id\nessay,d2\ndraft,d2\nessay,e1\nessay,e1\n",
        "c": b"stage,gen_id\nessay,d2\n",
    }


def test_a_new_member_fills_the_columns_that_are_known_in_any_schema(store: Write) -> None:
    columns = (
        "stage,gen_id,cohort_id,parent_gen_id,combo_id,template_id,draft_template,essay_template,llm_model_id,"
        "generation_model,evaluation_model,replicate,origin_cohort_id,other"
    )
    root = store(
        {
            "essay": {"e1": {METADATA: {"parent_gen_id": "lost"}}},
            "cohorts/the cohort/membership.csv": f"{columns}\nessay,e1{',' * 12}\n",
        }
    )
    inventory = Inventory.read(root)
    metadata = {
        "combo_id": "a,b",
        "template_id": "t",
        "llm_model_id": 7,
        "replicate": 2,
        "origin_cohort_id": "o",
    }
    changes = [Add("draft", "n", metadata, {}), Relink(inventory.gens["essay", "e1"], "n")]
    after = do(inventory, *changes)
    assert after.tables["cohorts/the cohort/membership.csv"].render().decode() == (
        f'{columns}\ndraft,n,the cohort,,"a,b",t,t,,7,7,,2,o,\nessay,e1,,n{"," * 10}\n'
    )


def test_relink_follows_every_mention_of_the_lost_name_in_the_essays_files_only(store: Write) -> None:
    lost = {
        "draft_gen_id": "lost",
        "p": "gens/draft/lost/raw.txt",
        "deep": [{"stage": "draft", "gen_id": "lost"}],
    }
    root = store(
        {
            "draft": {"d": {METADATA: lost}},
            "essay": {
                "e": {METADATA: {"parent_gen_id": "lost"}, "raw_metadata.json": lost},
                "lost": {METADATA: {"gen_id": "lost", "parent_gen_id": "d"}},
            },
        }
    )
    inventory = Inventory.read(root)
    after = do(inventory, Relink(inventory.gens["essay", "e"], "d"))
    assert documents(after, "essay", "e") == {
        METADATA: {"parent_gen_id": "d"},
        "raw_metadata.json": {
            "draft_gen_id": "d",
            "p": "gens/draft/d/raw.txt",
            "deep": [{"stage": "draft", "gen_id": "d"}],
        },
    }
    assert after.gens["draft", "d"] is inventory.gens["draft", "d"]
    assert after.gens["essay", "lost"] is inventory.gens["essay", "lost"]


def test_relink_and_rename_in_one_step(inventory: Inventory) -> None:
    e1, d2 = inventory.gens["essay", "e1"], inventory.gens["draft", "d2"]
    after, effect = fold(inventory, [Relink(e1, "d2"), Rename(d2, "D2"), Rename(e1, "E1")])
    assert after.gens["essay", "E1"].parent == "D2"
    assert effect.relinked == ((("essay", "E1"), ("draft", "D2")),)


# -- problems


def test_findings_are_told_in_the_names_on_disk(inventory: Inventory) -> None:
    once = do(inventory, Rename(inventory.gens["essay", "e1"], "E1"))
    gen = once.gens["essay", "E1"]
    found = [
        Problem("model-id-dropped", "essay", "E1", f"{gen.path}/metadata.json", "x"),
        Problem("invalid-field", "essay", "E1", gen.path, "y"),
        Problem("stale-table", path="gens/essay/E1/metadata.json"),
        Problem("unknown-member", "essay", "E1", "gens/essay/E10/metadata.json"),
        Problem("missing-parent", "essay", "e2", "gens/essay/e2/metadata.json"),
    ]
    after = do(once, *found)
    assert [(p.gen_id, p.path) for p in after.problems if p not in inventory.problems] == [
        ("e1", "gens/essay/e1/metadata.json"),
        ("e1", "gens/essay/e1"),
        ("", "gens/essay/E1/metadata.json"),
        ("e1", "gens/essay/E10/metadata.json"),
        ("e2", "gens/essay/e2/metadata.json"),
    ]
    assert after.blocked == {("essay", "E1"), ("essay", "e2")}


def test_a_blocked_generation_keeps_the_findings_of_the_first_step_that_stopped_it(
    inventory: Inventory,
) -> None:
    first = do(inventory, Problem("missing-field", "draft", "d1"), Problem("invalid-field", "draft", "d1"))
    second = do(
        first,
        Problem("id-collision", "draft", "d1"),
        Problem("model-id-dropped", "draft", "d1"),
        Problem("id-collision", "draft", "d2"),
    )
    own = [(p.kind, p.gen_id) for p in second.problems if p not in inventory.problems]
    assert own == [
        ("missing-field", "d1"),
        ("invalid-field", "d1"),
        ("model-id-dropped", "d1"),
        ("id-collision", "d2"),
    ]
    assert [gen.gen_id for gen in second.generations("draft")] == []


def test_a_blocked_generation_stays_blocked_under_its_new_name(inventory: Inventory) -> None:
    once = do(inventory, Problem("missing-field", "draft", "d1"), Rename(inventory.gens["draft", "d1"], "x"))
    assert once.blocked == {("draft", "x")}
    again = do(once, Rename(once.gens["draft", "x"], "y"))
    assert again.blocked == {("draft", "y")}


def test_a_plan_that_blocks_goes_on_past_names_that_blocked_generations_keep(inventory: Inventory) -> None:
    """The run stops anyway: the rename is left out, so that later findings are listed too."""
    d1, d2 = inventory.gens["draft", "d1"], inventory.gens["draft", "d2"]
    after = do(inventory, Problem("missing-field", "draft", "d2"), Rename(d1, "d2"))
    assert {key for key in after.gens if key[0] == "draft"} == {("draft", "d1"), ("draft", "d2")}
    chain = do(inventory, Problem("missing-field", "essay", "e1"), Rename(inventory.gens["essay", "e2"], "e1"))
    assert chain.exists(("essay", "e2"))
    with pytest.raises(MigratorError, match="two generations"):
        fold(inventory, [Problem("model-id-dropped", "draft", "d2"), Rename(d1, "d2")])
    assert d2.gen_id == "d2"


def test_fold_modifies_nothing_that_it_was_given(inventory: Inventory, tmp_path: Path) -> None:
    before = {key: {n: repr(d) for n, d in gen.documents.items()} for key, gen in inventory.gens.items()}
    tables = {path: table.render() for path, table in inventory.tables.items()}
    e1 = inventory.gens["essay", "e1"]
    do(inventory, Rename(e1, "E1"), Relink(e1, "d2"), Renumber(e1, 9), Edit(e1, {"x": 1}, ("k", "replicate")))
    assert {key: {n: repr(d) for n, d in gen.documents.items()} for key, gen in inventory.gens.items()} == before
    assert {path: table.render() for path, table in inventory.tables.items()} == tables


def test_what_is_no_change_is_refused(inventory: Inventory) -> None:
    """A step that yields a record, say, where it meant to yield a change of it."""
    with pytest.raises(MigratorError, match="which is no change"):
        fold(inventory, [inventory.gens["draft", "d1"]])  # type: ignore[list-item]
