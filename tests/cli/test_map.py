"""`migrator map`: ids of any time -> the ids of today."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from migrator.cli import main

# run -> (stage, old, new); the second run renames what the first one made
RUNS = {
    "20250101-000000": [
        ("draft", "same", "d_1"),
        ("essay", "same", "e_1"),
        ("essay", "old", "e_2"),
        ("essay", "d_now", "e_3"),
    ],
    "20250201-000000": [("draft", "d_1", "d_1b"), ("essay", "e_1", "e_1"), ("essay", "e_2", "e_2b")],
}
TODAY = {"draft": ("d_1b", "d_now"), "essay": ("e_1", "e_2b", "e_3", "é"), "evaluation": ("both",)}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store that two runs went over: folders, a ledger and mappings are all that counts here."""
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "data"
    for stage, names in TODAY.items():
        for name in names:
            (root / "gens" / stage / name).mkdir(parents=True)
    (root / ".migrator").mkdir()
    entry = {"name": "step", "title": "", "digest": "", "start": "", "end": ""}
    ledger = [json.dumps({**entry, "number": f"{n:04}", "run_id": run}) for n, run in enumerate(RUNS, 1)]
    (root / ".migrator/ledger.jsonl").write_text("\n".join(ledger) + "\n")
    for run, rows in RUNS.items():
        folder = root / ".migrator/mappings" / run
        folder.mkdir(parents=True)
        lines = ["stage,old_gen_id,new_gen_id", *(",".join(row) for row in rows)]
        (folder / "mapping.csv").write_text("\n".join(lines) + "\n")
    return root


def run(*args: object) -> int:
    """The exit code of `migrator --data-root data map ...`."""
    with pytest.raises(SystemExit) as ended:
        main(["--data-root", "data", "map", *map(str, args)])
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.mark.parametrize(
    ("ids", "out", "code"),
    [
        (["old"], "e_2b\n", 0),
        (["e_2"], "e_2b\n", 0),
        (["e_2b"], "e_2b\n", 0),
        (["é"], "é\n", 0),
        (["old", "nope", "d_1"], "e_2b\n-\nd_1b\n", 1),
        (["d_now"], "d_now\n", 0),
        (["--stage", "essay", "d_now"], "e_3\n", 0),
        (["--stage", "draft", "same"], "d_1b\n", 0),
        (["--stage", "draft", "old"], "-\n", 1),
        (["", ".", "..", "a/b"], "-\n-\n-\n-\n", 1),
    ],
)
@pytest.mark.usefixtures("root")
def test_one_a_line_and_nothing_else(capsys: pytest.CaptureFixture[str], ids: list[str], out: str, code: int) -> None:
    """Composed over all runs; an id of today is its own, also where it was another stage's old name."""
    assert run(*ids) == code
    assert capsys.readouterr().out == out


@pytest.mark.usefixtures("root")
def test_a_name_of_two_stages_must_be_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    """A usage error that names the stages; nothing on standard output."""
    assert run("same") == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "--stage draft or --stage essay" in captured.err


@pytest.mark.usefixtures("root")
def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    """Unknown is null."""
    assert run("old", "nope", "--json") == 1
    assert json.loads(capsys.readouterr().out) == {"mapping": {"old": "e_2b", "nope": None}}


TABLE = '\ufeffn,essay,note\r\n007,old,"a, ""b"""\r\n1.0, e_2b ,NA\r\n,nope,\r\n\r\n2,"e_2",x\r\n3,,=1+1\r\n'


def test_a_table_keeps_every_other_byte(root: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """BOM, line ends, quotes, zeros and blanks stay; unknown cells stay and are counted."""
    (root.parent / "t.csv").write_bytes(TABLE.encode())
    assert run("--csv", "t.csv", "--column", "essay") == 1
    captured = capfdbinary.readouterr()
    expected = TABLE.replace(",old,", ",e_2b,").replace('"e_2"', '"e_2b"')
    assert captured.out.decode() == expected
    assert b"unknown ids in 1 of 5 rows, such as nope" in captured.err


def test_a_table_that_is_up_to_date_stays_as_it_is(root: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """Mapping a mapped table changes nothing."""
    data = b"essay\ne_2b\ne_1\n"
    (root.parent / "t.csv").write_bytes(data)
    assert run("--csv", "t.csv", "--column", "essay") == 0
    assert capfdbinary.readouterr().out == data


def test_the_mapping_of_a_column(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --json: each value once."""
    (root.parent / "t.csv").write_text("essay\nold\nold\nnope\n")
    assert run("--csv", "t.csv", "--column", "essay", "--json") == 1
    assert json.loads(capsys.readouterr().out) == {"mapping": {"old": "e_2b", "nope": None}}


@pytest.mark.parametrize(
    ("args", "code"),
    [
        ([], 2),
        (["--csv", "t.csv"], 2),
        (["--column", "essay"], 2),
        (["old", "--csv", "t.csv", "--column", "essay"], 2),
        (["--csv", "t.csv", "--column", "other"], 2),
        (["--csv", "no.csv", "--column", "essay"], 2),
        (["--csv", "torn.csv", "--column", "essay"], 1),
        (["--stage", "link", "old"], 2),
    ],
)
def test_refusals(root: Path, capsys: pytest.CaptureFixture[str], args: list[str], code: int) -> None:
    """Nothing on standard output."""
    (root.parent / "t.csv").write_text("essay\nold\n")
    (root.parent / "torn.csv").write_text('essay\n"old\n')
    assert run(*args) == code
    assert capsys.readouterr().out == ""
