"""Reading a data root: every finding at once, nothing skipped, nothing that hangs."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from migrator.errors import MigratorError
from migrator.store import codec
from migrator.store.ids import IdScheme
from migrator.store.inventory import Inventory
from migrator.store.problems import WARNINGS
from tests.conftest import Write

METADATA = "metadata.json"
Found = set[tuple[str, str, str, str]]


def found(root: Path) -> Found:
    """(kind, stage, gen_id, path) of every problem; each has a message of one line."""
    problems = Inventory.read(root).problems
    assert all(problem.message and "\n" not in problem.message for problem in problems)
    return {(p.kind, p.stage, p.gen_id, p.path) for p in problems}


def gen(stage: str, gen_id: str, **more: Any) -> dict[str, Any]:
    return {METADATA: {"stage": stage, "gen_id": gen_id, **more}}


def test_only_gens_is_needed(store: Write) -> None:
    inventory = Inventory.read(store({"draft": {"d1": {METADATA: {}}}}))
    assert set(inventory.gens) == {("draft", "d1")}
    assert (inventory.problems, dict(inventory.tables), inventory.copies) == ((), {}, ())
    assert list(Inventory.read(store({}, "empty")).generations()) == []


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir(), lambda path: path.write_text("x")])
def test_a_folder_without_gens_is_no_data_root(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / "root")
    with pytest.raises(MigratorError, match="not a data root"):
        Inventory.read(tmp_path / "root")


def test_gens_that_is_a_file_is_no_data_root(tmp_path: Path) -> None:
    (tmp_path / "gens").write_text("x")
    with pytest.raises(MigratorError, match="not a data root"):
        Inventory.read(tmp_path)


def test_what_is_no_generation_is_left_alone(store: Write) -> None:
    root = store(
        {
            "draft": {
                "d1": gen("draft", "d1"),
                ".set-aside": {"x": {METADATA: b"{broken"}},
                ".DS_Store": b"\0",
            },
            "gens": {
                "summary": {"x": {METADATA: b"{broken"}},
                "README": "stray",
                ".trash": {},
                "essay": b"a file",
            },
            "cohorts": {"README.txt": "stray", "empty": {}, ".hidden": {"membership.csv": b"\xff"}},
            "2_tasks": {
                "notes.txt": b"\xff",
                "._a.csv": b"\0",
                "other.json": b"{",
                "sub": {"x.csv": b"\xff"},
            },
            "1_raw": {"link_templates.csv": b"\xff", "concepts": {"a.csv": b"\xff"}},
            "5_parsing": {"x.csv": b"\xff"},
            "selected_essays": {"a.txt": b"\xff", "b.md": b"", "c.txt": {}},
            ".migrator": {"ledger.jsonl": b"{broken"},
        }
    )
    (root / "gens" / "draft" / ".link").symlink_to("d1")
    inventory = Inventory.read(root)
    assert inventory.problems == ()
    assert set(inventory.gens) == {("draft", "d1")}
    assert "a.txt" in inventory.copies
    assert "b.md" not in inventory.copies


def test_generations_come_in_stage_order_sorted_and_without_the_blocked(store: Write) -> None:
    root = store(
        {
            "evaluation": {"a": gen("evaluation", "a")},
            "draft": {
                "b": gen("draft", "b"),
                "B": gen("draft", "B"),
                "a": gen("draft", "x"),
                "é": gen("draft", "é"),
            },
            "essay": {"z": {METADATA: b""}},
        }
    )
    inventory = Inventory.read(root)
    keys = [each.key for each in inventory.generations()]
    assert keys == [("draft", "B"), ("draft", "b"), ("draft", "é"), ("evaluation", "a")]
    assert [each.gen_id for each in inventory.generations("draft")] == ["B", "b", "é"]
    assert inventory.unread == {("essay", "z")}
    assert inventory.blocked == {("draft", "a"), ("essay", "z")}
    assert inventory.ids("draft") == ["B", "a", "b", "é"]
    assert inventory.ids("essay") == ["z"]
    assert inventory.exists(("essay", "z"))
    assert not inventory.exists(("essay", "y"))
    assert not inventory.exists(None)


def test_a_parent_is_its_record(store: Write) -> None:
    root = store({"draft": {"7": gen("draft", "7")}, "essay": {"e": gen("essay", "e", draft_gen_id=7)}})
    inventory = Inventory.read(root)
    essay = inventory.gens["essay", "e"]
    assert inventory.parent(essay) is inventory.gens["draft", "7"]
    assert inventory.parent(inventory.gens["draft", "7"]) is None


# -- blocking findings of reading


def test_every_finding_is_listed_at_once(store: Write) -> None:
    root = store(
        {
            "draft": {
                "no-metadata": {"raw.txt": "text"},
                "bad": {METADATA: b"[]", "raw_metadata.json": b"{", "parsed_metadata.json": b'{"a":1,"a":2}'},
                "side": {METADATA: {}, "parsed_metadata.json": b"\xef\xbb\xbf{}"},
                "=1+1": gen("draft", "=1+1"),
                "other": gen("essay", "another"),
                "fine": gen("draft", "fine"),
            },
            "essay": {"climbs": gen("essay", "climbs", parent_gen_id="../../x")},
            "evaluation": {"empty": {}},
            "cohorts": {
                "c1": {"membership.csv": b"stage,gen_id\ndraft,\xe9\n"},
                "c2": {"membership.csv": "gen_id\nfine\n"},
                "c3": {"membership.csv": "stage,gen_id\ndraft,gone\n,\nsummary,fine\ndraft,bad\n"},
            },
            "2_tasks": {"a.csv": 'a,b\n1,"2\n', "selected_x.txt": b"\0"},
            "1_raw": {
                "draft_templates.csv": "id\nx\n",
                "essay_templates.csv": "template_id,template_id\n",
                "evaluation_templates.csv": "template_id\nx,y\n",
                "llm_models.csv": b"\xff",
                "replication_config.csv": "",
            },
        }
    )
    (root / "gens/evaluation/linked").symlink_to("empty")
    assert found(root) == {
        ("missing-metadata", "draft", "no-metadata", "gens/draft/no-metadata/metadata.json"),
        ("missing-metadata", "evaluation", "empty", "gens/evaluation/empty/metadata.json"),
        ("invalid-json", "draft", "bad", "gens/draft/bad/metadata.json"),
        ("invalid-json", "draft", "bad", "gens/draft/bad/raw_metadata.json"),
        ("invalid-json", "draft", "bad", "gens/draft/bad/parsed_metadata.json"),
        ("invalid-json", "draft", "side", "gens/draft/side/parsed_metadata.json"),
        ("unsafe-path", "draft", "=1+1", "gens/draft/=1+1"),
        ("unsafe-path", "evaluation", "linked", "gens/evaluation/linked"),
        ("unsafe-path", "essay", "climbs", "gens/essay/climbs/metadata.json"),
        ("gen-id-mismatch", "draft", "other", "gens/draft/other/metadata.json"),
        ("stage-mismatch", "draft", "other", "gens/draft/other/metadata.json"),
        ("invalid-table", "", "", "cohorts/c1/membership.csv"),
        ("invalid-table", "", "", "cohorts/c2/membership.csv"),
        ("invalid-table", "", "", "2_tasks/a.csv"),
        ("invalid-table", "", "", "2_tasks/selected_x.txt"),
        ("invalid-table", "", "", "1_raw/draft_templates.csv"),
        ("invalid-table", "", "", "1_raw/essay_templates.csv"),
        ("invalid-table", "", "", "1_raw/evaluation_templates.csv"),
        ("invalid-table", "", "", "1_raw/llm_models.csv"),
        ("invalid-table", "", "", "1_raw/replication_config.csv"),
        ("unknown-member", "draft", "gone", "cohorts/c3/membership.csv"),
        ("unknown-member", "", "", "cohorts/c3/membership.csv"),
        ("unknown-member", "", "fine", "cohorts/c3/membership.csv"),
    }
    assert all(p.blocking == (p.kind not in WARNINGS) for p in Inventory.read(root).problems)


@pytest.mark.parametrize("file", [METADATA, "raw_metadata.json", "parsed_metadata.json"])
@pytest.mark.parametrize("kind", ["folder", "fifo", "socket", "link", "dangling link", "loop"])
@pytest.mark.timeout(10)
def test_what_is_no_regular_file_is_refused_and_does_not_hang(
    store: Write, file: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = store({"draft": {"d1": {METADATA: {}}}})
    folder = root / "gens/draft/d1"
    (folder / file).unlink(missing_ok=True)
    (root / "good.json").write_text("{}")
    monkeypatch.chdir(folder)  # a socket's path must be short
    if kind == "folder":
        (folder / file).mkdir()
    elif kind == "fifo":
        os.mkfifo(folder / file)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(file)
    else:
        (folder / file).symlink_to({"link": root / "good.json", "dangling link": "nowhere", "loop": file}[kind])
    assert found(root) == {("invalid-json", "draft", "d1", f"gens/draft/d1/{file}")}
    assert "is not a regular file" in Inventory.read(root).problems[0].message


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    "path",
    ["cohorts/c/membership.csv", "2_tasks/a.csv", "2_tasks/selected_a.txt", "1_raw/llm_models.csv"],
)
@pytest.mark.parametrize("kind", ["folder", "fifo"])
def test_a_table_that_is_no_regular_file(store: Write, path: str, kind: str) -> None:
    root = store({})
    (root / path).parent.mkdir(parents=True)
    if kind == "folder":
        (root / path).mkdir()
    else:
        os.mkfifo(root / path)
    assert found(root) == {("invalid-table", "", "", path)}


def test_a_linked_table_is_refused_where_a_run_would_write_it_and_read_where_not(store: Write) -> None:
    root = store({"a.csv": "stage,gen_id\n", "m.csv": "id\nsonnet\n", "cohorts": {"c": {}}, "2_tasks": {}, "1_raw": {}})
    (root / "cohorts/c/membership.csv").symlink_to(root / "a.csv")
    (root / "2_tasks/a.csv").symlink_to(root / "a.csv")
    (root / "2_tasks/selected_a.txt").symlink_to(root / "a.csv")
    (root / "1_raw/llm_models.csv").symlink_to(root / "m.csv")
    assert found(root) == {
        ("invalid-table", "", "", "cohorts/c/membership.csv"),
        ("invalid-table", "", "", "2_tasks/a.csv"),
        ("invalid-table", "", "", "2_tasks/selected_a.txt"),
    }
    assert Inventory.read(root).models == ("sonnet",)


@pytest.mark.parametrize(
    "folder", ["gens", "gens/draft", "gens/essay", "cohorts", "cohorts/c", "2_tasks", "selected_essays"]
)
def test_a_folder_that_is_a_link_is_unsafe(store: Write, folder: str, tmp_path: Path) -> None:
    """A run writes there, and never through a link."""
    root = store(
        {
            "draft": {"d1": gen("draft", "d1")},
            "essay": {},
            "cohorts": {"c": {}},
            "2_tasks": {},
            "selected_essays": {},
        }
    )
    (root / folder).rename(tmp_path / "away")
    (root / folder).symlink_to(tmp_path / "away")
    assert {problem[0::3] for problem in found(root)} == {("unsafe-path", folder)}


def test_a_data_root_that_is_a_link_is_read(store: Write, tmp_path: Path) -> None:
    root = store({"draft": {"d1": gen("draft", "d1")}})
    (tmp_path / "link").symlink_to(root)
    assert Inventory.read(tmp_path / "link").gens.keys() == {("draft", "d1")}
    assert found(tmp_path / "link") == set()


def test_links_inside_a_generation_are_kept(store: Write) -> None:
    root = store({"draft": {"d1": gen("draft", "d1")}})
    (root / "gens/draft/d1/latest").symlink_to("nowhere")
    (root / "gens/draft/d1/parsed.txt").symlink_to("/nowhere")
    assert found(root) == set()


def test_a_record_of_40_megabytes_is_refused_unread(store: Write) -> None:
    root = store({"draft": {"d1": {METADATA: {}}}})
    with (root / "gens/draft/d1/metadata.json").open("wb") as file:
        file.truncate(40 << 20)
    (problem,) = Inventory.read(root).problems
    assert problem.kind == "invalid-json"
    assert "41,943,040 bytes" in problem.message
    assert codec.MAX_BYTES < 40 << 20


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
@pytest.mark.parametrize(
    ("path", "kind"),
    [("gens/draft/d1/metadata.json", "invalid-json"), ("2_tasks/a.csv", "invalid-table")],
)
def test_what_cannot_be_read_is_told(store: Write, path: str, kind: str) -> None:
    root = store({"draft": {"d1": gen("draft", "d1")}, "2_tasks/a.csv": "a\n"})
    (root / path).chmod(0)
    assert {problem[0::3] for problem in found(root)} == {(kind, path)}


@pytest.mark.parametrize(
    ("path", "kind"),
    [("gens/draft/d1/metadata.json", "invalid-json"), ("2_tasks/a.csv", "invalid-table")],
)
@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), OSError(5, "Input/output error")])
def test_a_file_that_the_system_refuses_is_told(
    store: Write, path: str, kind: str, error: OSError, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = store({"draft": {"d1": gen("draft", "d1")}, "2_tasks/a.csv": "a\n"})
    really = os.open

    def refusing(name: str, *args: Any, **more: Any) -> int:
        if str(name).endswith(path):
            raise error
        return really(name, *args, **more)

    monkeypatch.setattr(os, "open", refusing)
    (problem,) = Inventory.read(root).problems
    assert (problem.kind, problem.path) == (kind, path)
    assert str(error.strerror) in problem.message


# -- identity


@pytest.mark.parametrize("key", ["stage", "gen_id"])
@pytest.mark.parametrize("value", [None, "", " ", "nan", "Unknown"], ids=repr)
def test_an_absent_identity_is_no_finding(store: Write, key: str, value: object) -> None:
    assert found(store({"draft": {"d1": {METADATA: {key: value}}}})) == set()


@pytest.mark.parametrize("value", ["d2", " d1", "D1", 1, True, ["d1"], {"gen_id": "d1"}, 1.5], ids=repr)
def test_a_gen_id_that_is_not_the_folders(store: Write, value: object) -> None:
    assert {p[0] for p in found(store({"draft": {"d1": {METADATA: {"gen_id": value}}}}))} == {"gen-id-mismatch"}


@pytest.mark.parametrize("value", ["essay", "Draft", " draft", "summary", 1, ["draft"]], ids=repr)
def test_a_stage_that_is_not_the_folders(store: Write, value: object) -> None:
    assert {p[0] for p in found(store({"draft": {"d1": {METADATA: {"stage": value}}}}))} == {"stage-mismatch"}


PAYLOADS = ["../../x", "/etc/x", "..", ".", "a/b", "a\0b", "-rf", ".hidden", "=1", "+1", "@x", "\tx", "\rx"]
HARMLESS = [
    "a\\..\\b",
    "~root",
    "$HOME",
    "x.tmp",
    "CON",
    "naïve 模板",
    "a\x1b[31mb",
    "a\nb",
    "d1 ",
    " d1",
    "007",
]


@pytest.mark.parametrize("text", PAYLOADS, ids=repr)
def test_unsafe_texts_are_refused_as_gen_id_and_as_parent(store: Write, text: str) -> None:
    root = store(
        {
            "draft": {"d1": {METADATA: {"gen_id": text}}},
            "essay": {"e1": {METADATA: {"parent_gen_id": text}}, "e2": {METADATA: {"draft_gen_id": text}}},
            "evaluation": {"v1": {METADATA: {"essay_gen_id": text}}},
        }
    )
    assert {problem[:3] for problem in found(root)} == {
        ("gen-id-mismatch", "draft", "d1"),
        ("unsafe-path", "draft", "d1"),
        ("unsafe-path", "essay", "e1"),
        ("unsafe-path", "essay", "e2"),
        ("unsafe-path", "evaluation", "v1"),
    }


@pytest.mark.parametrize("text", HARMLESS, ids=repr)
def test_odd_names_are_names(store: Write, text: str) -> None:
    root = store({"draft": {text: gen("draft", text)}, "essay": {"e1": gen("essay", "e1", parent_gen_id=text)}})
    inventory = Inventory.read(root)
    assert inventory.problems == ()
    assert inventory.parent(inventory.gens["essay", "e1"]) is inventory.gens["draft", text]


@pytest.mark.parametrize("name", ["-rf", "=1+1", "+x", "@x", "\tx", "\rx"], ids=repr)
def test_unsafe_folder_names(store: Write, name: str) -> None:
    root = store({"draft": {name: gen("draft", name)}, "essay": {"e1": gen("essay", "e1")}})
    assert {problem[:3] for problem in found(root)} == {("unsafe-path", "draft", name)}
    assert Inventory.read(root).exists(("draft", name))


def test_a_name_that_is_not_utf_8_is_unsafe(store: Write) -> None:
    root = store({})
    os.makedirs(os.fsencode(root) + b"/gens/draft/\xe9")
    assert {problem[:2] for problem in found(root)} == {("unsafe-path", "draft")}


# -- tables around the generations


def test_templates_models_and_replication(store: Write) -> None:
    root = store(
        {
            "1_raw": {
                "draft_templates.csv": "template_id,generator\n One , Copy \ntwo,\nnan,x\n,y\n",
                "essay_templates.csv": "template_id\nessay-1\n",
                "llm_models.csv": "id\nsonnet-4\nnan\n\n 25_pro\n",
                "replication_config.csv": "stage,replicates\n draft , 2 \nessay,x\nevaluation,1.0\n",
            }
        }
    )
    inventory = Inventory.read(root)
    assert inventory.problems == ()
    assert inventory.generators == {"draft": {"one": "copy", "two": "llm"}}
    assert inventory.templates == {"draft": ("One", "two"), "essay": ("essay-1",)}
    assert inventory.models == ("sonnet-4", " 25_pro")
    assert inventory.replication == {"draft": 2}


@pytest.mark.parametrize(
    ("listed", "mode", "generator"),
    [
        ("copy", "llm", "copy"),
        (" COPY ", None, "copy"),
        ("", "copy", "llm"),  # blank in the table is llm
        ("llm", "copy", "llm"),
        (None, "copy", "copy"),
        (None, " Copy ", "copy"),
        (None, "nan", "llm"),
        (None, None, "llm"),
        (None, "unknown", "llm"),
    ],
)
def test_the_generator_is_the_templates_else_the_mode_else_llm(
    store: Write, listed: str | None, mode: str | None, generator: str
) -> None:
    essay = {"template_id": " Links-V1", "mode": mode}
    rows = "other,x\n" if listed is None else f"links-v1,{listed}\n"
    root = store(
        {
            "essay": {"e1": {METADATA: essay}},
            "1_raw/essay_templates.csv": "template_id,generator\n" + rows,
            "1_raw/draft_templates.csv": "template_id,generator\nlinks-v1,other\n",
        }
    )
    inventory = Inventory.read(root)
    assert inventory.generator(inventory.gens["essay", "e1"]) == generator


def test_what_is_read_as_table_list_and_copy(store: Write) -> None:
    root = store(
        {
            "cohorts": {"a": {"membership.csv": "stage,gen_id\n", "other.csv": b"\xff"}},
            "2_tasks": {"b.csv": "", "selected_c.txt": "x\r\n", "selected_d.csv": "a\n"},
            "selected_essays": {"e.txt": "", "f.txt": "", "g.md": ""},
        }
    )
    inventory = Inventory.read(root)
    assert set(inventory.tables) == {"cohorts/a/membership.csv", "2_tasks/b.csv", "2_tasks/selected_d.csv"}
    assert inventory.selections == {"2_tasks/selected_c.txt": "x\r\n"}
    assert inventory.copies == ("e.txt", "f.txt")
    assert [(cohort, path) for cohort, path, _ in inventory.cohorts()] == [("a", "cohorts/a/membership.csv")]


def test_unknown_members_are_told_with_their_line(store: Write) -> None:
    table = "stage,gen_id\n draft , d1 \nessay,d1\n\ndraft,d1\nessay,gone\nsummary,d1\n"
    root = store({"draft": {"d1": {METADATA: {}}}, "cohorts/a/membership.csv": table})
    problems = Inventory.read(root).problems
    assert [(p.kind, p.blocking, p.stage, p.gen_id) for p in problems] == [
        ("unknown-member", False, "essay", "d1"),
        ("unknown-member", False, "essay", "gone"),
        ("unknown-member", False, "", "d1"),
    ]
    assert [problem.message.split(" names")[0] for problem in problems] == ["line 3", "line 6", "line 7"]


def test_very_many_unknown_members_are_counted(store: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table of another store must not fill the memory with findings."""
    monkeypatch.setattr("migrator.store.inventory.UNKNOWN_PER_TABLE", 2)
    rows = "".join(f"draft,gone{number}\n" for number in range(5))
    found = Inventory.read(store({"cohorts/a/membership.csv": "stage,gen_id\n" + rows})).problems
    assert [problem.gen_id for problem in found] == ["gone0", "gone1", ""]
    assert found[-1].message == "so do other lines: 5 in all name what is not in the store"


def test_member_cells_are_those_of_all_cohorts(store: Write) -> None:
    root = store(
        {
            "draft": {"d1": {METADATA: {}}, "d2": {METADATA: {}}},
            "cohorts": {
                "a": {"membership.csv": "stage,gen_id,replicate\ndraft,d1, 1\ndraft,d1,\n"},
                "b": {"membership.csv": "replicate,stage,gen_id\nx, draft,d1 \n2,essay,d1\n"},
                "c": {"membership.csv": "stage,gen_id\ndraft,d1\n"},
            },
        }
    )
    inventory = Inventory.read(root)
    assert inventory.member_cells(inventory.gens["draft", "d1"], "replicate") == [" 1", "", "x"]
    assert inventory.member_cells(inventory.gens["draft", "d2"], "replicate") == []
    assert inventory.member_cells(inventory.gens["draft", "d1"], "nothing") == []


# -- payload


def test_text_is_the_first_file_that_exists_read_on_demand(store: Write) -> None:
    root = store({"essay": {"e1": {METADATA: {}, "raw.txt": b"raw\r\n\xff", "empty.txt": b""}}})
    inventory = Inventory.read(root)
    essay = inventory.gens["essay", "e1"]
    assert inventory.text(essay, "parsed.txt", "raw.txt") == b"raw\r\n\xff"
    assert inventory.text(essay, "empty.txt", "raw.txt") == b""
    assert inventory.text(essay, "parsed.txt") is None
    (root / "gens/essay/e1/parsed.txt").write_bytes(b"later")
    assert inventory.text(essay, "parsed.txt", "raw.txt") == b"later"


@pytest.mark.timeout(10)
def test_a_text_that_is_no_file_is_no_text_and_does_not_hang(store: Write) -> None:
    root = store({"essay": {"e1": {METADATA: {}}}})
    os.mkfifo(root / "gens/essay/e1/parsed.txt")
    inventory = Inventory.read(root)
    assert inventory.text(inventory.gens["essay", "e1"], "parsed.txt") is None


def test_reading_writes_nothing(store: Write) -> None:
    root = store({"draft": {"d1": gen("draft", "d1")}, "cohorts/a/membership.csv": "stage,gen_id\ndraft,d1\n"})
    before = sorted((path, path.lstat().st_mtime_ns) for path in root.rglob("*"))
    inventory = Inventory.read(root, IdScheme(1))
    assert sorted((path, path.lstat().st_mtime_ns) for path in root.rglob("*")) == before
    assert inventory.scheme == IdScheme(1)
    assert json.loads((root / "gens/draft/d1/metadata.json").read_text()) == inventory.gens["draft", "d1"].metadata
