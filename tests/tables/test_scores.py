"""A score is parsed.txt, stripped, when that is a decimal number from 0 to 9; else there is a reason."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from migrator.tables.scores import evaluation_of, read_scores, score_of


@pytest.mark.parametrize(
    ("path", "gen_id"),
    [
        ("gens/evaluation/v1/parsed.txt", "v1"),
        ("gens/evaluation/v 1.é/parsed.txt", "v 1.é"),
        ("gens/evaluation/v1/deeper/parsed.txt", ""),
        ("gens/evaluation/parsed.txt", ""),
        ("gens/essay/v1/parsed.txt", ""),
        ("gens/evaluation/v1/parsed.txt.old", ""),
        ("mine/gens/evaluation/v1/parsed.txt", ""),
        ("parsed.txt", ""),
        ("", ""),
    ],
)
def test_whose_score_a_file_is(path: str, gen_id: str) -> None:
    assert evaluation_of(path) == gen_id


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"7", "7"),
        (b" 7.5\r\n", "7.5"),
        (b"0", "0"),
        (b"9", "9"),
        (b"9.000", "9.000"),
        (b"07", "07"),
        ("\u00a07\u2003\n".encode(), "7"),
        (b"0." + b"1" * 5000, "0." + "1" * 5000),
    ],
)
def test_a_decimal_number_from_0_to_9_is_kept_as_it_was_written(data: bytes, text: str) -> None:
    assert score_of(data) == (text, "")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "parsed.txt is empty"),
        (b" \n", "parsed.txt is empty"),
        (b"\xff7", "parsed.txt is not UTF-8"),
        (b"9.0000001", "parsed.txt is not from 0 to 9"),
        (b"9." + b"0" * 400 + b"1", "parsed.txt is not from 0 to 9"),
        (b"10", "parsed.txt is not from 0 to 9"),
        (b"9" * 5000, "parsed.txt is not from 0 to 9"),
        (b"-1", "parsed.txt is not from 0 to 9"),
        (b"-0", "parsed.txt is not from 0 to 9"),
        *(
            (text.encode(), "parsed.txt is not a decimal number")
            for text in (
                *("+7", "1e0", "nan", "inf", "7,5", "7/10", "SCORE: 7", "7.", ".5", "7.5.1", "1_0", "0x7", "7 8"),
                *("\uff17", "\u0667", "\u00b2", "\ufeff7", "\u22121", "7\0", "old-id", "None"),
            )
        ),
    ],
)
def test_anything_else_is_blank_and_says_why(data: bytes, reason: str) -> None:
    assert score_of(data) == ("", reason)


def test_what_is_in_the_place_of_the_file_is_told(tmp_path: Path) -> None:
    """No file, a folder, a link that leads nowhere, one that leads to a file, a FIFO (which must not hang), a giant."""
    for name in ("none", "folder", "dangling", "link", "fifo", "large", "right"):
        (tmp_path / "gens/evaluation" / name).mkdir(parents=True)
    at = {folder.name: folder / "parsed.txt" for folder in (tmp_path / "gens/evaluation").iterdir()}
    at["folder"].mkdir()
    at["dangling"].symlink_to("nowhere")
    at["right"].write_text("3\n")
    at["link"].symlink_to("../right/parsed.txt")
    os.mkfifo(at["fifo"])
    at["large"].write_bytes(b" " * (1 << 20) + b"7")
    assert read_scores(tmp_path, sorted(at)) == {
        "none": ("", "missing parsed.txt"),
        "folder": ("", "parsed.txt is not a regular file"),
        "dangling": ("", "missing parsed.txt"),
        "link": ("3", ""),
        "fifo": ("", "parsed.txt is not a regular file"),
        "large": ("", "parsed.txt has 1,048,577 bytes, more than the 1,048,576 that are read"),
        "right": ("3", ""),
    }


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "gens/evaluation/v"
    folder.mkdir(parents=True)
    (folder / "parsed.txt").write_text("3")
    (folder / "parsed.txt").chmod(0)
    assert read_scores(tmp_path, ["v"]) == {"v": ("", "parsed.txt cannot be read: Permission denied")}
