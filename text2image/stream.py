"""A running generation: iterate over its events, or cancel it."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from types import TracebackType
from typing import Any, Self

import grpc

from text2image.convert import event_from_pb
from text2image.errors import Cancelled, ErrorDetails, ServerError, Unavailable, map_rpc_errors
from text2image.types import Done, Event, FinishedImage, Generation

# Pauses between attempts if the service names none, and the longest pause that is waited
# silently: for a longer one the error is raised and the caller decides.
BACKOFFS_S = (0.5, 1.0, 2.0)
MAX_PAUSE_S = 5.0
# What one service refuses that another one may take at once.
OF_ONE_SERVICE = ("DRAINING", "MODEL_LOADING", "STUCK")


class GenerationStream:
    """The events of one generation; iterate over it once.

    Leaving the loop early (`break`, an exception) or leaving the `with` block cancels the
    generation on the service, which frees the model within one step; so does `cancel()`, from any
    thread.
    """

    def __init__(
        self,
        start: Callable[[float | None], Any],
        request_id: str,
        address: str,
        end: float | None,
        closed: threading.Event,
        *,
        has_others: bool = False,
    ) -> None:
        """Start the call. `start` is called with the seconds left until `end` (monotonic time).

        `closed`: set once the channel is being closed. `has_others`: another attempt may reach
        another service.
        """
        self.request_id = request_id
        self._start = start
        self._address = address
        self._end = end
        self._closed = closed
        self._has_others = has_others
        self._cancelled = threading.Event()
        self._call = start(self._seconds_left())

    def __iter__(self) -> Iterator[Event]:
        """Yield Queued, Progress and FinishedImage as they arrive, and finally Done.

        Raises:
            Text2ImageError: the subclass names the problem; Cancelled after `cancel()`.
        """
        # A generator, because Python closes it when a loop over it is left; gRPC's own iterator
        # would continue to receive.
        try:
            yield from self._events()
        finally:
            self.cancel()

    def _events(self) -> Iterator[Event]:
        with self._mapped_errors():
            for message in self._messages():
                event = event_from_pb(message)
                if event is None:
                    continue
                if isinstance(event, Done):
                    self._await_status()
                    yield event
                    return
                yield event
        raise self._cut_short()

    def _messages(self) -> Iterator[Any]:
        """Receive messages; retry an unavailable service until the first message.

        We don't use gRPC's retryPolicy: with it, a stream whose service dies before the first
        message never ends, despite deadline and cancel (seen with grpcio 1.85.1; compare
        grpc/grpc#41036).
        """
        for backoff_s in BACKOFFS_S:
            try:
                with self._mapped_errors():
                    first = next(self._call, None)
            except Unavailable as error:
                self._pause(error, backoff_s)
                self._restart()
            else:
                break
        else:
            first = next(self._call, None)
        return iter(()) if first is None else chain((first,), self._call)

    @contextmanager
    def _mapped_errors(self) -> Iterator[None]:
        try:
            with map_rpc_errors(self._address, self.request_id):
                yield
        except Cancelled as error:
            if self._cancelled.is_set() or self._closed.is_set() or error.reason:
                raise
            # gRPC ends so the calls that reach a service while it closes its port.
            message = f"The service at {self._address} is stopping."
            raise Unavailable(message, error.code, error.details) from error

    def _pause(self, error: Unavailable, backoff_s: float) -> None:
        seconds = error.retry_after_s
        reason = error.details.reason
        if seconds is None or (self._has_others and reason in OF_ONE_SERVICE):
            seconds = backoff_s * random.uniform(0.8, 1.2)
        left = self._seconds_left()
        if seconds > MAX_PAUSE_S or (left is not None and seconds > left):
            raise error
        if self._cancelled.wait(seconds):
            details = ErrorDetails(request_id=self.request_id)
            raise Cancelled("Cancelled before it began.", "CANCELLED", details)

    def _restart(self) -> None:
        self._call = self._start(self._seconds_left())
        if self._cancelled.is_set():  # cancel() may have reached only the previous call
            self._call.cancel()

    def _seconds_left(self) -> float | None:
        return None if self._end is None else self._end - time.monotonic()

    def _await_status(self) -> None:
        # The status follows at once; leaving before it arrived would count as a cancel. Errors
        # from here on don't matter, since the generation is done.
        with suppress(grpc.RpcError):
            for _ in self._call:
                pass

    def result(self) -> Generation:
        """Wait for the end and return the images.

        Raises:
            Text2ImageError: like iterating.
        """
        images = {}
        for event in self:
            match event:
                case FinishedImage(index, image):
                    images[index] = image
                case Done(info):
                    return Generation(tuple(images[index] for index in sorted(images)), info)
        raise self._cut_short()

    def cancel(self) -> None:
        """Cancel the generation, here and on the service; does nothing if it has ended."""
        self._cancelled.set()
        self._call.cancel()

    def _cut_short(self) -> ServerError:
        details = ErrorDetails(request_id=self.request_id)
        return ServerError("The service ended the generation before it was done.", "OK", details)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.cancel()
