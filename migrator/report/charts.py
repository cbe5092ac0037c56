"""Charts of the report: tables whose middle column is an inline SVG, so that the numbers are text in every window.

Formatting only. All labels and numbers that come in are HTML already.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_LEAST = 0.25  # percent: one in a million must be seen


def legend(names: Iterable[tuple[str, str]]) -> str:
    """(class, words) of each colour; decoration, because the numbers say it in words."""
    items = "".join(f'<li><i class="{kind}"></i>{words}</li>' for kind, words in names)
    return f'<ul class="legend" aria-hidden="true">{items}</ul>'


def bar(parts: Iterable[tuple[str, float]], *, thin: bool = False, track: bool = False, start: float = 0) -> str:
    """(class, percent) of each part side by side, from `start` on. Not read out: the number stands beside it."""
    x, rects = start, ['<rect class="track" width="100%" height="100%"/>'] if track else []
    for kind, percent in parts:
        if percent:
            width = max(percent, _LEAST)
            rects.append(f'<rect class="{kind}" x="{min(x, 100 - _LEAST):.2f}%" width="{width:.2f}%" height="100%"/>')
            x += width
    return f'<svg{" class=thin" if thin else ""} aria-hidden="true" focusable="false">{"".join(rects)}</svg>'


def chart(caption: str, rows: Sequence[tuple[str, str, str]]) -> str:
    """A table of (label, bar, numbers)."""
    body = "\n".join(
        f'<tr><th scope="row" class="dim">{label}</th><td>{drawn}</td><td>{numbers}</td></tr>'
        for label, drawn, numbers in rows
    )
    return f'<table class="chart"><caption>{caption}</caption>\n<tbody>\n{body}\n</tbody></table>'
