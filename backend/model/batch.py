"""Combines several trajectories into the rows of one UNet call, and splits the result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from backend.model.trajectory import LatentTrajectory


class Rows(NamedTuple):
    """Input of one UNet call; each trajectory has consecutive rows [uncond, cond] or [cond]."""

    model_inputs: list[torch.Tensor]  # one [1, channels, h, w] per trajectory
    latents: torch.Tensor  # [rows, channels, h, w], plus an inpainting model's channels
    timesteps: torch.Tensor  # float32 [rows]
    prompt_embeds: torch.Tensor  # [rows, tokens, hidden]


def gather(trajectories: Sequence[LatentTrajectory]) -> Rows:
    """Build the rows of the trajectories' next evaluations; doesn't change the trajectories."""
    model_inputs = [trajectory.model_input() for trajectory in trajectories]
    unet_inputs = [
        trajectory.beside(one) for trajectory, one in zip(trajectories, model_inputs, strict=True)
    ]
    copies = [trajectory.num_rows for trajectory in trajectories]
    timesteps = [float(trajectory.timestep) for trajectory in trajectories]
    return Rows(
        model_inputs,
        torch.cat([rows for one, n in zip(unet_inputs, copies, strict=True) for rows in [one] * n]),
        torch.tensor([t for t, n in zip(timesteps, copies, strict=True) for _ in range(n)]),
        _side_by_side([trajectory.prompt_embeds for trajectory in trajectories]),
    )


def _side_by_side(parts: list[torch.Tensor]) -> torch.Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def scatter(
    predictions: torch.Tensor, trajectories: Sequence[LatentTrajectory]
) -> list[torch.Tensor]:
    """Split predictions [rows, channels, h, w] into one [1, channels, h, w] per trajectory.

    Applies classifier-free guidance as in diffusers: u + scale * (c - u).
    """
    guided, first = [], 0
    for trajectory in trajectories:
        cond = predictions[first + trajectory.num_rows - 1 : first + trajectory.num_rows]
        if trajectory.num_rows == 2:
            uncond = predictions[first : first + 1]
            cond = uncond + trajectory.guidance_scale * (cond - uncond)
        guided.append(cond)
        first += trajectory.num_rows
    return guided
