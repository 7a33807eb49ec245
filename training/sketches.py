"""Encodes a sketch of the latents as tokens, passed from the text encoder to the UNet.

The first WORDS tokens hold nothing for the UNet. Each of the others holds 2 x 2 positions of the
latents with all channels, and a unique code by which attention finds it.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from training.phrases import PLACES, WORDS

CHANNELS = 24
"""Of the latents."""
CELL = 2
"""Places of the latents that one token covers, in each direction."""
NUMBERS = CHANNELS * CELL * CELL
CODE = PLACES + 1
"""One number for each token that holds part of the sketch, and one for all that don't."""
WIDTH = 128
"""Of a token: the sketch's numbers, the code, and nothing."""


def codes() -> Tensor:
    """The codes (WORDS + PLACES, CODE) of all tokens."""
    kinds = torch.tensor([PLACES] * WORDS + list(range(PLACES)))
    return F.one_hot(kinds, CODE).float()


def to_tokens(latents: Tensor) -> Tensor:
    """Latents (n, c, 8, 8) as tokens (n, WORDS + PLACES, WIDTH)."""
    held = F.pixel_unshuffle(latents, CELL).flatten(2).mT
    numbers = F.pad(held, (0, 0, WORDS, 0))
    code = codes().to(latents).expand(len(latents), -1, -1)
    return F.pad(torch.cat([numbers, code], dim=2), (0, WIDTH - NUMBERS - CODE))


def to_latents(tokens: Tensor) -> Tensor:
    """The inverse of `to_tokens`."""
    side = round(PLACES**0.5)
    held = tokens[:, WORDS:, :NUMBERS].mT
    return F.pixel_shuffle(held.unflatten(2, (side, side)), CELL)
