"""A checkpoint's sizes and settings without its weights, as plain values that fit into JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from backend.errors import ModelFailed

SMALLEST_SIZE_MULTIPLE = 8


@dataclass(frozen=True)
class Architecture:
    """Sizes and settings of a checkpoint's parts.

    Attributes:
        native_size: height and width in pixels.
        vae_scale_factor: pixels per latent cell and side, as in diffusers.
        unet_scale_factor: by how much the UNet's lowest level is smaller than its input, per side.
        hidden_size: width of the text embeddings.
        cross_attention_dim: their width where the UNet attends to them.
        num_parameters: of text encoder, UNet and autoencoder together.
        extra_channels: an inpainting model's additional UNet input channels: the mask and the
            latents of the masked picture.
        pad_token: of the tokenizer.
    """

    latent_channels: int
    native_size: tuple[int, int]
    vae_class: str
    vae_scale_factor: int
    vae_scaling_factor: float
    unet_scale_factor: int
    hidden_size: int
    cross_attention_dim: int
    num_text_layers: int
    num_parameters: int
    scheduler_class: str
    scheduler_config: Mapping[str, Any]
    extra_channels: int = 0
    pad_token: str = "<|endoftext|>"

    @property
    def unet_channels(self) -> int:
        """Of what the UNet takes."""
        return self.latent_channels + self.extra_channels

    @property
    def size_multiple(self) -> int:
        """Heights and widths must be multiples of this, in pixels."""
        return max(SMALLEST_SIZE_MULTIPLE, self.vae_scale_factor)


def describe(pipeline: Any) -> Architecture:
    """The architecture of a loaded StableDiffusionPipeline.

    Raises:
        ModelFailed: an unsupported architecture; the text names the reason.
    """
    unet, vae, text = pipeline.unet.config, pipeline.vae.config, pipeline.text_encoder.config
    _check(unet, vae, text)
    size = unet.sample_size
    height, width = (size, size) if isinstance(size, int) else size
    vae_scale_factor = 2 ** (len(vae.block_out_channels) - 1)
    networks = (pipeline.text_encoder, pipeline.unet, pipeline.vae)
    return Architecture(
        latent_channels=vae.latent_channels,
        extra_channels=unet.in_channels - vae.latent_channels,
        native_size=(height * vae_scale_factor, width * vae_scale_factor),
        vae_class=type(pipeline.vae).__name__,
        vae_scale_factor=vae_scale_factor,
        vae_scaling_factor=vae.scaling_factor,
        unet_scale_factor=2 ** (len(unet.block_out_channels) - 1),
        hidden_size=text.hidden_size,
        cross_attention_dim=unet.cross_attention_dim,
        num_text_layers=text.num_hidden_layers,
        num_parameters=sum(
            weight.numel() for network in networks for weight in network.parameters()
        ),
        scheduler_class=type(pipeline.scheduler).__name__,
        scheduler_config=dict(pipeline.scheduler.config),
        pad_token=pipeline.tokenizer.pad_token,
    )


def _check(unet: Any, vae: Any, text: Any) -> None:
    if unet.time_cond_proj_dim is not None:
        raise ModelFailed("Its UNet takes the guidance scale as an input; that isn't supported.")
    latents = vae.latent_channels
    if unet.out_channels == latents and unet.in_channels not in (latents, 2 * latents + 1):
        raise ModelFailed(
            f"Its UNet maps {unet.in_channels} channels to {unet.out_channels}: "
            "that is no text-to-image model, and no inpainting model."
        )
    if unet.out_channels != latents:
        raise ModelFailed(
            f"Its UNet works on {unet.out_channels} channels, "
            f"its autoencoder on {vae.latent_channels}: they don't belong together."
        )
    if getattr(text, "use_attention_mask", False):
        raise ModelFailed("Its text encoder wants an attention mask; that isn't supported.")
    width = unet.cross_attention_dim
    if unet.encoder_hid_dim_type == "text_proj":  # the UNet itself projects the embeddings
        width = unet.encoder_hid_dim
    if width != text.hidden_size:
        raise ModelFailed(
            f"Its UNet expects text embeddings {width} wide, "
            f"its text encoder makes {text.hidden_size}: they don't belong together."
        )
