"""The parts of a checkpoint; its networks are read from disk once somebody needs them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from transformers import CLIPTokenizer

from backend.model.checkpoint.architecture import Architecture

if TYPE_CHECKING:  # importing them takes a second, and a start from converted networks needs none
    from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel
    from transformers import CLIPTextModel


class Networks(NamedTuple):
    """What has weights: in their dtype, on their device, in eval mode."""

    text_encoder: CLIPTextModel
    unet: UNet2DConditionModel
    vae: AutoencoderKL | AutoencoderTiny


class LoadOptions(NamedTuple):
    """Device and dtype that weights are wanted in, and what is wanted beside the networks."""

    device: torch.device
    dtype: torch.dtype
    safety_checker: bool = True
    allow_pickle: bool = False


@dataclass
class Components:
    """A checkpoint. `read` gets its networks from disk, or raises ModelFailed."""

    tokenizer: CLIPTokenizer
    architecture: Architecture
    device: torch.device
    read: Callable[[], Networks]
    safety_checker: Any = None
    feature_extractor: Any = None

    @cached_property
    def networks(self) -> Networks:
        """In memory from the first use until `release`."""
        return self.read()

    def release(self) -> None:
        """Drop the networks; whoever runs them holds them, and the next use reads them again."""
        self.__dict__.pop("networks", None)

    @property
    def num_tokens(self) -> int:
        """Length of every prompt in tokens, start, end and padding included."""
        return int(self.tokenizer.model_max_length)
