"""The precision for training and evaluation."""

from contextlib import AbstractContextManager

import torch

from backend.model.devices import has_native_bfloat16

CPU = torch.device("cpu")


def fastest(device: torch.device = CPU) -> AbstractContextManager[object]:
    """A context that computes in bfloat16 if the device supports it natively, else in float32.

    A CPU without native bfloat16 emulates it, up to fifty times slower.
    """
    has_it = device.type == "cuda" or has_native_bfloat16()
    return torch.autocast(device.type, torch.bfloat16, enabled=has_it)
