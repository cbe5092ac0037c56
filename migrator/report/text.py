"""Plan and run as lines and tables for a screen. Formatting only: opens no file, prints nothing.

Whatever comes from data goes through `plain` or `escape` first: an id may hold markup or escape codes.
"""

from __future__ import annotations

import shlex
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from migrator.store.layout import GENS, REBUILT_TABLES, STAGES
from migrator.store.problems import ID_COLLISION

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from migrator.plan import Plan
    from migrator.store.problems import Problem

_KIND = 22  # the longest kind's length
# measured on two cores with a store of 8,500 files: a guess for the screen, nothing depends on it
_FILES_A_SECOND, _BYTES_A_SECOND = 2_000, 150e6

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
_STYLES = {
    "done": "green",
    "change": "yellow",
    "new": "green",
    "bad": "red",
    "warning": "yellow",
    "none": "dim",
}


def plain(text: object) -> str:
    """The text with all visible that a terminal would act on: escape codes, line ends, reversed writing."""
    text = str(text)
    if text.isprintable():  # nearly always, and far quicker than one look a character
        return text
    return "".join(c if _harmless(c) else c.encode("unicode_escape").decode() for c in text)


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
    """A table of the family: two spaces between columns, no boxes, dim headers.

    A column whose header starts with `>` is set to the right. Cells are folded and never cut.
    Without any header text no header line is shown.
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


# -- amounts


def amount(count: int, volume: float) -> str:
    """Files and bytes in words; bytes only where there are any."""
    return many(count, "file") + (f", {size(volume)}" if volume else "")


def size(volume: float) -> str:
    """Bytes in the unit that fits."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if volume >= factor:
            return f"{volume / factor:,.1f} {unit}"
    return f"{volume / 1e3:,.1f} kB"


def seconds(value: float) -> str:
    """A duration: tenths below a minute, then minutes, then hours."""
    if value < 60:
        return f"{value:.1f} s"
    minutes = round(value / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02} min"


def number(value: int) -> str:
    """A count for a table's cell: with commas, a dash for none."""
    return f"{value:,}" if value else "–"


def moment(stamp: str) -> str:
    """A time of ledger or run.json (UTC, ISO 8601), to the minute."""
    return stamp[:16].replace("T", " ")


def many(count: int, one: str, more: str = "") -> str:
    """A count with its noun."""
    return f"{count:,} {one if count == 1 else more or one + 's'}"


# -- plans


def totals(counts: Mapping[str, int]) -> str:
    """The one line that sums a plan up, as markup; nothing is ever deleted."""
    parts = [f"[green]{counts['created']:,} to create[/]", f"[yellow]{counts['renamed']:,} to rename[/]"]
    if counts["rewritten"]:
        parts.append(f"[yellow]{counts['rewritten']:,} to rewrite[/]")
    if counts["unchanged"]:
        parts.append(f"{counts['unchanged']:,} unchanged")
    return ", ".join([*parts, "0 to delete"])


_VERBS = {"create": "new", "rename": "change", "rewrite": "change"}


def steps_table(plan: Plan, encoding: str) -> Table:
    """What each step does: one line a verb, generations per stage; applied steps are dim."""
    table = grid("", "Step", "Does", *(f">{stage.capitalize()}" for stage in STAGES))
    for entry in plan.ledger:
        name = f"[dim]{entry.number} {escape(entry.name)}[/]"
        table.add_row(marked("done", encoding), name, f"[dim]applied {moment(entry.end)}[/]")
    for step, effect in plan.steps:
        name = escape(step)
        verbs = [verb for verb in _VERBS if any(verb in touched for touched in effect.touched.values())]
        for verb in verbs:
            cells = [number(effect.touched.get(stage, {}).get(verb, 0)) for stage in STAGES]
            table.add_row(marked(_VERBS[verb], encoding), name, verb, *(_dashed(cell, encoding) for cell in cells))
            name = ""
        if not verbs:
            table.add_row(marked("none", encoding), name, "[dim]changes nothing[/]")
    return table


def _dashed(cell: str, encoding: str) -> str:
    return f"[dim]{sign('none', encoding)}[/]" if cell == "–" else cell


def checks_table(plan: Plan, free: int, encoding: str) -> Table:
    """The checks on the planned result, with today's value, and the room on the disk."""
    table = grid("", "", "")
    for check in plan.checks:
        today = "" if check.today == check.total else f"  [dim](today {check.today:,})[/]"
        value = f"{check.right:,} of {check.total:,}{today}"
        table.add_row(marked("done" if check.passed else "bad", encoding), escape(check.name), value)
    collisions = sum(problem.kind == ID_COLLISION for problem in plan.problems)
    open_ones = sum(problem.kind == ID_COLLISION for problem in plan.blocking)
    value = many(collisions, "collision") if collisions else "no collision"
    remark = "  [dim](accepted)[/]" if collisions and not open_ones else ""
    table.add_row(marked("bad" if open_ones else "done", encoding), "no two generations share an id", value + remark)
    enough = plan.bytes_needed <= free
    table.add_row(
        marked("done" if enough else "bad", encoding),
        "the disk has room for a second tree",
        f"{size(plan.bytes_needed)} needed, {size(free)} free",
    )
    return table


def issue_lines(
    problems: Sequence[Problem], encoding: str, warnings: int = 2, blocking: int = 3
) -> list[RenderableType]:
    """A digest per kind: how many, and the first few of each, indented. Blocking kinds come first."""
    from rich.padding import Padding

    kinds: dict[tuple[bool, str], list[Problem]] = {}
    for problem in problems:
        kinds.setdefault((not problem.blocking, problem.kind), []).append(problem)
    lines: list[RenderableType] = []
    for (warning, kind), found in sorted(kinds.items()):
        what = "[yellow]warning[/]" if warning else "[red]blocking[/]"
        mark = marked("warning" if warning else "bad", encoding)
        lines.append(f"{mark}  [bold]{escape(kind):{_KIND}}[/]  {len(found):>7,}  {what}")
        shown = warnings if warning else blocking
        examples = [f"[dim]{escape(place_of(one))}[/]  {escape(one.message)}" for one in found[:shown]]
        if 0 < shown < len(found):
            examples.append(f"[dim]and {len(found) - shown:,} more[/]")
        lines += [Padding(example, (0, 0, 0, 5), expand=False) for example in examples]
    return lines


def place_of(problem: Problem) -> str:
    """Where a finding is: its path, else its stage and id."""
    return problem.path or f"{problem.stage} {problem.gen_id}".strip()


def rebuilt(plan: Plan) -> str:
    """What the run makes anew, in words; nothing where it makes nothing anew."""
    tables = sum(path in REBUILT_TABLES for path in plan.rebuilt)
    counts = {"derived table": tables, "manifest": len(plan.rebuilt) - tables}
    found = " and ".join(many(count, name) for name, count in counts.items() if count)
    return f"{found} {'is' if len(plan.rebuilt) == 1 else 'are'} made anew" if found else ""


def estimate(plan: Plan) -> str:
    """How long the run will take, roughly, in words."""
    rough = estimated_seconds(plan)
    return f"{round(rough)} s" if rough < 60 else seconds(rough)


def estimated_seconds(plan: Plan) -> float:
    """How long the run will take, roughly: small files cost their count, large ones their bytes."""
    return max(len(plan.entries) / _FILES_A_SECOND + plan.bytes_needed / _BYTES_A_SECOND, 1)


def set_aside(root: Path, problems: Sequence[Problem], shown: int = 3) -> list[str]:
    """Shell commands that take the first few blocked generations out of the store, without losing them."""
    gens = sorted({(p.stage, p.gen_id) for p in problems if p.stage in STAGES and p.gen_id and p.kind != ID_COLLISION})
    commands = []
    for stage, gen_id in gens[:shown]:
        folder = root / GENS / stage
        aside = _quoted(folder / ".set-aside")
        commands.append(f"mkdir -p {aside} && mv {_quoted(folder / gen_id)} {aside}/")
    if len(gens) > shown:
        commands.append(f"# and {len(gens) - shown:,} more")
    return commands


def _quoted(path: Path) -> str:
    """A path for a shell; what a terminal would act on in the form $'...'."""
    word = str(path)
    return (
        shlex.quote(word) if plain(word) == word else "$'" + plain(word.replace("\\", "\\\\").replace("'", "\\'")) + "'"
    )


def kinds(problems: Sequence[Problem]) -> str:
    """How many findings of each kind, in one line; empty where there are none."""
    count: dict[str, int] = {}
    for problem in problems:
        count[problem.kind] = count.get(problem.kind, 0) + 1
    parts = [f"{number:,} {escape(kind)}" for kind, number in sorted(count.items())]
    return f"{many(sum(count.values()), 'issue')}: {', '.join(parts)}" if parts else ""
