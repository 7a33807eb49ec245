"""The numbers that networks are trained and evaluated in."""

from contextlib import AbstractContextManager

import torch


def has_bfloat16() -> bool:
    """Whether this CPU computes in bfloat16; others imitate it, up to fifty times slower."""
    capabilities = torch.cpu.get_capabilities()
    return any(is_there for name, is_there in capabilities.items() if "bf16" in name)


def fastest() -> AbstractContextManager[object]:
    """A context in which networks compute in bfloat16, where that is quick, else in float32."""
    return torch.autocast("cpu", torch.bfloat16, enabled=has_bfloat16())
