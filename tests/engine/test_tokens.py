"""Old names are found as whole tokens, with their lines, however a file is cut into pieces."""

from __future__ import annotations

import re
from unittest import mock

import numpy as np  # noqa: F401 - its import takes longer than Hypothesis lets an example take
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from migrator.engine import tokens
from migrator.engine.tokens import Hit, Tokens

OLD = "d_old-1"

WHOLE = [
    pytest.param(b"d_old-1", [1], id="the whole file"),
    pytest.param(b"see d_old-1.", [1], id="before a full stop"),
    pytest.param(b"gens/draft/d_old-1/raw.txt", [1], id="in a path"),
    pytest.param(b'"d_old-1"', [1], id="in quotes"),
    pytest.param("\u201cd_old-1\u201d".encode(), [1], id="in curly quotes"),
    pytest.param("\u2018d_old-1\u2019 \u00abd_old-1\u00bb".encode(), [1, 1], id="twice, other quotes"),
    pytest.param("é d_old-1é".encode(), [1], id="beside letters that no token has"),
    pytest.param(b"d_old-1,d_old-1;d_old-1", [1, 1, 1], id="side by side"),
    pytest.param(b"a\nb\n\nd_old-1\r\nd_old-1", [4, 5], id="lines"),
    pytest.param(b"\0\xff\xfed_old-1\0\n\x80d_old-1", [1, 2], id="binary"),
    pytest.param(b"xd_old-1", [], id="with a letter before"),
    pytest.param(b"d_old-1x", [], id="with a letter behind"),
    pytest.param(b"d_old-12", [], id="with a digit behind"),
    pytest.param(b"d_old-1-2", [], id="with a suffix"),
    pytest.param(b"-d_old-1", [], id="with a dash before"),
    pytest.param(b"_d_old-1", [], id="with an underscore before"),
    pytest.param(b"d_old-1_", [], id="with an underscore behind"),
    pytest.param(b"D_OLD-1", [], id="in another case"),
    pytest.param(b"d_old\n-1", [], id="over two lines"),
    pytest.param("d_old\u20111".encode(), [], id="with another dash"),
    pytest.param(b"", [], id="empty"),
    pytest.param(b"d_old-", [], id="cut short"),
]


@pytest.mark.parametrize(("data", "lines"), WHOLE)
def test_only_whole_tokens_are_hits(data: bytes, lines: list[int]) -> None:
    """Letters, digits, underscore and dash are one token; everything else ends it. Lines count from 1."""
    assert [Hit("f", line, OLD) for line in lines] == Tokens([OLD]).look([("f", data)])


ODD = [
    pytest.param("old draft 1", b"x\nold draft 1\n", [2], id="blanks"),
    pytest.param("old draft 1", b"old draft 12 old draft 1", [1], id="blanks, longer name before"),
    pytest.param("old draft 1", b"cold draft 1", [], id="blanks, letter before"),
    pytest.param("v1.2", b"v1.2 v1.25 xv1.2 v1x2", [1], id="dots"),
    pytest.param("a+b(c)", b"a+b(c)", [1], id="signs of regular expressions"),
    pytest.param("naïve", "naïve\nnaïveté, unnaïve".encode(), [1], id="other letters"),
    pytest.param("模板", "“模板”".encode(), [1], id="another script in curly quotes"),
    pytest.param("\udcff1", b"\xff1\n\xff12", [1], id="bytes that are no text"),
]


@pytest.mark.parametrize(("name", "data", "lines"), ODD)
def test_names_of_any_kind_are_found(name: str, data: bytes, lines: list[int]) -> None:
    """A legacy id may hold blanks, dots, other scripts and bytes of no text."""
    assert [Hit("f", line, name) for line in lines] == Tokens([name]).look([("f", data)])


def test_the_longer_of_two_odd_names_counts() -> None:
    """An id that goes on behind a blank is not taken for the shorter one that it begins with."""
    assert Tokens(["a b", "a b.c"]).look([("f", b"a b.c")]) == [Hit("f", 1, "a b.c")]


def test_a_name_that_stays_is_not_taken_for_an_old_one_that_it_begins_with() -> None:
    """As of two old ones."""
    assert Tokens(["a b"], others=["a b.c"]).look([("f", b"a b.c")]) == []
    assert Tokens(["a b"]).look([("f", b"a b.c")]) == [Hit("f", 1, "a b")]


def test_no_names_find_nothing() -> None:
    """Neither no name nor an empty one matches anything."""
    assert Tokens([]).look([("f", b"d_old-1")]) == []
    assert Tokens([""]).look([("f", b"d_old-1")]) == []


def test_several_files_at_once() -> None:
    """Each has its own lines and hits; nothing goes on from one into the next."""
    files = [
        ("a", b"d_old"),
        ("b", b"-1\nd_old-1"),
        ("c", b""),
        ("d", b"d_old-1\nold b"),
        ("e", b"\n\nold b"),
    ]
    expected = [Hit("b", 2, OLD), Hit("d", 1, OLD), Hit("d", 2, "old b"), Hit("e", 3, "old b")]
    assert Tokens([OLD, "old b"]).look(files) == expected
    assert Tokens([OLD]).look([]) == []


def test_names_of_several_lengths() -> None:
    """The shortest name decides what is looked at, and longer ones are found among it."""
    found = Tokens(["ab", "abcdef", "q" * 255]).look([("f", b"a ab abc abcdef\n" + b"q" * 255)])
    assert [(hit.line, hit.token) for hit in found] == [(1, "ab"), (1, "abcdef"), (2, "q" * 255)]


WORDS = st.sampled_from([b"d_old-1", b"d_old-1", b"d_", b"old", b"-1", b"old draft", b"x", b"\xc3\xa9", b""])
GAPS = st.sampled_from([b" ", b"\n", b"\r\n", b"/", b"\0", b"\xe2\x80\x9d"])
PIECES = st.lists(WORDS | GAPS | st.binary(max_size=3), max_size=30)
NAMES = st.sampled_from([[OLD], [OLD, "old"], [OLD, "old draft"], ["old draft"], ["x", "é"]])


@given(st.lists(st.tuples(WORDS, WORDS, GAPS), max_size=60), st.lists(st.integers(0, 600), max_size=12), NAMES)
@example([(b"d_", b"old", b"-")] * 12 + [(b"d_old", b"-1", b"\n")] * 12, [36, 62, 100, 170], [OLD])
def test_pieces_in_any_split_give_the_same_hits(
    words: list[tuple[bytes, ...]], cuts: list[int], names: list[str]
) -> None:
    """A file that is fed piece by piece has the hits of the whole, across a cut too, with their lines."""
    data = b"".join(map(b"".join, words))
    search = Tokens(names).search("f")
    with mock.patch.multiple(tokens, _WHOLE=24):  # so that pieces are looked through as in a large file
        for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(data)], strict=True):
            search.feed(data[start:end] if start < end else b"")
    assert search.close() == Tokens(names).look([("f", data)])


@given(PIECES, st.sampled_from([[OLD], [OLD, "old"], ["x", "1"]]))
def test_hits_are_those_of_a_plain_split(pieces: list[bytes], names: list[str]) -> None:
    """What is found is what cutting the text into tokens and comparing each finds, in order."""
    data = b"".join(pieces)
    expected = [
        Hit("f", data.count(b"\n", 0, match.start()) + 1, match.group().decode())
        for match in re.finditer(rb"[0-9A-Za-z_-]+", data)
        if match.group().decode() in names
    ]
    assert Tokens(names).look([("f", data)]) == expected


@pytest.mark.parametrize("before", [0, 5, 4096])
def test_a_token_across_two_large_pieces(before: int) -> None:
    """Pieces as the copier reads them: a token that lies across their border is one token, on its line."""
    data = b"\n" * ((1 << 20) - before) + b"d_old-1\n" * 50
    search = Tokens([OLD]).search("f")
    for start in range(0, len(data), 1 << 20):
        search.feed(data[start : start + (1 << 20)])
    assert search.close() == Tokens([OLD]).look([("f", data)])
    assert len(search.hits) == 50


def test_a_long_run_ends_as_a_run() -> None:
    """A token of many thousand letters holds no name, wherever a piece of it ends."""
    long = b"d_old-1" + b"a" * 4096
    data = b" " * ((1 << 20) - len(long)) + long
    search = Tokens([OLD]).search("f")
    search.feed(data)
    search.feed(b"aa ")
    assert search.close() == []


@pytest.mark.parametrize("together", [1, 30, 10_000])
def test_files_searched_together_find_what_each_has(monkeypatch: pytest.MonkeyPatch, together: int) -> None:
    """However many make one text: the file and the line are those of the token, and none spans two files."""
    monkeypatch.setattr(tokens, "_TOGETHER", together)
    batch = tokens.Batch(tokens.Tokens(["old-1", "old 2", "joined"]))
    for path, data in {"a": b"x\nold-1", "b": b"", "c": b"join", "d": b"ed old 2\n\nold-1\n", "e": b"old-12"}.items():
        batch.add(path, data)
    assert batch.close() == [("a", 2, "old-1"), ("d", 1, "old 2"), ("d", 3, "old-1")]


@given(PIECES.map(b"".join) | st.binary(max_size=80), st.integers(1, 20))
@example(bytes(range(256)), 1)
@example(b"aaaa", 4)
@example(b"aaa aaaa", 4)
def test_runs_are_the_same_by_numpy(data: bytes, shortest: int) -> None:
    """Every byte that is part of a token and every length; hits do not depend on how much there is to search."""
    assert list(tokens.by_numpy(data, shortest)) == list(tokens.by_find(data, shortest))[::-1]


@given(PIECES.map(b"".join), NAMES)
def test_much_to_search_gives_the_same_hits(data: bytes, names: list[str]) -> None:
    """Whoever looks."""
    assert Tokens(names, 1 << 40).look([("f", data)]) == Tokens(names).look([("f", data)])


@given(PIECES.map(b"".join), st.sets(st.sampled_from([OLD, "old", "old draft", "old d", "x", "\u00e9"]), min_size=1))
@example(b"old draft", {"old d"})
def test_what_is_found_does_not_depend_on_what_else_is_wanted(data: bytes, wanted: set[str]) -> None:
    """Some of all names, or all of them and then some of what was found."""
    names = [OLD, "old", "old draft", "old d", "x", "\u00e9"]
    found = [hit for hit in Tokens(names).look([("f", data)]) if hit.token in wanted]
    assert Tokens(wanted, others=names).look([("f", data)]) == found
