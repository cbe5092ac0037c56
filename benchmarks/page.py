"""What a benchmark found, as a table in docs/performance.md and a plot of growth in docs/pictures."""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Mapping, Sequence

from benchmarks.timing import ROOT, Run

Ratio = tuple[str, str, list[float], list[float]]
Size = tuple[int, Mapping[str, Sequence[Run]], Sequence[Ratio]]  # generations, runs, ratios
PAGE = ROOT / "docs" / "performance.md"
PICTURES = ROOT / "docs" / "pictures"
BEGIN, END = "<!-- begin bench -->", "<!-- end bench -->"
OURS = ("upgrade", "upgrade --link", "plan")  # a rival is too small to be measured: what starts it is larger
DRAWN = (*OURS, "cp -a", "the naive script")
_COLOURS = ("#1f5fa8", "#5b9bd5", "#9a9a9a", "#c0392b", "#e0a030")
_WIDTH, _HEIGHT, _LEFT, _TOP, _RIGHT, _BOTTOM = 420, 300, 62, 34, 128, 44


def write(sizes: Sequence[Size], *, tiny: bool) -> None:
    """Replace what stands between the markers, and the picture."""
    text = PAGE.read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    parts = [_told(sizes, tiny), *(_table(one) for one in sizes)]
    if len(sizes) > 1:
        PICTURES.mkdir(exist_ok=True)
        (PICTURES / "growth.svg").write_text(plot(sizes), encoding="utf-8")
        parts += [_growth(sizes), "![Growth of time and memory with the store](pictures/growth.svg)"]
    PAGE.write_text(f"{head}{BEGIN}\n\n" + "\n\n".join(parts) + f"\n\n{END}{tail}", encoding="utf-8")


def _told(sizes: Sequence[Size], tiny: bool) -> str:
    pairs = ", ".join(f"{len(next(iter(runs.values())))} of {size:,}" for size, runs, _ in sizes)
    payload = "a few bytes of payload" if tiny else "27 kB"
    load = os.getloadavg()[1]
    waiting = f"; a load of {load:.0f} on {os.cpu_count()} cores, so that CPU counts and wall does not"
    return (
        f"Pairs: {pairs} generations, each of six files and {payload}{waiting if load > os.cpu_count() else ''}. "  # type: ignore[operator]
        "Below 1 is in our favour."
    )


def _table(one: Size) -> str:
    size, _, ratios = one
    rows = [f"| `{ours}` | {_named(theirs)} | {_spread(wall)} | {_spread(cpu)} |" for ours, theirs, wall, cpu in ratios]
    head = f"| {size:,} generations | against | wall, median (least to largest) | CPU, median (least to largest) |"
    return "\n".join([head, "|---|---|---|---|", *rows])


def _named(name: str) -> str:
    return f"`{name}`" if name.startswith(("cp", "rsync", "upgrade", "plan")) else name


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f} x ({min(values):.2f} to {max(values):.2f})"


def _growth(sizes: Sequence[Size]) -> str:
    """What one more generation costs, from the smallest store to the largest."""
    (few, small, _), (many, large, _) = sizes[0], sizes[-1]
    rows = ["| a generation more | CPU, ms | largest process, kB |", "|---|---|---|"]
    for name in (name for name in DRAWN if name in small and name in large):
        cpu = (_middle(large, name, "cpu") - _middle(small, name, "cpu")) / (many - few) * 1e3
        peak = (_middle(large, name, "peak") - _middle(small, name, "peak")) / (many - few) * 1024
        rows.append(f"| {_named(name)} | {cpu:.2f} | {f'{peak:.1f}' if name in OURS else ''} |")
    return "\n".join(rows)


def _middle(runs: Mapping[str, Sequence[Run]], name: str, what: str) -> float:
    return statistics.median(float(getattr(one, what)) for one in runs[name])


# -- the picture


def plot(sizes: Sequence[Size]) -> str:
    """CPU seconds and memory over generations, both axes logarithmic."""
    panels = [("CPU seconds", "cpu", 0), ("largest process, MB", "peak", _WIDTH + 20)]
    drawn = "".join(_panel(sizes, title, what, x) for title, what, x in panels)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * _WIDTH + 20} {_HEIGHT}" '
        'font-family="sans-serif" font-size="11">'
        f'<rect width="100%" height="100%" fill="#fff"/>{drawn}</svg>\n'
    )


def _panel(sizes: Sequence[Size], title: str, what: str, left: int) -> str:
    names = [name for name in (OURS if what == "peak" else DRAWN) if all(name in runs for _, runs, _ in sizes)]
    points = {name: [(size, max(_middle(runs, name, what), 0.01)) for size, runs, _ in sizes] for name in names}
    xs = [x for line in points.values() for x, _ in line]
    ys = [y for line in points.values() for _, y in line]
    low_x, high_x = math.log10(min(xs)), math.log10(max(xs))
    low_y, high_y = math.floor(math.log10(min(ys))), math.ceil(math.log10(max(ys)))

    def place(x: float, y: float) -> tuple[float, float]:
        across = (math.log10(x) - low_x) / max(high_x - low_x, 0.01)
        up = (math.log10(y) - low_y) / max(high_y - low_y, 0.01)
        return left + _LEFT + across * (_WIDTH - _LEFT - _RIGHT), _HEIGHT - _BOTTOM - up * (_HEIGHT - _TOP - _BOTTOM)

    drawn = [f'<text x="{left + _LEFT}" y="18" font-weight="bold">{title}, over generations</text>']
    for power in range(low_y, high_y + 1):
        x, y = place(min(xs), 10**power)
        right = left + _WIDTH - _RIGHT
        drawn.append(f'<path d="M{x:.0f} {y:.1f}H{right}" stroke="#ddd"/>')
        drawn.append(f'<text x="{x - 6:.0f}" y="{y + 4:.1f}" text-anchor="end">{10**power:g}</text>')
    for size in sorted(set(xs)):
        x, _ = place(size, 10**low_y)
        drawn.append(f'<text x="{x:.0f}" y="{_HEIGHT - _BOTTOM + 16}" text-anchor="middle">{size:,}</text>')
    ends = sorted((place(*points[name][-1])[1], name) for name in names)
    label = -math.inf
    for end, name in ends:
        label = max(end, label + 13)
        colour = _COLOURS[DRAWN.index(name)]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in points[name]))
        drawn.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        drawn.append(f'<text x="{left + _WIDTH - _RIGHT + 6}" y="{label + 4:.1f}" fill="{colour}">{name}</text>')
    return "".join(drawn)
