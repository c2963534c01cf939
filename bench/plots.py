"""Charts as SVG text, so that README can show them and nothing has to be installed to draw them.

Two kinds: lines over a logarithmic axis of x, and horizontal bars. Both are of fixed width; text is the reader's own
sans-serif font. Colours are told apart by people who see few of them, and lines by their marks too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH = 800
LEFT, RIGHT, TOP, BOTTOM = 70, 250, 48, 50
PLOT_HEIGHT = 300
BAR_HEIGHT, BAR_GAP, BAR_RIGHT = 20, 8, 90
CHARACTER_WIDTH = 7.2
"""Of a bold one, generously: the reader's font is not known here."""
OURS = ("#0b5394", "#3d85c6", "#0f9d58", "#76b7e8")
THEIRS = ("#d1495b", "#e08214", "#8c6bb1", "#7f7f7f", "#a67c52", "#444444")
MARKS = ("circle", "square", "diamond", "triangle")
FONT = 'font-family="system-ui, sans-serif" font-size="12"'


@dataclass(frozen=True)
class Series:
    """A line: points of (x, y), x ascending and positive."""

    name: str
    points: Sequence[tuple[float, float]]
    ours: bool = False


@dataclass(frozen=True)
class Bar:
    """A bar and the text at its end."""

    name: str
    value: float
    text: str
    ours: bool = False


def line_chart(title: str, x_label: str, y_label: str, series: Sequence[Series], *, log_y: bool = False) -> str:
    """Lines by number of tasks and the like: every x that occurs has a tick; y is logarithmic if asked."""
    points = [point for line in series for point in line.points]
    if not points:
        return _svg(TOP, [_text(LEFT, 20, f"{title}: nothing was measured", bold=True)])
    xs = sorted({x for x, _ in points})
    x_at = _scale(xs[0], xs[-1], LEFT, WIDTH - RIGHT, log=True)
    ticks = _log_ticks([y for _, y in points]) if log_y else _ticks(max(y for _, y in points))
    y_at = _scale(ticks[0], ticks[-1], TOP + PLOT_HEIGHT, TOP, log=log_y)
    parts = [_text(LEFT, 20, title, bold=True)]
    for tick in ticks:
        parts.append(_line(LEFT, y_at(tick), WIDTH - RIGHT, y_at(tick), "#e0e0e0"))
        parts.append(_text(LEFT - 8, y_at(tick) + 4, _short(tick), anchor="end"))
    for x in xs:
        parts.append(_text(x_at(x), TOP + PLOT_HEIGHT + 18, _short(x), anchor="middle"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, TOP + PLOT_HEIGHT + 40, x_label, anchor="middle"))
    parts.append(_text(LEFT - 8, TOP - 8, y_label, anchor="start"))
    for index, (line, colour) in enumerate(zip(series, _colours([line.ours for line in series]), strict=True)):
        path = " ".join(f"{x_at(x):.1f},{y_at(y):.1f}" for x, y in line.points)
        width = 2.5 if line.ours else 1.5
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>')
        mark = MARKS[index % len(MARKS)]
        parts.extend(_mark(mark, x_at(x), y_at(y), colour) for x, y in line.points)
        legend_y = TOP + 8 + 20 * index
        parts.append(_mark(mark, WIDTH - RIGHT + 24, legend_y, colour))
        parts.append(_text(WIDTH - RIGHT + 36, legend_y + 4, line.name, bold=line.ours))
    return _svg(TOP + PLOT_HEIGHT + BOTTOM, parts)


def bar_chart(title: str, bars: Sequence[Bar]) -> str:
    """Horizontal bars from zero, in the order given."""
    largest = max((bar.value for bar in bars), default=0.0)
    if largest <= 0:
        return _svg(TOP, [_text(LEFT, 20, f"{title}: nothing was measured", bold=True)])
    left = 24 + CHARACTER_WIDTH * max(len(bar.name) for bar in bars)
    room = WIDTH - left - BAR_RIGHT
    parts = [_text(20, 20, title, bold=True)]
    y = TOP
    for bar in bars:
        length = max(1.0, bar.value / largest * room)
        colour = OURS[0] if bar.ours else THEIRS[3]
        parts.append(_text(left - 8, y + 14, bar.name, anchor="end", bold=bar.ours))
        parts.append(f'<rect x="{left:.1f}" y="{y}" width="{length:.1f}" height="{BAR_HEIGHT}" fill="{colour}"/>')
        parts.append(_text(left + length + 6, y + 14, bar.text))
        y += BAR_HEIGHT + BAR_GAP
    return _svg(y + BAR_GAP, parts)


def _svg(height: float, parts: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" width="{WIDTH}" {FONT}>'
    return "\n".join([head, f'<rect width="{WIDTH}" height="{height:g}" fill="white"/>', *parts, "</svg>"]) + "\n"


def _text(x: float, y: float, text: str, *, anchor: str = "start", bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="#222"{weight}>{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'


def _mark(kind: str, x: float, y: float, colour: str) -> str:
    if kind == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>'
    if kind == "square":
        return f'<rect x="{x - 3.2:.1f}" y="{y - 3.2:.1f}" width="6.4" height="6.4" fill="{colour}"/>'
    corners = [(0, -4.5), (4.5, 0), (0, 4.5), (-4.5, 0)] if kind == "diamond" else [(0, -4.5), (4.2, 3.2), (-4.2, 3.2)]
    path = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in corners)
    return f'<polygon points="{path}" fill="{colour}"/>'


def _colours(ours: Sequence[bool]) -> list[str]:
    counts = {True: 0, False: 0}
    found = []
    for mine in ours:
        palette = OURS if mine else THEIRS
        found.append(palette[counts[mine] % len(palette)])
        counts[mine] += 1
    return found


class _scale:
    """A value of an axis -> its place on the page."""

    def __init__(self, low: float, high: float, start: float, end: float, *, log: bool) -> None:
        self._map = math.log if log else float
        self._low = self._map(low)
        self._span = (self._map(high) - self._low) or 1.0
        self._start, self._end = start, end

    def __call__(self, value: float) -> float:
        return self._start + (self._map(value) - self._low) / self._span * (self._end - self._start)


def _ticks(largest: float) -> list[float]:
    """About five round values from zero to beyond `largest`."""
    rough = largest / 5
    unit = 10 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough)
    return [step * index for index in range(math.ceil(largest / step) + 1)]


def _log_ticks(values: Sequence[float]) -> list[float]:
    """Powers of ten around the values."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return [10.0**exponent for exponent in range(low, max(high, low + 1) + 1)]


def _short(value: float) -> str:
    return f"{value / 1_000:g}k" if value >= 1_000 else f"{value:g}"
