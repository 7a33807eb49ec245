"""The front of a cluster, with replicas in this process: who gets what, and what losses cost."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from backend.cluster import fleet
from backend.domain import Done, FinishedImage, Progress, Queued, State
from backend.engine.cost import CostModel
from backend.errors import (
    DeadlineUnmeetable,
    Draining,
    GenerationFailed,
    InvalidParams,
    ModelFailed,
    QueueFull,
    RequestConflict,
    UnknownModel,
)
from backend.params import ImageFormat
from tests.support.fakes import FakeModel, Gate, fake_draft, images_of, wide_costs
from tests.support.local_backend import answer, ask, assert_balanced, first_event, serving
from tests.support.replicas import Cluster, FakeHandle, cluster


def work_of(running: Cluster) -> list[int]:
    return [len(handle.given) for handle in running.handles]


def one_at_a_time() -> CostModel:
    """Steps so slow that a second request has nothing to gain."""
    cost = wide_costs(2)
    cost.steps = dict.fromkeys(cost.steps, 1000.0)
    return cost


async def local_answer(**changes: Any) -> list[bytes]:
    async with serving() as backend:
        events = await answer(backend, fake_draft(**changes))
        return [finished.image.data for finished in images_of(events)]


class TestRequests:
    async def test_a_request_gives_what_one_engine_gives(self) -> None:
        wanted: dict[str, Any] = {"num_images": 2, "seed": 7, "output_format": ImageFormat.WEBP}
        async with cluster(FakeModel()) as running:
            events = await answer(running.backend, fake_draft("x", **wanted))
        kinds = Counter(type(event) for event in events)
        assert kinds[FinishedImage] == 2
        assert kinds[Progress] >= 1
        done = events[-1]
        assert isinstance(done, Done)
        assert done.request_id == fake_draft("x").request_id
        assert done.params.seed == 7
        assert done.timings.total_ms >= done.timings.queued_ms > 0
        assert [one.image.data for one in images_of(events)] == await local_answer(
            prompt="x", **wanted
        )

    async def test_previews_stream_back(self) -> None:
        async with cluster(FakeModel()) as running:
            events = await answer(
                running.backend, fake_draft("x", preview_interval=1, num_inference_steps=4)
            )
        previews = [e.preview for e in events if isinstance(e, Progress) and e.preview]
        assert previews
        assert previews[0].data.startswith(b"\xff\xd8")

    async def test_two_requests_run_on_two_replicas(self) -> None:
        gates = Gate(), Gate()
        models = [FakeModel(gate=gate) for gate in gates]
        async with cluster(*models, costs=[wide_costs(), wide_costs()]) as running:
            first = asyncio.create_task(answer(running.backend, fake_draft("a", request_id="a")))
            second = asyncio.create_task(answer(running.backend, fake_draft("b", request_id="b")))
            await running.until(lambda: work_of(running) == [1, 1])
            for gate in gates:
                gate.open()
            await asyncio.gather(first, second)
            assert running.backend.status().counters.completed == 2
            assert_balanced(running.backend)

    async def test_the_faster_replica_is_chosen(self) -> None:
        slow, fast = wide_costs(), wide_costs()
        for cell in slow.steps:
            slow.steps[cell] *= 10
        async with cluster(FakeModel(), FakeModel(), costs=[slow, fast]) as running:
            for number in range(4):
                await answer(running.backend, fake_draft("x", request_id=f"r{number}"))
            assert work_of(running) == [0, 4]

    @pytest.mark.parametrize(
        ("changes", "error"),
        [
            ({"num_inference_steps": 0}, InvalidParams),
            ({"scheduler": "lcm", "num_inference_steps": 60}, InvalidParams),  # the model's check
            ({"model": "other"}, UnknownModel),
            ({"init_image": b"no picture"}, InvalidParams),
        ],
    )
    async def test_refusals_cost_no_replica_any_work(
        self, changes: dict[str, Any], error: type[Exception]
    ) -> None:
        model = FakeModel()
        async with cluster(model) as running:
            events = ask(running.backend, fake_draft("x", **changes))
            with pytest.raises(error):
                await first_event(events)
            assert model.batches == []
            status = running.backend.status()
            assert (status.counters.rejected, status.counters.failed, status.running) == (1, 0, 0)
            assert_balanced(running.backend)

    async def test_one_call_to_a_free_replica_and_an_examination_before_waiting(self) -> None:
        gate = Gate()
        async with cluster(FakeModel(gate=gate), costs=[one_at_a_time()]) as running:
            first = asyncio.create_task(answer(running.backend, fake_draft("x")))
            await running.until(lambda: work_of(running) == [1])
            assert running.handles[0].examined == 0
            wrong = fake_draft("x", request_id="r1", scheduler="lcm", num_inference_steps=60)
            with pytest.raises(InvalidParams):
                await answer(running.backend, wrong)
            assert running.handles[0].examined == 1
            assert work_of(running) == [1]
            gate.open()
            await first
            assert_balanced(running.backend)

    async def test_a_retry_joins_and_a_conflict_is_refused(self) -> None:
        gate = Gate()
        async with cluster(FakeModel(gate=gate)) as running:
            draft = fake_draft("x", request_id="mine")
            both = [asyncio.create_task(answer(running.backend, draft)) for _ in range(2)]
            await running.until(lambda: work_of(running) == [1])
            with pytest.raises(RequestConflict):
                await answer(running.backend, replace(draft, prompt="y"))
            gate.open()
            first, second = await asyncio.gather(*both)
            assert images_of(first) == images_of(second)
            assert work_of(running) == [1]
            assert_balanced(running.backend)

    async def test_leaving_frees_the_replica_before_its_next_step(self) -> None:
        gate = Gate()
        model = FakeModel(gate=gate)
        async with cluster(model) as running:
            events = ask(running.backend, fake_draft("x", num_inference_steps=50))
            await first_event(events)
            await asyncio.to_thread(gate.wait_arrived, 1)
            await events.aclose()
            await running.until(lambda: running.handles[0].aborted == 1)
            gate.open()
            await running.until(lambda: running.backend.status().running == 0)
            await answer(running.backend, fake_draft("next", request_id="next"))
            assert sum("x" in batch for batch in model.batches) <= 1
            assert running.backend.status().counters.cancelled == 1
            assert_balanced(running.backend)


class TestQueue:
    async def test_what_no_replica_can_take_waits_here_and_leaves_from_here(self) -> None:
        gate = Gate()
        narrow = one_at_a_time()
        async with cluster(FakeModel(gate=gate), costs=[narrow]) as running:
            drafts = [fake_draft("x", request_id=f"r{n}") for n in range(3)]
            first = asyncio.create_task(answer(running.backend, drafts[0]))
            await running.until(lambda: work_of(running) == [1])
            waiting = ask(running.backend, drafts[1])
            place = await first_event(waiting)
            assert isinstance(place, Queued)
            assert place.position == 0
            assert place.estimated_wait_ms > 0
            assert (running.backend.status().queued, running.backend.status().running) == (1, 1)
            await waiting.aclose()
            assert running.backend.status().queued == 0
            gate.open()
            await first
            assert work_of(running) == [1]
            assert_balanced(running.backend)

    async def test_a_full_queue_refuses(self) -> None:
        gate = Gate()
        narrow = one_at_a_time()
        async with cluster(FakeModel(gate=gate), costs=[narrow], max_queue=1) as running:
            tasks = [
                asyncio.create_task(answer(running.backend, fake_draft("x", request_id=f"r{n}")))
                for n in range(2)
            ]
            await running.until(lambda: running.backend.status().queued == 1)
            with pytest.raises(QueueFull) as caught:
                await answer(running.backend, fake_draft("x", request_id="late"))
            assert caught.value.retry_after_s
            gate.open()
            await asyncio.gather(*tasks)
            assert_balanced(running.backend)

    async def test_a_deadline_that_can_not_be_met_is_refused_at_once(self) -> None:
        async with cluster(FakeModel(), costs=[wide_costs()]) as running:
            with pytest.raises(DeadlineUnmeetable):
                await answer(running.backend, fake_draft("x"), deadline_s=0.004)
            assert work_of(running) == [0]
            assert_balanced(running.backend)


class TestLosses:
    async def test_a_dead_replicas_request_is_drawn_by_another_and_the_same(self) -> None:
        gate = Gate()
        models = [FakeModel(gate=gate), FakeModel()]
        async with cluster(*models) as running:
            drawing = asyncio.create_task(answer(running.backend, fake_draft("x", num_images=2)))
            await running.until(lambda: sum(work_of(running)) == 1)
            (busy,) = [handle for handle in running.handles if handle.given]
            assert busy.model is models[0]
            await asyncio.to_thread(gate.wait_arrived, 1)
            busy.die()
            events = await drawing
            assert sorted(one.index for one in images_of(events)) == [0, 1]
            assert [one.image.data for one in images_of(events)] == await local_answer(
                prompt="x", num_images=2
            )
            await running.until(lambda: len(running.backend.status().replicas) == 2)
            assert busy.killed
            assert running.backend.status().counters.completed == 1
            assert_balanced(running.backend)

    async def test_pictures_that_came_before_the_loss_come_once(self) -> None:
        first, second = FakeModel(), FakeModel()
        async with cluster(first, second) as running:
            draft = fake_draft("x", num_images=3, seed=5)
            events = ask(running.backend, draft)
            seen = []
            async with asyncio.timeout(20):
                async for event in events:
                    seen.append(event)
                    busy = [handle for handle in running.handles if handle.given]
                    if isinstance(event, FinishedImage) and len(busy) == 1:
                        busy[0].die()
        assert sorted(one.index for one in images_of(seen)) == [0, 1, 2]

    async def test_a_silent_replica_is_bounded(self) -> None:
        async with cluster(FakeModel(), FakeModel(), replica_timeout_s=0.3) as running:
            for handle in running.handles[:1]:
                handle.is_silent = True
            async with asyncio.timeout(20):
                for number in range(4):
                    await answer(running.backend, fake_draft("x", request_id=f"r{number}"))
            await running.until(lambda: running.handles[0].killed)
            await running.until(lambda: len(running.backend.status().replicas) == 2)
            assert running.backend.status().counters.completed == 4
            assert_balanced(running.backend)

    async def test_a_request_that_ends_every_replica_is_given_up(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(fleet, "REPLACE_AFTER_S", (0.0,))
        async with cluster(*(FakeModel(gate=Gate()) for _ in range(4)), replicas=1) as running:
            drawing = asyncio.create_task(answer(running.backend, fake_draft("poison")))
            for number in range(3):
                await running.until(lambda n=number: len(work_of(running)) == n + 1)
                await running.until(lambda n=number: work_of(running)[n] == 1)
                running.handles[number].die()
            with pytest.raises(GenerationFailed):
                await drawing
            assert running.backend.status().counters.failed == 1
            assert_balanced(running.backend)

    async def test_a_failed_model_is_told_and_not_started_again(self) -> None:
        async with cluster(FakeModel(fails_in={"x": "step"})) as running:
            with pytest.raises(GenerationFailed):
                await answer(running.backend, fake_draft("x"))
            assert len(running.handles) == 1
            assert_balanced(running.backend)


class TestLife:
    async def test_a_drain_refuses_and_finishes(self) -> None:
        gate = Gate()
        async with cluster(FakeModel(gate=gate)) as running:
            drawing = asyncio.create_task(answer(running.backend, fake_draft("x")))
            await running.until(lambda: work_of(running) == [1])
            running.backend.drain()
            assert not running.backend.is_ready
            with pytest.raises(Draining):
                await answer(running.backend, fake_draft("y", request_id="y"))
            gate.open()
            assert images_of(await drawing)

    async def test_a_new_front_takes_over_the_replicas_of_the_old_one(self) -> None:
        async with cluster(FakeModel()) as old:
            handle: FakeHandle = old.handles[0]
            async with cluster(living=[handle]) as new:
                assert new.handles == []
                await answer(new.backend, fake_draft("x"))
                assert len(set(handle.fronts)) == 2

    async def test_a_cluster_that_can_not_be_reached_is_told(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def fail(_: object) -> None:
            raise ModelFailed("The Ray cluster can't be used: no answer.")

        monkeypatch.setattr("tests.support.replicas.FakeLauncher.connect", fail)
        from backend.cluster.backend import RayBackend
        from tests.support.fakes import settings
        from tests.support.replicas import FakeLauncher

        backend = RayBackend(settings(), FakeLauncher(settings(), []), "1.0")
        await backend.start()
        assert backend.status().state is State.FAILED
        with pytest.raises(ModelFailed, match="no answer"):
            await answer(backend, fake_draft("x"))
        await backend.stop()

    async def test_scaling_out_by_queue_time_and_in_when_idle(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(fleet, "SCALE_EVERY_S", 0.02)
        monkeypatch.setattr(fleet, "REPORT_EVERY_S", 0.02)
        monkeypatch.setattr("backend.cluster.autoscaler.PATIENCE_S", 0.05)
        gate, narrow = Gate(), one_at_a_time()
        async with cluster(
            FakeModel(gate=gate), costs=[narrow], max_replicas=2, scale_up_s=0.001, scale_down_s=0.2
        ) as running:
            tasks = [
                asyncio.create_task(answer(running.backend, fake_draft("x", request_id=f"r{n}")))
                for n in range(4)
            ]
            await running.until(lambda: len(running.backend.status().replicas) == 2)
            gate.open()
            await asyncio.gather(*tasks)
            await running.until(lambda: len(running.backend.status().replicas) == 1)
            await running.until(lambda: sum(handle.left for handle in running.handles) == 1)
            await answer(running.backend, fake_draft("x", request_id="after"))
            assert_balanced(running.backend)

    async def test_the_status_adds_up_and_lists_the_replicas(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(fleet, "REPORT_EVERY_S", 0.02)
        gate = Gate()
        models = FakeModel(gate=gate), FakeModel()
        slow = wide_costs()
        slow.steps = {cell: 10 * ms for cell, ms in slow.steps.items()}
        async with cluster(*models, costs=[wide_costs(), slow]) as running:
            drawing = asyncio.create_task(answer(running.backend, fake_draft("x")))
            await running.until(lambda: work_of(running) == [1, 0])
            status = running.backend.status()
            assert [one.name for one in status.replicas] == ["replica-0", "replica-1"]
            assert [one.running for one in status.replicas] == [1, 0]
            assert status.running == 1
            for one in status.replicas:
                assert (one.state, one.device) == (State.READY, "cpu")
                assert one.host == socket.gethostname()
            own = running.backend._resources.read().process_memory_bytes
            of_replicas = [one.process_memory_bytes for one in status.replicas]
            assert min(of_replicas) > 2**20
            assert status.resources.process_memory_bytes == own + sum(of_replicas)
            assert status.models[0].name == "fake"
            assert "2 of 2 replicas" in status.message
            gate.open()
            await drawing
            await running.until(lambda: num_steps(running) == 3)
            assert [one.running for one in running.backend.status().replicas] == [0, 0]

    async def test_steps_of_lost_replicas_stay_counted_in_one_histogram_each(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(fleet, "REPORT_EVERY_S", 0.02)
        async with cluster(FakeModel()) as running:
            for number in range(2):
                await answer(running.backend, fake_draft("x", request_id=f"r{number}"))
                await running.until(lambda n=number: num_steps(running) == 3 * (n + 1))
                running.handles[-1].die()
                await running.until(lambda n=number: len(running.handles) == n + 2)
                await running.until(lambda: running.backend.is_ready)
            gone = [histogram.name for histogram in running.backend.fleet.gone]
            assert len(gone) == len(set(gone)) > 0
            assert num_steps(running) == 6


def num_steps(running: Cluster) -> int:
    histograms = running.backend.status().histograms
    return sum(sum(one.counts) for one in histograms if one.name == "step_seconds")
