"""Plots a run: latencies of the open loop, and pictures per second of all servers."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from bench.rows import Row

WIDTH, BAR, GAP, LEFT, CURVE = 760, 22, 8, 300, 220
OURS, THEIRS = "#3b6fd4", "#b9bec9"


def plot(rows: Sequence[Row], path: Path) -> Path:
    """Write an SVG with everything that was measured, and return its path."""
    parts: list[str] = []
    height = 20
    for row in rows:
        if row.number == "P4":
            height = _curves(parts, height, row)
        if row.number == "P6" and row.details:
            height = _bars(parts, height, row)
    body = "\n".join(parts)
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'font-family="sans-serif" font-size="13"><rect width="100%" height="100%" fill="#fff"/>'
        f"\n{body}\n</svg>\n",
        encoding="utf-8",
    )
    return path


def _curves(parts: list[str], top: int, row: Row) -> int:
    """Share of requests answered within a given time, for ours and for FIFO."""
    series = {"ours": row.details["ours_s"], "first come, first served": row.details["fifo_s"]}
    longest = max(max(_floats(values)) for values in series.values())
    bottom = top + 24 + CURVE
    parts.append(_text(20, top + 12, f"{row.measure}: share answered within so many seconds"))
    for place, (name, values) in enumerate(series.items()):
        colour = (OURS, "#888")[place]
        ordered = sorted(_floats(values))
        points = " ".join(
            f"{20 + latency / longest * (WIDTH - 40):.1f},"
            f"{bottom - (index + 1) / len(ordered) * CURVE:.1f}"
            for index, latency in enumerate(ordered)
        )
        parts.append(
            f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{points}"/>'
        )
        parts.append(_text(WIDTH - 220, bottom - 48 + 20 * place, name, colour))
    parts.append(_text(20, bottom + 16, "0 s"))
    parts.append(_text(WIDTH - 70, bottom + 16, f"{longest:.1f} s"))
    return bottom + 40


def _bars(parts: list[str], top: int, row: Row) -> int:
    rates = row.details["rates"]
    assert isinstance(rates, dict)
    bars = {name: by_callers[max(by_callers)] for name, by_callers in rates.items()}
    most = max(bars.values())
    parts.append(_text(20, top + 12, "pictures per second, sixteen callers"))
    top += 24
    for name, rate in bars.items():
        width = rate / most * (WIDTH - LEFT - 80)
        colour = OURS if name.startswith("ours") else THEIRS
        parts.append(_text(20, top + 16, name))
        parts.append(
            f'<rect x="{LEFT}" y="{top}" width="{width:.0f}" height="{BAR}" fill="{colour}"/>'
        )
        parts.append(_text(LEFT + int(width) + 8, top + 16, f"{rate:.2f}"))
        top += BAR + GAP
    return top + 20


def _text(x: int, y: int, text: str, colour: str = "#222") -> str:
    return f'<text x="{x}" y="{y}" fill="{colour}">{escape(text)}</text>'


def _floats(values: object) -> list[float]:
    assert isinstance(values, list)
    return [float(value) for value in values]
