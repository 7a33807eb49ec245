"""A job: one generation request as the pages see it."""

from __future__ import annotations

import enum
import threading
import time
from dataclasses import dataclass, field

import client
from ui.failures import Failure
from ui.recipe import Recipe
from ui.start import Start
from ui.storage.gallery import Picture

RETRY_DELAYS_S = (1.0,)  # if nobody answers; the client itself retries for some seconds each time
LOADING_PATIENCE_S = 300.0
LOADING_POLL_S = 2.0
QUEUE_PATIENCE_S = 10.0  # after "queue full"; if the service names a longer wait, the job fails


class Phase(enum.Enum):
    """The state of a job; the value is stored in the journal."""

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
    """A finished picture that could not be saved; its id is the same in every attempt."""

    picture_id: str
    image: client.Image
    recipe: Recipe
    reason: str


@dataclass(eq=False)
class Job:
    """One request. Only its worker thread writes the fields; pages read them."""

    id: str
    owner: str
    recipe: Recipe
    batch_id: str | None = None
    cell: int | None = None
    created: float = field(default_factory=time.monotonic)
    start: Start | None = None

    phase: Phase = Phase.SENDING
    position: int = 0  # number of requests before this one
    wait_ms: int = 0  # predicted wait in the queue
    step: int = 0
    num_steps: int = 0
    eta_ms: int = 0
    preview: bytes | None = None  # a small JPEG
    pictures: list[Picture] = field(default_factory=list)
    unsaved: list[Unsaved] = field(default_factory=list)
    warnings: tuple[client.GenerationWarning, ...] = ()  # see GenerationWarning
    withheld: int = 0  # number of pictures that the safety checker withheld
    seed: int | None = None  # of the first picture, once known
    message: str = ""  # the service's message while it loads
    failure: Failure | None = None
    finished: float | None = None

    _cancelled: threading.Event = field(default_factory=threading.Event, repr=False)
    _stream: client.GenerationStream | None = field(default=None, repr=False)

    @property
    def is_active(self) -> bool:
        return self.phase.is_active

    def is_cancelled(self) -> bool:
        """Whether the visitor has cancelled it."""
        return self._cancelled.is_set()

    @property
    def elapsed_s(self) -> float:
        """Seconds since it was submitted, up to its end."""
        return (self.finished or time.monotonic()) - self.created

    @property
    def fraction(self) -> float:
        """How much of the denoising is done, 0 to 1."""
        return self.step / self.num_steps if self.num_steps else 0.0

    def attach(self, stream: client.GenerationStream) -> None:
        """Let `cancel` reach this stream, even if it was called before."""
        self._stream = stream
        if self.is_cancelled():
            stream.cancel()

    def cancel(self) -> None:
        """Cancel it; the worker is woken immediately."""
        if not self.is_active:
            return
        self.phase = Phase.CANCELLING
        self._cancelled.set()
        if self._stream is not None:
            self._stream.cancel()

    def wait(self, seconds: float) -> None:
        """Sleep until the time is over or the job is cancelled."""
        self._cancelled.wait(seconds)

    def enter(self, phase: Phase) -> None:
        """Enter an active phase, unless it is being cancelled."""
        if not self.is_cancelled():
            self.phase = phase

    def end(self, phase: Phase) -> None:
        """Enter a final phase."""
        self.preview = None
        self._stream = None
        self.finished = time.monotonic()
        self.phase = phase


class RetryPolicy:
    """Decides whether to retry, and after how long."""

    def __init__(self) -> None:
        self._delays = list(RETRY_DELAYS_S)
        self._queue_retries = 1
        self._loading_until = time.monotonic() + LOADING_PATIENCE_S

    def delay_after(self, error: client.Text2ImageError, *, started: bool) -> float | None:
        """Seconds to wait, or None to give up; a generation that has started is not repeated."""
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
