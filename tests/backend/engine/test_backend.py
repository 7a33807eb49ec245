"""LocalBackend: every request served and counted once."""

from __future__ import annotations

import asyncio
import random
from contextlib import aclosing
from dataclasses import replace

import pytest

from backend.domain import Done, Queued, State
from backend.draft import Draft
from backend.errors import (
    BackendError,
    DeadlineUnmeetable,
    GenerationFailed,
    InvalidParams,
    ModelFailed,
    QueueFull,
    QuotaSpent,
    RequestConflict,
    UnknownModel,
)
from backend.params import Adapter, Lora
from backend.prompt_syntax import PromptSyntax
from tests.support.fakes import (
    INFO,
    SECRET,
    FakeModel,
    Gate,
    fake_draft,
    images_of,
    loads,
    wide_costs,
)
from tests.support.local_backend import answer, ask, assert_balanced, first_event, serving


class TestRequests:
    async def test_defaults_come_from_the_model(self) -> None:
        async with serving() as backend:
            draft = Draft(request_id="x", is_named=False, prompt=" a cat ", num_inference_steps=2)
            done = (await answer(backend, draft))[-1]
            assert isinstance(done, Done)
            params = done.params
            assert (params.prompt, params.height, params.width) == ("a cat", 64, 64)
            assert (params.guidance_scale, params.scheduler) == (7.5, "ddim")
            assert 0 <= params.seed < 2**32

    async def test_everything_wrong_is_told_at_once_and_each_field_once(self) -> None:
        async with serving() as backend:
            with pytest.raises(InvalidParams) as caught:
                await answer(backend, fake_draft("", height=100, num_images=99, seed=-5))
            fields = [violation.field for violation in caught.value.violations]
            assert fields == ["prompt", "height", "num_images", "seed"]
            assert_balanced(backend)

    async def test_what_the_model_cannot_do_is_told_beside_the_rest(self) -> None:
        async with serving() as backend:
            draft = fake_draft("", scheduler="lcm", num_inference_steps=60)
            with pytest.raises(InvalidParams) as caught:
                await answer(backend, draft)
            fields = [violation.field for violation in caught.value.violations]
            assert fields == ["prompt", "num_inference_steps"]

    async def test_an_unknown_model_is_told_after_the_field_checks(self) -> None:
        async with serving() as backend:
            with pytest.raises(InvalidParams):
                await answer(backend, fake_draft("", model="other"))
            with pytest.raises(UnknownModel, match="fake"):
                await answer(backend, fake_draft(model="other"))

    async def test_adapters_are_made_ready_before_the_queue_and_once_for_all_it_refuses(
        self,
    ) -> None:
        info = replace(INFO, adapters=(Adapter("ink"),))
        model = FakeModel(info=info, fails_in={"odd": "ready"})
        async with serving(model) as backend:
            await answer(backend, fake_draft("plain"))
            assert model.readied == []
            await answer(backend, fake_draft("a cat", loras=(Lora("ink"),)))
            tagged = fake_draft("dog <lora:ink:0.5>", prompt_syntax=PromptSyntax.A1111)
            done = (await answer(backend, tagged))[-1]
            assert isinstance(done, Done)
            assert done.params.loras == (Lora("ink", 0.5),)
            assert model.readied == ["a cat", "dog"]
            with pytest.raises(InvalidParams):
                await answer(backend, fake_draft("x", loras=(Lora("oil"),)))
            with pytest.raises(InvalidParams, match="made for another"):
                await answer(backend, fake_draft("odd", loras=(Lora("ink"),)))
            assert model.readied == ["a cat", "dog", "odd"]
            assert_balanced(backend)

    async def test_a_retry_joins_and_both_get_the_pictures(self) -> None:
        gate = Gate()
        async with serving(FakeModel(gate=gate)) as backend:
            draft = fake_draft(request_id="mine", seed=None)
            first = asyncio.create_task(answer(backend, draft))
            await asyncio.to_thread(gate.wait_arrived, 1)
            second = asyncio.create_task(answer(backend, draft))
            await asyncio.sleep(0.01)
            gate.open()
            assert images_of(await first) == images_of(await second)
            assert backend.status().counters.received == 1

    async def test_a_retry_after_the_end_gets_the_kept_result(self) -> None:
        model = FakeModel()
        async with serving(model) as backend:
            draft = fake_draft(request_id="mine", seed=None)
            first = await answer(backend, draft)
            steps = len(model.batches)
            assert images_of(await answer(backend, draft)) == images_of(first)
            assert len(model.batches) == steps

    async def test_started_over_a_retry_draws_the_same_seed(self) -> None:
        async with serving(result_ttl_s=0.0) as backend:
            draft = fake_draft(request_id="mine", seed=None)
            first = images_of(await answer(backend, draft))
            await asyncio.sleep(0.05)
            again = images_of(await answer(backend, draft))
            assert [i.image.seed for i in first] == [i.image.seed for i in again]
            assert backend.status().counters.completed == 2

    async def test_other_parameters_under_the_same_id_are_refused(self) -> None:
        async with serving() as backend:
            await answer(backend, fake_draft(request_id="mine"))
            with pytest.raises(RequestConflict):
                await answer(backend, fake_draft(request_id="mine", seed=2))
            await answer(backend, fake_draft(request_id="mine", seed=2), client="somebody")

    async def test_a_full_queue_refuses_at_once_though_the_model_is_in_a_step(self) -> None:
        gate = Gate()
        async with serving(FakeModel(gate=gate), max_queue=2) as backend:
            tasks = [asyncio.create_task(answer(backend, fake_draft("p0")))]
            await asyncio.to_thread(gate.wait_arrived, 1)
            drafts = [fake_draft(f"p{n}", request_id=f"r{n}") for n in range(1, 50)]
            tasks += [asyncio.create_task(answer(backend, draft)) for draft in drafts]
            refused = tasks[3:]
            async with asyncio.timeout(20):
                errors = await asyncio.gather(*refused, return_exceptions=True)
            assert all(isinstance(error, QueueFull) for error in errors)
            assert all(error.retry_after_s for error in errors if isinstance(error, QueueFull))
            gate.open()
            for task in tasks[:3]:
                assert isinstance((await task)[-1], Done)
            assert backend.status().counters.rejected == 47
            assert_balanced(backend)

    async def test_a_client_may_not_take_every_place(self) -> None:
        gate = Gate()
        async with serving(FakeModel(gate=gate), max_queue_per_client=1) as backend:
            running = asyncio.create_task(answer(backend, fake_draft("p0")))
            await asyncio.to_thread(gate.wait_arrived, 1)
            waiting = asyncio.create_task(answer(backend, fake_draft("p1", request_id="r1")))
            greedy = asyncio.create_task(answer(backend, fake_draft("p2", request_id="r2")))
            other = asyncio.create_task(answer(backend, fake_draft("p3"), client="other"))
            await asyncio.sleep(0.01)
            gate.open()
            with pytest.raises(QuotaSpent):
                await greedy
            await asyncio.gather(running, waiting, other)
            assert_balanced(backend)

    async def test_a_deadline_that_cannot_be_met_is_refused(self) -> None:
        cost = wide_costs()
        cost.steps[64, 64, 2] = 1000.0
        model = FakeModel()
        async with serving(model, loads(model, cost)) as backend:
            with pytest.raises(DeadlineUnmeetable):
                await answer(backend, deadline_s=0.5)
            assert model.batches == []
            assert_balanced(backend)

    async def test_leaving_while_waiting_computes_nothing(self) -> None:
        gate = Gate()
        async with serving(FakeModel(gate=gate)) as backend:
            running = asyncio.create_task(answer(backend, fake_draft("p0")))
            await asyncio.to_thread(gate.wait_arrived, 1)
            async with aclosing(ask(backend, fake_draft("gone", request_id="r1"))) as events:
                gate.allow(1)
                assert isinstance(await first_event(events), Queued)
            gate.open()
            await running
            assert backend.status().counters.cancelled == 1
            assert_balanced(backend)

    async def test_a_broken_engine_is_told_in_the_status_and_to_everybody(self) -> None:
        model = FakeModel()

        async with serving(model) as backend:
            engine = backend._models.default.engine
            assert engine is not None

            def broken(now_s: float) -> None:
                raise RuntimeError(SECRET)

            engine._engine._scheduler.next_work = broken  # type: ignore[method-assign]
            for number in range(10):
                with pytest.raises((GenerationFailed, ModelFailed)) as caught:
                    await answer(backend, fake_draft(request_id=f"r{number}"))
                assert SECRET not in str(caught.value)
                await asyncio.sleep(0.01)
            assert backend.status().state is State.FAILED
            assert not backend.is_ready
            assert_balanced(backend)


async def test_every_request_is_counted_once_whatever_happens(seeded: random.Random) -> None:
    model = FakeModel(
        fails_in={"p1": "prepare", "p2": "row", "p3": "step", "p4": "decode", "p5": "nan"},
        nsfw=frozenset({"p6"}),
    )
    async with serving(model, max_queue=6, max_queue_per_client=4) as backend:

        async def one_life(number: int) -> None:
            draft = fake_draft(
                f"p{seeded.randrange(12)}",
                request_id=f"r{seeded.randrange(30)}",
                seed=seeded.randrange(2),
                num_images=seeded.choice([0, 1, 2]),
                preview_interval=seeded.randrange(3),
            )
            patience = seeded.randrange(12) if seeded.random() < 0.4 else 1000
            await asyncio.sleep(seeded.random() * 0.2)
            events = ask(backend, draft, client=f"c{number % 3}")
            try:
                async with aclosing(events):
                    async for _ in events:
                        assert_balanced(backend)
                        patience -= 1
                        if patience < 0:
                            return
            except BackendError:
                pass
            assert_balanced(backend)

        async with asyncio.timeout(60):
            await asyncio.gather(*(one_life(number) for number in range(80)))
        status = backend.status()
        assert (status.queued, status.running) == (0, 0)
        assert_balanced(backend)
        assert status.counters.completed > 0
        assert status.counters.failed > 0
        assert status.counters.rejected > 0
