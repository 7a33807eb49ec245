"""The whole service with a real, small diffusion model: every rpc, over the wire."""

from __future__ import annotations

import asyncio
import io
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from backend.domain import GenerationParams
from backend.engine.cost import CostModel
from backend.engine.loading import Loaded, OnProgress
from backend.engine.protocols import Picture, Pixels
from backend.model.pipeline import LatentDiffusion
from proto import text2image_pb2 as pb
from tests.fakes import FakeModel
from tests.served import Served, ask, served, until

ROOT = Path(__file__).parent.parent


class Watched:
    """A model that counts what is asked of it."""

    def __init__(self, model: LatentDiffusion) -> None:
        self.model = model
        self.info = model.info
        self.exactness = model.exactness
        self.steps = 0

    def check(self, params: GenerationParams) -> None:
        self.model.check(params)

    def prepare(self, params: GenerationParams, index: int) -> Any:
        return self.model.prepare(params, index)

    def denoise_step(self, trajectories: Sequence[Any]) -> list[Exception | None]:
        self.steps += 1
        return self.model.denoise_step(trajectories)

    def decode(self, trajectory: Any) -> Picture:
        return self.model.decode(trajectory)

    def preview(self, trajectory: Any) -> Pixels:
        return self.model.preview(trajectory)


@asynccontextmanager
async def serving(model: LatentDiffusion, **changes: Any) -> AsyncIterator[tuple[Served, Watched]]:
    watched = Watched(model)

    def load(on_progress: OnProgress) -> Loaded:
        return Loaded(watched, CostModel())

    async with served(load=load, max_steps=1000, **changes) as running:
        yield running, watched


def pixels_of(image: pb.Image) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(image.data)))


async def picture(running: Served, prompt: str = "a red apple", **changes: Any) -> pb.Image:
    answer = await running.stub.GenerateImage(ask(prompt, **changes), timeout=60)
    image: pb.Image
    (image,) = answer.images
    return image


async def story(running: Served, request: pb.GenerateImageRequest) -> list[pb.GenerateImageEvent]:
    call = running.stub.StreamGenerateImage(request, timeout=60)
    return [event async for event in call]


class TestGenerateImage:
    async def test_a_prompt_becomes_a_picture(self, tiny_diffusion: LatentDiffusion) -> None:
        async with serving(tiny_diffusion) as (running, _):
            answer = await running.stub.GenerateImage(ask("a red cat", seed=7), timeout=60)
            (image,) = answer.images
            assert (image.mime_type, image.seed, image.nsfw_detected) == ("image/png", 7, False)
            assert (image.width, image.height) == (64, 64)
            pixels = pixels_of(image)
            assert pixels.shape == (64, 64, 3)
            assert pixels.std() > 1

    async def test_the_answer_says_what_was_used(self, tiny_diffusion: LatentDiffusion) -> None:
        async with serving(tiny_diffusion) as (running, _):
            request = pb.GenerateImageRequest(prompt="  a red cat ", num_inference_steps=2)
            info = (await running.stub.GenerateImage(request, timeout=60)).info
            used = info.request
            assert (used.prompt, used.height, used.width) == ("a red cat", 64, 64)
            assert (used.guidance_scale, used.num_images) == (7.5, 1)
            assert used.scheduler == "pndm"
            assert used.seed < 2**32
            assert info.request_id
            assert info.request_id == used.request_id
            assert (info.device, info.dtype) == ("cpu", "float32")
            assert info.model == running.backend.status().models[0].name
            assert info.exactness == pb.EXACTNESS_CERTIFIED
            timings = info.timings
            parts = timings.queued_ms + timings.encode_ms + timings.denoise_ms + timings.decode_ms
            assert 0 < parts <= timings.total_ms + 1

    async def test_and_makes_the_same_again(self, tiny_diffusion: LatentDiffusion) -> None:
        async with serving(tiny_diffusion) as (running, _):
            request = pb.GenerateImageRequest(prompt="a red cat", num_inference_steps=2)
            first = await running.stub.GenerateImage(request, timeout=60)
            again = first.info.request
            again.request_id = ""
            second = await running.stub.GenerateImage(again, timeout=60)
            assert second.images == first.images

    async def test_the_default_steps_are_fifty(self, tiny_diffusion: LatentDiffusion) -> None:
        async with serving(tiny_diffusion) as (running, watched):
            request = pb.GenerateImageRequest(prompt="a cat", scheduler="ddim")
            answer = await running.stub.GenerateImage(request, timeout=60)
            assert answer.info.request.num_inference_steps == 50
            assert watched.steps == 50

    async def test_every_field_changes_the_picture(self, tiny_diffusion: LatentDiffusion) -> None:
        async with serving(tiny_diffusion) as (running, _):
            base = (await picture(running)).data
            changed: list[dict[str, Any]] = [
                {"negative_prompt": "blurry"},
                {"seed": 2},
                {"seed": 0},
                {"guidance_scale": 3.0},
                {"guidance_scale": 0.0},
                {"num_inference_steps": 4},
                {"scheduler": "euler"},
            ]
            data = [(await picture(running, **change)).data for change in changed]
            assert len({base, (await picture(running, "a cat")).data, *data}) == len(changed) + 2
            assert (await picture(running)).data == base

    async def test_seeds(self, tiny_diffusion: LatentDiffusion) -> None:
        async with serving(tiny_diffusion) as (running, _):
            assert (await picture(running, seed=0)).seed == 0
            drawn = [(await picture(running, seed=-1)).seed for _ in range(3)]
            unset = pb.GenerateImageRequest(prompt="x", num_inference_steps=1)
            answer = await running.stub.GenerateImage(unset, timeout=60)
            drawn.append(answer.images[0].seed)
            assert len(set(drawn)) == 4
            assert all(0 <= seed < 2**32 for seed in drawn)

    async def test_sizes_that_are_not_square(self, tiny_diffusion: LatentDiffusion) -> None:
        async with serving(tiny_diffusion) as (running, _):
            image = await picture(running, height=64, width=128)
            assert (image.height, image.width) == (64, 128)
            assert pixels_of(image).shape == (64, 128, 3)

    async def test_image_i_of_several_is_the_one_of_seed_plus_i(
        self, tiny_diffusion: LatentDiffusion
    ) -> None:
        async with serving(tiny_diffusion) as (running, _):
            request = ask("a cat", num_images=3, seed=5)
            together = (await running.stub.GenerateImage(request, timeout=60)).images
            assert [image.seed for image in together] == [5, 6, 7]
            for image in together:
                alone = await picture(running, "a cat", seed=image.seed)
                assert alone.data == image.data

    @pytest.mark.parametrize(
        ("output_format", "name"),
        [(pb.IMAGE_FORMAT_PNG, "PNG"), (pb.IMAGE_FORMAT_JPEG, "JPEG"),
         (pb.IMAGE_FORMAT_WEBP, "WEBP"), (pb.IMAGE_FORMAT_UNSPECIFIED, "PNG")],
    )  # fmt: skip
    async def test_formats(
        self, tiny_diffusion: LatentDiffusion, output_format: int, name: str
    ) -> None:
        async with serving(tiny_diffusion) as (running, _):
            image = await picture(running, output_format=output_format)
            assert image.mime_type == f"image/{name.lower()}"
            assert Image.open(io.BytesIO(image.data)).format == name

    async def test_the_file_tells_its_story(self, tiny_diffusion: LatentDiffusion) -> None:
        async with serving(tiny_diffusion) as (running, _):
            image = await picture(running, "Füchse, 🦊", seed=9)
            told = json.loads(Image.open(io.BytesIO(image.data)).info["text2image"])
            assert (told["prompt"], told["seed"]) == ("Füchse, 🦊", 9)
            assert told["model_revision"] == tiny_diffusion.info.revision

    async def test_every_scheduler_that_is_offered_draws(
        self, tiny_diffusion: LatentDiffusion
    ) -> None:
        async with serving(tiny_diffusion) as (running, _):
            status = await running.stub.GetStatus(pb.GetStatusRequest(), timeout=15)
            assert set(status.schedulers) >= {"pndm", "ddim", "euler", "unipc", "heun", "lcm"}
            drawn = {
                name: (await picture(running, scheduler=name, num_inference_steps=4)).data
                for name in status.schedulers
            }
            assert len(set(drawn.values())) == len(drawn)

    async def test_what_the_safety_checker_withholds_is_no_error(self) -> None:
        async with served(FakeModel(nsfw=frozenset({"naked"}))) as running:
            image = await picture(running, "naked")
            assert image.nsfw_detected
            assert image.data == b""


class TestStream:
    async def test_the_story_comes_in_order(self, tiny_diffusion: LatentDiffusion) -> None:
        async with serving(tiny_diffusion) as (running, _):
            events = await story(running, ask("a cat", num_images=2, request_id="mine"))
            kinds = [event.WhichOneof("event") for event in events]
            assert kinds[0] == "queued"
            assert kinds[-1] == "done"
            assert kinds.count("image") == 2
            steps = [e.progress.step for e in events if e.WhichOneof("event") == "progress"]
            assert steps == sorted(steps)
            assert {event.request_id for event in events} == {"mine"}

    async def test_and_ends_with_the_same_pictures_as_the_plain_call(
        self, tiny_diffusion: LatentDiffusion
    ) -> None:
        async with serving(tiny_diffusion) as (running, _):
            request = ask("a cat", num_images=2)
            events = await story(running, request)
            plain = (await running.stub.GenerateImage(request, timeout=60)).images
            images = {e.image.index: e.image.image for e in events if e.HasField("image")}
            assert [images[0], images[1]] == list(plain)

    async def test_previews_are_small_pictures_every_n_steps(
        self, tiny_diffusion: LatentDiffusion
    ) -> None:
        async with serving(tiny_diffusion) as (running, _):
            request = ask("a cat", num_inference_steps=40, preview_interval=10, scheduler="ddim")
            events = await story(running, request)
            previews = [
                event.progress.preview
                for event in events
                if event.WhichOneof("event") == "progress" and event.progress.HasField("preview")
            ]
            assert 1 <= len(previews) <= 3
            for preview in previews:
                assert preview.mime_type == "image/jpeg"
                assert max(pixels_of(preview).shape[:2]) <= 64

    async def test_none_come_unasked(self, tiny_diffusion: LatentDiffusion) -> None:
        async with serving(tiny_diffusion) as (running, _):
            events = await story(running, ask("a cat"))
            assert not any(event.progress.HasField("preview") for event in events)


class TestLeaving:
    """Whoever leaves frees the model within one step."""

    LONG: dict[str, Any] = {"num_inference_steps": 900, "scheduler": "ddim"}

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
            call = getattr(running.stub, method)(ask("long", **self.LONG))
            reading = asyncio.ensure_future(consume(call))
            await until(lambda: watched.steps > 3)
            call.cancel()
            with pytest.raises((asyncio.CancelledError, grpc.aio.AioRpcError)):
                await reading
            await self.assert_freed(running, watched)

    @pytest.mark.parametrize("method", ["GenerateImage", "StreamGenerateImage"])
    async def test_by_deadline(self, tiny_diffusion: LatentDiffusion, method: str) -> None:
        async with serving(tiny_diffusion) as (running, watched):
            call = getattr(running.stub, method)(ask("long", **self.LONG), timeout=0.5)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await consume(call)
            assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            await self.assert_freed(running, watched)

    async def test_without_ever_reading(self, tiny_diffusion: LatentDiffusion) -> None:
        async with serving(tiny_diffusion) as (running, watched):
            request = ask("long", preview_interval=1, **self.LONG)
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


class TestGetStatus:
    async def test_tells_all_that_a_client_builds_its_controls_from(
        self, tiny_diffusion: LatentDiffusion
    ) -> None:
        async with serving(tiny_diffusion) as (running, _):
            await picture(running)
            told = await running.stub.GetStatus(pb.GetStatusRequest(), timeout=15)
            assert told.state == pb.GetStatusResponse.STATE_READY
            assert told.message.startswith("Serving ")
            (model,) = told.models
            assert (model.native_height, model.native_width) == (64, 64)
            assert model.num_parameters == tiny_diffusion.info.num_parameters > 10_000
            assert model.default_scheduler == "pndm"
            assert model.default_scheduler in told.schedulers
            assert (told.limits.size_multiple, told.limits.max_num_images) == (8, 8)
            assert told.queue.capacity == 64
            assert (told.counters.received, told.counters.completed) == (1, 1)
            assert told.latency.p50_ms > 0
            assert told.resources.process_memory_bytes > 10_000_000
            assert told.uptime_s > 0

    async def test_never_waits_for_the_model(self, tiny_diffusion: LatentDiffusion) -> None:
        async with serving(tiny_diffusion) as (running, watched):
            call = running.stub.StreamGenerateImage(ask("long", **TestLeaving.LONG))
            await until(lambda: watched.steps > 3)
            for _ in range(20):
                told = await running.stub.GetStatus(pb.GetStatusRequest(), timeout=2)
            assert (told.queue.queued, told.queue.running) == (0, 1)
            call.cancel()
