"""How a checkpoint is to be read."""

from __future__ import annotations

from typing import NamedTuple

import torch


class Reading(NamedTuple):
    """Device and dtype that weights are wanted in, and what is wanted beside the networks."""

    device: torch.device
    dtype: torch.dtype
    safety_checker: bool = True
    allow_pickle: bool = False
