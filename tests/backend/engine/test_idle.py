"""An idle model is unloaded, and loaded again by the next request."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from backend.domain import Done, Event, State
from backend.engine.backend import LocalBackend
from backend.engine.loading import Load, Loaded, OnProgress
from backend.errors import Draining, ModelFailed
from tests.support.fakes import FakeModel, Gate, fake_draft, settings, wide_costs

IDLE_S = 0.3


class Loader:
    """Loads a fresh model every time, and remembers them without holding them."""

    def __init__(self) -> None:
        self.models: list[weakref.ref[FakeModel]] = []
        self.events: list[str] = []
        self.gate: Gate | None = None
        self.fails = False
        self.go_on = threading.Event()
        self.go_on.set()

    def __call__(self, on_progress: OnProgress) -> Loaded:
        on_progress("Painting.")
        assert self.go_on.wait(20)
        if self.fails:
            raise ModelFailed("The disk is gone.")
        model = FakeModel(gate=self.gate)
        self.models.append(weakref.ref(model))
        return Loaded(
            model,
            wide_costs(),
            keep_costs=lambda: self.events.append("kept"),
            release=lambda: self.events.append("released"),
        )


@asynccontextmanager
async def serving(load: Load, idle_unload_s: float = IDLE_S) -> AsyncIterator[LocalBackend]:
    backend = LocalBackend(settings(idle_unload_s=idle_unload_s), load, "1.0")
    await backend.start()
    try:
        yield backend
    finally:
        await backend.stop()


async def answer(backend: LocalBackend, **changes: Any) -> list[Event]:
    async with asyncio.timeout(20):
        events = backend.submit(fake_draft(**changes), client="me", deadline_s=None)
        return [event async for event in events]


async def asleep(backend: LocalBackend) -> None:
    async with asyncio.timeout(20):
        while "Unloaded" not in backend.status().message:
            await asyncio.sleep(0.01)


async def test_memory_is_given_back_and_the_service_stays_ready() -> None:
    load = Loader()
    async with serving(load) as backend:
        assert isinstance((await answer(backend))[-1], Done)
        assert backend.status().models[0].loaded
        await asleep(backend)
        gc.collect()
        assert load.models[0]() is None
        assert load.events == ["kept", "released"]
        status = backend.status()
        assert (status.state, backend.is_ready) == (State.READY, True)
        assert [(model.name, model.loaded) for model in status.models] == [("fake", False)]


async def test_the_next_request_waits_for_it_and_is_served() -> None:
    load = Loader()
    async with serving(load) as backend:
        await asleep(backend)
        assert isinstance((await answer(backend))[-1], Done)
        assert backend.status().models[0].loaded
        assert backend.status().message == "Serving fake."
        await asleep(backend)  # and again
        assert len(load.models) == 2


async def test_many_callers_load_it_once() -> None:
    load = Loader()
    async with serving(load) as backend:
        await asleep(backend)
        answers = await asyncio.gather(
            *(answer(backend, request_id=f"r{seed}") for seed in range(8))
        )
        assert all(isinstance(events[-1], Done) for events in answers)
        assert len(load.models) == 2


async def test_who_waits_may_leave_and_the_others_are_served() -> None:
    load = Loader()
    async with serving(load) as backend:
        await asleep(backend)
        load.go_on.clear()
        leaving, staying = (
            asyncio.create_task(answer(backend, request_id=f"r{seed}")) for seed in range(2)
        )
        await asyncio.sleep(0.05)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        load.go_on.set()
        assert isinstance((await staying)[-1], Done)
        assert len(load.models) == 2


async def test_a_long_drawing_is_not_idleness() -> None:
    load = Loader()
    load.gate = Gate()
    async with serving(load) as backend:
        drawing = asyncio.create_task(answer(backend))
        await asyncio.sleep(2.5 * IDLE_S)
        assert backend.status().models[0].loaded
        load.gate.open()
        assert isinstance((await drawing)[-1], Done)
        await asleep(backend)


async def test_what_does_not_load_again_is_told() -> None:
    load = Loader()
    async with serving(load) as backend:
        await asleep(backend)
        load.fails = True
        with pytest.raises(ModelFailed, match="The disk is gone"):
            await answer(backend)
        assert backend.status().state is State.FAILED
        assert not backend.is_ready


async def test_a_drain_ends_it_asleep_or_waking() -> None:
    load = Loader()
    async with serving(load) as backend:
        await asleep(backend)
        load.go_on.clear()
        waiting = asyncio.create_task(answer(backend))
        await asyncio.sleep(0.05)
        backend.drain()
        load.go_on.set()
        with pytest.raises(Draining):
            await waiting
        with pytest.raises(Draining):
            await answer(backend)


async def test_by_default_it_stays() -> None:
    load = Loader()
    async with serving(load, idle_unload_s=0) as backend:
        await asyncio.sleep(2 * IDLE_S)
        assert backend.status().models[0].loaded
        assert load.events == []
