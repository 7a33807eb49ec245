"""The numbers that networks are trained and evaluated in."""

from contextlib import AbstractContextManager

import torch

from backend.model.devices import has_native_bfloat16


def fastest() -> AbstractContextManager[object]:
    """A context in which networks compute in bfloat16, where the CPU has it, else in float32.

    A CPU without it imitates it, up to fifty times slower.
    """
    return torch.autocast("cpu", torch.bfloat16, enabled=has_native_bfloat16())
