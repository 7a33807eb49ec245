"""Overload: all callers are answered at once, and none crowds out the others."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2

from backend.transport.rpc.errors import PUSHBACK
from proto import text2image_pb2 as pb
from tests.support.fakes import FakeModel, Gate, loads, wide_costs
from tests.support.served import (
    Served,
    ask,
    detail,
    open_channel,
    reason_of,
    served,
    trailing,
    until,
)

CALLS = 500
PLACES = 20


async def outcome(call: Any) -> Any:
    """The answer, or the error."""
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        return error


@pytest.mark.alone
async def test_five_hundred_at_once_are_all_answered() -> None:
    gate = Gate()
    model = FakeModel(gate=gate)
    async with served(model, loads(model, wide_costs(max_rows=2)), max_queue=PLACES) as running:
        first = asyncio.ensure_future(outcome(running.stub.GenerateImage(ask("first"))))
        await asyncio.to_thread(gate.wait_arrived, 1)
        calls = [
            asyncio.ensure_future(outcome(running.stub.GenerateImage(ask(f"p{n}"), timeout=120)))
            for n in range(CALLS)
        ]
        # the model is in a step all the while
        await until(lambda: sum(call.done() for call in calls) == CALLS - PLACES)
        await assert_well(running)
        gate.open()
        answers = [await first, *await asyncio.gather(*calls)]
        assert_all_or_told(answers)
        counters = await running.counters()
        assert (counters.completed, counters.rejected) == (1 + PLACES, CALLS - PLACES)


async def assert_well(running: Served) -> None:
    assert await running.health_of() == health_pb2.HealthCheckResponse.SERVING
    told = await running.stub.GetStatus(pb.GetStatusRequest(), timeout=5)
    assert (told.queue.queued, told.queue.running) == (PLACES, 1)


def assert_all_or_told(answers: list[Any]) -> None:
    refused = [answer for answer in answers if isinstance(answer, grpc.aio.AioRpcError)]
    assert len(answers) - len(refused) == 1 + PLACES
    for error in refused:
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert reason_of(error) == "QUEUE_FULL"
        delay_ms = detail(error, error_details_pb2.RetryInfo).retry_delay.ToMilliseconds()
        assert delay_ms > 0
        assert trailing(error)[PUSHBACK] == str(delay_ms)


async def test_a_polite_client_is_not_crowded_out_by_a_greedy_one() -> None:
    gate = Gate()
    model = FakeModel(gate=gate)
    async with served(model, loads(model, wide_costs(max_rows=2))) as running:

        async def picture(client: str, number: int) -> None:
            metadata = (("x-text2image-client", client),)
            request = ask(f"{client} {number}", num_inference_steps=10)
            await running.stub.GenerateImage(request, metadata=metadata, timeout=60)
            finished.append(client)

        finished: list[str] = []
        greedy = [asyncio.ensure_future(picture("greedy", n)) for n in range(40)]
        await until(lambda: running.backend.status().queued == 39)
        polite = [asyncio.ensure_future(picture("polite", n)) for n in range(4)]
        await until(lambda: running.backend.status().queued == 43)
        gate.open()
        await asyncio.gather(*greedy, *polite)
        last_polite = max(place for place, client in enumerate(finished) if client == "polite")
        assert last_polite < 22, Counter(finished[: last_polite + 1])


@pytest.mark.parametrize("method", ["GenerateImage", "StreamGenerateImage"])
async def test_callers_who_leave_the_queue_make_room(method: str) -> None:
    gate = Gate()
    async with served(FakeModel(gate=gate), max_queue=1) as running:
        first = asyncio.ensure_future(outcome(running.stub.GenerateImage(ask("first"))))
        await asyncio.to_thread(gate.wait_arrived, 1)
        async with open_channel(running.address) as channel:
            leaving = getattr(Served(running.server, running.backend, 0, channel, running.model)
                              .stub, method)(ask("leaving"))  # fmt: skip
            await until(lambda: running.backend.status().queued == 1)
            leaving.cancel()
            await until(lambda: running.backend.status().queued == 0)
        gate.open()
        await running.stub.GenerateImage(ask("next"), timeout=20)
        await first
        assert (await running.counters()).cancelled == 1
