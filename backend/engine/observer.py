"""What the engine tells while it works."""

from __future__ import annotations

from typing import Protocol

from backend.domain import Progress, Queued, Timings
from backend.engine.protocols import Picture, Pixels
from backend.engine.request import Request
from backend.errors import BackendError


class Observer(Protocol):
    """Receives the engine's events, on the engine's thread. No method may block or raise."""

    def on_queued(self, request: Request, event: Queued) -> None:
        """The request's place in the queue changed."""

    def on_progress(self, request: Request, event: Progress, preview: Pixels | None) -> None:
        """A step is done; `preview` is set where one is due."""

    def on_step(self, seconds: float, rows: int) -> None:
        """One call of the UNet took so long, for so many rows."""

    def on_image(self, request: Request, index: int, picture: Picture) -> None:
        """Image `index` is decoded."""

    def on_finished(self, request: Request, timings: Timings) -> None:
        """Every image is decoded."""

    def on_failed(self, request: Request, error: BackendError) -> None:
        """The request was refused or failed; no further events follow."""
