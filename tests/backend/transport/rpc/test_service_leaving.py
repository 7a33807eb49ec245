"""A client that disconnects frees the model; over the wire, with a real, small model."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest

from backend.model.pipeline import LatentDiffusion
from tests.support.served import Served, ask, until
from tests.support.watched import LONG, Watched, picture, serving

ROOT = Path(__file__).parent.parent.parent.parent.parent


class TestLeaving:
    """Whoever leaves frees the model within one step."""

    async def assert_freed(self, running: Served, watched: Watched) -> None:
        await until(lambda: running.backend.status().running == 0)
        steps = watched.steps
        await picture(running, "the next", num_inference_steps=2, scheduler="ddim")
        assert watched.steps - steps <= 1 + 2
        counters = await running.counters()
        assert (counters.cancelled, counters.completed) == (1, 1)

    @pytest.mark.parametrize("method", ["GenerateImage", "StreamGenerateImage"])
    async def test_by_cancelling(self, tiny_diffusion: LatentDiffusion, method: str) -> None:
        async with serving(tiny_diffusion) as (running, watched):
            call = getattr(running.stub, method)(ask("long", **LONG))
            reading = asyncio.ensure_future(consume(call))
            await until(lambda: watched.steps > 3)
            call.cancel()
            with pytest.raises((asyncio.CancelledError, grpc.aio.AioRpcError)):
                await reading
            await self.assert_freed(running, watched)

    @pytest.mark.parametrize("method", ["GenerateImage", "StreamGenerateImage"])
    async def test_by_deadline(self, tiny_diffusion: LatentDiffusion, method: str) -> None:
        async with serving(tiny_diffusion) as (running, watched):
            call = getattr(running.stub, method)(ask("long", **LONG), timeout=0.5)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await consume(call)
            assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            await self.assert_freed(running, watched)

    async def test_without_ever_reading(self, tiny_diffusion: LatentDiffusion) -> None:
        async with serving(tiny_diffusion) as (running, watched):
            request = ask("long", preview_interval=1, **LONG)
            call = running.stub.StreamGenerateImage(request)
            await until(lambda: watched.steps > 20)
            call.cancel()
            await self.assert_freed(running, watched)

    async def test_by_dying(self, tiny_diffusion: LatentDiffusion) -> None:
        async with serving(tiny_diffusion) as (running, watched):
            script = (
                "from client import Text2ImageClient\n"
                f"Text2ImageClient('{running.address}')"
                ".generate('long', num_inference_steps=900, scheduler='ddim')"
            )
            client = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT)
            await until(lambda: watched.steps > 3, timeout_s=30)
            client.kill()
            await self.assert_freed(running, watched)
            client.wait()

    async def test_of_two_who_share_a_request_the_first_leaving_stops_nothing(
        self, tiny_diffusion: LatentDiffusion
    ) -> None:
        async with serving(tiny_diffusion) as (running, watched):
            request = ask("long", request_id="mine", num_inference_steps=100, scheduler="ddim")
            first = running.stub.GenerateImage(request)
            await until(lambda: watched.steps > 3)
            second = asyncio.ensure_future(consume(running.stub.GenerateImage(request)))
            await asyncio.sleep(0.1)
            first.cancel()
            (answer,) = await second
            assert len(answer.images) == 1
            assert watched.steps == 100


async def consume(call: Any) -> list[Any]:
    """All that a call answers, unary or stream."""
    if hasattr(call, "__aiter__"):
        return [event async for event in call]
    return [await call]
