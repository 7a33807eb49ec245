"""Loading a model beside an event loop that goes on serving."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import NamedTuple, Protocol

from backend.engine.cost import CostModel
from backend.engine.protocols import AnyModel

OnProgress = Callable[[str], None]


def nothing() -> None:
    """What there is to do where nothing is kept or released."""


class Loaded(NamedTuple):
    """A model that is ready to serve, and what is known of its costs.

    `keep_costs` stores what has been learned of them; `release` gives memory back to the machine
    once nothing holds the model any more.
    """

    model: AnyModel
    cost: CostModel
    keep_costs: Callable[[], None] = nothing
    release: Callable[[], None] = nothing


class Load(Protocol):
    """Loads, warms up and calibrates the model; slow, runs on a thread of its own.

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
