"""A small UNet, inputs for networks, and when two tensors are the same but for rounding."""

from __future__ import annotations

from collections.abc import Callable

import torch
from diffusers import UNet2DConditionModel
from torch import nn

from backend.model.checkpoint.components import Components


def small_unet() -> UNet2DConditionModel:
    """Two resolutions, doubled once, with text; random weights."""
    return UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 16),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=8,
        attention_head_dim=4,
        norm_num_groups=4,
    ).eval()


def unet_inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Latents, timesteps and prompt_embeds of two rows for `small_unet`."""
    return torch.randn(2, 4, 8, 8), torch.tensor([900.0, 10.0]), torch.randn(2, 5, 8)


def row_inputs(
    components: Components, rows: int, height: int = 8, width: int = 8
) -> list[torch.Tensor]:
    """Latents, timesteps and prompt_embeds of so many rows for the UNet of `components`."""
    generator = torch.Generator().manual_seed(rows)
    channels, hidden = components.architecture.latent_channels, components.architecture.hidden_size
    return [
        torch.randn(rows, channels, height, width, generator=generator),
        torch.linspace(900.0, 10.0, rows),
        torch.randn(rows, components.num_tokens, hidden, generator=generator),
    ]


@torch.inference_mode()
def rewritten(rewrite: Callable[[nn.Module], None]) -> UNet2DConditionModel:
    """`small_unet` as `rewrite` leaves it: it predicts the same as before."""
    unet, given = small_unet(), unet_inputs()
    before = unet(*given).sample
    rewrite(unet)
    same(unet(*given).sample, before)
    return unet


def same(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
