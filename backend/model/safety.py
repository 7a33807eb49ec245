"""Stable Diffusion 1.4's safety checker over finished pictures."""

from __future__ import annotations

from typing import Any

import torch
from diffusers.utils import numpy_to_pil

from backend.engine.protocols import Pixels


class SafetyChecker:
    """Tells whether a picture is one that the checkpoint's authors want withheld."""

    def __init__(self, checker: Any, feature_extractor: Any) -> None:
        """Take diffusers' StableDiffusionSafetyChecker and transformers' CLIPImageProcessor."""
        self._checker = checker
        self._feature_extractor = feature_extractor

    @torch.inference_mode()
    def flags(self, pixels: Pixels) -> bool:
        """Whether `pixels` [height, width, 3] are flagged."""
        pictures = numpy_to_pil(pixels[None].astype("float32") / 255)
        features = self._feature_extractor(pictures, return_tensors="pt")
        clip_input = features.pixel_values.to(self._checker.device, self._checker.dtype)
        _, flagged = self._checker(images=[pixels], clip_input=clip_input)
        return bool(flagged[0])
