"""Inpainting with an ordinary model, which has no mask input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch


class Blend(NamedTuple):
    """Restores the kept part of a picture after every step, with that step's noise level."""

    picture: torch.Tensor  # its latents, [1, channels, h, w]
    noise: torch.Tensor  # the same shape
    mask: torch.Tensor  # [1, 1, h, w]: 1 where it is regenerated, else 0

    def keep(
        self, latents: torch.Tensor, noise_scheduler: Any, following: Sequence[Any]
    ) -> torch.Tensor:
        """Replace the kept part of `latents` after a step.

        Args:
            latents: [1, channels, h, w].
            noise_scheduler: after the step.
            following: the next timestep; empty after the last.
        """
        kept = self.picture
        if following:
            kept = noise_scheduler.add_noise(kept, self.noise, torch.tensor([following[0]]))
        return (1 - self.mask) * kept + self.mask * latents
