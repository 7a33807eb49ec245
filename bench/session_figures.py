"""The load of a demo session, and the figures that are measured under it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Load:
    """How many come, and what they ask for."""

    guests: int = 100
    pictures: int = 3
    idle: int = 500
    leaving: int = 10  # guests who lose their connection in between
    timeout_s: float = 3600.0


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

    @property
    def fairness(self) -> float:
        """Jain's index of the guests' mean waiting times: 1 where all wait alike."""
        means = [sum(waits) / len(waits) for waits in self.waits]
        return sum(means) ** 2 / (len(means) * sum(mean**2 for mean in means))

    def problems(self, load: Load) -> list[str]:
        """The budgets that were missed."""
        checks = {
            f"delivered {self.delivered}": self.delivered == load.guests * load.pictures,
            f"fairness {self.fairness:.3f} < 0.95": self.fairness >= 0.95,
            f"on the wall after {max(self.wall_delays):.2f} s": max(self.wall_delays) <= 1.0,
            f"wall traffic {self.wall_rate / 1000:.0f} kB/s": self.wall_rate <= 100_000,
            f"studio memory {self.memory_mb:.0f} MB": self.memory_mb <= 600,
            f"idle guests connected: {self.idle_open}": self.idle_open == load.idle,
        }
        return [text for text, holds in checks.items() if not holds]

    @property
    def wall_rate(self) -> float:
        """Bytes per second of the wall's stream, previews left out."""
        return self.wall_bytes / self.wall_s

    def lines(self) -> list[str]:
        """The figures for people."""
        every = sorted(wait for waits in self.waits for wait in waits)
        median = every[len(every) // 2]
        delays = sorted(self.wall_delays)
        middle, longest = _ms(delays[len(delays) // 2]), _ms(delays[-1])
        return [
            f"pictures delivered        {self.delivered}",
            f"time for all              {self.wall_s:.0f} s",
            f"waiting time              {median:.1f} s median, {every[-1]:.1f} s most",
            f"Jain's fairness index     {self.fairness:.3f}",
            f"finished → on the wall    {middle} median, {longest} most",
            f"wall, previews left out   {self.wall_rate / 1000:.1f} kB/s",
            f"idle guests at the end    {self.idle_open} connected",
            f"studio                    {self.memory_mb:.0f} MB most, {self.cpu_s:.0f} s of CPU",
        ]


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"
