"""Inpainting by a model that knows of no masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch


class Blend(NamedTuple):
    """What stays of a picture, put back after every step with the noise that belongs there."""

    picture: torch.Tensor  # its latents, [1, channels, h, w]
    noise: torch.Tensor  # the same shape
    mask: torch.Tensor  # [1, 1, h, w]: 1 where it is drawn anew, else 0

    def keep(
        self, latents: torch.Tensor, noise_scheduler: Any, following: Sequence[Any]
    ) -> torch.Tensor:
        """`latents` after a step, with the kept part of the picture.

        Args:
            latents: [1, channels, h, w].
            noise_scheduler: the step is done.
            following: the next timestep, or none after the last.
        """
        kept = self.picture
        if following:
            kept = noise_scheduler.add_noise(kept, self.noise, torch.tensor([following[0]]))
        return (1 - self.mask) * kept + self.mask * latents
