"""Tables whose untouched cells keep their very bytes, and every table that is refused."""

from __future__ import annotations

import csv
import io
import time

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from migrator.store.table import InvalidTable, Table, cell_value, cell_with, decode, lines

END = st.sampled_from(["\n", "\r\n", "\r"])
CELL_TEXT = st.text(st.sampled_from('ab é"",;\t \n\r\u2028\x85\x0c\x1c模\ufeff='), max_size=6)


def raw_cell(value: str, quoted: bool) -> str:
    """A cell as some tool would write it."""
    if quoted or any(sign in value for sign in ',"\r\n'):
        return '"' + value.replace('"', '""') + '"'
    return value


@st.composite
def csv_files(draw: st.DrawFn) -> bytes:
    """Tables of one width: any quotes, any ends, BOM, blank lines, with or without a last line end."""
    width = draw(st.integers(1, 4))
    mixed = draw(st.booleans())
    usual = draw(END)
    parts = ["\ufeff"] if draw(st.booleans()) else []
    rows = [[f"c{number}" for number in range(width)]]
    rows += draw(st.lists(st.lists(CELL_TEXT, min_size=width, max_size=width), max_size=5))
    for row in rows:
        for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
            parts.append(draw(END) if mixed else usual)
        line = ",".join(raw_cell(value, draw(st.booleans())) for value in row)
        if not line.strip():  # what is only blanks counts as no row
            line = '""'
        parts += [line, draw(END) if mixed else usual]
    text = "".join(parts)
    return text[: -len(parts[-1])].encode() if draw(st.booleans()) else text.encode()


def by_csv_module(data: bytes) -> list[list[str]]:
    """The rows as the standard library reads them."""
    text = data.decode().removeprefix("\ufeff")
    return [row for row in csv.reader(io.StringIO(text, newline="")) if row]


def rows_of(table: Table) -> list[list[str]]:
    """The rows as the table reads them, header too."""
    return [[cell_value(cell) for cell in row.cells] for row in (*table.head, *table.rows) if row.cells]


@given(csv_files())
def test_bytes_round_trip(data: bytes) -> None:
    assert Table.parse(data).render() == data


@given(csv_files())
def test_values_are_those_of_the_csv_module(data: bytes) -> None:
    assert rows_of(Table.parse(data)) == by_csv_module(data)


@given(csv_files())
def test_values_of_columns_are_those_of_the_records(data: bytes) -> None:
    """By row; a column that is not there says nothing, and a single one is a tuple too."""
    table = Table.parse(data)
    width = len(table.columns)
    names = (f"c{width - 1}", "c0", "nowhere")
    records = [record for _, record in table.records()]
    assert [values for _, values in table.values(*names)] == [(r[names[0]], r["c0"], "") for r in records]
    assert [values for _, values in table.values("c0")] == [(record["c0"],) for record in records]
    assert [table.rows[index].line for index, _ in table.values("c0")] == [line for line, _ in table.records()]


@given(st.text(st.sampled_from('ab,"\r\n é'), max_size=30))
def test_odd_quotes_are_read_as_the_csv_module_reads_them(text: str) -> None:
    """Text behind a closing quote, quotes within bare cells, any end: the same cells, or a refusal."""
    try:
        table = Table.parse(text.encode())
    except InvalidTable:
        return
    assert table.render() == text.encode()
    assume(all(line.strip() or not line for line, _ in lines(text)))  # lines of blanks are no rows here
    assert rows_of(table) == by_csv_module(text.encode())


@given(st.text(st.sampled_from('ab,"\r\n'), max_size=30))
def test_a_quote_that_never_closes_is_never_read(text: str) -> None:
    data = f"x\n{text}".encode()
    try:
        list(csv.reader(io.StringIO(f"x\n{text}", newline=""), strict=True))
    except csv.Error as error:
        assume("unexpected end of data" in str(error))
        with pytest.raises(InvalidTable):
            Table.parse(data)


@given(csv_files(), st.data())
def test_an_edit_changes_one_cell_and_no_other_byte(data: bytes, choice: st.DataObject) -> None:
    table = Table.parse(data)
    full = [index for index, row in enumerate(table.rows) if row.cells]
    assume(full)
    row, column = choice.draw(st.sampled_from(full)), choice.draw(st.integers(0, len(table.columns) - 1))
    value = choice.draw(st.text(st.sampled_from('xy,"\n'), min_size=1, max_size=4))
    after = Table.parse(table.edited({(row, column): value}, {}).render())
    assert len(after.rows) == len(table.rows)
    assert (after.bom, after.head) == (table.bom, table.head)
    for index, (old, new) in enumerate(zip(table.rows, after.rows, strict=True)):
        assert new.end == old.end
        for place, (a, b) in enumerate(zip(old.cells, new.cells, strict=True)):
            if (index, place) == (row, column):
                assert cell_value(b).strip() == value.strip()
                assert b.startswith('"') or not a.startswith('"')
            else:
                assert b == a


def test_an_edit_of_nothing_is_the_very_same_table() -> None:
    table = Table.parse(b"a,b\n1,2\n")
    assert table.edited({}, {}) is table


# -- cells


@pytest.mark.parametrize(
    ("raw", "value", "after"),
    [
        ("old", "new", "new"),
        ('"old"', "new", '"new"'),
        (" old ", "new", " new "),
        ('" old\t"', "new", '" new\t"'),
        ("", "new", "new"),
        ('""', "new", '"new"'),
        ("old", "a,b", '"a,b"'),
        ("old", 'say "x"', '"say ""x"""'),
        ("old", "two\nlines", '"two\nlines"'),
        ("old", "two\rlines", '"two\rlines"'),
        ('"a ""b"""', "c", '"c"'),
        ('"old"x', "new", '"new"'),
        ("o ld", "new", "new"),
        ("old", "old", "old"),
        ("ab a", "x", "x"),
        (" a a ", "b", " b "),
    ],
)
def test_a_new_value_keeps_quotes_and_outer_blanks(raw: str, value: str, after: str) -> None:
    assert cell_with(raw, value) == after
    assert cell_value(after).strip() == value


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ("x", "x"),
        ("", ""),
        ('""', ""),
        ('""""', '"'),
        ('"a,b"', "a,b"),
        ('"a ""b"" c"', 'a "b" c'),
        ('"a"b', "ab"),
        ('"a" ', "a "),
        ('"a"b"c', 'ab"c'),
        ('"a""b"c""d', 'a"bc""d'),
        ('a"b"', 'a"b"'),
        (' "a"', ' "a"'),
        ('"two\r\nlines"', "two\r\nlines"),
    ],
)
def test_a_cell_says_what_the_csv_module_reads(raw: str, value: str) -> None:
    assert cell_value(raw) == value
    assert next(csv.reader(io.StringIO(raw, newline="")), [""]) == [value]


# -- lines


def test_only_three_ends_end_a_line() -> None:
    text = "a\nb\r\nc\rd\x0be\x0cf\x1cg\x85h\u2028i\n\n\r\r\nj"
    assert lines(text) == [
        ("a", "\n"),
        ("b", "\r\n"),
        ("c", "\r"),
        ("d\x0be\x0cf\x1cg\x85h\u2028i", "\n"),
        ("", "\n"),
        ("", "\r"),
        ("", "\r\n"),
        ("j", ""),
    ]
    assert lines("") == []


@given(st.text(st.sampled_from("ab\r\n \u2028")))
def test_lines_lose_nothing(text: str) -> None:
    assert "".join(line + end for line, end in lines(text)) == text


@pytest.mark.parametrize(
    "data",
    [
        b"a,b\n1,2\n",
        b"a,b\r\n1,2\r\n",
        b"a,b\r1,2\r",
        b"a,b\n1,2\r\n3,4\r5,6",
        b"\xef\xbb\xbfa,b\n1,2\n",
        b"\n\na,b\n\n1,2\n\n\n3,4\n\n",
        b'"a","b"\r\n"x\ny","z\r\nw"\r\n',
        b"a,b",
        b"",
        b"\n",
        b"\xef\xbb\xbf",
        b"a,b\n1,2\n1,2\n1,2\n",
        b"a;b\n1;2\n",
        b"a, b\n1, 2\n",
        b"007,1e5\nNA,null\nnan,=1+1\n",
    ],
)
def test_odd_tables_are_kept_byte_for_byte(data: bytes) -> None:
    assert Table.parse(data).render() == data


def test_a_long_field_is_read() -> None:
    long = "x" * 200_000
    assert [record["b"] for _, record in Table.parse(f'a,b\n1,"{long}"\n'.encode()).records()] == [long]


def test_header_names_are_stripped_and_unquoted_and_values_are_not() -> None:
    table = Table.parse(b'\xef\xbb\xbf "a", "b"\n'.replace(b' "a"', b'" a "') + b" 1 , nan\n")
    assert table.columns == ("a", '"b"')
    assert list(table.records()) == [(2, {"a": " 1 ", '"b"': " nan"})]


def test_records_count_lines_as_an_editor_does() -> None:
    table = Table.parse(b'\na,b\n\n"x\ny\nz",1\n2,3\r\n\r\n4,"5\r6"\n7,8')
    assert [line for line, _ in table.records()] == [4, 7, 9, 11]
    assert [line for line, _ in Table.parse(b"a\r\nb\rc\nd\n").records()] == [2, 3, 4]


def test_column_finds_a_name_or_nothing() -> None:
    table = Table.parse(b"a, b \n")
    assert (table.column("a"), table.column("b"), table.column("c")) == (0, 1, None)
    assert Table.parse(b"").column("a") is None


# -- new rows


def test_a_new_row_has_the_end_of_the_row_that_it_stands_before() -> None:
    table = Table.parse(b"a,b,c\n1,2,3\r\n4,5,6\r7,8,9")
    new = {"b": "x,y", "unknown": "z"}
    assert table.edited({}, {0: [new], 1: [new, {"c": '"'}], 2: [new]}).render() == (
        b'a,b,c\n,"x,y",\r\n1,2,3\r\n,"x,y",\r,,""""\r4,5,6\r,"x,y",\n7,8,9'
    )


def test_rows_and_cells_change_together() -> None:
    table = Table.parse(b"a,b\n1,2\n\n3,4\n")
    after = table.edited({(0, 0): "x", (2, 1): "y", (0, 1): "z"}, {2: [{"a": "new"}]})
    assert after.render() == b"a,b\nx,z\n\nnew,\n3,y\n"
    assert table.render() == b"a,b\n1,2\n\n3,4\n"


# -- what is refused


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"a,b\n1,\xe9\n", "line 2 is not UTF-8"),
        (b"\xff\xfea\x00", "line 1 is not UTF-8"),
        (b"a\r\nb\r\n\xe9", "line 3 is not UTF-8"),
        (b"a\rb\r\xe9", "line 3 is not UTF-8"),
        (b"a,b\n1,2\n3,\0\n", "line 3 contains a NUL"),
        (b"a\rb\r\0", "line 3 contains a NUL"),
        (b'a,b\n1,2\n3,"4\n5,6\n', "line 3: a quote is never closed"),
        (b'a,b\n1,"x""y\n3,4\n', "line 2: a quote is never closed"),
        (b'a,b\n"x\ny","z\n', "line 3: a quote is never closed"),
        (b'a,b\r1,2\r3,"4', "line 3: a quote is never closed"),
        (b'"', "line 1: a quote is never closed"),
        (b'a,b\n1,"""\n', "line 2: a quote is never closed"),
        (b"a,b,a\n1,2,3\n", "line 1: the column 'a' stands twice in the header"),
        (b'\n\n"a",b, a \n', "line 3: the column 'a' stands twice in the header"),
        (b"a,b\n1,2\n3\n", "line 3 has 1 cells, the header has 2"),
        (b"a,b\n1,2,3\n", "line 2 has 3 cells, the header has 2"),
        (b'a,b\n"x\ny",2\n\n3,4,\n', "line 5 has 3 cells, the header has 2"),
        (b"a,b\r1,2\r3", "line 3 has 1 cells, the header has 2"),
        (b"a,b\n1,2\n3,", None),
        (b"a,b\n1,2\n,\n", None),
        (b"a,,b\n1,2,3\n", None),
    ],
)
def test_invalid_tables_are_refused_with_their_line(data: bytes, reason: str | None) -> None:
    if reason is None:
        assert Table.parse(data).render() == data
        return
    with pytest.raises(InvalidTable) as caught:
        Table.parse(data)
    assert str(caught.value) == reason


def test_a_list_is_decoded_by_the_same_rules() -> None:
    assert decode("\ufeffé\r\n".encode()) == "\ufeffé\r\n"
    with pytest.raises(InvalidTable, match="line 2 is not UTF-8"):
        decode(b"a\n\xff")
    with pytest.raises(InvalidTable, match="line 2 contains a NUL"):
        decode(b"a\n\0")


@given(st.binary(max_size=60))
def test_any_bytes_are_kept_or_refused(data: bytes) -> None:
    try:
        table = Table.parse(data)
    except InvalidTable:
        return
    assert table.render() == data


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a,b\n1,2\n", "a,b\n1,2\nx,\n"),
        ("a,b\r\n1,2", "a,b\r\n1,2\r\nx,\r\n"),
        ("a,b", "a,b\nx,\n"),
        ("\ufeffa,b\r\n", "\ufeffa,b\r\nx,\r\n"),
        ("a,b\n1,2\n\n", "a,b\n1,2\n\nx,\n"),
    ],
)
def test_a_record_behind_the_last_row(before: str, after: str) -> None:
    table = Table.parse(before.encode())
    assert table.edited({}, {len(table.rows): [{"a": "x"}]}).render() == after.encode()


def test_a_header_of_very_many_columns_is_read_in_one_pass() -> None:
    """To look for each name among all others took minutes."""
    names = [f"c{number}" for number in range(200_000)]
    started = time.process_time()
    assert Table.parse(",".join(names).encode()).columns == tuple(names)
    with pytest.raises(InvalidTable, match="the column 'c7' stands twice"):
        Table.parse(",".join([*names, "c7"]).encode())
    assert time.process_time() - started < 10
