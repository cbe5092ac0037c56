"""`migrator cohort build` against the naive model made from the contract alone, through the command line only."""

from __future__ import annotations

import contextlib
import csv
import gc
import io
import json
import os
import random
import re
import shutil
import signal
import stat
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from migrator.cli import main
from tests import cohort_oracle
from tests.cli.conftest import Answer
from tests.cohort_oracle import STAGES, Expected, canonical, gen_id_of, read_gen
from tests.oracle import Tree
from tests.random_cohorts import (
    COMBO_TABLE,
    COMBOS,
    MODEL_TABLE,
    MODELS,
    REPLICATION,
    RUNS,
    SELECTION,
    TEMPLATES,
    UNSAFE_NAMES,
    WRONG,
    Axes,
    Case,
    Small,
    ledger_line,
    migrated_store,
    record,
    small_tables,
)
from tests.random_stores import write_tree

EVERYDAY, SLOW = range(30), range(30, 2060)


def call(*words: object, cohort: str | None = None) -> Answer:
    """Call the command line in this process; `cohort` is DD_COHORT."""
    out, err = io.StringIO(), io.StringIO()
    handler, environment = signal.getsignal(signal.SIGTERM), dict(os.environ)
    try:
        for name in [name for name in os.environ if name.startswith("MIGRATOR_") or name == "DD_COHORT"]:
            del os.environ[name]
        if cohort is not None:
            os.environ["DD_COHORT"] = cohort
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
    finally:
        os.environ.clear()
        os.environ.update(environment)
        signal.signal(signal.SIGTERM, handler)
        gc.enable()
    assert isinstance(ended.value.code, int)
    assert "Traceback" not in err.getvalue()
    return Answer(ended.value.code, out.getvalue(), err.getvalue())


def build(root: Path, *words: object, cohort: str | None = None) -> Answer:
    """`cohort build`, answered as JSON."""
    return call("--data-root", root, "cohort", "build", *words, "--json", cohort=cohort)


# --- trees -------------------------------------------------------------------------------------------------

Whole = dict[str, tuple[int, int, bytes]]  # path: mode, mtime, content; folders too
Files = dict[str, tuple[bytes, int]]  # path: content, mtime


def whole(root: Path) -> Whole:
    """Everything in a tree, with modes and times."""
    tree: Whole = {}
    status = os.lstat(root)
    tree["."] = (status.st_mode, status.st_mtime_ns, b"")
    folders = [("", str(root))]
    while folders:
        name, folder = folders.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                status, content = entry.stat(follow_symlinks=False), b""
                if stat.S_ISLNK(status.st_mode):
                    content = os.fsencode(os.readlink(entry.path))
                elif stat.S_ISREG(status.st_mode):
                    with open(entry.path, "rb") as file:
                        content = file.read()
                else:
                    folders.append((f"{name}{entry.name}/", entry.path))
                tree[name + entry.name] = (status.st_mode, status.st_mtime_ns, content)
    return tree


def files_of(tree: Whole) -> Files:
    """Its files alone."""
    return {path: (content, mtime) for path, (mode, mtime, content) in tree.items() if stat.S_ISREG(mode)}


def rows_of(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline="")))


def members_of(root: Path, cohort_id: str) -> dict[str, list[str]]:
    """Sorted ids per stage; the stages must come in their order, and each row once."""
    rows = rows_of((root / "cohorts" / cohort_id / "membership.csv").read_bytes())
    stages = [STAGES.index(row["stage"]) for row in rows]
    assert stages == sorted(stages)
    keys = [(row["stage"], row["gen_id"]) for row in rows]
    assert len(set(keys)) == len(keys)
    return {stage: sorted(gen_id for s, gen_id in keys if s == stage) for stage in STAGES}


# --- agreement ---------------------------------------------------------------------------------------------


def agree(root: Path, cohort_id: str, *, extend: bool = False) -> Expected:
    """Build, compare with the model, and build again: not a byte."""
    expected = cohort_oracle.build(root, cohort_id, extend=extend)
    words = (cohort_id, "--extend") if extend else (cohort_id,)
    before = whole(root)
    answer = build(root, *words)
    assert (answer.code, answer.json["status"]) == (expected.exit_code, expected.status), answer.err
    after = whole(root)
    if expected.status == "refused":
        assert after == before
        return expected
    assert answer.json["cohort_id"] == cohort_id
    assert five(answer.json["counts"]) == expected.counts
    assert members_of(root, cohort_id) == expected.members
    only_new_files(cohort_id, files_of(before), files_of(after), expected)
    check_manifest(root, cohort_id, expected)
    again_is_nothing(root, words, after, expected)
    return expected


def only_new_files(cohort_id: str, before: Files, after: Files, expected: Expected) -> None:
    """What is minted has its metadata and nothing else; the cohort has its two files; the rest is as it was."""
    home = f"cohorts/{cohort_id}/"
    made = {f"gens/{stage}/{gen_id}/metadata.json": facts for (stage, gen_id), facts in expected.created.items()}
    assert set(after) - set(before) - {home + "membership.csv", home + "manifest.json"} == set(made)
    assert {path: json.loads(after[path][0]) for path in made} == made
    mine = {home + "manifest.json"} | ({home + "membership.csv"} if expected.status == "built" else set())
    assert {path: after.get(path) for path in before if path not in mine} == {
        path: entry for path, entry in before.items() if path not in mine
    }
    if home + "membership.csv" in before:
        kept = rows_of(before[home + "membership.csv"][0])
        now = rows_of(after[home + "membership.csv"][0])
        assert [row for row in kept if not any(row.items() <= other.items() for other in now)] == []


def five(counts: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    """The counts that the contract names; there may be more."""
    names = ("wanted", "reused_own", "reused_other", "created", "missing_outputs")
    return {stage: {name: told[name] for name in names} for stage, told in counts.items()}


def check_manifest(root: Path, cohort_id: str, expected: Expected) -> None:
    """It has the old keys, and a line for each member."""
    manifest = json.loads((root / "cohorts" / cohort_id / "manifest.json").read_bytes())
    assert {"combos", "templates", "llms", "replication", "generations"} <= set(manifest)
    gens = [read_gen(root, stage, name) for stage in STAGES for name in expected.members[stage]]
    assert {text: (one["stage"], one["gen_id"]) for text, one in manifest["generations"].items()} == {
        canonical(gen.stage, gen.task, gen.replicate): gen.key for gen in gens
    }


def again_is_nothing(root: Path, words: tuple[str, ...], before: Whole, expected: Expected) -> None:
    """The same build mints nothing and changes no byte and no time."""
    answer = build(root, *words)
    assert (answer.code, answer.json["status"]) == (0, "unchanged"), answer.err
    assert five(answer.json["counts"]) == {
        stage: counts | {"reused_own": counts["wanted"], "reused_other": 0, "created": 0}
        for stage, counts in expected.counts.items()
    }
    assert whole(root) == before


def agree_on_case(seed: int, root: Path) -> list[Expected]:
    """A random store and the requests that follow one another in it."""
    case = Case(seed)
    write_tree(case.tree(), root)
    told = []
    for _ in range(case.requests()):
        request = case.request(root)
        request.put(root)
        told.append(agree(root, request.cohort_id, extend=request.extend))
    return told


@pytest.mark.parametrize("seed", EVERYDAY)
def test_random_cohorts(seed: int, tmp_path: Path) -> None:
    agree_on_case(seed, tmp_path / "data")


@pytest.mark.slow
@pytest.mark.parametrize("seed", SLOW)
def test_many_random_cohorts(seed: int, tmp_path: Path) -> None:
    agree_on_case(seed, tmp_path / "data")


@pytest.mark.parametrize("seed", range(10))
def test_stores_of_older_eras(seed: int, tmp_path: Path) -> None:
    """After their migrations, selected by the ids from before."""
    write_tree(migrated_store(seed), tmp_path / "data")
    assert agree(tmp_path / "data", "after").status == "built"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10, 210))
def test_many_stores_of_older_eras(seed: int, tmp_path: Path) -> None:
    write_tree(migrated_store(seed), tmp_path / "data")
    agree(tmp_path / "data", "after")


# --- small stores on purpose -------------------------------------------------------------------------------

D1, E1 = Small().draft, Small().essay
E2 = gen_id_of("essay", (D1, "et2"), 1)
SECOND_ESSAY = record("essay", E2, parent_gen_id=D1, template_id="et2")
D5 = gen_id_of("draft", ("c", "dt", "m"), 5)
V1 = gen_id_of("evaluation", (E1, "vt", "m"), 1)
LOST = gen_id_of("essay", (f"{D1}-1", "et"), 1)
MINE = {"cohorts/c1/membership.csv": f"stage,gen_id\ndraft,{D1}\nessay,{E1}\nevaluation,{V1}\n".encode()}
JUDGED = {"parent_gen_id": E1, "template_id": "vt", "llm_model_id": "m"}


def selecting(*lines: str) -> Tree:
    return {SELECTION: "\n".join(lines).encode()}


def renamed(*rows: str) -> Tree:
    """A run's mapping."""
    text = "stage,old_gen_id,new_gen_id\n" + "".join(row + "\n" for row in rows)
    return {
        f".migrator/mappings/{RUNS[0]}/mapping.csv": text.encode(),
        ".migrator/ledger.jsonl": ledger_line(1, RUNS[0]),
    }


NAMED: dict[str, tuple[Tree, bool]] = {
    "an origin of an older era": (
        MINE
        | record("evaluation", V1, origin_cohort_id=None, cohort_id="c1", **JUDGED)
        | selecting("# mode: reuse-essays", E1),
        False,
    ),
    "two origins": (
        MINE
        | record("evaluation", V1, origin_cohort_id="c2", cohort_id="c1", **JUDGED)
        | selecting("# mode: reuse-essays", E1),
        True,
    ),
    "a gap below an own draft that two essays share": (
        SECOND_ESSAY
        | record("draft", D5, combo_id="c", template_id="dt", llm_model_id="m", replicate=5, origin_cohort_id="c1")
        | {"cohorts/c1/membership.csv": f"stage,gen_id\ndraft,{D5}\n".encode()}
        | selecting(E1, E2),
        True,
    ),
    "an origin in another case": (
        MINE | record("evaluation", V1, origin_cohort_id="C1", **JUDGED) | selecting("# mode: reuse-essays", E1),
        True,
    ),
    "an essay of a draft that lost a collision": (
        record("draft", f"{D1}-1", combo_id="c", template_id="dt2", llm_model_id="m")
        | record("essay", LOST, parent_gen_id=f"{D1}-1", template_id="et")
        | selecting("# mode: reuse-drafts", LOST),
        False,
    ),
    "an id that is in use and an old one": (
        SECOND_ESSAY | renamed(f"essay,{E1},{E2}", f"essay,old,{E1}") | selecting("# mode: reuse-essays", E1, "old"),
        False,
    ),
    "an old id that a draft had too": (
        renamed(f"draft,old,{D1}", f"essay,old,{E1}") | selecting("#mode: reuse-essays", "old"),
        False,
    ),
    "a line end of old machines": ({SELECTION: f"# mode: reuse-essays\r{E1}\r".encode()}, False),
    "a model that is a number": (
        record("draft", gen_id_of("draft", ("c", "dt", "7"), 1), combo_id="c", template_id="dt", llm_model_id=7)
        | {MODEL_TABLE: b"id,for_generation,for_evaluation\n7,true,true\n"},
        False,
    ),
    "quotes and line ends in a table": (
        {COMBO_TABLE: b'"combo_id","what"\r\n"c","a\r\nb, ""c"""\r\n'},
        False,
    ),
    "an essay's folder with a file beside it": ({f"gens/essay/{E1}.tmp": b"", "gens/essay/x.txt": b""}, False),
    "a cohort's folder without a membership": ({"cohorts/c1/notes.md": b"mine"}, False),
    "no replicates for an unknown stage": (
        {REPLICATION: b"stage,replicates\ndraft,1\nessay,1\nevaluation,1\nlinks,many\n"},
        False,
    ),
    "columns nobody knows": (
        MINE | {"cohorts/c1/membership.csv": (f"x,gen_id,stage\r\n1,{D1},draft\r\n").encode()},
        True,
    ),
}


@pytest.mark.parametrize("name", NAMED)
def test_small_stores(name: str, tmp_path: Path) -> None:
    tree, extend = NAMED[name]
    assert agree(small(tmp_path, tree), "c1", extend=extend).exit_code == 0


# --- rules that need no model ------------------------------------------------------------------------------


def small(tmp_path: Path, *more: Tree) -> Path:
    """The smallest store, with more on top."""
    tree = Small().tree()
    for one in more:
        tree = tree | one
    write_tree(tree, tmp_path / "data")
    return tmp_path / "data"


def existing(root: Path) -> dict[str, set[str]]:
    return {stage: set(os.listdir(root / "gens" / stage)) for stage in STAGES}


MODES = {  # stages whose members must all have been there before; in the others none may have been
    "# mode: regenerate": (),
    "": (),
    "# mode: reuse-drafts": ("draft",),
    "# mode: reuse-essays": ("draft", "essay"),
    "# mode: reuse-essays\n# fill-up": ("draft", "essay", "evaluation"),
}


@pytest.mark.parametrize("directives", MODES)
def test_a_mode_mints_where_it_must_and_nowhere_else(directives: str, tmp_path: Path) -> None:
    root = small(tmp_path, selecting(directives, E1))
    before = existing(root)
    answer = build(root, "c1")
    assert answer.code == 0, answer.err
    for stage, names in members_of(root, "c1").items():
        assert len(names) == 1
        assert (set(names) <= before[stage]) == (stage in MODES[directives])
        assert answer.json["counts"][stage]["created"] == (stage not in MODES[directives])


def test_fill_up_makes_what_is_missing_and_no_more(tmp_path: Path) -> None:
    """One of three evaluations is there."""
    root = small(tmp_path, small_tables(evaluation=3), selecting("# mode: reuse-essays", "# fill-up", E1))
    counts = build(root, "c1").json["counts"]["evaluation"]
    assert (counts["wanted"], counts["reused_other"], counts["created"]) == (3, 1, 2)


def test_a_second_cohort_of_the_same_axes_shares_all(tmp_path: Path) -> None:
    root = small(tmp_path, small_tables(2, 2, 2))
    assert build(root, "c1").code == 0
    before = existing(root)
    answer = build(root, "c2")
    assert {stage: counts["created"] for stage, counts in answer.json["counts"].items()} == dict.fromkeys(STAGES, 0)
    assert existing(root) == before
    assert members_of(root, "c2") == members_of(root, "c1")


@pytest.mark.parametrize("seed", range(0, 60, 12))
def test_manifests_are_a_cache(seed: int, tmp_path: Path) -> None:
    """Two roads through one case, one of them without manifests: the same memberships and generations."""
    outcomes = []
    for road, forget in (("kept", False), ("deleted", True)):
        case, root = Case(seed), tmp_path / road
        write_tree(case.tree(), root)
        for _ in range(case.requests()):
            request = case.request(root)
            request.put(root)
            if forget:
                for manifest in root.glob("cohorts/*/manifest.json"):
                    manifest.unlink()
            build(root, request.cohort_id, *(["--extend"] if request.extend else []))
        files = files_of(whole(root)).items()
        outcomes.append({path: data for path, (data, _) in files if not path.endswith("/manifest.json")})
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b'{"generations": {}}', b'{"generations": 5}'])
def test_a_lost_or_damaged_manifest_changes_no_build(content: bytes | None, tmp_path: Path) -> None:
    root = small(tmp_path, selecting("# mode: reuse-drafts", E1))
    build(root, "c1")
    manifest = root / "cohorts/c1/manifest.json"
    manifest.unlink()
    if content is not None:
        manifest.write_bytes(content)
    before = files_of(whole(root))
    assert build(root, "c1").json["status"] == "unchanged"
    after = files_of(whole(root))
    for files in (before, after):
        files.pop("cohorts/c1/manifest.json", None)
    assert after == before


def test_extending_a_selection_keeps_what_was_made(tmp_path: Path) -> None:
    other = gen_id_of("essay", (D1, "et2"), 1)
    root = small(
        tmp_path,
        record("essay", other, parent_gen_id=D1, template_id="et2"),
        selecting("# mode: reuse-drafts", E1),
    )
    first = agree(root, "c1")
    write_tree(selecting("# mode: reuse-drafts", E1, other), root)
    assert agree(root, "c1").exit_code == 4
    second = agree(root, "c1", extend=True)
    assert all(set(first.members[stage]) <= set(second.members[stage]) for stage in STAGES)
    write_tree(selecting("# mode: reuse-drafts", other), root)
    assert agree(root, "c1").exit_code == 4
    assert agree(root, "c1", extend=True).status == "unchanged"


def test_lines_in_another_order_are_the_same_selection(tmp_path: Path) -> None:
    """The id of a cohort is a hash over the sorted ids, so their order must not change its members."""
    names = [gen_id_of("essay", (D1, template), 1) for template in ("et", "et2", "et3")]
    more = [
        record("essay", name, parent_gen_id=D1, template_id=template)
        for name, template in zip(names, ("et", "et2", "et3"), strict=True)
    ]
    root = small(tmp_path, *more, selecting(*names))
    assert agree(root, "c1").status == "built"
    for order in (names[::-1], names[1:] + names[:1]):
        write_tree(selecting(*order), root)
        assert agree(root, "c1").status == "unchanged"


# --- ids of cohorts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, "", "0", "false", "none", "null"])
def test_a_cohort_that_nobody_names_is_named_by_its_inputs(value: str | None, tmp_path: Path) -> None:
    root = small(tmp_path)
    answer = build(root, cohort=value)
    assert re.fullmatch("cohort-[0-9a-f]{12}", answer.json["cohort_id"])
    assert os.listdir(root / "cohorts") == [answer.json["cohort_id"]]
    assert build(root).json["status"] == "unchanged"


def test_the_environment_names_a_cohort(tmp_path: Path) -> None:
    root = small(tmp_path)
    assert build(root, cohort="from-outside").json["cohort_id"] == "from-outside"
    assert build(root, "said", cohort="from-outside").json["cohort_id"] == "said"


TWO = (E1, E2)
SAME_NAME: dict[str, tuple[Tree, Tree]] = {
    "order of combos": ({COMBO_TABLE: b"combo_id\nc\nb\n"}, {COMBO_TABLE: b"combo_id\nb\nc\nb\n"}),
    "order of lines": (selecting(*TWO), selecting(*TWO[::-1])),
    "a repeated line": (selecting(*TWO), selecting(*TWO, TWO[0])),
    "the default mode": (selecting(*TWO), selecting(*TWO, "# mode: regenerate")),
    "an alias": (selecting("#mode: evaluation-only", *TWO), selecting("# MODE: Reuse-Essays", *TWO)),
    "an inactive row": (
        {},
        {"1_raw/essay_templates.csv": b"template_id,active,generator\nz,no,\net,YES,llm\n"},
    ),
    "no ids": ({}, selecting("# mode: regenerate", "# nothing yet")),
}
OTHER_NAME: dict[str, tuple[Tree, Tree]] = {
    "combos": ({}, {COMBO_TABLE: b"combo_id\nc\nb\n"}),
    "templates": ({}, {"1_raw/essay_templates.csv": b"template_id,active\net2,true\n"}),
    "replication": ({}, small_tables(evaluation=2)),
    "selection": ({}, selecting(*TWO)),
    "selected ids": (selecting(*TWO), selecting(TWO[0])),
    "mode": (selecting(*TWO), selecting("# mode: reuse-drafts", *TWO)),
    "fill-up": (selecting("#mode: reuse-essays", *TWO), selecting("#mode: reuse-essays", "#fillup", *TWO)),
    "models": ({}, {"1_raw/llm_models.csv": b"id,for_generation,for_evaluation\nm,true,no\nn,no,true\n"}),
}


def names_of_both(root: Path, two: tuple[Tree, Tree]) -> list[str]:
    """Ids of the cohorts that are built with one and then with the other."""
    ids = []
    for files in two:
        for path in (SELECTION,):
            (root / path).unlink(missing_ok=True)
        write_tree(small_tables() | files, root)
        answer = build(root)
        assert answer.code == 0, answer.err
        ids.append(str(answer.json["cohort_id"]))
    return ids


@pytest.mark.parametrize("what", SAME_NAME)
def test_the_same_wish_has_the_same_name(what: str, tmp_path: Path) -> None:
    one, other = names_of_both(small(tmp_path, SECOND_ESSAY), SAME_NAME[what])
    assert one == other


@pytest.mark.parametrize("what", OTHER_NAME)
def test_another_wish_has_another_name(what: str, tmp_path: Path) -> None:
    one, other = names_of_both(small(tmp_path, SECOND_ESSAY), OTHER_NAME[what])
    assert one != other


# --- wrong inputs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WRONG)
def test_wrong_inputs_are_refused_and_nothing_is_written(name: str, tmp_path: Path) -> None:
    wrong, root = WRONG[name], tmp_path / "data"
    write_tree(wrong.tree(), root)
    before = whole(root)
    answer = build(root, "c1")
    assert (answer.code, answer.json["status"]) == (wrong.exit_code, "refused"), answer.err
    assert whole(root) == before
    assert [word for word in wrong.says if word not in answer.out + answer.err] == []


@pytest.mark.parametrize(
    ("name", "in_environment"), [(" ", False), *((name, said) for name in UNSAFE_NAMES for said in (False, True))]
)
def test_names_that_are_no_folder_of_their_own(name: str, in_environment: bool, tmp_path: Path) -> None:
    root = small(tmp_path)
    before, beside = whole(root), sorted(os.listdir(tmp_path))
    answer = build(root, cohort=name) if in_environment else build(root, name)
    assert answer.code in (1, 2), answer.out
    assert whole(root) == before
    assert [entry for entry in sorted(os.listdir(tmp_path)) if entry not in beside] in ([], [".data.migrator"])


@pytest.mark.parametrize("content", [None, b"[]", b'{"stage": "draft"}'])
def test_a_folder_in_the_place_of_what_would_be_made_is_left_alone(content: bytes | None, tmp_path: Path) -> None:
    """It bears the id already, and does not say what it is."""
    place = "gens/draft/" + gen_id_of("draft", ("other", "dt", "m"), 1)
    mine = {f"{place}/raw.txt": b"mine"} | ({} if content is None else {f"{place}/metadata.json": content})
    root = small(tmp_path, {COMBO_TABLE: b"combo_id\nother\n"}, mine)
    before = whole(root)
    answer = build(root, "c1")
    assert answer.code in (1, 4)
    assert whole(root) == before


def test_what_a_build_does_not_need_may_be_broken(tmp_path: Path) -> None:
    broken = {"gens/evaluation/v_broken/metadata.json": b"{", "gens/draft/d_empty/raw.txt": b"x"}
    root = small(tmp_path, broken, selecting("# mode: reuse-drafts", E1))
    assert agree(root, "c1").status == "built"


# --- any axes ----------------------------------------------------------------------------------------------


def subsets(values: tuple[str, ...], most: int = 2) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(values), min_size=1, max_size=most, unique=True).map(tuple)


AXES = st.builds(
    Axes,
    combos=subsets(COMBOS),
    templates=st.fixed_dictionaries({stage: subsets(TEMPLATES[stage]) for stage in STAGES}),
    generation=subsets(MODELS),
    evaluation=subsets(MODELS),
    replicates=st.fixed_dictionaries({stage: st.integers(1, 3) for stage in STAGES}),
).filter(lambda axes: axes.evaluations() <= 24)


@contextlib.contextmanager
def empty_root() -> Iterator[Path]:
    """A data root of its own for each example."""
    folder = Path(tempfile.mkdtemp())
    try:
        (folder / "data/gens").mkdir(parents=True)
        yield folder / "data"
    finally:
        shutil.rmtree(folder)


@settings(
    max_examples=8, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.filter_too_much]
)
@given(first=AXES, second=AXES, seed=st.integers(0, 9))
def test_any_axes(first: Axes, second: Axes, seed: int) -> None:
    """From nothing: as many as the product says; then other axes share whatever is the same."""
    with empty_root() as root:
        write_tree(first.tables(random.Random(seed)), root)
        assert len(agree(root, "one").members["evaluation"]) == first.evaluations()
        write_tree(second.tables(random.Random(seed)), root)
        assert len(agree(root, "two").members["evaluation"]) == second.evaluations()
        agree(root, "one", extend=True)
