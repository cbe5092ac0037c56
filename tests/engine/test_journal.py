"""What is owed after a crash: one small file, whole or not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from migrator.engine import journal
from migrator.engine.journal import Journal
from migrator.errors import CareNeeded

OWED = Journal(journal.UPGRADE, "20260101-120000", "/backups/20260101-120000")


@pytest.mark.parametrize(
    "owed",
    [
        OWED,
        Journal(journal.ROLLBACK, "20260101-120000-2", "/b"),
        Journal(journal.ADOPT, "r", "/b", (("/s/0", "gens/draft/d_1"), ("/s/1", "cohorts/é \udcff"))),
    ],
)
def test_what_is_written_is_read(tmp_path: Path, owed: Journal) -> None:
    """Round trip, names of any bytes included; nothing else lies in the folder."""
    journal.write(tmp_path, owed)
    assert journal.read(tmp_path) == owed
    assert [path.name for path in tmp_path.iterdir()] == [journal.JOURNAL]


def test_the_next_one_replaces_it(tmp_path: Path) -> None:
    """One thing at a time is owed."""
    journal.write(tmp_path, OWED)
    journal.write(tmp_path, Journal(journal.ADOPT, "r", "/b"))
    assert journal.read(tmp_path) == Journal(journal.ADOPT, "r", "/b")


def test_nothing_is_owed(tmp_path: Path) -> None:
    """No journal, no folder, and a journal removed twice: None, without a word."""
    assert journal.read(tmp_path / "nowhere") is None
    journal.write(tmp_path, OWED)
    journal.remove(tmp_path)
    journal.remove(tmp_path)
    assert journal.read(tmp_path) is None


DOUBTFUL = [
    b"",
    b"{",
    b"\xff",
    b"null",
    b"[]",
    b'"upgrade"',
    b"{}",
    b'{"action": "upgrade", "run_id": "r", "folder": "/b"}',
    b'{"action": "upgrade", "run_id": "r", "folder": "/b", "moves": 5}',
    b'{"action": "upgrade", "run_id": "r", "folder": "/b", "moves": [["a"]]}',
    b'{"action": "upgrade", "run_id": "r", "moves": []}',
    b'{"action": "upgrade", "run_id": "r", "folder": "/b", "moves": [], "newer": 1}',
    b'{"action": "dance", "run_id": "r", "folder": "/b", "moves": []}',
]


@pytest.mark.parametrize("data", DOUBTFUL)
def test_a_journal_that_cannot_be_trusted_needs_care(tmp_path: Path, data: bytes) -> None:
    """Torn, foreign or of a newer tool: exit 10, the path is named, and nothing is removed."""
    (tmp_path / journal.JOURNAL).write_bytes(data)
    with pytest.raises(CareNeeded) as error:
        journal.read(tmp_path)
    assert error.value.where == str(tmp_path / journal.JOURNAL)
    assert (tmp_path / journal.JOURNAL).read_bytes() == data


def test_a_folder_in_its_place_needs_care(tmp_path: Path) -> None:
    """What cannot be read is not taken for nothing owed."""
    (tmp_path / journal.JOURNAL).mkdir()
    with pytest.raises(CareNeeded):
        journal.read(tmp_path)


def test_what_a_cohorts_build_owes_comes_back_as_it_was_written(tmp_path: Path) -> None:
    owed = Journal("enrol", "mine", "/there", (("/there/0", "gens/draft/d_1"),), {"gens/draft/d_1": "ab"}, ("cohorts",))
    journal.write(tmp_path, owed)
    assert journal.read(tmp_path) == owed


def test_a_journal_of_a_version_without_cohorts_is_read(tmp_path: Path) -> None:
    (tmp_path / "journal.json").write_text('{"action": "adopt", "run_id": "r", "folder": "f", "moves": []}')
    assert journal.read(tmp_path) == Journal("adopt", "r", "f")
