"""Pictures to latents, once for all images that start from one."""

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

KEPT_SIZES = 4  # for which an inpainting model knows what nothing looks like


class Posterior(NamedTuple):
    """Where a picture's latents lie."""

    moments: Moments
    scaling_factor: float

    def draw(self, generator: torch.Generator) -> torch.Tensor:
        """Scaled latents [1, channels, h, w]."""
        mean, std = self.moments
        if std is None:
            return self.scaling_factor * mean
        noise: torch.Tensor = randn_tensor(mean.shape, generator=generator, dtype=mean.dtype)
        return self.scaling_factor * (mean + std * move(noise, mean.device))


class Source(NamedTuple):
    """What images start from: a picture, the part of it that is drawn anew, and the rest.

    `picture` is None for an inpainting model that starts from nothing; `mask` ([1, 1, h, w], 1
    where it is drawn anew, else 0) is None where that is all, for a model without one; `rest` is
    what the mask leaves, for a model that sees it.
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
        """Of the request's picture, and its mask where it has one."""
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
        """For an inpainting model that is to draw all of a picture, from noise."""
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
    """[height, width, 3] to float32 [1, 3, height, width] in -1 to 1, as diffusers has it."""
    unit = torch.from_numpy(pixels.astype(np.float32) / 255.0)
    return 2.0 * unit.permute(2, 0, 1)[None] - 1.0


def to_mask(pixels: NDArray[np.uint8]) -> torch.Tensor:
    """[height, width] to float32 [1, 1, height, width]: 0 or 1, whichever is nearer."""
    return torch.from_numpy(pixels > 127).float()[None, None]
