"""A job: one request on its way to pictures, as the pages see it."""

from __future__ import annotations

import enum
import threading
import time
from dataclasses import dataclass, field

import client
from ui.failures import Failure
from ui.recipe import Recipe
from ui.storage.gallery import Picture

RETRY_DELAYS_S = (1.0,)  # while nobody answers; the client tries for some seconds each time
LOADING_PATIENCE_S = 300.0
LOADING_POLL_S = 2.0
QUEUE_PATIENCE_S = 10.0  # the longest wait after "queue full" that we sit out ourselves


class Phase(enum.Enum):
    """Where a job stands; the value is what the journal keeps."""

    SENDING = "sending"
    RETRYING = "retrying"
    LOADING = "loading"
    QUEUED = "queued"
    RUNNING = "running"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"
    DONE = "done"
    FAILED = "failed"

    @property
    def is_active(self) -> bool:
        return self not in (Phase.CANCELLED, Phase.DONE, Phase.FAILED)


@dataclass(frozen=True, slots=True)
class Unsaved:
    """A finished picture that could not be kept; its id is the same at every try."""

    picture_id: str
    image: client.Image
    recipe: Recipe
    reason: str


@dataclass(eq=False)
class Job:
    """One request. Its worker thread writes the fields, pages only read them."""

    id: str
    owner: str
    recipe: Recipe
    batch_id: str | None = None
    cell: int | None = None
    created: float = field(default_factory=time.monotonic)

    phase: Phase = Phase.SENDING
    position: int = 0  # requests served before this one
    wait_ms: int = 0  # predicted wait in the queue
    step: int = 0
    num_steps: int = 0
    eta_ms: int = 0
    preview: bytes | None = None  # a small JPEG
    pictures: list[Picture] = field(default_factory=list)
    unsaved: list[Unsaved] = field(default_factory=list)
    warnings: tuple[client.GenerationWarning, ...] = ()  # what could not be followed in full
    withheld: int = 0  # pictures that the safety checker kept back
    seed: int | None = None  # of the first picture, once known
    message: str = ""  # what the service says while it loads
    failure: Failure | None = None
    finished: float | None = None

    _cancelled: threading.Event = field(default_factory=threading.Event, repr=False)
    _stream: client.GenerationStream | None = field(default=None, repr=False)

    @property
    def is_active(self) -> bool:
        return self.phase.is_active

    def is_cancelled(self) -> bool:
        """Whether the person asked for it to stop."""
        return self._cancelled.is_set()

    @property
    def elapsed_s(self) -> float:
        """Seconds since it was asked for, up to its end."""
        return (self.finished or time.monotonic()) - self.created

    @property
    def fraction(self) -> float:
        """How much of the denoising is done, 0 to 1."""
        return self.step / self.num_steps if self.num_steps else 0.0

    def attach(self, stream: client.GenerationStream) -> None:
        """Let `cancel` reach this stream, even where it came first."""
        self._stream = stream
        if self.is_cancelled():
            stream.cancel()

    def cancel(self) -> None:
        """Ask it to stop; the worker finds out at once."""
        if not self.is_active:
            return
        self.phase = Phase.CANCELLING
        self._cancelled.set()
        if self._stream is not None:
            self._stream.cancel()

    def wait(self, seconds: float) -> None:
        """Sleep, unless it is cancelled."""
        self._cancelled.wait(seconds)

    def enter(self, phase: Phase) -> None:
        """Move on to an active phase, unless it is being cancelled."""
        if not self.is_cancelled():
            self.phase = phase

    def end(self, phase: Phase) -> None:
        """Move to a final phase."""
        self.preview = None
        self._stream = None
        self.finished = time.monotonic()
        self.phase = phase


class RetryPolicy:
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
