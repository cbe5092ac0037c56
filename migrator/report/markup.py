"""The small parts of the report: text, code, sections, tables. Formatting only.

All data goes through `e`; what the other functions get is HTML already.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from migrator.report.text import plain

ROWS = 500  # of a table: a page of 100,000 rows opens in no browser; the CSV files have all

TITLES = {  # of the sections, in order
    "ids": "How ids change",
    "stages": "What happens to each stage",
    "lineage": "Lineage",
    "time": "Time line",
    "checks": "Checks",
    "collisions": "Collisions",
    "issues": "Issues",
    "cohorts": "Cohorts",
    "drafts": "Drafts that were lost",
    "mapping": "Mapping",
    "facts": "Facts",
}


def e(value: object) -> str:
    """Data as text of the page: no markup in it, and control characters and lone surrogates are visible."""
    return escape(plain(value))


def code(value: object) -> str:
    return f"<code>{e(value)}</code>"


def section(name: str, *parts: str, note: str = "") -> str:
    dim = f" <span>{note}</span>" if note else ""
    head = f'<section id="{name}" aria-labelledby="{name}-title">\n<h2 id="{name}-title">{TITLES[name]}{dim}</h2>\n'
    return head + "\n".join(part for part in parts if part) + "\n</section>"


def table(caption: str, headers: Sequence[str], rows: Iterable[Sequence[str]], body: str = "") -> str:
    """A table of cells that are HTML already; a header that starts with `>` is one of numbers."""
    classes = [' class="n"' if header.startswith(">") else "" for header in headers]
    head = "".join(
        f'<th scope="col"{kind}>{e(name.removeprefix(">"))}</th>' for kind, name in zip(classes, headers, strict=True)
    )
    lines = "\n".join(
        "<tr>" + "".join(f"<td{kind}>{cell}</td>" for kind, cell in zip(classes, row, strict=True)) + "</tr>"
        for row in rows
    )
    return wide(caption, head, lines, body)


def wide(caption: str, head: str, lines: str, body: str = "") -> str:
    """A table that scrolls in its own box, by keyboard too, where the window is narrow."""
    thead = f"<thead><tr>{head}</tr></thead>\n" if head else ""
    table = f"<table><caption>{caption}</caption>\n{thead}<tbody{body}>\n{lines}\n</tbody>\n</table>"
    return f'<div class="wide" tabindex="0" role="region" aria-label="{caption}">{table}</div>'


def folded(summary: str, content: str, *, opened: bool) -> str:
    """Something long that opens with a click; a browser's search finds what is in it."""
    return f"<details{' open' if opened else ''}><summary>{summary}</summary>\n{content}\n</details>"
