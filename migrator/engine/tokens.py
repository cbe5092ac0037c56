"""Whole tokens in a stream of bytes, found fast: old names that a finished tree still mentions. Pure.

A token is a run of ASCII letters, digits, `_` and `-`. Only runs at least as long as the shortest name are looked at.
They are found by one `bytes.find` in a text whose other bytes are mapped to one value; or by numpy, in less than half
the time, which pays for its import where there is much to search.
"""

from __future__ import annotations

import os
import re
from bisect import bisect
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import accumulate
from typing import Any, NamedTuple

_TOKEN = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_-"
_MAP = bytes(1 if byte in _TOKEN else 0 for byte in range(256))
_TOGETHER = 1 << 16  # bytes of small files that are searched as one text: what a cache holds
_MUCH = 1 << 28  # bytes in which numpy saves more than its import takes: by how much depends on the machine
_SMALL = 1 << 14  # bytes in which it does not
_WHOLE = 1 << 20  # pieces smaller than this are the end of a file, or all of it


class Hit(NamedTuple):
    """A token in a file; lines count from 1."""

    path: str
    line: int
    token: str


class Tokens:
    """The names to look for, in so many bytes.

    Of two odd names the longer one counts, be it one of `others`, which are not looked for: so what is found of a
    name does not depend on which else are wanted.
    """

    def __init__(self, names: Iterable[str], size: int = 0, others: Iterable[str] = ()) -> None:
        encoded = {name.encode(errors="surrogateescape") for name in names} - {b""}
        self.plain = frozenset([name for name in encoded if not name.translate(None, _TOKEN)])
        self._wanted = encoded - self.plain  # blanks, dots, other scripts in a name
        self.odd = self._pattern(others) if self._wanted else None
        self.lengths = frozenset(map(len, self.plain))
        self.shortest = min(self.lengths, default=0)
        self._much = size > _MUCH

    def _pattern(self, others: Iterable[str]) -> re.Pattern[bytes]:
        beside = {name.encode(errors="surrogateescape") for name in others} - {b""}
        odd = sorted(self._wanted | {name for name in beside if name.translate(None, _TOKEN)}, key=len, reverse=True)
        edge = b"[0-9a-zA-Z_-]"
        return re.compile(b"(?<!%s)(?:%s)(?!%s)" % (edge, b"|".join(map(re.escape, odd)), edge))

    def look(self, texts: Sequence[tuple[str, bytes]]) -> list[Hit]:
        """The tokens of some whole files (path, content). Most hold none, so all are searched as one text first."""
        together = b"\n".join([data for _, data in texts])
        found = [place for place, _ in (*self.places(together), *self.odd_places(together))]
        if not found:
            return []
        starts = list(accumulate((len(data) + 1 for _, data in texts), initial=0))
        holders = sorted({bisect(starts, place) - 1 for place in found})
        return [hit for holder in holders for hit in Search(self, *texts[holder]).close()]

    def places(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """(place, token) of every plain name in a text."""
        if not self.plain:
            return
        runs = by_numpy if self._much and len(data) > _SMALL else by_find
        for start, end in runs(data, self.shortest):
            if end - start in self.lengths and data[start:end] in self.plain:
                yield start, data[start:end]

    def odd_places(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """(place, token) of every odd name in a text."""
        for match in self.odd.finditer(data) if self.odd else ():
            if match.group() in self._wanted:
                yield match.start(), match.group()

    def search(self, path: str) -> Search:
        """A search through one file, fed piece by piece."""
        return Search(self, path)


def by_find(data: bytes, shortest: int) -> Iterator[tuple[int, int]]:
    """(start, end) of each run of token bytes that is at least so long, the last one first.

    Sought backwards, and with the byte before it: then a search looks at the end of a run, and leaps over a short one.
    """
    mapped = b"\0%s\0" % data.translate(_MAP)  # so that every run has something before and behind it
    run = b"\0" + b"\1" * shortest
    before = mapped.rfind(run)
    while before >= 0:
        yield before, mapped.index(0, before + 1) - 1
        before = mapped.rfind(run, 0, before)


def by_numpy(data: bytes, shortest: int) -> Iterator[tuple[int, int]]:
    """The same: where a token byte stands at a place and at all of the next ones, a run begins or goes on."""
    np = _numpy()
    signs = np.frombuffer(data, np.uint8)
    here = ((signs | 32) - 97 < 26) | (signs - 48 < 10) | (signs == ord("_")) | (signs == ord("-"))
    length = 1
    while length < shortest:  # here: a run of this length begins
        step = min(length, shortest - length)
        here = here[:-step] & here[step:] if step < len(here) else here[:0]
        length += step
    if not here.any():
        return
    edges = (np.flatnonzero(here[1:] != here[:-1]) + 1).tolist()
    edges = [0] * int(here[0]) + edges + [len(here)] * int(here[-1])
    for first, behind in zip(edges[::2], edges[1::2], strict=True):
        yield first, behind + shortest - 1


@cache
def _numpy() -> Any:
    """numpy without the threads of its linear algebra: we have no use for them, and to start they spin for 80 ms."""
    name = "OPENBLAS_NUM_THREADS"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        import numpy
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
    return numpy


class Batch:
    """Small files, searched some together: add them one by one, then close."""

    def __init__(self, tokens: Tokens) -> None:
        self.tokens = tokens
        self.hits: list[Hit] = []
        self._texts: list[tuple[str, bytes]] = []
        self._size = 0

    def add(self, path: str, data: bytes) -> None:
        """Take one whole file."""
        self._texts.append((path, data))
        self._size += len(data)
        if self._size > _TOGETHER:
            self._look()

    def close(self) -> list[Hit]:
        """What was found in all of them and noted meanwhile."""
        self._look()
        return self.hits

    def _look(self) -> None:
        self.hits += self.tokens.look(self._texts)
        self._texts, self._size = [], 0


class Search:
    """Tokens of one file. Feed its pieces in order, then close."""

    def __init__(self, tokens: Tokens, path: str, data: bytes = b"") -> None:
        self.tokens = tokens
        self.path = path
        self.line = 1
        self.pieces: list[bytes] = [data] if data else []
        self.hits: list[Hit] = []

    def feed(self, data: bytes) -> None:
        """Look through a piece; a token that may go on in the next one waits for it."""
        self.pieces.append(data)
        if self.tokens.odd or len(data) < _WHOLE:
            return  # small enough, or a name with blanks in it may go on behind any of them
        data = b"".join(self.pieces)
        cut = len(data)
        while cut > 0 and _MAP[data[cut - 1]]:
            cut -= 1
        self.pieces = [data[cut:]]
        self._look(data[:cut])

    def close(self) -> list[Hit]:
        """What was found, in order of place."""
        self._look(self.pieces[0] if len(self.pieces) == 1 else b"".join(self.pieces))
        self.pieces = []
        return self.hits

    def _look(self, data: bytes) -> None:
        places = sorted([*self.tokens.places(data), *self.tokens.odd_places(data)])
        line, counted = self.line, 0
        for start, token in places:
            line += data.count(b"\n", counted, start)
            counted = start
            self.hits.append(Hit(self.path, line, token.decode(errors="surrogateescape")))
        self.line += data.count(b"\n")
