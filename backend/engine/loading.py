"""Loading a model beside an event loop that goes on serving."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Collection
from typing import NamedTuple, Protocol, TypeVar

from backend.engine.cost import CostModel
from backend.engine.protocols import AnyModel

OnProgress = Callable[[str], None]
T = TypeVar("T")


class EngineStopped(Exception):
    """The model is no longer served: its idle time is over."""


class IdleTime(Protocol):
    """The time in which no request needs the model, for a thread that runs beside the engine.

    Both methods raise EngineStopped when the engine stops.
    """

    def run(self, work: Callable[[], T]) -> T:
        """Have `work` done by the engine's thread, between requests; returns what it returns."""

    def sleep(self, seconds: float) -> None: ...


class _Now:
    """All time is idle where nothing is served."""

    def run(self, work: Callable[[], T]) -> T:
        return work()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


NOW: IdleTime = _Now()


def _noop(*_: object) -> None: ...


class Loaded(NamedTuple):
    """A model that is ready to serve, and what is known of its costs."""

    model: AnyModel
    cost: CostModel
    calibrate: Callable[[IdleTime], None] = _noop  # measures costs; on a thread of its own
    keep_costs: Callable[[], None] = _noop  # for the next start
    release: Callable[[], None] = _noop  # gives memory back once nothing holds the model
    gpus: Collection[str] = ()  # NVIDIA's names of those that this process may use


class Load(Protocol):
    """Loads and warms up the model; slow, runs on a thread of its own.

    Raises ModelFailed with one clear sentence where there is no hope.
    """

    def __call__(self, on_progress: OnProgress) -> Loaded: ...


async def load_on_thread(load: Load, say: OnProgress) -> Loaded:
    """On a daemon thread, so that a stop in the middle of a download need not wait for it.

    `say` is called on the event loop.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Loaded] = loop.create_future()

    def settle(loaded: Loaded | None, error: Exception | None) -> None:
        if future.cancelled():
            return
        if loaded is not None:
            future.set_result(loaded)
        elif error is not None:
            future.set_exception(error)

    def call(function: Callable[..., None], *args: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(function, *args)

    def run() -> None:
        try:
            loaded = load(lambda message: call(say, message))
        except Exception as error:
            call(settle, None, error)
        else:
            call(settle, loaded, None)

    threading.Thread(target=run, name="loader", daemon=True).start()
    return await future
