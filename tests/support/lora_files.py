"""Small LoRA files for a model, in the namings that people's files have."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save_file
from torch import nn

from backend.model.checkpoint.components import Networks

Naming = Literal["kohya", "diffusers", "old_diffusers"]
TARGETS = ("to_q", "to_k", "to_v", "to_out.0", "q_proj", "v_proj", "fc1", "ff.net.0.proj")
CONVOLUTIONS = ("conv1",)


def write_lora(
    path: Path,
    networks: Networks,
    naming: Naming = "kohya",
    *,
    rank: int = 2,
    strength: float = 0.3,
    seed: int = 0,
    text: bool = True,
    unet: bool = True,
    convolutions: bool = False,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Random matrices for attention, feed-forward and, where wanted, convolutions."""
    generator = torch.Generator().manual_seed(seed)
    tensors: dict[str, torch.Tensor] = {}
    parts: list[tuple[str, nn.Module]] = []
    parts += [("unet", networks.unet)] if unet else []
    parts += [("text", networks.text_encoder)] if text else []
    targets = TARGETS + (CONVOLUTIONS if convolutions else ())
    for part, network in parts:
        for name, module in network.named_modules():
            if name.endswith(targets) and isinstance(module, (nn.Linear, nn.Conv2d)):
                shape: Any = module.weight.shape
                down = torch.randn(rank, *shape[1:], generator=generator) * strength
                up = torch.randn(shape[0], rank, generator=generator) * strength
                up = up.reshape(shape[0], rank, *[1] * (len(shape) - 2))
                tensors |= _named(naming, part, name, down, up)
    save_file({name: one.contiguous() for name, one in tensors.items()}, path, dict(metadata or {}))
    return path


def _named(
    naming: Naming, part: str, name: str, down: torch.Tensor, up: torch.Tensor
) -> dict[str, torch.Tensor]:
    if naming == "kohya":
        whole = f"lora_unet_{name}" if part == "unet" else f"lora_te_text_model_{name}"
        whole = whole.replace(".", "_")
        return {
            f"{whole}.lora_down.weight": down,
            f"{whole}.lora_up.weight": up,
            f"{whole}.alpha": torch.tensor(1.0 if part == "unet" else float(down.shape[0])),
        }
    beginning = "unet." if part == "unet" else "text_encoder.text_model."
    if naming == "diffusers":
        return {
            f"{beginning}{name}.lora_A.weight": down,
            f"{beginning}{name}.lora_B.weight": up,
        }
    return {
        f"{beginning}{name}.lora.down.weight": down,
        f"{beginning}{name}.lora.up.weight": up,
    }
