"""When to add a replica and when to let one go: by predicted queue time, slowly down."""

from __future__ import annotations

from dataclasses import dataclass

PATIENCE_S = 3.0  # the queue has to be too long for so long: bursts pass


@dataclass
class Autoscaler:
    """Keeps between `least` and `most` replicas. Times are in seconds."""

    least: int
    most: int
    up_s: float  # predicted wait of the last in the queue above which there are too few
    down_s: float  # time without a request after which a replica is one too many
    _crowded_since_s: float | None = None

    def wanted(self, now_s: float, running: int, starting: int, wait_s: float) -> int:
        """Number of replicas that the queue justifies, of at least those that are there.

        Args:
            running: replicas that take requests.
            starting: those that don't yet.
            wait_s: predicted wait of the last request in the queue.
        """
        present = running + starting
        if wait_s <= self.up_s:
            self._crowded_since_s = None
            return max(present, self.least)
        if self._crowded_since_s is None:
            self._crowded_since_s = now_s
        if now_s - self._crowded_since_s < PATIENCE_S:
            return max(present, self.least)
        work_s = wait_s * max(1, running)
        justified = int(work_s // self.up_s) + (work_s % self.up_s > 0)
        return min(self.most, max(present, self.least, justified))

    def is_spare(self, now_s: float, present: int, idle_since_s: float | None) -> bool:
        """Whether a replica that is idle since then may go."""
        if present <= self.least or idle_since_s is None:
            return False
        return now_s - idle_since_s >= self.down_s
