"""The initial latents of a trajectory: noise, or a picture with noise according to strength.

Random numbers are drawn in the same order as in diffusers' pipelines.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from backend.model.picture.blend import Blend
from backend.model.picture.source import Source
from backend.params import GenerationParams


class Start(NamedTuple):
    """The initial state of a trajectory. `first`: number of skipped evaluations."""

    latents: torch.Tensor  # [1, channels, h, w]
    first: int = 0
    blend: Blend | None = None
    conditions: torch.Tensor | None = None


def begin(
    params: GenerationParams,
    source: Source,
    noise_scheduler: Any,
    generator: torch.Generator,
    draw_noise: Callable[[], torch.Tensor],
) -> Start:
    """The initial state for `source`.

    Args:
        params: of the request, or of the pass.
        source: the encoded picture and mask.
        noise_scheduler: the image's own; its begin index is set.
        generator: the image's own.
        draw_noise: draws noise of the latents' shape from `generator`.
    """
    skipped = params.num_inference_steps - params.num_denoising_steps
    first = skipped * noise_scheduler.order
    if hasattr(noise_scheduler, "set_begin_index"):
        noise_scheduler.set_begin_index(first)
    # As in diffusers: with a mask, full strength starts from pure noise; without one it never
    # does. Starting from pure noise, an inpainting model doesn't need the picture's latents.
    forgets = source.mask is not None and params.strength == 1.0
    is_seen = source.rest is None or not forgets
    picture = source.picture.draw(generator) if source.picture is not None and is_seen else None
    noise = draw_noise()
    if forgets or picture is None:
        latents = noise * noise_scheduler.init_noise_sigma
    else:
        timestep = noise_scheduler.timesteps[first : first + 1]
        latents = noise_scheduler.add_noise(picture, noise, timestep)
    if source.mask is None:
        return Start(latents, first)
    if source.rest is not None:
        rest = source.rest.draw(generator)
        return Start(latents, first, None, torch.cat([source.mask, rest], dim=1))
    assert picture is not None
    assert source.picture is not None
    source.picture.draw(
        generator
    )  # diffusers draws for the masked picture here, which this model doesn't use
    return Start(latents, first, Blend(picture, noise, source.mask))
