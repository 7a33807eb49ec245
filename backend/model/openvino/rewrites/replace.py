"""Replaces modules inside a network."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn


def replace_modules(network: nn.Module, replacement: Callable[[nn.Module], nn.Module]) -> None:
    """Replace every module below `network` by `replacement(module)`, in place."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            setattr(parent, name, replacement(child))
