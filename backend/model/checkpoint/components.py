"""The parts of a checkpoint; networks are read from disk on first use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from transformers import CLIPTokenizer

from backend.model.checkpoint.architecture import Architecture

if TYPE_CHECKING:  # the import takes a second, and a start from converted networks needs none
    from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel
    from transformers import CLIPTextModel


class Networks(NamedTuple):
    """The networks, in eval mode, in the requested dtype, on the requested device."""

    text_encoder: CLIPTextModel
    unet: UNet2DConditionModel
    vae: AutoencoderKL | AutoencoderTiny


class LoadOptions(NamedTuple):
    """How to load a checkpoint: device and dtype of the weights, and which parts."""

    device: torch.device
    dtype: torch.dtype
    safety_checker: bool = True
    allow_pickle: bool = False


@dataclass
class Components:
    """A checkpoint's parts. `read` loads the networks from disk, or raises ModelFailed."""

    tokenizer: CLIPTokenizer
    architecture: Architecture
    device: torch.device
    read: Callable[[], Networks]
    safety_checker: Any = None
    feature_extractor: Any = None

    @cached_property
    def networks(self) -> Networks:
        """Loaded on first use and kept until `release`."""
        return self.read()

    def release(self) -> None:
        """Drop our reference to the networks; a later use reads them again."""
        self.__dict__.pop("networks", None)

    @property
    def num_tokens(self) -> int:
        """Tokens per prompt, including start, end and padding."""
        return int(self.tokenizer.model_max_length)
