"""Several models in one backend: loaded on first use, within a memory budget."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import weakref
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import pytest

from backend.domain import Done, Event, FinishedImage, Progress, Queued, State
from backend.engine.backend import LocalBackend
from backend.engine.loading import Loaded, Offer, OnProgress
from backend.errors import InvalidParams, ModelFailed, QueueFull, UnknownModel
from backend.params import Adapter, Limits, Lora, ModelState
from tests.support.fakes import (
    INFO,
    FakeModel,
    Gate,
    fake_draft,
    settings,
    wide_costs,
)
from tests.support.local_backend import ask, assert_balanced, first_event

BYTES = 100


class Loader:
    """Loads a fresh fake model under one name, and counts."""

    def __init__(self, name: str, budget_models: float = 2, **info: Any) -> None:
        self.name = name
        self.info = replace(INFO, name=name, **info)
        self.num_loads = 0
        self.alive: list[weakref.ref[FakeModel]] = []
        self.batches: list[tuple[str, ...]] = []
        self.gate: Gate | None = None
        self.error: Exception | None = None
        self.go_on = threading.Event()
        self.go_on.set()
        self.budget_bytes = int(budget_models * BYTES)

    def __call__(self, on_progress: OnProgress) -> Loaded:
        self.num_loads += 1
        on_progress(f"Loading {self.name}")
        assert self.go_on.wait(20)
        on_progress(f"Warming up {self.name}")
        if self.error is not None:
            raise self.error
        model = FakeModel(info=self.info, gate=self.gate, batches=self.batches)
        self.alive.append(weakref.ref(model))
        return Loaded(model, wide_costs(), num_bytes=BYTES, budget_bytes=self.budget_bytes)

    @property
    def offer(self) -> Offer:
        return Offer(self, self.name, f"/models/{self.name}", expected_bytes=lambda: BYTES)

    @property
    def num_alive(self) -> int:
        return sum(ref() is not None for ref in self.alive)


@asynccontextmanager
async def serving(loaders: Sequence[Loader], **changes: Any) -> AsyncIterator[LocalBackend]:
    backend = LocalBackend(settings(**changes), [one.offer for one in loaders], "1.0")
    await backend.start()
    try:
        yield backend
    finally:
        for loader in loaders:
            loader.go_on.set()
            if loader.gate is not None:
                loader.gate.open()
        await backend.stop()


async def answer(backend: LocalBackend, model: str, **changes: Any) -> list[Event]:
    """All events; ids are made up from what is asked, so that nothing joins."""
    number = next(_numbers)
    draft = fake_draft(model=model, request_id=f"{model}-{number}", **changes)
    async with asyncio.timeout(20):
        return [event async for event in ask(backend, draft)]


_numbers = iter(range(10**6))


def states(backend: LocalBackend) -> dict[str, ModelState]:
    return {model.name: model.state for model in backend.status().models}


def messages(events: Sequence[Event]) -> list[str]:
    return [event.message for event in events if isinstance(event, Queued) and event.message]


class TestFirstUse:
    async def test_only_the_default_is_loaded_at_the_start_and_all_are_listed(self) -> None:
        one, two = Loader("one"), Loader("two")
        async with serving([one, two]) as backend:
            assert states(backend) == {"one": ModelState.LOADED, "two": ModelState.AVAILABLE}
            assert (one.num_loads, two.num_loads) == (1, 0)
            status = backend.status()
            assert (status.state, status.message) == (State.READY, "Serving one.")
            assert status.models[1].source == "/models/two"

    async def test_a_model_is_loaded_by_its_first_request_which_is_told_so(self) -> None:
        one, two = Loader("one"), Loader("two")
        async with serving([one, two]) as backend:
            events = await answer(backend, "two")
            assert messages(events) == ["Loading.", "Loading two", "Warming up two"] or (
                messages(events)[-1] == "Warming up two"  # a slow reader misses some
            )
            done = events[-1]
            assert isinstance(done, Done)
            assert (done.model.name, done.params.model) == ("two", "two")
            assert two.batches
            assert not one.batches
            assert_balanced(backend)

    async def test_switching_between_two_that_fit_loads_nothing(self) -> None:
        loaders = [Loader("one"), Loader("two")]
        async with serving(loaders) as backend:
            for _ in range(10):
                for name in ("one", "two", ""):
                    assert messages(await answer(backend, name)) == [] or name == "two"
            assert [loader.num_loads for loader in loaders] == [1, 1]

    async def test_many_callers_load_it_once(self) -> None:
        two = Loader("two")
        async with serving([Loader("one"), two]) as backend:
            found = await asyncio.gather(*(answer(backend, "two", seed=n) for n in range(8)))
            assert all(isinstance(events[-1], Done) for events in found)
            assert two.num_loads == 1

    async def test_one_draws_on_while_another_is_loaded(self) -> None:
        one, two = Loader("one"), Loader("two")
        one.gate = Gate()
        two.go_on.clear()
        async with serving([one, two]) as backend:
            drawing = ask(backend, fake_draft("long", model="one", request_id="long"))
            loading = asyncio.create_task(answer(backend, "two"))
            async with aclosing(drawing):
                while two.num_loads == 0:
                    await asyncio.sleep(0.005)
                one.gate.open()
                events = [event async for event in drawing]
            assert [e.step for e in events if isinstance(e, Progress)][-1] == 3
            assert isinstance(events[-1], Done)
            assert states(backend)["two"] is ModelState.LOADING
            two.go_on.set()
            assert isinstance((await loading)[-1], Done)

    async def test_both_draw_at_once_in_turns(self) -> None:
        one, two = Loader("one"), Loader("two")
        order: list[str] = []
        inside, overlaps = threading.Lock(), list[str]()

        def step(name: str) -> None:
            if not inside.acquire(blocking=False):
                overlaps.append(name)
                return
            order.append(name)
            time.sleep(0.002)
            inside.release()

        async with serving([one, two]) as backend:
            await answer(backend, "two")
            for loader in (one, two):
                model = loader.alive[-1]()
                assert model is not None
                model.on_step = partial(step, loader.name)
            steps = 40
            both = (answer(backend, n, num_inference_steps=steps) for n in ("one", "two"))
            await asyncio.gather(*both)
        assert overlaps == []
        assert order.count("one") == order.count("two") == steps
        switches = sum(before != after for before, after in pairwise(order))
        assert switches > 10

    async def test_defaults_are_the_models_own(self) -> None:
        two = Loader(
            "two",
            default_num_inference_steps=2,
            default_guidance_scale=0.0,
            adapters=(Adapter("ink"), Adapter("oil")),
            default_loras=(Lora("ink", 0.5), Lora("oil", 2.0)),
        )
        async with serving([Loader("one"), two]) as backend:
            done = (await answer(backend, "two", num_inference_steps=None, loras=(Lora("oil"),)))[
                -1
            ]
            assert isinstance(done, Done)
            assert (done.params.num_inference_steps, done.params.guidance_scale) == (2, 0.0)
            assert done.params.loras == (Lora("oil", 1.0), Lora("ink", 0.5))

    async def test_limits_are_the_models_own(self) -> None:
        two = Loader("two")
        small = replace(two.offer, limits=lambda multiple: Limits(max_pixels=32 * 64, min_size=32))
        backend = LocalBackend(settings(), [Loader("one").offer, small], "1.0")
        await backend.start()
        with pytest.raises(InvalidParams, match="at most 2048 pixels"):
            await answer(backend, "two")
        assert isinstance((await answer(backend, "one"))[-1], Done)
        found = {model.name: model.limits.max_pixels for model in backend.status().models}
        assert found == {"one": 1024 * 1024, "two": 2048}
        await backend.stop()


class TestBudget:
    async def test_the_least_recently_used_leaves(self) -> None:
        loaders = [Loader(name) for name in ("one", "two", "three")]
        async with serving(loaders) as backend:
            await answer(backend, "two")
            await answer(backend, "one")
            await answer(backend, "three")
            assert states(backend) == {
                "one": ModelState.LOADED,
                "two": ModelState.AVAILABLE,
                "three": ModelState.LOADED,
            }
            gc.collect()
            assert [loader.num_alive for loader in loaders] == [1, 0, 1]
            assert backend.status().models[1].message == "Unloaded to make room for three."

    async def test_five_in_rotation_stay_within_it_and_none_leaks(self) -> None:
        loaders = [Loader(f"m{number}") for number in range(5)]
        async with serving(loaders) as backend:
            for number in range(50):
                done = (await answer(backend, f"m{number % 5}"))[-1]
                assert isinstance(done, Done)
                assert done.model.name == f"m{number % 5}"
                loaded = [model for model in backend.status().models if model.loaded]
                assert len(loaded) <= 2
            gc.collect()
            assert sum(loader.num_alive for loader in loaders) == 2
            assert sum(loader.num_loads for loader in loaders) == 50
            assert [thread.name for thread in threading.enumerate()].count("engine") == 2
            assert backend.status().counters.completed == 50
            assert_balanced(backend)

    async def test_one_in_use_is_drawn_to_its_end_first_and_the_waiting_are_told(self) -> None:
        one, two = Loader("one", budget_models=1), Loader("two", budget_models=1)
        one.gate = Gate()
        async with serving([one, two]) as backend:
            drawing = asyncio.create_task(answer(backend, "one"))
            await asyncio.to_thread(one.gate.wait_arrived, 1)
            waiting = ask(backend, fake_draft(model="two", request_id="w"))
            async with aclosing(waiting):
                told = await first_event(waiting)
                assert isinstance(told, Queued)
                while "Waiting for one" not in told.message:
                    told = await first_event(waiting)
                    assert isinstance(told, Queued)
                late = asyncio.create_task(answer(backend, "one"))  # waits until two has drawn
                one.gate.open()
                events = [event async for event in waiting]
            assert isinstance((await drawing)[-1], Done)
            assert isinstance(events[-1], Done)
            assert isinstance((await late)[-1], Done)
            assert (one.num_loads, two.num_loads) == (2, 1)

    async def test_nobody_starves_however_many_ask_for_the_other(self) -> None:
        loaders = [Loader(name, budget_models=1) for name in ("one", "two")]
        async with serving(loaders, max_queue=100) as backend:
            found = await asyncio.gather(
                *(answer(backend, name, seed=seed) for seed in range(10) for name in ("one", "two"))
            )
            assert all(isinstance(events[-1], Done) for events in found)
            assert all(loader.num_loads <= 4 for loader in loaders)
            assert_balanced(backend)

    async def test_an_idle_one_is_unloaded_and_the_other_stays(self) -> None:
        one, two = Loader("one"), Loader("two")
        one.gate = Gate()
        async with serving([one, two], idle_unload_s=0.2) as backend:
            drawing = asyncio.create_task(answer(backend, "one"))
            await asyncio.to_thread(one.gate.wait_arrived, 1)
            two_is = asyncio.create_task(answer(backend, "two"))
            await asyncio.sleep(0.02)
            one.gate.open()
            await drawing
            await two_is
            async with asyncio.timeout(20):
                while states(backend)["two"] is not ModelState.AVAILABLE:
                    await answer(backend, "one")
                    await asyncio.sleep(0.02)
            assert states(backend)["one"] is ModelState.LOADED


class TestFailures:
    async def test_an_unknown_name_is_told_with_those_that_exist(self) -> None:
        two = Loader("two")
        async with serving([Loader("one"), two]) as backend:
            with pytest.raises(UnknownModel, match="one, two"):
                await answer(backend, "three")
            with pytest.raises(InvalidParams):
                await answer(backend, "three", num_images=99)
            assert two.num_loads == 0
            assert_balanced(backend)

    async def test_a_failed_load_is_told_to_its_caller_alone(self) -> None:
        one, two = Loader("one"), Loader("two")
        two.error = ModelFailed("two can't be loaded. It is a Flux model.")
        one.gate = Gate()
        async with serving([one, two]) as backend:
            drawing = asyncio.create_task(answer(backend, "one"))
            await asyncio.to_thread(one.gate.wait_arrived, 1)
            with pytest.raises(ModelFailed, match="It is a Flux model"):
                await answer(backend, "two")
            one.gate.open()
            assert isinstance((await drawing)[-1], Done)
            assert backend.is_ready
            status = backend.status()
            assert status.state is State.READY
            assert states(backend) == {"one": ModelState.LOADED, "two": ModelState.FAILED}
            assert status.models[1].message == "two can't be loaded. It is a Flux model."
            with pytest.raises(ModelFailed, match="It is a Flux model"):
                await answer(backend, "two")
            assert two.num_loads == 1  # not tried again so soon
            assert_balanced(backend)

    async def test_it_is_tried_again_later(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("backend.engine.served_model.RETRY_S", 0.0)
        two = Loader("two")
        two.error = ValueError("secret")
        async with serving([Loader("one"), two]) as backend:
            with pytest.raises(ModelFailed, match="the log says why"):
                await answer(backend, "two")
            two.error = None
            assert isinstance((await answer(backend, "two"))[-1], Done)
            assert states(backend)["two"] is ModelState.LOADED

    async def test_a_failed_default_leaves_the_others_at_work(self) -> None:
        one, two = Loader("one"), Loader("two")
        one.error = ModelFailed("one can't be loaded.")
        async with serving([one, two]) as backend:
            assert backend.status().state is State.FAILED
            assert isinstance((await answer(backend, "two"))[-1], Done)
            with pytest.raises(ModelFailed):
                await answer(backend, "")

    async def test_bad_fields_do_not_load_what_was_unloaded(self) -> None:
        loaders = [Loader(name, budget_models=1) for name in ("one", "two")]
        async with serving(loaders) as backend:
            await answer(backend, "two")
            with pytest.raises(InvalidParams):
                await answer(backend, "one", num_images=99)
            assert loaders[0].num_loads == 1
            assert_balanced(backend)

    async def test_those_who_wait_for_loading_count_as_queued(self) -> None:
        two = Loader("two")
        two.go_on.clear()
        async with serving([Loader("one"), two], max_queue=2) as backend:
            waiting = [asyncio.create_task(answer(backend, "two", seed=n)) for n in range(2)]
            while two.num_loads == 0:
                await asyncio.sleep(0.005)
            with pytest.raises(QueueFull):
                await answer(backend, "two")
            two.go_on.set()
            for task in waiting:
                assert isinstance((await task)[-1], Done)

    async def test_who_leaves_while_it_loads_is_forgotten(self) -> None:
        two = Loader("two")
        two.go_on.clear()
        async with serving([Loader("one"), two]) as backend:
            async with aclosing(ask(backend, fake_draft(model="two"))) as events:
                assert isinstance(await first_event(events), Queued)
            two.go_on.set()
            events_of_another = await answer(backend, "two")
            assert [type(e) for e in events_of_another].count(FinishedImage) == 1
            assert two.num_loads == 1
            assert_balanced(backend)
