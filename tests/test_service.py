"""The whole service with a real, small diffusion model: every rpc, over the wire."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from PIL import Image

from backend.model.pipeline import LatentDiffusion
from proto import text2image_pb2 as pb
from tests.support.fakes import FakeModel
from tests.support.served import ask, served, until
from tests.support.watched import LONG, picture, pixels_of, serving, story


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
            assert (told.limits.size_multiple, told.limits.max_num_images) == (8, 10)
            assert told.queue.capacity == 64
            assert (told.counters.received, told.counters.completed) == (1, 1)
            assert told.latency.p50_ms > 0
            assert told.resources.process_memory_bytes > 10_000_000
            assert told.uptime_s > 0

    async def test_never_waits_for_the_model(self, tiny_diffusion: LatentDiffusion) -> None:
        async with serving(tiny_diffusion) as (running, watched):
            call = running.stub.StreamGenerateImage(ask("long", **LONG))
            await until(lambda: watched.steps > 3)
            for _ in range(20):
                told = await running.stub.GetStatus(pb.GetStatusRequest(), timeout=2)
            assert (told.queue.queued, told.queue.running) == (0, 1)
            call.cancel()
