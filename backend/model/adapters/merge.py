"""Networks with LoRAs merged into their weights; all other weights are the originals."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from backend.errors import ModelFailed
from backend.model.adapters.lora_file import Change, read_changes
from backend.model.checkpoint.components import Networks
from backend.model.checkpoint.weights_file import read_table

MAX_HEADER_BYTES = 16 * 2**20

Modules = Mapping[str, nn.Module]
Network = TypeVar("Network", bound=nn.Module)


class Scaled(NamedTuple):
    """A LoRA file and its weight."""

    path: Path
    scale: float


class Merged(NamedTuple):
    """Networks of their own, and the bytes that they don't share with the originals."""

    networks: Networks
    num_bytes: int
    changes_text: bool


@torch.no_grad()
def merge(networks: Networks, loras: Sequence[Scaled], cross_attention_dim: int) -> Merged:
    """W + scale * alpha / rank * up @ down for every module that a LoRA changes, in float32.

    Raises:
        ModelFailed: a file doesn't fit; with its name and what is wrong.
    """
    unet, text_encoder = _sharing(networks.unet), _sharing(networks.text_encoder)
    modules = {**_unet_modules(unet), **_text_modules(text_encoder)}
    deltas: dict[str, torch.Tensor] = {}
    for lora in loras:
        try:
            for name, delta in _deltas(lora, modules, cross_attention_dim):
                deltas[name] = deltas[name] + delta if name in deltas else delta
        except (ModelFailed, SafetensorError, OSError) as error:
            raise ModelFailed(f"{lora.path.stem}: {error}") from error
    num_bytes = 0
    for name, delta in deltas.items():
        num_bytes += _change(modules[name], delta)
    changed = {id(modules[name]) for name in deltas}
    changes_text = any(id(module) in changed for module in text_encoder.modules())
    return Merged(Networks(text_encoder, unet, networks.vae), num_bytes, changes_text)


def _sharing(network: Network) -> Network:
    """A copy of its own with the same weights."""
    tensors = (*network.parameters(), *network.buffers())
    return copy.deepcopy(network, {id(tensor): tensor for tensor in tensors})


def _unet_modules(unet: nn.Module) -> Modules:
    """By their names in LoRA files: kohya's, diffusers' and peft's."""
    found = {}
    for name, module in _with_weights(unet):
        found[f"lora_unet_{name.replace('.', '_')}"] = module
        found[f"unet.{name}"] = module
        found[f"unet.base_model.model.{name}"] = module
        if name.endswith(".to_out.0"):
            found[f"unet.{name.removesuffix('.0')}"] = module
    return found


def _text_modules(text_encoder: nn.Module) -> Modules:
    """As `_unet_modules`; transformers 4 had `text_model.` in front of every name."""
    found = {}
    for name, module in _with_weights(text_encoder):
        plain = name.removeprefix("text_model.")
        found[f"lora_te_text_model_{plain.replace('.', '_')}"] = module
        for beginning in ("text_encoder.", "text_encoder.base_model.model."):
            found[f"{beginning}{plain}"] = module
            found[f"{beginning}text_model.{plain}"] = module
    return found


def _with_weights(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name, module in network.named_modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            yield name, module


def _deltas(
    lora: Scaled, modules: Modules, cross_attention_dim: int
) -> Iterator[tuple[str, torch.Tensor]]:
    changes = read_changes(read_table(lora.path, MAX_HEADER_BYTES).shapes, cross_attention_dim)
    unknown = sorted(changes.keys() - modules.keys())
    if unknown:
        raise ModelFailed(
            f"It changes {len(unknown)} modules that this model doesn't have, "
            f"“{unknown[0][:100]}” for one: it was made for another kind of model."
        )
    with safe_open(lora.path, framework="pt") as file:
        for name, change in changes.items():
            yield name, lora.scale * _product(file, name, change, modules[name])


def _product(file: Any, name: str, change: Change, module: nn.Module) -> torch.Tensor:
    """up x down x alpha / rank, float32, shaped like the module's weight."""
    down, up = (file.get_tensor(one).float() for one in (change.down, change.up))
    weight = module.weight
    assert isinstance(weight, torch.Tensor)
    if down.shape[1] != weight.shape[1] or up.shape[0] != weight.shape[0]:
        raise ModelFailed(
            f"“{name[:100]}” changes {up.shape[0]} x {down.shape[1]} values, this model has "
            f"{weight.shape[0]} x {weight.shape[1]} there: it was made for another kind of model."
        )
    rank = down.shape[0]
    alpha = float(file.get_tensor(change.alpha)) if change.alpha is not None else rank
    product: torch.Tensor = (up.flatten(1) @ down.flatten(1)) * (alpha / rank)
    if product.numel() != weight.numel() or not torch.isfinite(product).all():
        raise ModelFailed(f"“{name[:100]}” doesn't fit this model, or is not all numbers.")
    return product.view(weight.shape)


def _change(module: nn.Module, delta: torch.Tensor) -> int:
    """Give the module a weight of its own; its bytes."""
    weight = module.weight
    assert isinstance(weight, torch.Tensor)
    own = torch.empty_like(weight)  # keeps the layout in memory
    own.copy_(weight.float() + delta.to(weight.device))
    module.weight = nn.Parameter(own, requires_grad=False)
    return own.nbytes
