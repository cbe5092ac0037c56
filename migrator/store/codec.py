"""JSON as the store writes it: read strictly, written with every value as it was read. Pure: opens no file.

A fast codec may drop a key that stands twice, or make a float of a 30-digit integer, and refuses NaN. So what it reads
counts only where it writes the very same bytes again, as it does for what we write ourselves. All else is read by the
standard library, and written as that would.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from json.encoder import encode_basestring as _quoted
from sys import intern
from typing import Any

import orjson

MAX_BYTES = 32 << 20  # a record of more than this is no record; it must end in an error, not in memory
MAX_DEPTH = 200  # far above any record, far below the interpreter's own limit

Document = dict[str, Any]


class InvalidJson(ValueError):
    """A document that cannot be trusted; the text says why."""


def _pairs(pairs: list[tuple[str, Any]]) -> Document:
    document = {intern(key): value for key, value in pairs}  # one text for a whole store, as the fast codec does it
    if len(document) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise InvalidJson(f"the key {twice!r} stands twice in one object")
    return document


_DECODER = json.JSONDecoder(object_pairs_hook=_pairs)


def loads(data: bytes) -> Document:
    """The object that the bytes hold. NaN, Infinity and big integers are kept; anything doubtful is InvalidJson."""
    value = _quickly(data)
    return _strictly(data) if value is None else value


def _quickly(data: bytes) -> Document | None:
    """The object, where the bytes are written as `dumps` would: then nothing of them can have been lost."""
    try:
        value = orjson.loads(data)
        same = orjson.dumps(value, option=orjson.OPT_INDENT_2) == data
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return None
    if len(data) > MAX_DEPTH**2 and _is_deep(data, value):  # so deep, the indents alone are as many bytes
        return None
    return value if same and type(value) is dict else None


def _strictly(data: bytes) -> Document:
    """The object as the standard library reads it."""
    if data.startswith(b"\xef\xbb\xbf"):
        raise InvalidJson("starts with a byte order mark")
    try:
        text = data.decode()
        value = _value(text)
    except UnicodeDecodeError as error:
        raise InvalidJson(f"is not UTF-8 (byte {error.start})") from None
    except json.JSONDecodeError as error:
        raise InvalidJson(f"is not JSON: {error}") from None
    except RecursionError:
        raise InvalidJson("is nested too deeply") from None
    except InvalidJson:
        raise
    except ValueError as error:  # an integer of more digits than Python converts
        raise InvalidJson(str(error)) from None
    if not isinstance(value, dict):
        raise InvalidJson("is not an object")
    if _is_deep(data, value):
        raise InvalidJson("is nested too deeply")
    if "\\u" in text and _has_surrogate(value):
        raise InvalidJson("contains a lone surrogate")
    return value


def _value(text: str) -> Any:
    """What the decoder makes of a text. Most are one object from end to end: there are no blanks to look for."""
    if text[:1] == "{":
        value, end = _DECODER.raw_decode(text)
        if end == len(text):
            return value
    return _DECODER.decode(text)


def _has_surrogate(value: object) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


def _is_deep(data: bytes, value: object) -> bool:
    return data.count(b"{") + data.count(b"[") > MAX_DEPTH and _depth(value) > MAX_DEPTH


def _depth(value: object) -> int:
    deepest, stack = 0, [(value, 1)]
    while stack:
        node, depth = stack.pop()
        deepest = max(deepest, depth)
        children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
        stack += [(child, depth + 1) for child in children if isinstance(child, dict | list)]
    return deepest


def dumps(document: Document) -> bytes:
    """What json.dumps(document, indent=2, ensure_ascii=False) gives, as UTF-8, in half its time.

    With an indent the standard library leaves its C encoder, and a full upgrade writes every document.
    """
    return _text(document, "\n").encode()


def rewritten(data: bytes, revise: Callable[[Document], Document]) -> bytes | None:
    """The bytes of a document after `revise`, or None where that gives the same object back. Raises InvalidJson.

    What the fast codec has read it writes too, so that each number stays as it stood. So no value may come new that it
    would not write: NaN, or a float of which it makes another text.
    """
    quick = _quickly(data)
    old = _strictly(data) if quick is None else quick
    new = revise(old)
    if new is old:
        return None
    if quick is not None:
        try:
            return orjson.dumps(new, option=orjson.OPT_INDENT_2)
        except orjson.JSONEncodeError:  # an integer of more than 64 bits, or half a character
            pass
    return dumps(new)


def _text(value: Any, newline: str) -> str:
    kind = type(value)
    if kind is str:
        return _quoted(value)
    if kind is int:
        return int.__repr__(value)
    if kind is float and value - value == 0:  # neither NaN nor infinite
        return float.__repr__(value)
    if kind is bool:
        return "true" if value else "false"
    if not value or not isinstance(value, dict | list | tuple):
        return "null" if value is None else json.dumps(value, ensure_ascii=False)
    inner = newline + "  "
    if not isinstance(value, dict):
        return "[" + inner + f",{inner}".join([_text(child, inner) for child in value]) + newline + "]"
    members = [
        f"{_quoted(key)}: {_quoted(child) if type(child) is str else _text(child, inner)}"
        for key, child in value.items()
    ]
    return "{" + inner + f",{inner}".join(members) + newline + "}"
