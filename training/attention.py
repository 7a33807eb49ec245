"""Cross-attention that is initialised to find the matching part of the sketch.

Each position in the latents has to find its token. Learning that from the denoising loss takes
longer than everything after it. So keys are initialised to the tokens' codes (sketches.codes) and
values to their numbers, with one head for each position within a token. An auxiliary loss
penalises attention to wrong tokens, so that mainly the queries have to be learned.
"""

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from torch import Tensor

from training.phrases import PLACES, WORDS
from training.sketches import CELL, CHANNELS, CODE, NUMBERS

HEADS = CELL * CELL
SIDE = CELL * round(PLACES**0.5)
"""Positions of the latents per side."""
SHARPNESS = 3.0
"""Initial magnitude of the keys."""


def aims() -> Tensor:
    """The tokens each position should attend to: (HEADS, SIDE * SIDE, WORDS + PLACES), 0 or 1.

    In the head that carries the position's own part of its token, that token; in the other heads
    the WORDS tokens, which hold nothing.
    """
    aims = torch.zeros(HEADS, SIDE, SIDE, WORDS + PLACES)
    for y in range(SIDE):
        for x in range(SIDE):
            own = CELL * (y % CELL) + x % CELL
            aims[:, y, x, :WORDS] = 1
            aims[own, y, x, :WORDS] = 0
            aims[own, y, x, WORDS + (y // CELL) * (SIDE // CELL) + x // CELL] = 1
    return aims.flatten(1, 2)


class Watched:
    """diffusers' plain cross-attention; also stores the loss of attention to wrong tokens."""

    def __init__(self, device: torch.device) -> None:
        self.astray = torch.zeros((), device=device)
        self.aims = aims().to(device)

    def __call__(
        self,
        attention: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        **_: object,
    ) -> Tensor:
        def split(states: Tensor) -> Tensor:
            heads: Tensor = states.unflatten(2, (attention.heads, -1))
            return heads.transpose(1, 2)

        query = split(attention.to_q(hidden_states))
        key = split(attention.to_k(encoder_hidden_states))
        value = split(attention.to_v(encoder_hidden_states))
        looks = ((query @ key.mT) * attention.scale).float().softmax(dim=-1)
        if looks.shape[2] == self.aims.shape[1]:  # only defined for this number of positions
            self.astray = -(looks * self.aims).sum(dim=-1).clamp(min=1e-6).log().mean()
        mixed = (looks.to(value.dtype) @ value).transpose(1, 2).flatten(2)
        out: Tensor = attention.to_out[0](mixed)
        return out


def cross_attentions(unet: UNet2DConditionModel) -> list[Attention]:
    return [
        module
        for name, module in unet.named_modules()
        if isinstance(module, Attention) and name.endswith("attn2")
    ]


@torch.no_grad()
def prepare(unet: UNet2DConditionModel) -> None:
    """Initialise keys and values of all cross-attention layers from the tokens' layout."""
    for attention in cross_attentions(unet):
        size = attention.to_v.out_features // HEADS
        for weight in (attention.to_k.weight, attention.to_v.weight):
            weight.zero_()
        for head in range(HEADS):
            codes = torch.arange(CODE)
            attention.to_k.weight[head * size + codes, NUMBERS + codes] = SHARPNESS
            channels = torch.arange(CHANNELS)
            attention.to_v.weight[head * size + channels, channels * HEADS + head] = 1


def watch(unet: UNet2DConditionModel) -> list[Watched]:
    watched = []
    for attention in cross_attentions(unet):
        attention.processor = Watched(unet.device)
        watched.append(attention.processor)
    return watched


def astray(watched: list[Watched]) -> Tensor:
    """The attention loss: mean cross-entropy over all positions, heads and layers."""
    return torch.stack([each.astray for each in watched]).mean()
