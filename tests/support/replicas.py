"""A cluster without Ray: replicas in this process, which can be told to die or to fall silent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from backend.cluster.backend import RayBackend
from backend.cluster.handle import Handle, ReplicaLost
from backend.cluster.replica import Item, Replica, Report
from backend.config import Settings
from backend.domain import State
from backend.draft import Draft
from backend.engine.cost import CostModel
from backend.errors import BackendError
from backend.params import GenerationParams, ModelInfo
from tests.support.fakes import FakeModel, loads, settings


@dataclass(eq=False)
class FakeHandle:
    """A `Handle` of a Replica in this process."""

    name: str
    model: FakeModel
    replica: Replica
    is_dead: bool = False
    is_silent: bool = False
    killed: bool = False
    left: bool = False
    fronts: list[str] = field(default_factory=list)
    given: list[Draft] = field(default_factory=list)
    examined: int = 0
    aborted: int = 0
    _ended: asyncio.Event = field(default_factory=asyncio.Event)

    def die(self) -> None:
        """End it as a crash does: who waits for it is told."""
        self.is_dead = True
        self._ended.set()

    async def _gate(self) -> None:
        if self.is_silent:
            await asyncio.Event().wait()
        if self.is_dead:
            raise ReplicaLost("it has died")

    async def describe(self) -> tuple[ModelInfo, ...]:
        await self._gate()
        return await self.replica.describe()

    async def report(self, front: str) -> Report:
        await self._gate()
        self.fronts.append(front)
        await self.replica.start()
        return await self.replica.report(front)

    async def examine(self, params: GenerationParams) -> int | BackendError:
        await self._gate()
        self.examined += 1
        return await self.replica.examine(params)

    async def generate(
        self, front: str, draft: Draft, client: str, deadline_s: float | None
    ) -> AsyncGenerator[Item, None]:
        await self._gate()
        self.given.append(draft)
        items = self.replica.generate(front, draft, client, deadline_s)
        async with aclosing(items):
            try:
                while True:
                    yield await self._next(items)
            except StopAsyncIteration:
                return
            except (GeneratorExit, asyncio.CancelledError):
                self.aborted += 1
                raise

    async def _next(self, items: AsyncGenerator[Item, None]) -> Item:
        ended = asyncio.ensure_future(self._ended.wait())
        item = asyncio.ensure_future(anext(items))
        try:
            await asyncio.wait((ended, item), return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                raise ReplicaLost("it has died")
            return item.result()
        finally:
            for task in (ended, item):
                task.cancel()
            await asyncio.gather(ended, item, return_exceptions=True)

    async def leave(self) -> None:
        self.left = True
        await self.replica.leave()

    async def kill(self, pid: int | None) -> None:
        self.killed = True
        if self.model.gate is not None:
            self.model.gate.open()
        await self.replica.leave()


class FakeLauncher:
    """A `Launcher` whose models come from a list; the last one's kind goes on."""

    def __init__(
        self, wanted: Settings, models: Sequence[FakeModel], costs: Sequence[CostModel] = ()
    ) -> None:
        self._settings = wanted
        self._models = [*models]
        self._costs = [*costs]
        self.handles: list[FakeHandle] = []
        self.living: list[Handle] = []  # of an earlier front

    async def connect(self) -> None:
        """There is nothing to reach."""

    async def find(self) -> list[Handle]:
        return self.living

    async def start(self) -> Handle:
        model = self._models.pop(0) if self._models else FakeModel()
        load = loads(model, self._costs.pop(0) if self._costs else None)
        replica = Replica(self._settings, "1.0", lambda _: load)
        handle = FakeHandle(f"replica-{len(self.handles)}", model, replica)
        self.handles.append(handle)
        return handle

    async def close(self) -> None:
        """Replicas live on."""


@dataclass
class Cluster:
    """A started RayBackend, and its replicas."""

    backend: RayBackend
    launcher: FakeLauncher

    @property
    def handles(self) -> list[FakeHandle]:
        return self.launcher.handles

    async def until(self, condition: Any, timeout_s: float = 20.0) -> None:
        async with asyncio.timeout(timeout_s):
            while not condition():
                await asyncio.sleep(0.005)


@asynccontextmanager
async def cluster(
    *models: FakeModel,
    costs: Sequence[CostModel] = (),
    living: Sequence[Handle] = (),
    **changes: Any,
) -> AsyncIterator[Cluster]:
    """A front with a replica per model, all of them ready; all is ended at the end."""
    wanted = settings(**({"replicas": max(1, len(models))} | changes))
    launcher = FakeLauncher(wanted, models, costs)
    launcher.living = [*living]
    backend = RayBackend(wanted, launcher, "1.0")
    running = Cluster(backend, launcher)
    try:
        await backend.start()
        await running.until(
            lambda: (
                all(one.state is not State.STARTING for one in backend.status().replicas)
                and backend.status().replicas
            )
        )
        yield running
    finally:
        await backend.stop()
        for handle in launcher.handles:
            if handle.model.gate is not None:
                handle.model.gate.open()
            await handle.replica.leave()
