"""`migrator check`: what counts, what is read, and what a pull request gets to see."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from pathlib import Path

import pytest

from migrator.cli import main
from tests.cli.conftest import STORE, Cli, as_tree
from tests.faults import MIGRATIONS
from tests.random_stores import write_tree

DRAFT = ("draft", "d_4py995ydm8lggqs")  # vectors of the contract
ESSAY = ("essay", "e_4nyhf2w3mpgelz3h")
METADATA: dict[tuple[str, str], dict[str, object]] = {
    DRAFT: {
        "template_id": "creative-synthesis-v2",
        "combo_id": "combo_v1_0a1b2c3d4e5f",
        "llm_model_id": "gemini_25_pro",
        "replicate": 1,
    },
    ESSAY: {"template_id": "parsed-from-links-v1", "parent_gen_id": DRAFT[1], "replicate": 1},
}
MEMBERS = f"stage,gen_id\ndraft,{DRAFT[1]}\nessay,{ESSAY[1]}\n"


def write(root: Path, stage: str, gen_id: str, **fields: object) -> Path:
    """One generation; returns its metadata.json."""
    path = root / "gens" / stage / gen_id / "metadata.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"stage": stage, "gen_id": gen_id, **fields}, indent=2, ensure_ascii=False))
    return path


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A right store of one draft and one essay, with a cohort; the current folder is the one above."""
    monkeypatch.chdir(tmp_path)
    for (stage, gen_id), fields in METADATA.items():
        write(tmp_path / "data", stage, gen_id, **fields)
    cohort = tmp_path / "data" / "cohorts" / "one"
    cohort.mkdir(parents=True)
    (cohort / "membership.csv").write_text(MEMBERS)
    return tmp_path / "data"


def run(*args: object) -> int:
    """The exit code of a command line."""
    with pytest.raises(SystemExit) as ended:
        main([str(arg) for arg in args])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def issues(capsys: pytest.CaptureFixture[str]) -> list[tuple[str, str]]:
    """(kind, path) of what --json tells."""
    return [(issue["kind"], issue["path"]) for issue in json.loads(capsys.readouterr().out)["issues"]]


def test_a_right_store_is_right(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 0, one JSON object, the number of generations."""
    assert run("--data-root", root, "check", "--json") == 0
    expected = {"status": "ok", "generations": 2, "not_looked_at": 0, "issues": []}
    assert expected == json.loads(capsys.readouterr().out)


def test_a_wrong_id_and_an_orphan_are_told(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All findings, not the first; the member that is gone counts as well."""
    os.rename(root / "gens/draft" / DRAFT[1], root / "gens/draft/d_other")
    assert run("--data-root", root, "check", "--format", "json") == 1
    assert issues(capsys) == [
        ("gen-id-mismatch", "gens/draft/d_other/metadata.json"),
        ("missing-parent", f"gens/essay/{ESSAY[1]}/metadata.json"),
        ("unknown-member", "cohorts/one/membership.csv"),
    ]


@pytest.mark.parametrize("path", ["metadata.json", "parsed.txt", "."])
def test_paths_name_the_generation_to_look_at(root: Path, capsys: pytest.CaptureFixture[str], path: str) -> None:
    """Any file of a generation stands for it, the data root is found above, nothing beside is read."""
    bad = write(root, "draft", "d_bad", **METADATA[DRAFT])
    (bad.parent / "parsed.txt").write_text("text")
    (root / "gens/draft" / DRAFT[1] / "metadata.json").write_text("{")
    assert run("check", bad.parent / path, "--json") == 1
    assert issues(capsys) == [("gen-id-mismatch", "gens/draft/d_bad/metadata.json")]
    assert run("check", root / "gens/essay" / ESSAY[1] / "metadata.json") == 0


def test_the_parent_of_a_named_generation_must_exist(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without reading the parent's record."""
    shutil.rmtree(root / "gens/draft" / DRAFT[1])
    assert run("check", f"data/gens/essay/{ESSAY[1]}/metadata.json", "--json") == 1
    assert issues(capsys) == [("missing-parent", f"gens/essay/{ESSAY[1]}/metadata.json")]


@pytest.mark.parametrize("name", ["e_nobody", "..", "../draft", "", "x" * 300, "a\x1b[31mb"])
def test_a_named_membership_must_resolve(root: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """Whatever stands in the cell; no path is made of it."""
    table = root / "cohorts/one/membership.csv"
    table.write_text(MEMBERS + f"essay,{name}\n")
    assert run("check", table, "--json") == 1
    assert issues(capsys) == [("unknown-member", "cohorts/one/membership.csv")]


def test_other_paths_are_not_looked_at(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """pre-commit hands over whatever was changed."""
    (root / "notes.md").write_text("x")
    outside = root.parent / "README.md"
    outside.write_text("x")
    assert run("--data-root", root, "check", root / "notes.md", outside, "--json") == 0
    expected = {"status": "ok", "generations": 0, "not_looked_at": 2, "issues": []}
    assert expected == json.loads(capsys.readouterr().out)


def test_a_linked_root_is_known_by_both_names(root: Path) -> None:
    """A path may go through the link or through what it points to."""
    link = root.parent / "link"
    link.symlink_to(root)
    bad = write(root, "draft", "d_bad", **METADATA[DRAFT])
    assert run("--data-root", link, "check", bad) == 1
    assert run("--data-root", link, "check", link / bad.relative_to(root)) == 1


def test_annotations_for_github(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line a finding, its file relative to the current folder, and no data that starts a command."""
    write(root, "draft", "d_a,b:c%", **METADATA[DRAFT] | {"replicate": "x\n::error::gotcha\x1b[31m"})
    assert run("--data-root", root, "check", "--format", "github") == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("::error file=data/gens/draft/d_a%2Cb%3Ac%25/metadata.json,title=invalid-field")
    assert "\x1b" not in lines[0]
    assert not lines[0].endswith("gotcha")


def test_data_is_harmless_on_the_screen(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Markup and escape codes in an id are shown, not obeyed, and the id is not cut."""
    name = "[red]\x1b[31m" + "x" * 120
    write(root, "draft", name, **METADATA[DRAFT])
    assert run("--data-root", root, "check") == 1
    out = capsys.readouterr().out
    assert "[red]\\x1b[31m" + "x" * 120 in out
    assert "\x1b" not in out


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["check"], 2),
        (["--data-root", "nowhere", "check"], 2),
        (["--data-root", "data", "check", "no-such-file"], 2),
        (["--data-root", "data", "check", "--format", "xml"], 2),
        (["--data-root", "data/cohorts", "check"], 1),
    ],
)
def test_refusals(root: Path, args: list[str], code: int) -> None:
    """Usage is 2; a folder that is no data root is a no."""
    assert run(*args) == code


def test_ten_files_are_quick(root: Path) -> None:
    """The work itself takes far below the 200 ms that a commit hook may take."""
    for number in range(2000):
        write(root, "draft", f"d_{number}", **METADATA[DRAFT])
    start = time.perf_counter()
    run("check", *(root / f"gens/draft/d_{number}/metadata.json" for number in range(10)))
    assert time.perf_counter() - start < 0.2


# -- steps, and the hooks for pre-commit

HOOKS = Path(__file__).resolve().parents[2] / ".pre-commit-hooks.yaml"


def hooks() -> dict[str, dict[str, str]]:
    """id -> the keys of each hook; the file is a list of flat mappings."""
    found: dict[str, dict[str, str]] = {}
    for block in HOOKS.read_text().split("- id: ")[1:]:
        name, *lines = block.splitlines()
        found[name] = dict(line.strip().split(": ", 1) for line in lines if line.strip())
    return found


@pytest.fixture
def project(here: Path, cli: Cli) -> Path:
    """A folder with settings, its own copy of the steps, and an upgraded store."""
    write_tree(as_tree(STORE), here / "data")
    shutil.copytree(MIGRATIONS, here / "migrations", ignore=shutil.ignore_patterns("__pycache__"))
    (here / "migrator.toml").write_text('migrations = "migrations"\n[env.dev]\ndata_root = "data"\n')
    assert cli("--env", "dev", "upgrade", "--yes").code == 0
    return here


def entry(hook: str, *files: Path) -> list[str]:
    """The command line that pre-commit runs."""
    program, *words = hooks()[hook]["entry"].split()
    assert program == "migrator"
    assert all(re.search(hooks()[hook]["files"], file.as_posix()) for file in files)
    return [*words, *map(str, files)]


def test_the_hook_of_ids_runs_and_can_fail(cli: Cli, project: Path) -> None:
    files = [*(project / "data").glob("gens/*/*/metadata.json"), *(project / "data").glob("cohorts/*/membership.csv")]
    assert len(files) >= 3
    assert cli(*entry("migrator-ids", *files)).code == 0
    files[0].write_text(files[0].read_text().replace('"replicate": 1', '"replicate": 2'))
    assert cli(*entry("migrator-ids", *files)).code == 1


def test_the_hook_of_steps_runs_and_can_fail(cli: Cli, project: Path) -> None:
    files = sorted((project / "migrations").glob("*.py"))
    answer = cli(*entry("migrator-steps", *files))
    assert (answer.code, "as they were when they were applied" in answer.out) == (0, True)
    source = files[0].read_text()
    files[0].write_text(source + "# edited\n")
    answer = cli(*entry("migrator-steps", files[0]), "--format", "json")
    assert answer.code == 1
    assert [issue["kind"] for issue in answer.json["issues"]] == ["invalid-step"]
    assert "0001 normalize_replicates was edited after it was applied" in answer.json["issues"][0]["message"]
    files[0].write_text(source)
    files[-1].rename(files[-1].with_name("0009_far.py"))
    answer = cli(*entry("migrator-steps", project / "migrations/0009_far.py"), "--format", "github")
    assert answer.code == 1
    assert "the numbers have a gap" in answer.out


@pytest.mark.parametrize("replicate", ["0", '"x"', "null", "true"])
def test_a_replicate_that_cannot_be_used_is_a_finding(cli: Cli, project: Path, replicate: str) -> None:
    path = next((project / "data/gens/draft").iterdir()) / "metadata.json"
    path.write_text(path.read_text().replace('"replicate": 1', f'"replicate": {replicate}'))
    assert cli("--env", "dev", "check").code == 1
    assert cli("--env", "dev", "check", path).code == 1


def test_two_generations_with_one_signature_are_a_finding(cli: Cli, project: Path) -> None:
    """Also where the second bears a collision's suffix, which makes its name a right one."""
    folder = next((project / "data/gens/draft").iterdir())
    twin = folder.with_name(folder.name + "-1")
    shutil.copytree(folder, twin)
    path = twin / "metadata.json"
    path.write_text(path.read_text().replace(f'"gen_id": "{folder.name}"', f'"gen_id": "{twin.name}"'))
    answer = cli("--env", "dev", "check", "--json")
    assert (answer.code, [issue["kind"] for issue in answer.json["issues"]]) == (1, ["id-collision"])
