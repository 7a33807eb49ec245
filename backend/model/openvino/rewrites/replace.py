"""Exchanging a network's modules for others, wherever it has them."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn


def replace_modules(network: nn.Module, replacement: Callable[[nn.Module], nn.Module]) -> None:
    """Put `replacement` of every module below `network` in its place; itself, where it stays."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            setattr(parent, name, replacement(child))
