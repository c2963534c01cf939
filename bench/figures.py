"""Arithmetic and tables of the benchmarks: nothing here measures, does I/O or knows a driver."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

MISSING = "-"


def percentile(ordered: Sequence[float], fraction: float) -> float:
    """The nearest-rank percentile, so that the answer is a value that was really measured.

    `ordered` ascends and is not empty; `fraction` is within 0..1. Raises ValueError otherwise.
    """
    if not ordered:
        raise ValueError("percentile of no values")
    if not 0.0 <= fraction <= 1.0:
        raise ValueError(f"fraction {fraction} is outside 0..1")
    rank = max(1, math.ceil(fraction * len(ordered)))
    return ordered[rank - 1]


def median(values: Sequence[float]) -> float | None:
    """The median, or None where there is no value (a driver that failed in every round)."""
    return statistics.median(values) if values else None


def ratio(value: float | None, reference: float | None) -> float | None:
    """`value / reference`, or None where either is missing or the reference is zero."""
    if value is None or not reference:
        return None
    return value / reference


def paired_ratio(values: Sequence[float | None], references: Sequence[float | None]) -> float | None:
    """The median of the ratios of each round.

    Both sides of one round ran within seconds of each other, so what slows the machine for a while slows both: the
    ratio of a round is steadier than the ratio of two medians.
    """
    ratios = [
        value / reference
        for value, reference in zip(values, references, strict=False)
        if value is not None and reference
    ]
    return median(ratios)


def spread(values: Sequence[float]) -> float | None:
    """(max - min) / median of the rounds: how far to trust the median. None with fewer than two rounds."""
    middle = median(values)
    if len(values) < 2 or not middle:
        return None
    return (max(values) - min(values)) / middle


def number(value: float | None, digits: int = 0) -> str:
    """`value` with thousands separators, or a dash where there is none."""
    return MISSING if value is None else f"{value:,.{digits}f}"


def times(value: float | None) -> str:
    """A ratio as people read it: `4.20x`."""
    if value is None:
        return MISSING
    return f"{value:.2f}x" if value < 10 else f"{value:.1f}x"


def percent(value: float | None) -> str:
    """A fraction in whole percent."""
    return MISSING if value is None else f"{value:.0%}"


@dataclass(frozen=True)
class Table:
    """Cells as text; the first `left` columns are aligned left, the others right."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    left: int = 1

    def text(self) -> str:
        """The table for a terminal."""
        widths = self._widths()
        lines = [self.title] if self.title else []
        lines.append(self._line(self.columns, widths, "  "))
        lines.append("  ".join("-" * width for width in widths))
        lines.extend(self._line(row, widths, "  ") for row in self.rows)
        return "\n".join(line.rstrip() for line in lines)

    def markdown(self) -> str:
        """The table for docs/."""
        widths = [max(3, width) for width in self._widths()]
        marks = ["-" * width if index < self.left else "-" * (width - 1) + ":" for index, width in enumerate(widths)]
        lines = [f"**{self.title}**", ""] if self.title else []
        for cells in (self.columns, marks, *self.rows):
            lines.append(f"| {self._line(cells, widths, ' | ')} |")
        return "\n".join(lines)

    def _widths(self) -> list[int]:
        return [
            max(len(self.columns[index]), *(len(row[index]) for row in self.rows), 0)
            for index in range(len(self.columns))
        ]

    def _line(self, cells: Sequence[str], widths: Sequence[int], gap: str) -> str:
        return gap.join(
            cell.ljust(width) if index < self.left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
