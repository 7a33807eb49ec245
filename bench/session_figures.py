"""The load of a demo session, and the figures that are measured under it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field


@dataclass
class Load:
    """How many come, and what they ask for."""

    guests: int = 100
    pictures: int = 3
    idle: int = 500
    leaving: int = 10  # guests who lose their connection in between
    burst_s: float = 2.0  # between the bursts in which guests come
    timeout_s: float = 1800.0
    report_s: float = 0.0  # seconds between lines that tell how far it is; 0: none


@dataclass
class Measured:
    """What was seen. Times are seconds; `waits` holds a list for each guest."""

    waits: list[list[float]] = field(default_factory=list)
    wall_delays: list[float] = field(default_factory=list)
    wall_bytes: int = 0  # without previews
    wall_s: float = 0.0
    idle_open: int = 0
    delivered: int = 0
    memory_mb: float = 0.0
    cpu_s: float = 0.0
    lag_s: float = 0.0  # how late the program that plays the guests was at most
    timed_out: bool = False

    @property
    def fairness(self) -> float:
        """Jain's index of the guests' mean waiting times: 1 where all wait alike, 0 without any."""
        means = [sum(waits) / len(waits) for waits in self.waits if waits]
        return sum(means) ** 2 / (len(means) * sum(mean**2 for mean in means)) if means else 0.0

    def problems(self, load: Load) -> list[str]:
        """The budgets that were missed."""
        slowest = max(self.wall_delays, default=math.inf)
        checks = {
            f"not done after {self.wall_s:.0f} s": not self.timed_out,
            f"delivered {self.delivered}": self.delivered == load.guests * load.pictures,
            f"fairness {self.fairness:.3f} < 0.95": self.fairness >= 0.95,
            f"on the wall after {slowest:.2f} s": slowest <= 1.0,
            f"wall traffic {self.wall_rate / 1000:.0f} kB/s": self.wall_rate <= 100_000,
            f"studio memory {self.memory_mb:.0f} MB": self.memory_mb <= 600,
            f"idle guests connected: {self.idle_open}": self.idle_open == load.idle,
        }
        return [text for text, holds in checks.items() if not holds]

    @property
    def wall_rate(self) -> float:
        """Bytes per second of the wall's stream, previews left out."""
        return self.wall_bytes / self.wall_s

    def table(self, load: Load) -> list[str]:
        """The figures for people, as docs/demo-sessions.md shows them."""
        waits = [wait for one in self.waits for wait in one]
        delays = self.wall_delays
        every = load.guests * load.pictures
        waited = f"{_share(waits, 0.5):.0f} s and {_share(waits, 1):.0f} s"
        shown = (
            f"{_share(delays, 0.5):.2f} s, {_share(delays, 0.95):.2f} s, {_share(delays, 1):.2f} s"
        )
        rows = [
            ("", "Measured", "Budget"),
            ("---", "---", "---"),
            ("Pictures delivered", f"{self.delivered} of {every}, in {self.wall_s:.0f} s", "all"),
            ("Jain's fairness index of waiting times", f"{self.fairness:.3f}", "0.95 or more"),
            ("Waiting time, median and most", waited, ""),
            ("A finished picture on the wall: median, 95 %, most", shown, "1 s or less"),
            (
                "The wall's stream, previews left out",
                f"{self.wall_rate / 1000:.1f} kB/s",
                "100 kB/s",
            ),
            ("Onlookers connected at the end", f"{self.idle_open} of {load.idle}", "all"),
            ("Memory of the studio", f"{self.memory_mb:.0f} MB", "600 MB or less"),
            ("Processor time of the studio", f"{self.cpu_s:.0f} s", ""),
            ("Lag of the program that plays the guests", f"{self.lag_s:.2f} s at most", ""),
        ]
        return [f"| {' | '.join(row)} |" for row in rows]


def _share(values: list[float], share: float) -> float:
    """The value that this share of all does not exceed; NaN of none."""
    return sorted(values)[math.ceil(share * len(values)) - 1] if values else math.nan
