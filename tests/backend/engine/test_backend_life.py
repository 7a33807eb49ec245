"""LocalBackend from loading to draining."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace

import pytest

from backend.domain import Done, State
from backend.engine.backend import LocalBackend
from backend.engine.loading import EngineStopped, IdleTime, Loaded, OnProgress
from backend.errors import (
    Draining,
    ModelFailed,
    ModelLoading,
    NonFiniteOutput,
)
from tests.support.fakes import (
    SECRET,
    FakeModel,
    Gate,
    fake_draft,
    images_of,
    loads,
    settings,
    wide_costs,
)
from tests.support.local_backend import answer, assert_balanced, serving


class TestLoading:
    async def test_until_the_model_is_there_requests_are_told_to_come_back(self) -> None:
        backend = LocalBackend(settings(), loads(FakeModel()), "1.0")
        assert backend.status().state is State.STARTING
        with pytest.raises(ModelLoading) as caught:
            await answer(backend)
        assert caught.value.retry_after_s > 0
        await backend.start()
        assert backend.is_ready
        assert isinstance((await answer(backend))[-1], Done)
        assert_balanced(backend)
        await backend.stop()

    async def test_says_how_far_it_is(self) -> None:
        loading, go_on = threading.Event(), threading.Event()

        def load(on_progress: OnProgress) -> Loaded:
            on_progress("Fetching 3 of 7 files.")
            loading.set()
            assert go_on.wait(20)
            return Loaded(FakeModel(), wide_costs())

        backend = LocalBackend(settings(), load, "1.0")
        starting = asyncio.create_task(backend.start())
        await asyncio.to_thread(loading.wait, 20)
        await asyncio.sleep(0)
        assert backend.status().message == "Fetching 3 of 7 files."
        with pytest.raises(ModelLoading, match="Fetching 3 of 7"):
            await answer(backend)
        go_on.set()
        await starting
        assert backend.status().state is State.READY
        assert backend.status().message == "Serving fake."
        await backend.stop()

    @pytest.mark.parametrize(
        ("error", "said"),
        [
            (ModelFailed("/models/x has no unet."), "/models/x has no unet."),
            (NonFiniteOutput("The model produced NaN."), "The model produced NaN."),
            (ValueError(SECRET), "The model failed to load; the log says why."),
        ],
    )
    async def test_a_failure_is_told_and_the_process_stays(
        self, error: Exception, said: str
    ) -> None:
        def load(on_progress: OnProgress) -> Loaded:
            raise error

        async with serving(load=load) as backend:
            status = backend.status()
            assert (status.state, status.message) == (State.FAILED, said)
            assert not backend.is_ready
            with pytest.raises(ModelFailed) as caught:
                await answer(backend)
            assert str(caught.value) == said
            assert_balanced(backend)

    async def test_stopping_in_the_middle_waits_for_nothing(self) -> None:
        never = threading.Event()

        def load(on_progress: OnProgress) -> Loaded:
            never.wait(20)
            raise AssertionError

        backend = LocalBackend(settings(), load, "1.0")
        starting = asyncio.create_task(backend.start())
        await asyncio.sleep(0.01)
        async with asyncio.timeout(20):
            backend.drain()
            starting.cancel()
            with pytest.raises(Draining):
                await answer(backend)
            await backend.stop()
        never.set()

    async def test_limits_come_from_the_model(self) -> None:
        async with serving() as backend:
            status = backend.status()
            assert status.limits.size_multiple == 8
            assert status.models[0].name == "fake"


class TestDraining:
    async def test_what_runs_is_finished_and_nothing_new_is_taken(self) -> None:
        gate = Gate()
        async with serving(FakeModel(gate=gate)) as backend:
            running = asyncio.create_task(answer(backend, fake_draft(request_id="mine")))
            await asyncio.to_thread(gate.wait_arrived, 1)
            backend.drain()
            assert backend.status().state is State.DRAINING
            with pytest.raises(Draining):
                await answer(backend, fake_draft("new"))
            joined = asyncio.create_task(answer(backend, fake_draft(request_id="mine")))
            await asyncio.sleep(0.01)
            gate.open()
            assert images_of(await running) == images_of(await joined)
            assert_balanced(backend)


async def test_the_end_keeps_what_steps_have_come_to_cost() -> None:
    model, cost = FakeModel(), wide_costs()
    kept: list[float | None] = []

    def load(on_progress: OnProgress) -> Loaded:
        return Loaded(model, cost, keep_costs=lambda: kept.append(cost.encode))

    async with serving(model, load=load) as backend:
        await answer(backend)
        assert kept == []
    assert kept == [cost.encode]


async def test_costs_are_measured_after_ready_on_the_engines_thread() -> None:
    ready, ended = threading.Event(), threading.Event()
    measured: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def calibrate(idle: IdleTime) -> None:
        ready.wait(20)
        name = idle.run(lambda: threading.current_thread().name)
        measured.get_loop().call_soon_threadsafe(measured.set_result, name)
        try:
            idle.sleep(3600)
        except EngineStopped:
            ended.set()

    def load(on_progress: OnProgress) -> Loaded:
        return Loaded(FakeModel(), wide_costs(), calibrate)

    async with serving(load=load) as backend:
        assert backend.status().state is State.READY
        await answer(backend)
        ready.set()
        assert await asyncio.wait_for(measured, 20) == "engine"
    assert await asyncio.to_thread(ended.wait, 20)


async def test_the_status_says_why_this_model_was_picked() -> None:
    model = FakeModel()
    model.info = replace(model.info, note="the embedded model: no CUDA device is in use")
    async with serving(model) as backend:
        assert (
            backend.status().message
            == "Serving fake, the embedded model: no CUDA device is in use."
        )
