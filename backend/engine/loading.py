"""Loads a model on another thread while the event loop keeps serving."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

from backend.engine.cost import CostModel
from backend.engine.protocols import AnyModel
from backend.params import Limits

OnProgress = Callable[[str], None]
T = TypeVar("T")


class EngineStopped(Exception):
    """The engine has stopped; idle-time work must end."""


class IdleTime(Protocol):
    """Lets another thread use the model while no request needs it.

    Both methods raise EngineStopped when the engine stops.
    """

    def run(self, work: Callable[[], T]) -> T:
        """Run `work` on the engine's thread while it is idle; returns its result."""

    def sleep(self, seconds: float) -> None: ...


class _Now:
    """`IdleTime` when no engine is running: work runs immediately."""

    def run(self, work: Callable[[], T]) -> T:
        return work()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


NOW: IdleTime = _Now()


def _noop(*_: object) -> None: ...


class Loaded(NamedTuple):
    """A model that is ready to serve, and its costs."""

    model: AnyModel
    cost: CostModel
    calibrate: Callable[[IdleTime], None] = _noop  # measures costs, on its own thread
    keep_costs: Callable[[], None] = _noop  # saves them for the next start
    release: Callable[[], None] = _noop  # frees memory once nothing holds the model
    gpus: Collection[str] = ()  # UUIDs of the NVIDIA GPUs this process may use
    num_bytes: int = 0  # of its weights
    budget_bytes: int = 0  # for the weights of all models together; 0: no limit


class Load(Protocol):
    """Loads and warms up the model; slow, runs on its own thread.

    Raises:
        ModelFailed: with one clear sentence, when loading again would not help.
    """

    def __call__(self, on_progress: OnProgress) -> Loaded: ...


@dataclass(frozen=True)
class Offer:
    """A model that can be served, and how to load it.

    `name` is empty if only loading tells it. `expected_bytes` guesses its memory before the first
    load, 0 if nothing is known; it may read the disk.
    """

    load: Load
    name: str = ""
    source: str = ""
    limits: Callable[[int], Limits] | None = None  # by size multiple; None: the service's
    expected_bytes: Callable[[], int] = lambda: 0


async def load_on_thread(load: Load, say: OnProgress) -> Loaded:
    """Run `load` on a daemon thread, so that stopping the service never waits for a download.

    `say` receives progress messages, on the event loop.
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
        with contextlib.suppress(RuntimeError):  # the loop is closed
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
