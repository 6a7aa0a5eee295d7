"""Horizontal bars as SVG, by hand: nothing to install, and the same text for the same figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from benchmarks.results import shown

WIDTH, LABELS, FIGURES, ROW, HEAD = 800, 350, 60, 22, 44
OURS, THEIRS = "#1f6feb", "#9aa4b1"


@dataclass(frozen=True)
class Chart:
    """Bars of one kind.

    Args:
        title: Above them; it names the unit.
        bars: Label, number, and whether it is ours.
        logarithmic: Each decade is as wide as the next; the axis starts at the power of ten below the least.
    """

    title: str
    bars: Sequence[tuple[str, float, bool]]
    logarithmic: bool = False

    @property
    def height(self) -> int:
        return HEAD + ROW * len(self.bars)


def svg(charts: Sequence[Chart]) -> str:
    """The charts, one below the other, on white: dark pages show it too."""
    height = sum(chart.height for chart in charts) + 16
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
        'font-size="13" fill="#1f2328">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
    ]
    top = 0
    for chart in charts:
        parts += _drawn(chart, top)
        top += chart.height
    return "\n".join([*parts, "</svg>", ""])


def _drawn(chart: Chart, top: int) -> list[str]:
    parts = [f'<text x="12" y="{top + 28}" font-weight="bold">{escape(chart.title)}</text>']
    for number, (label, value, is_ours) in enumerate(chart.bars):
        y = top + HEAD + ROW * number
        width = max(_share(chart, value) * (WIDTH - LABELS - FIGURES), 1)
        parts += [
            f'<text x="{LABELS - 8}" y="{y + 12}" text-anchor="end">{escape(label)}</text>',
            f'<rect x="{LABELS}" y="{y}" width="{width:.0f}" height="{ROW - 6}" fill="{OURS if is_ours else THEIRS}"/>',
            f'<text x="{LABELS + width + 6:.0f}" y="{y + 12}">{shown(value)}</text>',
        ]
    return parts


def _share(chart: Chart, value: float) -> float:
    values = [number for _, number, _ in chart.bars]
    if not chart.logarithmic:
        return value / max(values)
    least = math.floor(math.log10(min(values)))
    return (math.log10(value) - least) / (math.log10(max(values)) - least)
