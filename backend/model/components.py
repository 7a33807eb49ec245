"""The parts of a loaded checkpoint, and what its architecture demands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from backend.errors import ModelFailed

SMALLEST_SIZE_MULTIPLE = 8


@dataclass(frozen=True)
class Components:
    """A checkpoint in memory: networks in their dtype, on their device, in eval mode."""

    tokenizer: CLIPTokenizer
    text_encoder: CLIPTextModel
    unet: UNet2DConditionModel
    vae: AutoencoderKL | AutoencoderTiny
    scheduler_class: str
    scheduler_config: Mapping[str, Any]
    safety_checker: Any = None
    feature_extractor: Any = None

    @property
    def vae_scale_factor(self) -> int:
        """Pixels per latent cell along each side, as in diffusers."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    @property
    def size_multiple(self) -> int:
        """What heights and widths must be multiples of, in pixels."""
        return max(SMALLEST_SIZE_MULTIPLE, self.vae_scale_factor)

    @property
    def latent_channels(self) -> int:
        """Channels of the latents."""
        return int(self.unet.config.in_channels)

    @property
    def num_tokens(self) -> int:
        """Length of every prompt in tokens, start, end and padding included."""
        return int(self.tokenizer.model_max_length)

    @property
    def native_size(self) -> tuple[int, int]:
        """Height and width that the model was trained for, in pixels."""
        size = self.unet.config.sample_size
        height, width = (size, size) if isinstance(size, int) else size
        return height * self.vae_scale_factor, width * self.vae_scale_factor

    @property
    def num_parameters(self) -> int:
        """Of text encoder, UNet and autoencoder."""
        networks: tuple[torch.nn.Module, ...] = (self.text_encoder, self.unet, self.vae)
        return sum(weight.numel() for network in networks for weight in network.parameters())

    def check(self) -> None:
        """Refuse architectures that this service would run wrongly.

        Raises:
            ModelFailed: with what is unusual about the checkpoint.
        """
        unet, vae, text = self.unet.config, self.vae.config, self.text_encoder.config
        if unet.time_cond_proj_dim is not None:
            raise ModelFailed(
                "Its UNet takes the guidance scale as an input; that isn't supported."
            )
        if unet.in_channels != unet.out_channels:
            raise ModelFailed(
                f"Its UNet maps {unet.in_channels} channels to {unet.out_channels}: "
                "that is no text-to-image model."
            )
        if unet.in_channels != vae.latent_channels:
            raise ModelFailed(
                f"Its UNet works on {unet.in_channels} channels, "
                f"its autoencoder on {vae.latent_channels}: they don't belong together."
            )
        if getattr(text, "use_attention_mask", False):
            raise ModelFailed("Its text encoder wants an attention mask; that isn't supported.")
        if unet.cross_attention_dim != text.hidden_size:
            raise ModelFailed(
                f"Its UNet expects text embeddings {unet.cross_attention_dim} wide, "
                f"its text encoder makes {text.hidden_size}: they don't belong together."
            )
