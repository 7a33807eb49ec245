"""Plots of the last minutes in plain HTML, which is cheap to redraw.

Streamlit removes SVG from HTML, so an area is a box with a CSS clip-path.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import client
from ui.components import html
from ui.monitor import HISTORY_S, Sample

NO_DATA = "no data yet"
STRIPS = 40


@dataclass(frozen=True, slots=True)
class Plot:
    """One quantity over time. `read` gets it from a status, `show` formats it."""

    title: str
    read: Callable[[client.ServiceStatus], float | None]
    show: Callable[[float], str]
    top: float | None = None  # the upper end of the scale; None: the largest value


def draw(plot: Plot, history: Sequence[Sample], now: float) -> str:
    """The plot as HTML: the latest value as text, and the area under the curve."""
    points = [
        (s.at, value) for s in history if s.status and (value := plot.read(s.status)) is not None
    ]
    if not points:
        return _box(plot.title, NO_DATA, "", f"{plot.title}: {NO_DATA}")
    top = plot.top or max(value for _, value in points) or 1.0
    area = _area([(_x(at, now), min(value / top, 1.0)) for at, value in points])
    latest, most = plot.show(points[-1][1]), plot.show(top)
    label = f"{plot.title}: {latest} now, scale up to {most}, last ten minutes"
    return _box(plot.title, latest, _curve(area, most, _hover(plot, points, now)), label)


def draw_histogram(title: str, found: client.Histogram, show: Callable[[float], str]) -> str:
    """How values are distributed, as HTML: the median in words, and a bar for each bucket."""
    total = sum(found.counts)
    if not total:
        return _box(title, "–", "", f"{title}: nothing in the last hour")
    used = [index for index, count in enumerate(found.counts) if count]
    shown = range(used[0], used[-1] + 1)
    most, width = max(found.counts), 100 / len(shown)
    bars = "".join(
        f'<b class="ink-bucket" style="left:{place * width:.2f}%;width:{width:.2f}%;'
        f'--share:{found.counts[index] / most:.3f}" title="'
        f'{html.escape(f"{_span(found, index, show)}: {found.counts[index]:,} of {total:,}")}"></b>'
        for place, index in enumerate(shown)
    )
    median = found.quantile(0.5)
    half = f"half up to {show(median)}" if median is not None else "most above the scale"
    first, last = _span(found, shown[0], show), _span(found, shown[-1], show)
    ends = f"<span>{first}</span><span>{last if last != first else ''}</span>"
    axis = f'<div class="ink-axis">{ends}</div>'
    curve = f'<div class="ink-plot">{bars}</div>{axis}'
    label = f"{title}: {half}, from {first} to {last}, {total:,} in the last hour"
    return _box(title, half.capitalize(), curve, label)


def _span(found: client.Histogram, index: int, show: Callable[[float], str]) -> str:
    """A bucket's bounds in words."""
    if index == len(found.bounds):
        return f"over {show(found.bounds[-1])}"
    return f"up to {show(found.bounds[index])}"


def _x(at: float, now: float) -> float:
    """Position of a time on the axis, 0 to 1."""
    return max(0.0, 1 - (now - at) / HISTORY_S)


def _area(points: Sequence[tuple[float, float]]) -> str:
    """A CSS polygon under the points, which are fractions of the box's width and height."""
    line = ",".join(f"{x * 100:.2f}% {100 - y * 94:.1f}%" for x, y in points)
    first, last = points[0][0], points[-1][0]
    return f"polygon({first * 100:.2f}% 100%,{line},{last * 100:.2f}% 100%)"


def _curve(area: str, most: str, hover: str) -> str:
    return (
        f'<div class="ink-plot"><i style="clip-path:{area}"></i>'
        f"<span>{html.escape(most)}</span>{hover}</div>"
        '<div class="ink-axis"><span>10 min ago</span><span>now</span></div>'
    )


def _hover(plot: Plot, points: Sequence[tuple[float, float]], now: float) -> str:
    """Vertical strips with tooltips: the latest value in each strip's interval."""
    latest = {min(int(_x(at, now) * STRIPS), STRIPS - 1): (at, value) for at, value in points}
    return "".join(
        f'<b style="left:{strip * 100 / STRIPS:.2f}%;width:{100 / STRIPS:.2f}%" title="'
        f'{html.escape(f"{datetime.fromtimestamp(at):%H:%M:%S}: {plot.show(value)}")}"></b>'
        for strip, (at, value) in latest.items()
    )


def _box(title: str, value: str, curve: str, label: str) -> str:
    blank = '<div class="ink-plot"></div>'
    return (
        f'<div class="ink-tile" role="img" aria-label="{html.escape(label)}">'
        f"<p>{html.escape(title)}</p><strong>{html.escape(value)}</strong>"
        f"{curve or blank}</div>"
    )
