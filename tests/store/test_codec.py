"""JSON in and out: strict in what is read, exact in what is written."""

from __future__ import annotations

import json
import math
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.store import codec
from migrator.store.codec import InvalidJson, dumps, loads

TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
SCALARS = st.none() | st.booleans() | st.integers(-(2**80), 2**80) | st.floats() | TEXT
LEVEL = SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(TEXT, SCALARS, max_size=3)
VALUES = LEVEL | st.lists(LEVEL, max_size=3) | st.dictionaries(TEXT, LEVEL, max_size=3)
DOCUMENTS = st.dictionaries(TEXT, VALUES, max_size=4)


def same(a: Any, b: Any) -> bool:
    """Equal in type, order of keys and value, NaN equal to itself, -0.0 not to 0.0."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float):
        return (math.isnan(a) and math.isnan(b)) or (a == b and math.copysign(1, a) == math.copysign(1, b))
    return bool(a == b)


@given(DOCUMENTS)
def test_dumps_is_the_standard_librarys(document: dict[str, Any]) -> None:
    assert dumps(document) == json.dumps(document, indent=2, ensure_ascii=False).encode()


@given(DOCUMENTS)
def test_values_survive(document: dict[str, Any]) -> None:
    assert same(loads(dumps(document)), document)


@given(DOCUMENTS, st.sampled_from([None, 1, 2, "\t"]), st.booleans())
def test_loads_reads_what_json_reads_in_any_layout(document: dict[str, Any], indent: Any, ascii: bool) -> None:
    text = json.dumps(document, indent=indent, ensure_ascii=ascii)
    assert same(loads(text.encode()), json.loads(text))


@given(DOCUMENTS)
def test_a_rewritten_document_has_every_other_value_as_it_was(document: dict[str, Any]) -> None:
    """Whichever codec has read it: what is written is what was read, and the change."""
    new = codec.rewritten(dumps(document), lambda old: {**old, "new": "née"})
    assert new is not None
    assert same(loads(new), {**document, "new": "née"})
    assert codec.rewritten(dumps(document), lambda old: old) is None


@pytest.mark.parametrize("number", ["1e16", "1e+16", "1e-07", "1e-7", "0.10", "1.0", "-0.0", str(2**70), "NaN"])
def test_a_number_beside_what_changes_is_written_again(number: str) -> None:
    """As it stood where the fast codec writes it so; else as the standard library does."""
    data = f'{{\n  "n": {number},\n  "id": "old"\n}}'.encode()
    exact = number in ("1e-7", "1.0", "-0.0")
    wanted = data if exact else json.dumps(json.loads(data), indent=2).encode()
    assert codec.rewritten(data, lambda old: {**old, "id": "new"}) == wanted.replace(b"old", b"new")


@pytest.mark.parametrize("value", [2**70, "half \ud800"])
def test_a_new_value_that_the_fast_codec_refuses(value: Any) -> None:
    """An integer of more than 64 bits is written all the same; half a character never is."""
    assert loads(b"{}") == {}
    if isinstance(value, int):
        assert codec.rewritten(b"{}", lambda old: {"n": value}) == dumps({"n": value})
    else:
        with pytest.raises(UnicodeEncodeError):
            codec.rewritten(b"{}", lambda old: {"n": value})


def read(reader: Any, data: bytes) -> Any:
    """What a reader makes of some bytes: a value, or the class of its refusal."""
    try:
        return reader(data)
    except InvalidJson:
        return InvalidJson


@given(DOCUMENTS, st.sampled_from([None, 1, 2]), st.booleans(), st.data())
def test_the_quick_way_reads_what_the_strict_one_does_or_nothing(
    document: dict[str, Any], indent: Any, ascii: bool, draw: st.DataObject
) -> None:
    """In any layout, and where some bytes are left out, doubled or others."""
    data = json.dumps(document, indent=indent, ensure_ascii=ascii).encode()
    start = draw.draw(st.integers(0, len(data)))
    end = draw.draw(st.integers(start, len(data)))
    middle = draw.draw(st.sampled_from([b"", data[start:end], data[start:end] * 2, b"-", b"0", b"9" * 30, b"1e400"]))
    for some in (data, data[:start] + middle + data[end:]):
        found = codec._quickly(some)
        assert found is None or same(found, read(codec._strictly, some))


@pytest.mark.parametrize(
    ("member", "quick"),
    [
        ("1", True),
        ("-1.5", True),
        ("18446744073709551615", True),
        ("18446744073709551616", False),
        ("123456789012345678901234567890", False),
        ("-0", False),
        ("-0.0", True),
        ("1.0", True),
        ("1e16", None),  # that is for orjson to say
        ("1e+16", None),
        ("1e400", False),
        ("0.10000000000000001", False),
        ("NaN", False),
        ('"é"', True),
        ('"\\u00e9"', False),
        ('"\\/"', False),
        ("[]", True),
        ("{}", True),
        ('1,\n  "a": 1', False),
    ],
)
def test_what_is_read_quickly(member: str, quick: bool | None) -> None:
    """Only what is written again to the letter; all is read alike."""
    data = f'{{\n  "a": {member}\n}}'.encode()
    if quick is not None:
        assert (codec._quickly(data) is not None) == quick
    assert same(read(loads, data), read(codec._strictly, data))


@pytest.mark.parametrize("depth", [codec.MAX_DEPTH - 1, codec.MAX_DEPTH, codec.MAX_DEPTH + 1, 260])
def test_depth_is_judged_either_way(depth: int) -> None:
    """However a document is read, one that is nested too deeply is none."""
    value: Any = 1
    for _ in range(depth):
        value = {"a": value}
    data = json.dumps(value, indent=2).encode()
    assert (codec._quickly(data) is not None) == (depth <= codec.MAX_DEPTH)
    if depth > codec.MAX_DEPTH:
        with pytest.raises(InvalidJson, match="nested too deeply"):
            loads(data)
    else:
        assert same(loads(data), value)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("{}", "{}"),
        ('{"a": {}, "b": [], "c": ""}', '{\n  "a": {},\n  "b": [],\n  "c": ""\n}'),
        ('{"b": 1, "a": [1, [2.0, {"x": null}]]}', None),
        ('{"a": NaN, "b": [Infinity, -Infinity]}', None),
        ('{"a": 123456789012345678901234567890, "b": -18446744073709551617}', None),
        ('{"a": 0.1, "b": 1e22, "c": 1e-07, "d": -0.0, "e": 5e-324}', None),
        (
            '{"é": "naïve 模板 😀", "a": "\\u001f\\u007f"}',
            '{\n  "é": "naïve 模板 😀",\n  "a": "\\u001f\x7f"\n}',
        ),
        ('{"a": "\\ud83d\\ude00"}', '{\n  "a": "😀"\n}'),
        ('{"a": "\u2028\\n\\t\\\\\\"/"}', '{\n  "a": "\u2028\\n\\t\\\\\\"/"\n}'),
        (' \r\n{"a": true}\n', '{\n  "a": true\n}'),
    ],
)
def test_written_form(text: str, written: str | None) -> None:
    if written is None:
        written = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    assert dumps(loads(text.encode())).decode() == written


@pytest.mark.parametrize("document", [{"a": (1, 2)}, {"a": ({"b": ()},)}], ids=repr)
def test_a_tuple_from_a_step_is_written_as_a_list(document: dict[str, Any]) -> None:
    assert dumps(document) == json.dumps(document, indent=2, ensure_ascii=False).encode()


BAD = {
    "empty": b"",
    "blank": b" \n",
    "NUL bytes": b"\0\0\0\0",
    "NUL behind": b'{"a": 1}\0',
    "truncated": b'{"a": 1, "b',
    "byte order mark": b'\xef\xbb\xbf{"a": 1}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "UTF-16 without mark": '{"a": 1}'.encode("utf-16-le"),
    "Latin-1": '{"a": "é"}'.encode("latin-1"),
    "overlong UTF-8": b'{"a": "\xc0\x80"}',
    "surrogate as UTF-8": b'{"a": "\xed\xa0\x80"}',
    "list": b"[]",
    "list of objects": b'[{"a": 1}]',
    "null": b"null",
    "string": b'"text"',
    "number": b"1",
    "NaN alone": b"NaN",
    "key twice": b'{"a": 1, "a": 1}',
    "key twice, deep": b'{"a": [{"b": {"c": 1, "d": 2, "c": 3}}]}',
    "key twice, once escaped": b'{"a": 1, "\\u0061": 2}',
    "lone surrogate": b'{"a": "\\ud800"}',
    "lone low surrogate": b'{"a": ["x", {"b": "\\udfff"}]}',
    "lone surrogate in a key": b'{"\\uD83D": 1}',
    "swapped surrogates": b'{"a": "\\ude00\\ud83d"}',
    "trailing garbage": b'{"a": 1} x',
    "two documents": b'{"a": 1}{"a": 2}',
    "trailing comma": b'{"a": 1,}',
    "comment": b'{"a": 1 /* one */}',
    "single quotes": b"{'a': 1}",
    "control character": b'{"a": "\x07"}',
    "5,000-digit integer": b'{"a": ' + b"9" * 5000 + b"}",
    "100,000-deep lists": b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "100,000-deep objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "100,000 open brackets": b"[" * 100_000,
    "merge conflict": b'<<<<<<< ours\n{"a": 1}\n=======\n{"a": 2}\n>>>>>>> theirs\n',
    "LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
    "HTML": b"<html></html>",
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_trusted_is_refused(name: str) -> None:
    with pytest.raises(InvalidJson) as caught:
        loads(BAD[name])
    assert 0 < len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("byte order mark", "starts with a byte order mark"),
        ("Latin-1", "is not UTF-8 (byte 7)"),
        ("list", "is not an object"),
        ("key twice, deep", "the key 'c' stands twice in one object"),
        ("lone surrogate", "contains a lone surrogate"),
        ("100,000-deep lists", "is nested too deeply"),
    ],
)
def test_the_reason_is_told(name: str, reason: str) -> None:
    with pytest.raises(InvalidJson) as caught:
        loads(BAD[name])
    assert str(caught.value) == reason


def nested(depth: int, opening: str, closing: str, rest: str = "") -> bytes:
    """A document of so many levels, itself included."""
    return ('{"a": ' + opening * (depth - 1) + "1" + closing * (depth - 1) + rest + "}").encode()


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"b": ', "}")])
def test_depth_has_a_limit_far_below_the_interpreters(opening: str, closing: str) -> None:
    assert dumps(loads(nested(codec.MAX_DEPTH, opening, closing)))
    with pytest.raises(InvalidJson, match="nested too deeply"):
        loads(nested(codec.MAX_DEPTH + 1, opening, closing))


@pytest.mark.parametrize("rest", ["", ', "é": "\\u00e9"', ', "é": "\\ud800"'])
def test_every_depth_ends_in_invalid_json(rest: str) -> None:
    """Also where the reader just manages a depth that the writer does not."""
    limit = sys.getrecursionlimit()
    for depth in range(limit // 2, limit + 50):
        with pytest.raises(InvalidJson):
            loads(nested(depth, "[", "]", rest))


def test_many_brackets_side_by_side_are_not_deep() -> None:
    document = {"a": [[] for _ in range(1000)], "b": "[{" * 1000}
    assert loads(dumps(document)) == document


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        document = loads(data)
    except InvalidJson:
        return
    assert same(loads(dumps(document)), document)


@given(DOCUMENTS, st.data())
def test_a_truncated_document_is_refused(document: dict[str, Any], data: st.DataObject) -> None:
    whole = dumps(document)
    with pytest.raises(InvalidJson):
        loads(whole[: data.draw(st.integers(0, len(whole) - 1))])


@pytest.mark.parametrize("data", [b'{\n  "a key of all": 1\n}', b'{"a key of all": NaN}'])
def test_a_key_is_one_text_for_a_whole_store(data: bytes) -> None:
    """Whoever reads it."""
    (one,), (other,) = codec.loads(data), codec.loads(data)
    assert one is other
