"""Encodes initial pictures to latents, once for all images of a request."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from diffusers.utils.torch_utils import randn_tensor
from numpy.typing import NDArray

from backend.model.checkpoint.architecture import Architecture
from backend.model.devices import move
from backend.model.runtime.protocol import Moments, Runtime
from backend.params import GenerationParams

KEPT_SIZES = 4  # cached sizes of `nothing`, the empty picture of an inpainting model


class Posterior(NamedTuple):
    """The distribution of a picture's latents."""

    moments: Moments
    scaling_factor: float

    def draw(self, generator: torch.Generator) -> torch.Tensor:
        """Draw scaled latents [1, channels, h, w]."""
        mean, std = self.moments
        if std is None:
            return self.scaling_factor * mean
        noise: torch.Tensor = randn_tensor(mean.shape, generator=generator, dtype=mean.dtype)
        return self.scaling_factor * (mean + std * move(noise, mean.device))


class Source(NamedTuple):
    """What images start from.

    Attributes:
        picture: the initial picture; None for an inpainting model without one.
        mask: [1, 1, h, w], 1 where the picture is regenerated, else 0; None: everywhere, for an
            ordinary model without a mask.
        rest: the picture without the masked part, for an inpainting model.
    """

    picture: Posterior | None
    mask: torch.Tensor | None = None
    rest: Posterior | None = None


class PictureEncoder:
    """Makes the `Source` of a request."""

    def __init__(self, architecture: Architecture, runtime: Runtime) -> None:
        self._factor = architecture.vae_scale_factor
        self._scaling_factor = architecture.vae_scaling_factor
        self._sees_masks = architecture.extra_channels > 0
        self._runtime = runtime
        self.nothing = lru_cache(KEPT_SIZES)(self._nothing)

    def encode(self, params: GenerationParams) -> Source:
        """Encode the request's picture, and its mask if there is one."""
        assert params.init_image is not None
        image = to_image(params.init_image.pixels)
        height, width = image.shape[2:]
        if params.mask is not None:
            mask = to_mask(params.mask.pixels)
        elif self._sees_masks:
            mask = torch.ones(1, 1, height, width)
        else:
            return Source(self._posterior(image))
        rest = self._posterior(image * (mask < 0.5)) if self._sees_masks else None
        return Source(self._posterior(image), self._in_cells(mask), rest)

    def _nothing(self, height: int, width: int) -> Source:
        """The source for an inpainting model that generates a whole picture from noise."""
        mask = self._in_cells(torch.ones(1, 1, height, width))
        return Source(None, mask, self._posterior(torch.zeros(1, 3, height, width)))

    def _posterior(self, image: torch.Tensor) -> Posterior:
        image = move(image.to(self._runtime.dtype), self._runtime.device)
        return Posterior(self._runtime.encode_picture(image), self._scaling_factor)

    def _in_cells(self, mask: torch.Tensor) -> torch.Tensor:
        height, width = (side // self._factor for side in mask.shape[2:])
        cells = torch.nn.functional.interpolate(mask, size=(height, width))
        return move(cells.to(self._runtime.dtype), self._runtime.device)


def to_image(pixels: NDArray[np.uint8]) -> torch.Tensor:
    """[height, width, 3] to float32 [1, 3, height, width] in -1 to 1, as in diffusers."""
    unit = torch.from_numpy(pixels.astype(np.float32) / 255.0)
    return 2.0 * unit.permute(2, 0, 1)[None] - 1.0


def to_mask(pixels: NDArray[np.uint8]) -> torch.Tensor:
    """[height, width] to float32 [1, 1, height, width], rounded to 0 or 1."""
    return torch.from_numpy(pixels > 127).float()[None, None]
