"""diffusers' own pipeline beside ours, on the same files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from diffusers import StableDiffusionPipeline

from backend.engine.protocols import Pixels
from backend.model.noise_schedulers import RECIPES
from backend.params import GenerationParams
from tests.support.tiny_sd import finish, load_tiny

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class Pair:
    """A folder in our hands and in those of diffusers, each with a copy of its own."""

    def __init__(self, folder: Path, dtype: str) -> None:
        self.model = load_tiny(folder, dtype=dtype)
        self._pipeline = StableDiffusionPipeline.from_pretrained(
            folder, dtype=DTYPES[dtype], local_files_only=True
        )
        for network in (self._pipeline.unet, self._pipeline.vae):  # bfloat16 sums by layout
            network.to(memory_format=torch.channels_last)
        self._pipeline.set_progress_bar_config(disable=True)
        self._config = self._pipeline.scheduler.config

    def oracle(self, params: GenerationParams) -> tuple[torch.Tensor, Pixels]:
        """Latents and pixels of diffusers' own pipeline."""
        recipe = RECIPES[params.scheduler]
        noise_scheduler = getattr(diffusers, recipe.class_name)
        self._pipeline.scheduler = noise_scheduler.from_config(self._config, **recipe.settings)
        seen: dict[str, torch.Tensor] = {}

        def watch(_pipeline: Any, _step: int, _timestep: Any, state: Any) -> Any:
            seen["latents"] = state["latents"]
            return state

        images = self._pipeline(
            params.prompt,
            negative_prompt=params.negative_prompt,
            height=params.height,
            width=params.width,
            guidance_scale=params.guidance_scale,
            num_inference_steps=params.num_inference_steps,
            eta=0.3 if params.scheduler == "tcd" else 0.0,  # the pipeline passes 0 over its default
            generator=torch.Generator("cpu").manual_seed(params.seed),
            output_type="pil",
            callback_on_step_end=watch,
        ).images
        return seen["latents"], np.asarray(images[0])


def assert_same(pair: Pair, params: GenerationParams) -> None:
    """Ours equals diffusers': bitwise in bfloat16, to the last bits in float32."""
    latents, pixels = pair.oracle(params)
    trajectory = pair.model.prepare(params, 0)
    finish(pair.model, trajectory)
    picture = pair.model.decode(trajectory)
    assert picture.pixels.shape == (params.height, params.width, 3)
    assert picture.pixels.std() > 1, "a uniform picture would prove nothing"
    if latents.dtype == torch.bfloat16:
        assert torch.equal(trajectory.latents, latents)
        assert np.array_equal(picture.pixels, pixels)
        return
    assert (trajectory.latents - latents).norm() <= 1e-4 * latents.norm()
    assert np.abs(picture.pixels.astype(int) - pixels.astype(int)).max() <= 1
