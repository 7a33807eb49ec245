"""Stable Diffusion 1.4's true architecture through the real loader, compared with diffusers."""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from backend.config import Settings
from backend.engine.protocols import Picture
from backend.model.loader import load_model
from backend.model.pipeline import LatentDiffusion
from backend.params import GenerationParams
from tests.sd14.build import NUM_PARAMETERS, build_sd14, build_single_file, published_pipeline
from tests.support.tiny_sd import finish

pytestmark = [pytest.mark.sd14, pytest.mark.timeout(3600)]

PROMPT = "a photo of an astronaut riding a horse on mars"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that is emptied at the end: there are gigabytes in it."""
    folder = tmp_path_factory.mktemp("sd14")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def half_folder(place: Path) -> Path:
    return build_sd14(place / "stable-diffusion-half", variant="fp16")


def params(size: int, steps: int) -> GenerationParams:
    return GenerationParams(
        prompt=PROMPT,
        negative_prompt="blurry",
        height=size,
        width=size,
        guidance_scale=7.5,
        num_inference_steps=steps,
        seed=42,
        scheduler="pndm",
        model="stable-diffusion",
    )


def load(path: Path, **settings: Any) -> LatentDiffusion:
    # One thread: two would wait for each other wherever something else is running.
    chosen = Settings(model=str(path), runtime="torch", num_threads=1, **settings)
    return load_model(chosen, print)


def draw(model: LatentDiffusion, request: GenerationParams) -> tuple[torch.Tensor, Picture]:
    trajectory = model.prepare(request, 0)
    finish(model, trajectory)
    return trajectory.latents, model.decode(trajectory)


def draw_published(pipeline: Any, request: GenerationParams) -> tuple[torch.Tensor, Any, Any]:
    """Latents, pixels and the safety checker's word of diffusers' pipeline."""
    seen: dict[str, torch.Tensor] = {}

    def watch(_pipeline: Any, _step: int, _timestep: Any, state: Any) -> Any:
        seen["latents"] = state["latents"]
        return state

    output = pipeline(
        request.prompt,
        negative_prompt=request.negative_prompt,
        height=request.height,
        width=request.width,
        guidance_scale=request.guidance_scale,
        num_inference_steps=request.num_inference_steps,
        generator=torch.Generator("cpu").manual_seed(request.seed),
        callback_on_step_end=watch,
    )
    return seen["latents"], np.asarray(output.images[0]), output.nsfw_content_detected[0]


def median_s(act: Callable[[], object], times: int = 3) -> float:
    found = []
    for _ in range(times):
        start = time.perf_counter()
        act()
        found.append(time.perf_counter() - start)
    return statistics.median(found)


def test_the_folder_draws_what_diffusers_draws(place: Path) -> None:
    folder = build_sd14(place / "stable-diffusion")
    try:
        model = load(folder, device="cpu", dtype="bfloat16")
        assert model.info.num_parameters == sum(NUM_PARAMETERS.values())
        assert (model.info.native_height, model.info.default_scheduler) == (512, "pndm")
        assert model.components.safety_checker is not None
        latents, picture = draw(model, params(256, 4))
        preview_stays_cheap(model)
        del model
        pipeline = published_pipeline(folder, torch.bfloat16)
        expected, pixels, flagged = draw_published(pipeline, params(256, 4))
    finally:
        shutil.rmtree(folder)
    assert torch.equal(latents, expected)
    assert picture.nsfw_detected == flagged
    assert np.array_equal(picture.pixels, pixels)
    assert picture.pixels.std() > 1


def preview_stays_cheap(model: LatentDiffusion) -> None:
    """At most 2 % of a step."""
    trajectory = model.prepare(params(256, 10), 0)
    step_s = median_s(lambda: model.denoise_step([trajectory]))
    preview_s = median_s(lambda: model.preview(trajectory), times=9)
    print(f"a step takes {step_s:.3f} s, a preview {preview_s * 1000:.2f} ms")
    assert model.preview(trajectory).shape == (32, 32, 3)
    assert preview_s < 0.02 * step_s


def test_half_precision_and_single_file_draw_the_same(place: Path, half_folder: Path) -> None:
    request = params(256, 2)
    from_folder = load(half_folder, device="cpu", dtype="bfloat16")
    latents, picture = draw(from_folder, request)
    del from_folder
    pipeline = published_pipeline(half_folder, torch.bfloat16, variant="fp16")
    expected, pixels, _ = draw_published(pipeline, request)
    del pipeline
    assert torch.equal(latents, expected)
    assert np.array_equal(picture.pixels, pixels)
    path = build_single_file(half_folder, place / "stable-diffusion.safetensors")
    from_file = load(path, device="cpu", dtype="bfloat16")
    assert from_file.info.name == "stable-diffusion"
    assert from_file.info.num_parameters == sum(NUM_PARAMETERS.values())
    assert from_file.components.safety_checker is None
    latents, picture = draw(from_file, request)
    assert torch.equal(latents, expected)
    assert np.array_equal(picture.pixels, pixels)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_draws_what_diffusers_draws_in_half_precision(half_folder: Path) -> None:
    model = load(half_folder, device="cuda")
    assert model.info.dtype == "float16"
    latents, picture = draw(model, params(512, 4))
    del model
    pipeline = published_pipeline(half_folder, torch.float16, variant="fp16").to("cuda")
    expected, pixels, flagged = draw_published(pipeline, params(512, 4))
    assert (latents - expected).float().norm() <= 1e-2 * expected.float().norm()
    assert picture.nsfw_detected == flagged
    assert np.abs(picture.pixels.astype(int) - pixels.astype(int)).mean() <= 1
