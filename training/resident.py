"""Training data in a GPU's memory, from which batches are drawn without the CPU."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training import arithmetic
from training.lessons import NOTHING_KNOWN, CaptionBatch
from training.pictures import shown
from training.pool import Pool

CHUNK = 256
"""Pictures that are encoded at a time."""


def halved(images: Tensor) -> Tensor:
    """Pictures as the small autoencoder's encoder sees them."""
    return F.avg_pool2d(images, 2)


@torch.no_grad()
def encoded(encoder: nn.Module, pictures: Tensor) -> Tensor:
    """The latents (n, c, 8, 8) of pictures (n, 256, 256, 3), bfloat16."""
    parts = []
    for some in pictures.split(CHUNK):
        with arithmetic.fastest(pictures.device):
            parts.append(encoder(halved(shown(some))).bfloat16().contiguous())
    return torch.cat(parts)


@dataclass(frozen=True)
class Pictures:
    """Endless random batches of pictures (n, 3, 256, 256)."""

    pictures: Tensor

    def batches(self, batch: int) -> Iterator[Tensor]:
        while True:
            rows = torch.randint(len(self.pictures), (batch,), device=self.pictures.device)
            yield shown(self.pictures[rows])


class Lessons:
    """Training data of text encoder and UNet: see lessons.Lessons."""

    def __init__(self, pool: Pool, latents: Tensor, nothing_known: Tensor) -> None:
        """`nothing_known`: token ids (m, MAX_TOKENS) of texts that name nothing."""
        self.pool, self.latents, self.nothing_known = pool, latents, nothing_known
        self.blank = pool.is_blank.nonzero().flatten()

    def batches(self, batch: int, seed: int, device: torch.device) -> Iterator[CaptionBatch]:
        torch.manual_seed(seed)
        while True:
            yield self._batch(batch, device)

    def _batch(self, batch: int, device: torch.device) -> CaptionBatch:
        def any_of(count: int, size: int = batch) -> Tensor:
            return torch.randint(count, (size,), device=device)

        rows, caption = any_of(len(self.pool)), any_of(self.pool.tokens.shape[1])
        tokens, is_told = self.pool.tokens[rows, caption], self.pool.is_told[rows, caption]
        blank = round(NOTHING_KNOWN * batch) if len(self.blank) else 0
        rows[:blank] = self.blank[any_of(len(self.blank) or 1, blank)]
        tokens[:blank] = self.nothing_known[any_of(len(self.nothing_known), blank)]
        is_told[:blank] = True
        return CaptionBatch(tokens.long(), is_told, self.latents[rows])


@dataclass(frozen=True)
class Renderings:
    """Training data of the decoder: see decoder.Renderings."""

    pictures: Tensor
    clean: Tensor
    rough: Tensor
    """Latents from the denoiser of the first pictures."""
    share: float
    """Of the batches that are from the denoiser."""

    def batches(
        self, batch: int, seed: int, device: torch.device
    ) -> Iterator[tuple[Tensor, Tensor]]:
        torch.manual_seed(seed)
        while True:
            is_rough = torch.rand(()).item() < self.share
            source = self.rough if is_rough else self.clean
            rows = torch.randint(len(source), (batch,), device=device)
            yield source[rows].float(), shown(self.pictures[rows])
