"""Tensors in arguments and results. Torch's own pytree takes longer than computing small ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch


def tensors_in(tree: Any) -> Iterator[torch.Tensor]:
    """All of them, in their order, within tuples, lists and dicts."""
    if isinstance(tree, torch.Tensor):
        yield tree
    elif isinstance(tree, list | tuple):
        for one in tree:
            yield from tensors_in(one)
    elif isinstance(tree, dict):
        yield from tensors_in(tuple(tree.values()))


def mapped(function: Callable[[torch.Tensor], Any], tree: Any) -> Any:
    """The same tuples, lists and dicts with `function` of each tensor."""
    if isinstance(tree, torch.Tensor):
        return function(tree)
    kind = type(tree)
    if kind is list or kind is tuple:
        return kind(mapped(function, one) for one in tree)
    if kind is dict:
        return {name: mapped(function, one) for name, one in tree.items()}
    return tree
