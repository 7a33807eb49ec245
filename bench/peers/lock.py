"""diffusers' pipeline behind a lock, the common baseline; in the benchmark's process."""

from __future__ import annotations

import threading
from typing import Any

import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline

from bench.prompts import prompt


class LockedPipeline:
    """One pipeline that serves one caller at a time."""

    def __init__(self, folder: str, dtype: torch.dtype = torch.float32) -> None:
        self._pipeline: Any = StableDiffusionPipeline.from_pretrained(
            folder, torch_dtype=dtype, safety_checker=None, local_files_only=True
        )
        # As many UNet calls as steps; the scheduler of Stable Diffusion 1.4 makes one more.
        self._pipeline.scheduler = DDIMScheduler.from_config(self._pipeline.scheduler.config)
        self._pipeline.set_progress_bar_config(disable=True)
        self._lock = threading.Lock()

    def draw(self, number: int, steps: int, height: int | None = None) -> None:
        """One picture."""
        with self._lock:
            self._pipeline(
                prompt(number),
                num_inference_steps=steps,
                guidance_scale=5.0,
                height=height,
                width=height,
                generator=torch.Generator().manual_seed(number),
            )
