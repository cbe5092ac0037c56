"""What is there is skipped, what is missing is made, and nothing is paid for twice (contract, section 7)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from migrator.pipeline import Task
from tests.pipeline.conftest import Line, chain, gen, mtimes, tree

WORK = ["essay.prompt", "essay.raw", "essay.parsed"]


def essay_of(root: Path, line: Line, files: dict[str, str], **fields: object) -> str:
    """An essay with these files, below a finished draft, both registered."""
    done = {"parsed.txt": "a draft"}
    draft = gen(root, "draft", done, combo_id="combo_1", template_id="links-v1", llm_model_id="sonnet-4")
    essay = gen(root, "essay", files, **{"template_id": "narrative-v1", "parent_gen_id": draft, **fields})
    line.register(("draft", draft), ("essay", essay))
    return essay


def test_a_chain_is_made_and_then_skipped(root: Path, line: Line) -> None:
    """One call a generation, then none; the second time no file is touched."""
    keys = list(zip(("draft", "essay", "evaluation"), chain(root), strict=True))
    line.register(*keys)
    for key in keys:
        assert line.make(*key).skipped == []
    assert line.model.calls == [gen_id for _, gen_id in keys]
    before, written = tree(root), mtimes(root)
    for stage, gen_id in keys:
        events = line.make(stage, gen_id)
        assert events.skipped == [f"{stage}.prompt", f"{stage}.raw", f"{stage}.parsed", f"{stage}_checks"]
        assert events.steps("ASSET_MATERIALIZATION") == []
    assert len(line.model.calls) == 3
    assert (tree(root), mtimes(root)) == (before, written)


@pytest.mark.parametrize(
    ("files", "skipped", "calls"),
    [
        ({}, [], 1),
        ({"prompt.txt": "p"}, WORK[:1], 1),
        ({"prompt.txt": "p", "raw.txt": "r"}, WORK[:2], 0),
        ({"raw.txt": "r"}, WORK[:2], 0),
        ({"parsed.txt": "x"}, WORK, 0),
        ({"prompt.txt": "p", "parsed.txt": "x"}, WORK, 0),
        ({"prompt.txt": "p", "raw.txt": "r", "parsed.txt": "x"}, WORK, 0),
    ],
)
def test_the_work_begins_where_the_files_end(
    root: Path, line: Line, files: dict[str, str], skipped: list[str], calls: int
) -> None:
    """Only what comes after the last file is made; what is there is never written again."""
    essay = essay_of(root, line, files)
    events = line.make("essay", essay)
    folder = root / "gens" / "essay" / essay
    assert [step for step in events.skipped if step in WORK] == skipped
    assert len(line.model.calls) == calls
    assert {name: (folder / name).read_text() for name in files} == files
    assert (folder / "parsed.txt").is_file()


def test_the_gate_says_which_files_it_found(root: Path, line: Line) -> None:
    """The reason of a skip stands in the event log, with id, signature, cohort and run."""
    essay = essay_of(root, line, {"prompt.txt": "p", "parsed.txt": "x"})
    events = line.make("essay", essay)
    (seen,) = events.metadata("ASSET_OBSERVATION")
    draft = json.loads((root / "gens" / "essay" / essay / "metadata.json").read_text())["parent_gen_id"]
    assert seen == {
        "gen_id": essay,
        "signature": f"essay|{draft}|narrative-v1|1",
        "cohort": "first",
        "run_id": events.result.run_id,
        "path": f"gens/essay/{essay}",
        "present": "prompt.txt, parsed.txt",
        "decision": "nothing to do",
    }


def test_files_that_dagster_never_saw_made_are_recorded_once(root: Path, line: Line) -> None:
    """AutomationCondition.missing() would ask for them at every tick otherwise."""
    essay = essay_of(root, line, {"raw.txt": "r"})
    events = line.make("essay", essay)
    told = events.metadata("ASSET_MATERIALIZATION")
    assert [(m["gen_id"], m.get("found")) for m in told] == [(essay, True), (essay, True), (essay, None)]
    assert {(m["run_id"], m["cohort"], m["signature"].partition("|")[0]) for m in told} == {
        (events.result.run_id, "first", "essay")
    }
    assert line.make("essay", essay).metadata("ASSET_MATERIALIZATION") == []


def test_a_task_says_what_it_is_about(root: Path, line: Line) -> None:
    """Template, combination, model and the parent's text, the missing ones from the forebears."""
    seen: list[Task] = []
    line.model.before = seen.append
    draft, essay, evaluation = chain(root)
    line.register(("draft", draft), ("essay", essay), ("evaluation", evaluation))
    for key in (("draft", draft), ("essay", essay), ("evaluation", evaluation)):
        line.make(*key)
    assert [(t.template, t.combo, t.model, t.replicate, t.source is None) for t in seen] == [
        ("links-v1", "combo_1", "sonnet-4", 1, True),
        ("narrative-v1", "combo_1", "sonnet-4", 1, False),
        ("novelty", "combo_1", "qwen", 1, False),
    ]
    assert [parent.gen_id for parent in seen[2].parents] == [essay, draft]
    assert [parent.gen_id for parent in seen[2].parents[0].parents] == [draft]


def test_the_files_beside_are_as_the_store_has_them(root: Path, line: Line) -> None:
    """Keys of the newest era, paths relative to the data root, the run that made it."""
    essay = essay_of(root, line, {})
    run_id = line.make("essay", essay).result.run_id
    folder = root / "gens" / "essay" / essay
    raw = json.loads((folder / "raw_metadata.json").read_text())
    assert raw.pop("duration_s") >= 0
    head = {"stage": "essay", "gen_id": essay, "mode": "llm", "input_mode": "prompt", "run_id": run_id, "replicate": 1}
    head["parent_gen_id"] = raw["parent_gen_id"]
    text = (folder / "raw.txt").read_text()
    assert raw == {
        **head,
        "function": "essay_raw",
        "llm_model_id": "sonnet-4",
        "finish_reason": "stop",
        "truncated": False,
        "raw_length": len(text),
        "raw_lines": 2,
        "raw_path": f"gens/essay/{essay}/raw.txt",
        "raw_metadata_path": f"gens/essay/{essay}/raw_metadata.json",
    }
    assert json.loads((folder / "parsed_metadata.json").read_text()) == {
        **head,
        "function": "essay_parsed",
        "parser_name": "identity",
        "success": True,
        "error": None,
        "parsed_path": f"gens/essay/{essay}/parsed.txt",
        "parsed_metadata_path": f"gens/essay/{essay}/parsed_metadata.json",
    }


@pytest.mark.parametrize("files", [{}, {"raw.txt": "something else"}], ids=["nothing", "raw"])
def test_a_copied_essay_is_its_drafts_text(root: Path, line: Line, files: dict[str, str]) -> None:
    """The template's generator decides; no model is called."""
    (root / "1_raw").mkdir()
    (root / "1_raw" / "essay_templates.csv").write_text("template_id,generator\n Parsed-From-Links ,Copy\n")
    essay = essay_of(root, line, files, template_id="parsed-from-links", mode="llm")
    line.make("essay", essay)
    assert line.model.calls == []
    folder = root / "gens" / "essay" / essay
    assert (folder / "parsed.txt").read_text() == "a draft"
    assert json.loads((folder / "parsed_metadata.json").read_text())["mode"] == "copy"


def test_a_generator_of_llm_wins_over_a_mode_of_copy(root: Path, line: Line) -> None:
    """`mode` counts only where the template is not listed."""
    (root / "1_raw").mkdir()
    (root / "1_raw" / "essay_templates.csv").write_text("template_id,generator\nnarrative-v1,\n")
    line.make("essay", essay_of(root, line, {}, mode="copy"))
    assert len(line.model.calls) == 1


def test_a_failure_in_the_middle_is_not_paid_for_again(root: Path, line: Line) -> None:
    """The retry makes only the rest: first the call that failed, never the prompt."""
    essay = essay_of(root, line, {})

    def refuse(task: Task) -> None:
        raise RuntimeError("the provider is down")

    line.model.before = refuse
    assert "the provider is down" in line.make("essay", essay, fails=True).error
    assert (root / "gens" / "essay" / essay / "prompt.txt").is_file()
    line.model.before = None
    assert line.make("essay", essay).skipped == WORK[:1]
    assert len(line.model.calls) == 2


def test_an_answer_that_cannot_be_parsed_is_kept(root: Path, line: Line) -> None:
    """raw.txt stays, the reason stands beside it, and after a repair only the parsing runs."""
    draft, essay, evaluation = chain(root)
    for stage, gen_id in (("draft", draft), ("essay", essay)):
        (root / "gens" / stage / gen_id / "parsed.txt").write_text("text")
    line.register(("evaluation", evaluation))
    folder = root / "gens" / "evaluation" / evaluation
    (folder / "raw.txt").write_text("no number in here")
    assert "there is no score" in line.make("evaluation", evaluation, fails=True).error
    noted = json.loads((folder / "parsed_metadata.json").read_text())
    assert (noted["success"], noted["error"], noted["parsed_path"]) == (False, "there is no score", None)
    assert not (folder / "parsed.txt").exists()
    (folder / "raw.txt").write_text("SCORE: 7")
    line.make("evaluation", evaluation)
    assert (folder / "parsed.txt").read_text() == "7"
    assert line.model.calls == []


def test_a_file_is_replaced_and_never_written_into(root: Path, line: Line) -> None:
    """Another name of the same file, as a snapshot has it, keeps its bytes."""
    essay = essay_of(root, line, {"raw.txt": "r", "parsed_metadata.json": "{}"})
    kept = root.parent / "kept"
    kept.hardlink_to(root / "gens" / "essay" / essay / "parsed_metadata.json")
    line.make("essay", essay)
    assert json.loads((root / "gens" / "essay" / essay / "parsed_metadata.json").read_text())["success"]
    assert kept.read_text() == "{}"


def test_what_another_run_made_meanwhile_is_left(root: Path, line: Line) -> None:
    """Two runs of one partition: the first text stays, with the file beside it."""
    essay = essay_of(root, line, {})
    folder = root / "gens" / "essay" / essay
    line.model.before = lambda task: (folder / "raw.txt").write_text("mine") and None
    line.make("essay", essay)
    assert (folder / "raw.txt").read_text() == "mine"
    assert not (folder / "raw_metadata.json").exists()


def test_a_parent_without_text_is_named(root: Path, line: Line) -> None:
    """The essay cannot begin before its draft: the message says what to materialize, nothing is written."""
    draft, essay, _ = chain(root)
    line.register(("draft", draft), ("essay", essay))
    error = line.make("essay", essay, fails=True).error
    assert f"materialize draft_parsed of partition {draft} first" in error
    assert [path.name for path in (root / "gens" / "essay" / essay).iterdir()] == ["metadata.json"]


def test_a_key_that_is_in_no_store_is_told(root: Path, line: Line) -> None:
    """A partition of another time: no folder is made for it."""
    line.register(("draft", "gone"))
    assert "there is no draft 'gone' in the store" in line.make("draft", "gone", fails=True).error
    assert list((root / "gens").iterdir()) == []
