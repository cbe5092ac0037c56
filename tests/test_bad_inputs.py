"""Promise 6: bad input is refused with its kind, all of it in one report, nothing changed to the change time.

A case is a name, what is done to a good store, and what plan and upgrade must say: blocking findings as
(kind, generation or path), or nothing where it is accepted. Every case runs through both.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from migrator import runner
from migrator.engine import ledger, lock
from migrator.engine.ledger import Applied
from migrator.errors import CareNeeded, DecisionNeeded, MigratorError, UsageError
from tests.faults import site
from tests.torture.world import exact, tiny_store

Change = Callable[[Path], object]
Finding = tuple[str, str]
GOOD = {"stage": "draft", "gen_id": "bad", "combo_id": "c9", "template_id": "t", "llm_model_id": "m", "replicate": 1}
BAD = "gens/draft/bad"
MEMBERS = "cohorts/two/membership.csv"


def write(root: Path, path: str, data: bytes | str) -> Path:
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data if isinstance(data, bytes) else data.encode())
    return target


def draft(**changes: Any) -> Change:
    """A draft `bad` with these fields; None takes a field away."""
    fields = {key: value for key, value in (GOOD | changes).items() if value is not ...}
    return lambda root: write(root, f"{BAD}/metadata.json", json.dumps(fields))


def essay(**fields: Any) -> Change:
    return lambda root: write(root, "gens/essay/bad/metadata.json", json.dumps(fields))


def raw(data: bytes | str, name: str = "metadata.json") -> Change:
    """The draft `bad`, one of whose files has these bytes."""

    def change(root: Path) -> None:
        draft()(root)
        write(root, f"{BAD}/{name}", data)

    return change


def special(make: Callable[[Path], object], name: str = "metadata.json") -> Change:
    def change(root: Path) -> None:
        draft()(root)
        (root / BAD / name).unlink(missing_ok=True)
        make(root / BAD / name)

    return change


def bind(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # a socket's whole path must be short
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(path.name)
    finally:
        os.chdir(here)


def large(size: int) -> Callable[[Path], object]:
    def make(path: Path) -> None:
        path.touch()
        os.truncate(path, size)

    return make


def folder(name: str, stage: str = "draft") -> Change:
    def change(root: Path) -> None:
        path = os.fsencode(root / "gens" / stage) + b"/" + os.fsencode(name)
        os.mkdir(path)
        fields = {key: value for key, value in GOOD.items() if key != "gen_id"}
        with open(path + b"/metadata.json", "w") as file:
            json.dump(fields, file)

    return change


def table(data: bytes | str, path: str = MEMBERS) -> Change:
    return lambda root: write(root, path, data)


JSON: Finding = ("invalid-json", "bad")
FIELD: Finding = ("invalid-field", "bad")
MISSING: Finding = ("missing-field", "bad")
UNSAFE: Finding = ("unsafe-path", "bad")
LOST: Finding = ("missing-parent", "bad")
TABLE: Finding = ("invalid-table", MEMBERS)
HEAD = "stage,gen_id\n"
text = json.dumps(GOOD)

METADATA: dict[str, tuple[Change, set[Finding]]] = {
    "empty": (raw(""), {JSON}),
    "only NUL bytes": (raw(b"\0" * 40), {JSON}),
    "NUL in a text": (raw(text.replace("c9", "c\0")), {JSON}),
    "truncated": (raw(text[:-9]), {JSON}),
    "BOM": (raw(b"\xef\xbb\xbf" + text.encode()), {JSON}),
    "UTF-16": (raw(text.encode("utf-16")), {JSON}),
    "Latin-1": (raw(text.replace("c9", "cé").encode("latin-1")), {JSON}),
    "a list": (raw("[]"), {JSON}),
    "null": (raw("null"), {JSON}),
    "a string": (raw('"x"'), {JSON}),
    "a number": (raw("7"), {JSON}),
    "a key twice": (raw('{"stage": "draft", "stage": "draft"}'), {JSON}),
    "a key twice, deep": (raw(text[:-1] + ', "x": [{"a": 1, "a": 2}]}'), {JSON}),
    "NaN is kept": (raw(text[:-1] + ', "x": NaN}'), set()),
    "Infinity is kept": (raw(text[:-1] + ', "x": [Infinity, -Infinity]}'), set()),
    "lone surrogate": (raw(text[:-1] + ', "x": "\\ud800"}'), {JSON}),
    "a pair of surrogates is a letter": (raw(text[:-1] + ', "x": "\\ud83d\\ude00"}'), set()),
    "trailing garbage": (raw(text + "x"), {JSON}),
    "two documents": (raw(text + text), {JSON}),
    "an integer of 5,000 digits": (raw(text[:-1] + f', "x": {"1" * 5000}}}'), {JSON}),
    "an integer of 30 digits is kept": (raw(text[:-1] + f', "x": {"1" * 30}}}'), set()),
    "nested 100,000 deep": (raw('{"a":' * 100_000 + "1" + "}" * 100_000), {JSON}),
    "lists nested 100,000 deep": (raw('{"a":' + "[" * 100_000 + "]" * 100_000 + "}"), {JSON}),
    "nested 300 deep": (raw('{"a":' * 300 + "1" + "}" * 300), {JSON}),
    "merge conflict": (raw(f"<<<<<<< HEAD\n{text}\n=======\n{text}\n>>>>>>> other\n"), {JSON}),
    "git-LFS pointer": (raw("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"), {JSON}),
    "100 MB": (special(large(100 << 20)), {JSON}),
    "single quotes": (raw(str(GOOD)), {JSON}),
    "a comment": (raw("// x\n" + text), {JSON}),
    "a folder in its place": (special(lambda path: path.mkdir()), {JSON}),
    "a FIFO in its place": (special(os.mkfifo), {JSON}),
    "a socket in its place": (special(bind), {JSON}),
    "a dangling link in its place": (special(lambda path: path.symlink_to("nowhere")), {JSON}),
    "a link to a good file in its place": (special(lambda path: path.symlink_to("../a1/metadata.json")), {JSON}),
    "a link to itself in its place": (special(lambda path: path.symlink_to(path.name)), {JSON}),
    "none": (special(lambda path: None), {("missing-metadata", "bad")}),
    "raw_metadata.json truncated": (raw("{", "raw_metadata.json"), {JSON}),
    "raw_metadata.json a list": (raw("[]", "raw_metadata.json"), {JSON}),
    "parsed_metadata.json truncated": (raw("{", "parsed_metadata.json"), {JSON}),
    "parsed_metadata.json a FIFO": (
        special(os.mkfifo, "parsed_metadata.json"),
        {JSON},
    ),
}

FIELDS: dict[str, tuple[Change, set[Finding]]] = {
    **{
        f"replicate {value!r} is put in order": (draft(replicate=value), set())
        for value in (0, -1, True, 1.9, 2.0, "1.0", "1_0", "１", " 1 ", "", None, "nan", [], {})
    },
    "gen_id of another": (draft(gen_id="a1"), {("gen-id-mismatch", "bad")}),
    "gen_id a number": (draft(gen_id=7), {("gen-id-mismatch", "bad")}),
    "gen_id null is absent": (draft(gen_id=None), set()),
    "gen_id missing is written": (draft(gen_id=...), set()),
    "gen_id unsafe": (draft(gen_id="../x"), {("gen-id-mismatch", "bad"), UNSAFE}),
    "stage of another folder": (draft(stage="essay"), {("stage-mismatch", "bad")}),
    "stage in capitals": (draft(stage="DRAFT"), {("stage-mismatch", "bad")}),
    "parent missing": (essay(template_id="e"), {("missing-field", "bad")}),
    "parent unknown": (essay(template_id="e", parent_gen_id="nobody"), {LOST}),
    "parent itself": (essay(template_id="e", parent_gen_id="bad"), {LOST}),
    "parent of the wrong stage": (essay(template_id="e", parent_gen_id="b1"), {LOST}),
    "parent in another case": (essay(template_id="e", parent_gen_id="A1"), {LOST}),
    "parent a list": (essay(template_id="e", parent_gen_id=["a1"]), {FIELD}),
    "parent true": (essay(template_id="e", parent_gen_id=True), {FIELD}),
    "combo missing": (draft(combo_id=...), {MISSING}),
    "combo empty": (draft(combo_id=""), {MISSING}),
    "combo blank": (draft(combo_id="  "), {MISSING}),
    "combo null": (draft(combo_id=None), {MISSING}),
    "combo the text nan": (draft(combo_id="NaN"), {MISSING}),
    "combo with a bar": (draft(combo_id="a|b"), {FIELD}),
    "combo with a control character": (draft(combo_id="a\x07b"), {FIELD}),
    "combo with an escape": (draft(combo_id="a\x1b[2J"), {FIELD}),
    "combo with a newline": (draft(combo_id="a\nb"), {FIELD}),
    "combo true": (draft(combo_id=True), {FIELD}),
    "combo a fraction": (draft(combo_id=1.5), {FIELD}),
    "combo a list": (draft(combo_id=["c"]), {FIELD}),
    "combo an object": (draft(combo_id={"c": 1}), {FIELD}),
    "combo an integer is a text": (draft(combo_id=7), set()),
    "template missing": (draft(template_id=...), {MISSING}),
    "model missing": (draft(llm_model_id=...), {MISSING}),
    "model the text unknown": (draft(llm_model_id="Unknown"), {MISSING}),
    "model_id against llm_model_id warns": (draft(model_id="other"), set()),
    "the Kelvin sign is k": (draft(combo_id="\u212a"), set()),
    "a decomposed letter": (draft(combo_id="e\u0301"), set()),
    "three fields missing, three findings": (
        draft(combo_id=..., template_id=..., llm_model_id=...),
        {MISSING},
    ),
    "a lost draft without text": (
        essay(parent_gen_id="gone", mode="copy", template_id="e", combo_id="c", draft_template="t", llm_model_id="m"),
        {("backfill-no-text", "bad")},
    ),
}

TABLES: dict[str, tuple[Change, set[Finding]]] = {
    "empty": (table(""), {TABLE}),
    "header only": (table(HEAD), set()),
    "BOM": (table("\ufeff" + HEAD + "draft,a1\n"), set()),
    "a column twice": (table("stage,gen_id,gen_id\n"), {TABLE}),
    "no gen_id": (table("stage,id\ndraft,a1\n"), {TABLE}),
    "short row": (table(HEAD + "draft\n"), {TABLE}),
    "long row": (table(HEAD + "draft,a1,x\n"), {TABLE}),
    "torn last line": (table(HEAD + "draft,a1\ndra"), {TABLE}),
    "CR only": (table("stage,gen_id\rdraft,a1\r"), set()),
    "mixed line ends": (table("stage,gen_id\r\ndraft,a1\nessay,b1\r"), set()),
    "NUL": (table(HEAD + "draft,a\0\n"), {TABLE}),
    "newline in quotes": (table(HEAD + 'draft,"a\n1"\n'), set()),
    "unterminated quote": (table(HEAD + 'draft,"a1\nessay,b1\n'), {TABLE}),
    "semicolons": (table("stage;gen_id\ndraft;a1\n"), {TABLE}),
    "spaces after commas": (table("stage, gen_id\ndraft, a1\n"), set()),
    "not UTF-8": (table(HEAD.encode() + b"draft,\xff\n"), {TABLE}),
    "UTF-16": (table((HEAD + "draft,a1\n").encode("utf-16")), {TABLE}),
    "a field of 200,000 characters": (table("stage,gen_id,note\ndraft,a1," + "x" * 200_000 + "\n"), set()),
    "rows twice": (table(HEAD + "draft,a1\ndraft,a1\n"), set()),
    "an unknown member warns": (table(HEAD + "draft,nobody\n"), set()),
    "numbers stay texts": (table(HEAD + "draft,007\ndraft,1e5\ndraft,NA\ndraft,null\ndraft,nan\n"), set()),
    "a formula": (table(HEAD + 'draft,"=cmd()"\n'), set()),
    "a folder in its place": (lambda root: (root / MEMBERS).mkdir(parents=True), {TABLE}),
    "a FIFO in its place": (
        lambda root: (write(root, MEMBERS, "").unlink(), os.mkfifo(root / MEMBERS)),
        {TABLE},
    ),
    "tasks: unterminated quote": (
        table('gen_id\n"x', "2_tasks/x.csv"),
        {("invalid-table", "2_tasks/x.csv")},
    ),
    "selection: not UTF-8": (
        table(b"\xff\n", "2_tasks/selected_x.txt"),
        {("invalid-table", "2_tasks/selected_x.txt")},
    ),
    "templates: without template_id": (
        table("id\nt\n", "1_raw/essay_templates.csv"),
        {("invalid-table", "1_raw/essay_templates.csv")},
    ),
    "models: without id": (table("x\n1\n", "1_raw/llm_models.csv"), {("invalid-table", "1_raw/llm_models.csv")}),
    "replication: short row": (
        table("stage,replicates\ndraft\n", "1_raw/replication_config.csv"),
        {("invalid-table", "1_raw/replication_config.csv")},
    ),
}

NAMES = ("-rf", "=x", "+x", "@x", "\tx", "x\udcff")
LAYOUT: dict[str, tuple[Change, set[Finding]]] = {
    "an unknown stage is kept": (lambda root: write(root, "gens/poem/p/metadata.json", "{"), set()),
    "a file beside the stages is kept": (lambda root: write(root, "gens/README", "x"), set()),
    "extra files and folders are kept": (lambda root: write(root, "gens/draft/a1/x/y/z", "x"), set()),
    "an empty generation": (lambda root: (root / BAD).mkdir(), {("missing-metadata", "bad")}),
    "raw.txt without metadata": (lambda root: write(root, f"{BAD}/raw.txt", "x"), {("missing-metadata", "bad")}),
    "a left-over .tmp is kept": (lambda root: write(root, "gens/draft/a1/metadata.json.tmp", "{"), set()),
    "a hidden folder is no generation": (lambda root: write(root, "gens/draft/.set-aside/x/metadata.json", "{"), set()),
    "a linked generation": (lambda root: (root / BAD).symlink_to("a1"), {UNSAFE}),
    "a linked stage": (
        lambda root: (
            (root / "gens/essay").rename(root / "elsewhere"),
            (root / "gens/essay").symlink_to("../elsewhere"),
        ),
        {("unsafe-path", "gens/essay"), ("missing-parent", "v1")},
    ),
    "a linked cohort": (lambda root: (root / "cohorts/two").symlink_to("one"), {("unsafe-path", "cohorts/two")}),
    "a loop of links is kept": (lambda root: (root / "gens/draft/a1/loop").symlink_to("."), set()),
    "a link out of the root is kept": (lambda root: (root / "gens/draft/a1/out").symlink_to("/etc/passwd"), set()),
    "a FIFO inside a generation": (
        lambda root: os.mkfifo(root / "gens/draft/a1/pipe"),
        {("unsafe-path", "gens/draft/a1/pipe")},
    ),
    "hard links between generations": (
        lambda root: os.link(root / "gens/draft/a1/parsed.txt", root / "gens/draft/a2/other.txt"),
        set(),
    ),
    "read-only files": (lambda root: (root / "gens/draft/a1/metadata.json").chmod(0o400), set()),
    "a read-only folder": (lambda root: (root / "gens/draft/a1").chmod(0o500), set()),
    "a name of 255 bytes": (lambda root: write(root, f"gens/draft/a1/{'x' * 255}", "x"), set()),
    "a name that is no UTF-8": (lambda root: Path(os.fsdecode(os.fsencode(root) + b"/\xff")).touch(), set()),
    "two that differ in case": (
        lambda root: [folder(name)(root) for name in ("Case", "case")],
        set(),
    ),
    **{f"a generation called {name!r}": (folder(name), {("unsafe-path", name)}) for name in NAMES},
}

CASES = {
    f"{group}: {name}": case
    for group, cases in (("metadata", METADATA), ("field", FIELDS), ("table", TABLES), ("layout", LAYOUT))
    for name, case in cases.items()
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    tiny_store(tmp_path / "data")
    return tmp_path / "data"


def said(problems: Any) -> set[Finding]:
    """Blocking findings as (kind, generation or path); each says something, on one line."""
    assert all(problem.message and "\n" not in problem.message for problem in problems)
    return {(problem.kind, problem.gen_id or problem.path) for problem in problems if problem.blocking}


def test_there_are_cases_enough() -> None:
    assert len(CASES) >= 80


@pytest.mark.parametrize("name", CASES)
def test_each_is_refused_with_its_kind_or_accepted(root: Path, name: str) -> None:
    change, expected = CASES[name]
    change(root)
    before = exact(root, times_only=True)
    one = site(root.parent)
    plan = runner.read_plan(one)
    assert plan is not None
    assert said(plan.problems) == expected
    assert exact(root, times_only=True) == before
    outcome = runner.upgrade(one)
    if expected:
        assert outcome.status == "refused"
        assert said(outcome.problems) == expected
        assert exact(root, times_only=True) == before
        assert one.runs() == []
    else:
        assert outcome.status == "committed"
        assert runner.upgrade(one).status == "up-to-date"


def test_all_of_it_is_in_one_report(root: Path) -> None:
    """Every bad document at once, each as a generation of its own: not one is hidden by another."""
    expected: set[Finding] = set()
    for number, (change, findings) in enumerate(METADATA.values()):
        if findings:
            change(root)
            (root / BAD).rename(root / f"gens/draft/bad{number}")
            expected |= {(kind, what.replace("bad", f"bad{number}")) for kind, what in findings}
    plan = runner.read_plan(site(root.parent))
    assert plan is not None
    assert said(plan.problems) == expected


# -- our own state


def _upgraded(root: Path) -> None:
    runner.upgrade(site(root.parent))


def _ledger(change: Callable[[list[Applied]], list[Applied]]) -> Change:
    def do(root: Path) -> None:
        _upgraded(root)
        path = root / ".migrator/ledger.jsonl"
        path.write_bytes(ledger.render(change(ledger.read(path))))

    return do


def _replaced(entries: list[Applied], **values: str) -> list[Applied]:
    from dataclasses import replace

    return [*entries[:-1], replace(entries[-1], **values)]


def _steps(root: Path, **texts: str) -> None:
    steps = root.parent / "steps"
    steps.mkdir()
    for name, source in texts.items():
        (steps / f"{name}.py").write_text(source)


GOOD_STEP = '"""A step."""\n\n\ndef changes(store):\n    return []\n'
OWN: dict[str, tuple[Change, type[MigratorError], str]] = {
    "ledger torn": (
        lambda root: (_upgraded(root), (root / ".migrator/ledger.jsonl").write_text('{"number": "00')),
        CareNeeded,
        "ledger cannot be read",
    ),
    "ledger not UTF-8": (lambda root: write(root, ".migrator/ledger.jsonl", b"\xff\n"), CareNeeded, "cannot be read"),
    "ledger with a key of a newer tool": (
        lambda root: (
            _upgraded(root),
            write(
                root, ".migrator/ledger.jsonl", (root / ".migrator/ledger.jsonl").read_text().replace('"note"', '"new"')
            ),
        ),
        CareNeeded,
        "cannot be read",
    ),
    "ledger with a run id that is a path": (
        _ledger(lambda entries: _replaced(entries, run_id="../../x")),
        CareNeeded,
        "is not a run id",
    ),
    "ledger with an unknown step": (
        _ledger(lambda entries: _replaced(entries, number="0099", name="later")),
        DecisionNeeded,
        "missing from the folder",
    ),
    "ledger with an edited step": (
        _ledger(lambda entries: _replaced(entries, digest="0")),
        DecisionNeeded,
        "edited after it was applied",
    ),
    "journal torn": (
        lambda root: (
            lock.files.make_dirs(site(root.parent).place.state),
            (site(root.parent).place.state / "journal.json").write_text('{"action'),
        ),
        CareNeeded,
        "journal of an interrupted run",
    ),
    "journal of an unknown action": (
        lambda root: (
            lock.files.make_dirs(site(root.parent).place.state),
            (site(root.parent).place.state / "journal.json").write_text(
                '{"action": "x", "run_id": "20260101-000000", "folder": "b", "moves": []}'
            ),
        ),
        CareNeeded,
        "unknown action",
    ),
    "two steps with one number": (
        lambda root: _steps(root, **{"0001_a": GOOD_STEP, "0001_b": GOOD_STEP}),
        DecisionNeeded,
        "two steps have the number",
    ),
    "a gap between steps": (
        lambda root: _steps(root, **{"0001_a": GOOD_STEP, "0003_b": GOOD_STEP}),
        DecisionNeeded,
        "gap",
    ),
    "a step with a syntax error": (
        lambda root: _steps(root, **{"0001_a": "def changes(:"}),
        MigratorError,
        "cannot be read",
    ),
    "a step that raises at import": (
        lambda root: _steps(root, **{"0001_a": "1 / 0"}),
        MigratorError,
        "fails when it is imported",
    ),
    "a step that exits at import": (
        lambda root: _steps(root, **{"0001_a": "raise SystemExit(0)"}),
        MigratorError,
        "fails when it is imported",
    ),
    "a step without changes": (lambda root: _steps(root, **{"0001_a": "x = 1"}), MigratorError, "no function changes"),
    "a step with a NUL": (lambda root: _steps(root, **{"0001_a": "x = '\0'"}), MigratorError, "cannot be read"),
    "no data root": (lambda root: root.rename(root.with_name("elsewhere")), UsageError, "no such data root"),
    "a data root that is a file": (
        lambda root: (root.rename(root.with_name("elsewhere")), root.write_text("x")),
        UsageError,
        "no such data root",
    ),
}


@pytest.mark.parametrize("name", OWN)
def test_own_state_that_cannot_be_trusted_is_refused(root: Path, name: str) -> None:
    change, error, message = OWN[name]
    change(root)
    steps = root.parent / "steps"
    one = site(root.parent, **({"migrations": steps} if steps.is_dir() else {}))
    before = exact(root, times_only=True) if root.is_dir() else {}
    for act in (runner.read_plan, runner.upgrade):
        if name.startswith("journal") and act is runner.read_plan:
            continue  # a look at the plan needs no journal
        with pytest.raises(error, match=message):
            act(one)
        assert (exact(root, times_only=True) if root.is_dir() else {}) == before
