"""One replica: today's engine with its model, in a process of its own, as the front calls it."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace

from backend.config import Settings
from backend.domain import Done, Event, ServiceStatus
from backend.draft import Draft
from backend.engine.backend import LocalBackend
from backend.engine.cost import CostModel
from backend.engine.loading import Load
from backend.errors import BackendError, GenerationFailed
from backend.params import GenerationParams, ModelInfo

FRONT_TIMEOUT_S = 10.0  # a front unheard for so long has gone, and its requests are dropped
ORPHAN_S = 120.0  # time for a front to restart; then the replica ends
LOOK_EVERY_S = 1.0
EXIT_DEVICE_LOST = 3

LoadOf = Callable[[Settings], Load]


@dataclass(frozen=True, slots=True)
class Report:
    """How a replica is doing. Models come without their abilities, which are large."""

    status: ServiceStatus
    costs: Mapping[str, CostModel]  # by model, calibrated on the replica's device
    host: str
    pid: int


@dataclass(frozen=True, slots=True)
class Accepted:
    """The first item of every generation: the replica has it."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The last item of a generation that failed. An exception would come wrapped."""

    error: BackendError


Item = Accepted | Failed | Event


class Replica:
    """Called by one or several fronts, concurrently, on one event loop."""

    def __init__(self, settings: Settings, version: str, load_of: LoadOf) -> None:
        self._backend = LocalBackend(settings, load_of(settings), version, _lose_device)
        self._heard_s: dict[str, float] = {}  # by front
        self._heard_any_s = time.perf_counter()
        self._running: defaultdict[str, set[asyncio.Task[None]]] = defaultdict(set)
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin to load the model; returns at once."""
        if not self._tasks:
            loading = asyncio.create_task(self._backend.start())
            self._tasks = [loading, asyncio.create_task(self._follow_fronts())]

    async def describe(self) -> tuple[ModelInfo, ...]:
        """The models, with their abilities."""
        return self._backend.status().models

    async def report(self, front: str) -> Report:
        """The state now; tells the replica that this front lives."""
        self._heard_s[front] = self._heard_any_s = time.perf_counter()
        status = self._backend.status()
        models = tuple(replace(model, abilities=None) for model in status.models)
        costs = self._backend.costs
        return Report(replace(status, models=models), costs, socket.gethostname(), os.getpid())

    async def examine(self, params: GenerationParams) -> int | BackendError:
        """The prompt's chunks, or why the model can't draw this."""
        try:
            return self._backend.examine(params)
        except BackendError as error:
            return error

    async def generate(
        self, front: str, draft: Draft, client: str, deadline_s: float | None
    ) -> AsyncGenerator[Item, None]:
        """Draw. Closing the iterator, or losing the front, aborts before the next step."""
        yield Accepted()
        items: asyncio.Queue[Item | None] = asyncio.Queue()
        task = asyncio.create_task(self._run(draft, client, deadline_s, items))
        self._running[front].add(task)
        try:
            while (item := await items.get()) is not None:
                yield item
        finally:
            self._running[front].discard(task)
            task.cancel()

    async def _run(
        self,
        draft: Draft,
        client: str,
        deadline_s: float | None,
        items: asyncio.Queue[Item | None],
    ) -> None:
        events = self._backend.submit(draft, client=client, deadline_s=deadline_s)
        try:
            async with aclosing(events):
                async for event in events:
                    items.put_nowait(_light(event))
        except BackendError as error:
            items.put_nowait(Failed(error))
        except asyncio.CancelledError:
            items.put_nowait(Failed(GenerationFailed("the front has gone")))
            raise
        finally:
            items.put_nowait(None)

    async def leave(self) -> None:
        """End the engine and keep its measured costs, before the process is ended."""
        for task in self._tasks:
            task.cancel()
        await self._backend.stop()

    async def _follow_fronts(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            now_s = time.perf_counter()
            for front, heard_s in [*self._heard_s.items()]:
                if now_s - heard_s > FRONT_TIMEOUT_S:
                    del self._heard_s[front]
                    for task in self._running.pop(front, set()):
                        task.cancel()
            if now_s - self._heard_any_s > ORPHAN_S:
                await self.leave()
                os._exit(0)


def _light(event: Event) -> Event:
    """Without the model's abilities: the front knows them."""
    if isinstance(event, Done):
        return replace(event, model=replace(event.model, abilities=None))
    return event


def _lose_device() -> None:
    os._exit(EXIT_DEVICE_LOST)
