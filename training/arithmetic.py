"""The numbers that networks are trained and evaluated in."""

from contextlib import AbstractContextManager

import torch

from backend.model.devices import has_native_bfloat16

CPU = torch.device("cpu")


def fastest(device: torch.device = CPU) -> AbstractContextManager[object]:
    """A context in which networks compute in bfloat16, where the device has it, else in float32.

    A CPU without it imitates it, up to fifty times slower.
    """
    has_it = device.type == "cuda" or has_native_bfloat16()
    return torch.autocast(device.type, torch.bfloat16, enabled=has_it)
