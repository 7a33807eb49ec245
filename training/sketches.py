"""How a sketch of the latents travels from the text encoder to the UNet: as tokens.

The first WORDS tokens tell the UNet nothing; each of the others holds 2 x 2 places of the latents,
channels and all, and beside them a code of its own by which attention finds it.
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
    """Tokens (n, WORDS + PLACES, WIDTH) that hold latents (n, c, 8, 8)."""
    held = F.pixel_unshuffle(latents, CELL).flatten(2).mT
    numbers = F.pad(held, (0, 0, WORDS, 0))
    code = codes().to(latents).expand(len(latents), -1, -1)
    return F.pad(torch.cat([numbers, code], dim=2), (0, WIDTH - NUMBERS - CODE))


def to_latents(tokens: Tensor) -> Tensor:
    """The inverse of `to_tokens`."""
    side = round(PLACES**0.5)
    held = tokens[:, WORDS:, :NUMBERS].mT
    return F.pixel_shuffle(held.unflatten(2, (side, side)), CELL)
