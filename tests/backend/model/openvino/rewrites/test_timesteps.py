"""The timestep embedding equals diffusers' and stays in float32."""

from __future__ import annotations

import pytest
import torch
from diffusers.models.embeddings import Timesteps

from backend.model.openvino.rewrites.timesteps import PreciseTimesteps, keep_timesteps_precise
from tests.support.networks import rewritten, same


@pytest.mark.parametrize("num_channels", [320, 7])
@pytest.mark.parametrize("flip_sin_to_cos", [True, False])
@pytest.mark.parametrize(("shift", "scale"), [(0, 1), (1, 3)])
def test_it_projects_alike(
    num_channels: int, flip_sin_to_cos: bool, shift: int, scale: int
) -> None:
    theirs = Timesteps(num_channels, flip_sin_to_cos, shift, scale)
    timesteps = torch.tensor([0.0, 1.0, 499.5, 999.0])
    same(PreciseTimesteps(theirs)(timesteps), theirs(timesteps))


def test_a_unet_predicts_the_same() -> None:
    unet = rewritten(keep_timesteps_precise)
    assert not any(isinstance(module, Timesteps) for module in unet.modules())
