"""CSV tables whose untouched cells keep their very bytes. Pure: opens no file.

The csv module reads a table well and writes another one (quotes, line ends, BOM); here a row is its raw cells plus its
line end, and only cells that get a new value are written anew.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import NamedTuple

_BOM = "\ufeff"
_QUOTED = re.compile(r'"([^"]*+(?:""[^"]*+)*+)"([^,\r\n]*)')  # possessive: an open quote must not match
_PLAIN = re.compile(r"[^,\r\n]*")
_SPECIAL = re.compile('[",\r\n]')  # what a cell without quotes cannot hold
_LINE_END = re.compile(r"\r\n|\n|\r")


class InvalidTable(ValueError):
    """A table that cannot be trusted; the text says why, with the line."""


class Row(NamedTuple):
    """One record: its raw cells, its line end, and the number of its first line. A blank line is all `end`."""

    cells: tuple[str, ...]
    end: str
    line: int


def cell_value(raw: str) -> str:
    """What a raw cell says, as the csv module would read it."""
    if raw[:1] != '"':
        return raw
    closed = _QUOTED.match(raw)
    assert closed is not None  # parse() admits no open quote
    return closed[1].replace('""', '"') + closed[2]


def cell_with(raw: str, value: str) -> str:
    """A raw cell that says `value`, with the quotes and the outer blanks that it had."""
    old = cell_value(raw)
    stripped = old.strip()
    left, right = ("", "") if stripped in ("", old) else old.split(stripped, 1)
    text = left + value + right
    if raw.startswith('"') or _SPECIAL.search(text):
        return '"' + text.replace('"', '""') + '"'
    return text


def decode(data: bytes) -> str:
    """The text of a table or list. Raises InvalidTable where it is not UTF-8 or holds a NUL."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = len(_LINE_END.findall(data[: error.start].decode("latin-1"))) + 1
        raise InvalidTable(f"line {line} is not UTF-8") from None
    if "\0" in text:
        line = len(_LINE_END.findall(text[: text.index("\0")])) + 1
        raise InvalidTable(f"line {line} contains a NUL")
    return text


def lines(text: str) -> list[tuple[str, str]]:
    """A text as (line, line end); only \\n, \\r\\n and \\r end a line."""
    result, start = [], 0
    for match in _LINE_END.finditer(text):
        result.append((text[start : match.start()], match.group()))
        start = match.end()
    if start < len(text):
        result.append((text[start:], ""))
    return result


def _records(text: str) -> Iterator[Row]:
    if '"' not in text:
        for number, (content, line_end) in enumerate(lines(text), 1):
            if content.strip():
                yield Row(tuple(content.split(",")), line_end, number)
            else:
                yield Row((), content + line_end, number)
        return
    position, line = 0, 1
    while position < len(text):
        cells, start, first = [], position, line
        while True:
            quoted = text.startswith('"', position)
            match = (_QUOTED if quoted else _PLAIN).match(text, position)
            if match is None:
                raise InvalidTable(f"line {line}: a quote is never closed")
            cells.append(match.group())
            line += len(_LINE_END.findall(match.group())) if quoted else 0
            position = match.end()
            if not text.startswith(",", position):
                break
            position += 1
        end = _LINE_END.match(text, position)
        content, line_end = text[start:position], end.group() if end else ""
        position = end.end() if end else position
        yield Row(tuple(cells), line_end, first) if content.strip() else Row((), content + line_end, first)
        line += 1


@dataclass(frozen=True, slots=True)
class Table:
    """A CSV file: `columns` are the header's names, stripped; `rows` the records below it, blank lines too."""

    bom: str
    head: tuple[Row, ...]
    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    @classmethod
    def parse(cls, data: bytes) -> Table:
        """Raises InvalidTable: not UTF-8, NUL, open quote, repeated header, a row of another width."""
        text = decode(data)
        bom = _BOM if text.startswith(_BOM) else ""
        head: list[Row] = []
        rows: list[Row] = []
        columns: tuple[str, ...] = ()
        for row in _records(text[len(bom) :]):
            if columns:
                if row.cells and len(row.cells) != len(columns):
                    raise InvalidTable(f"line {row.line} has {len(row.cells)} cells, the header has {len(columns)}")
                rows.append(row)
                continue
            head.append(row)
            if row.cells:
                columns = tuple(cell_value(cell).strip() for cell in row.cells)
                twice = [name for name, number in Counter(columns).items() if name and number > 1]
                if twice:
                    raise InvalidTable(f"line {row.line}: the column {twice[0]!r} stands twice in the header")
        return cls(bom, tuple(head), columns, tuple(rows))

    def render(self) -> bytes:
        """The bytes of the file."""
        parts = [self.bom]
        for row in (*self.head, *self.rows):
            parts.append(",".join(row.cells) + row.end)
        return "".join(parts).encode()

    def column(self, name: str) -> int | None:
        """Index of a column, or None."""
        return self.columns.index(name) if name in self.columns else None

    def records(self, *names: str) -> Iterator[tuple[int, dict[str, str]]]:
        """(line, column -> value) of every row that is not blank; of all columns, or of these, where there are such."""
        wanted = [(name, place) for place, name in enumerate(self.columns) if not names or name in names]
        for row in self.rows:
            cells = row.cells
            if cells:
                raw = ((name, cells[place]) for name, place in wanted)
                yield row.line, {name: cell if cell[:1] != '"' else cell_value(cell) for name, cell in raw}

    def values(self, *names: str) -> Iterator[tuple[int, tuple[str, ...]]]:
        """(row index, values of these columns) of every row that is not blank; "" for a column that is not there."""
        places = [self.columns.index(name) if name in self.columns else len(self.columns) for name in names]
        pick = itemgetter(*places, len(self.columns))  # with one more it gives a tuple always
        for index, row in enumerate(self.rows):
            if row.cells:
                values = pick((*row.cells, ""))[:-1]
                if '"' in "".join(values):
                    values = tuple([cell_value(value) for value in values])
                yield index, values

    def edited(self, cells: Mapping[tuple[int, int], str], inserts: Mapping[int, Sequence[Mapping[str, str]]]) -> Table:
        """The table with new values at (row index, column index) and new records before row indexes.

        New records have the line end of the row that they stand before (after the last row: its own, as far as it has
        one), and a blank in each column they do not name.
        """
        if not cells and not inserts:
            return self
        changed: dict[int, list[str]] = {}
        for (index, column), value in cells.items():
            raw = changed.setdefault(index, list(self.rows[index].cells))
            raw[column] = cell_with(raw[column], value)
        rows: list[Row] = []
        usual = self.head[-1].end or "\n"
        for index, row in enumerate(self.rows):
            if index in inserts:
                rows += self._records(inserts[index], row.end or usual, row.line)
            rows.append(Row(tuple(changed[index]), row.end, row.line) if index in changed else row)
        last = rows[-1] if rows else self.head[-1]
        added = self._records(inserts.get(len(self.rows), ()), last.end or usual, last.line + 1)
        if not added or last.end:
            return Table(self.bom, self.head, self.columns, (*rows, *added))
        ended = Row(last.cells, usual, last.line)  # the file ended without a line end: now a line follows
        if rows:
            return Table(self.bom, self.head, self.columns, (*rows[:-1], ended, *added))
        return Table(self.bom, (*self.head[:-1], ended), self.columns, tuple(added))

    def _records(self, records: Iterable[Mapping[str, str]], end: str, line: int) -> list[Row]:
        return [Row(tuple(cell_with("", record.get(c, "")) for c in self.columns), end, line) for record in records]
