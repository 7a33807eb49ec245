"""How long a job waits out what passes by itself."""

from __future__ import annotations

import time

import client

RETRY_DELAYS_S = (1.0,)  # while nobody answers; the client tries for some seconds each time
LOADING_PATIENCE_S = 300.0
LOADING_POLL_S = 2.0
QUEUE_PATIENCE_S = 10.0  # the longest wait after "queue full" that we sit out ourselves


class Patience:
    """How long to wait before another attempt, or that there is to be none."""

    def __init__(self) -> None:
        self._delays = list(RETRY_DELAYS_S)
        self._queue_retries = 1
        self._loading_until = time.monotonic() + LOADING_PATIENCE_S

    def delay_after(self, error: client.Text2ImageError, *, started: bool) -> float | None:
        """Seconds to wait, or None to give up; what has started is not repeated unasked."""
        if started:
            return None
        if error.reason == "MODEL_LOADING":
            return (
                None
                if time.monotonic() > self._loading_until
                else error.retry_after_s or LOADING_POLL_S
            )
        if isinstance(error, client.QueueFull):
            return self._after_full_queue(error.retry_after_s)
        if isinstance(error, client.Unavailable) and self._delays:
            return self._delays.pop(0)
        return None

    def _after_full_queue(self, retry_after_s: float | None) -> float | None:
        if retry_after_s is None or retry_after_s > QUEUE_PATIENCE_S or not self._queue_retries:
            return None
        self._queue_retries -= 1
        return retry_after_s
