"""Stable Diffusion's safety checker, applied to finished images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from diffusers.utils import numpy_to_pil

from backend.engine.protocols import Pixels
from backend.model.runtime.cuda_graphs import CAPTURE


class SafetyChecker:
    """Detects images that the checkpoint's authors want withheld."""

    def __init__(self, checker: Any, feature_extractor: Any) -> None:
        """Use diffusers' StableDiffusionSafetyChecker and transformers' CLIPImageProcessor."""
        self._checker = checker
        self._device: torch.device = checker.device
        self._stream = torch.cuda.Stream(self._device) if self.runs_aside else None
        self._feature_extractor = feature_extractor

    @property
    def runs_aside(self) -> bool:
        """Whether it may run on another thread while the engine steps (on its own CUDA stream)."""
        return self._device.type == "cuda"

    @torch.inference_mode()
    def flags(self, pixels: Pixels) -> bool:
        """Whether the image `pixels` [height, width, 3] is flagged."""
        pictures = numpy_to_pil(pixels[None].astype("float32") / 255)
        features = self._feature_extractor(pictures, return_tensors="pt").pixel_values
        with self._aside():
            clip_input = features.to(self._checker.dtype).to(self._device)
            _, flagged = self._checker(images=[pixels], clip_input=clip_input)
            return bool(flagged[0])

    @contextmanager
    def _aside(self) -> Iterator[None]:
        if self._stream is None:
            yield
            return
        with CAPTURE, torch.cuda.stream(self._stream):
            yield
