"""How fast pictures are made, so that guests can be told how long theirs will take."""

from __future__ import annotations

import time
from collections import deque

KEPT = 12


class Pace:
    """Seconds from one finished picture to the next while there is work."""

    def __init__(self) -> None:
        self._gaps: deque[float] = deque(maxlen=KEPT)
        self._last = 0.0

    def finished(self, begun_at: float) -> None:
        """Note a finished picture; `begun_at` is of `time.monotonic`."""
        now = time.monotonic()
        self._gaps.append(now - max(self._last, begun_at))
        self._last = now

    @property
    def seconds(self) -> float | None:
        """The mean of the last pictures, or None before the first."""
        return sum(self._gaps) / len(self._gaps) if self._gaps else None
