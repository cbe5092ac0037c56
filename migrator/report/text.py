"""Plan and run as lines and tables for a screen. Formatting only: opens no file, prints nothing.

Whatever comes from data goes through `plain` or `escape` first: an id may hold markup or a terminal's escape codes.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

# name -> the sign, and what stands for it where the encoding does not have it
_SIGNS = {
    "done": ("✓", "*"),
    "change": ("~", "~"),
    "new": ("+", "+"),
    "bad": ("✗", "x"),
    "warning": ("!", "!"),
    "none": ("–", "-"),
    "to": ("→", "->"),
}
_STYLES = {"done": "green", "change": "yellow", "new": "green", "bad": "red", "warning": "yellow", "none": "dim"}


def plain(text: object) -> str:
    """The text with everything visible that a terminal would act on: escape codes, line ends, reversed writing."""
    return "".join(c if _harmless(c) else c.encode("unicode_escape").decode() for c in str(text))


def _harmless(character: str) -> bool:
    return unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp")


def escape(text: object) -> str:
    """`plain`, and markup means nothing in it: what to put into a string that `console().print` gets."""
    from rich.markup import escape as without_markup

    return without_markup(plain(text))


def sign(name: str, encoding: str = "utf-8") -> str:
    """A sign of the family (done, change, new, bad, warning, none, to), or its ASCII form where need be."""
    rich, ascii_form = _SIGNS[name]
    try:
        rich.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return ascii_form
    return rich


def marked(name: str, encoding: str = "utf-8") -> str:
    """A sign as markup, in its colour."""
    style = _STYLES.get(name)
    return f"[{style}]{sign(name, encoding)}[/]" if style else sign(name, encoding)


def grid(*headers: str) -> Table:
    """A table of the family: two spaces between columns, no boxes, dim headers; a header with `>` goes to the right.

    Cells are folded and never cut. Without any header text no header line is shown.
    """
    from rich.table import Table

    table = Table(
        box=None,
        padding=(0, 2, 0, 0),
        pad_edge=False,
        show_edge=False,
        header_style="dim",
        show_header=any(header.strip(">") for header in headers),
    )
    for header in headers:
        right = header.startswith(">")
        table.add_column(header.removeprefix(">"), justify="right" if right else "left", overflow="fold")
    return table
