"""`migrator map ID...`: old ids -> the ids of today, over all runs. Reads names and mapping files only."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from migrator.cli.screen import json_option, plain, print_json, wants_json
from migrator.cli.settings import complete_ids
from migrator.report.text import many

if TYPE_CHECKING:
    from migrator.site import Site
    from migrator.store.mappings import Names
    from migrator.store.table import Table

UNKNOWN = "-"
_FEW = 100  # ids: for more of them all mappings are read
STAGE_NAMES = ("draft", "essay", "evaluation")  # as in store.layout, which --help must not import


@click.command(short_help="Old ids -> the ids of today.")
@click.argument("ids", nargs=-1, metavar="ID...", shell_complete=complete_ids)
@click.option("--stage", type=click.Choice(STAGE_NAMES), help="Where one name stood for two generations.")
@click.option("--csv", "file", metavar="FILE", help="Bring a column of a table up to date; - is standard input.")
@click.option("--column", metavar="NAME", help="The column of --csv that holds ids.")
@json_option
@click.pass_context
def command(ctx: click.Context, ids: tuple[str, ...], stage: str | None, file: str | None, column: str | None) -> None:
    """Print for each ID the id of today, one a line and nothing else; an id of today is its own.

    An unknown ID is a `-`, and the exit code is 1. With --csv and --column the whole table is printed, with
    that column brought up to date; every other cell keeps its bytes, and so do unknown ids, which are counted
    on standard error.
    """
    if bool(file) != bool(column):
        raise click.UsageError("--csv FILE and --column NAME belong together.")
    if bool(file) == bool(ids):
        raise click.UsageError("Give ids, or --csv FILE --column NAME.")
    site = ctx.obj.site()
    site.place.require()
    names = _names(site, ids)
    if file and column:
        known = _table(names, stage, file, column)
    else:
        mapping = {gen_id: names.today(gen_id, stage) for gen_id in ids}
        known = None not in mapping.values()
        if wants_json():
            print_json({"mapping": mapping})
        else:
            _lines([mapping[gen_id] or UNKNOWN for gen_id in ids])
    ctx.exit(0 if known else 1)


def _names(site: Site, ids: tuple[str, ...]) -> Names:
    """The names of a few ids, or of all that there are."""
    from migrator.engine import ledger
    from migrator.store.mappings import Names

    runs = ledger.runs(site.ledger())
    return Names.of(site.place.real, runs, ids) if 0 < len(ids) <= _FEW else Names.read(site.place.real, runs)


def _lines(ids: list[str]) -> None:
    """One a line, in the bytes of the file system: a folder's name need not be text."""
    click.echo(b"".join(os.fsencode(gen_id) + b"\n" for gen_id in ids), nl=False)


# -- tables


def _table(names: Names, stage: str | None, file: str, column: str) -> bool:
    """Print the table (or the mapping of its column); whether every id was known."""
    table = _parsed(file, column)
    place = table.columns.index(column)
    cells = [(index, row) for index, row in enumerate(table.rows) if row.cells]
    values = {index: record[column].strip() for (index, _), (_, record) in zip(cells, table.records(), strict=True)}
    mapping = {value: names.today(value, stage) for value in dict.fromkeys(values.values()) if value}
    changed = {(index, place): new for index, old in values.items() if (new := mapping.get(old)) and new != old}
    if wants_json():
        print_json({"mapping": mapping})
    else:
        click.echo(table.edited(changed, {}).render(), nl=False)
    unknown = sum(bool(value) and mapping[value] is None for value in values.values())
    if unknown:
        example = next(value for value in mapping if mapping[value] is None)
        click.echo(f"unknown ids in {unknown:,} of {many(len(values), 'row')}, such as {plain(example)}", err=True)
    return not unknown


def _parsed(file: str, column: str) -> Table:
    from migrator.errors import MigratorError, UsageError
    from migrator.store.table import InvalidTable, Table

    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise UsageError(f"the table cannot be read: {error.strerror}", where=file) from None
    try:
        table = Table.parse(data)
    except InvalidTable as error:
        raise MigratorError(f"the table cannot be trusted: {error}", where=file) from None
    if column not in table.columns:
        raise UsageError(
            f"the table has no column {column!r}",
            where=file,
            hint=f"--column {' or '.join(table.columns) or 'NAME'}",
        )
    return table
