"""Names the weights of a model as CompVis's original code does: one flat file instead of a folder.

The names are those of https://github.com/CompVis/stable-diffusion: numbered input, middle and
output blocks in the UNet, one-by-one convolutions as the autoencoder's attention. Stable Diffusion
2's text encoder has the names of https://github.com/mlfoundations/open_clip.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import torch

from backend.model.checkpoint.components import Components

Weights = dict[str, torch.Tensor]
UNET, VAE, CLIP = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.transformer."
OPEN_CLIP = "cond_stage_model.model."

UNET_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
UNET_ENDS = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
VAE_ATTENTION = {
    "group_norm": "norm",
    "to_q": "q",
    "to_k": "k",
    "to_v": "v",
    "to_out.0": "proj_out",
}


OPEN_CLIP_ENDS = {
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm.weight": "ln_final.weight",
    "final_layer_norm.bias": "ln_final.bias",
}
OPEN_CLIP_LAYER = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}


def to_original(components: Components) -> dict[str, torch.Tensor]:
    """All weights of text encoder, UNet and autoencoder under their original names."""
    is_second = components.tokenizer.pad_token == "!"
    renamed = {
        **_prefixed("model.diffusion_model.", _unet(components)),
        **_prefixed("first_stage_model.", _autoencoder(components)),
        **(
            _prefixed(OPEN_CLIP, _open_clip(components))
            if is_second
            else _prefixed(f"{CLIP}text_model.", _text_encoder(components))
        ),
        "betas": torch.zeros(1000),  # original files carry the noise schedule, too
    }
    return {name: weight.contiguous().clone() for name, weight in renamed.items()}


def _prefixed(prefix: str, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {prefix + name: weight for name, weight in weights.items()}


def _text_encoder(components: Components) -> dict[str, torch.Tensor]:
    weights = components.networks.text_encoder.state_dict()
    position_ids = torch.arange(components.num_tokens)[None]
    return {
        **{name.removeprefix("text_model."): weight for name, weight in weights.items()},
        "embeddings.position_ids": position_ids,
    }


def _open_clip(components: Components) -> dict[str, torch.Tensor]:
    """With one more layer and a projection, which Stable Diffusion 2 doesn't use."""
    weights = {
        name.removeprefix("text_model."): weight
        for name, weight in components.networks.text_encoder.state_dict().items()
    }
    renamed = {new: weights[old] for old, new in OPEN_CLIP_ENDS.items()}
    config = components.networks.text_encoder.config
    for index in range(config.num_hidden_layers + 1):
        ours = f"encoder.layers.{min(index, config.num_hidden_layers - 1)}."
        theirs = f"transformer.resblocks.{index}."
        for kind in ("weight", "bias"):
            for old, new in OPEN_CLIP_LAYER.items():
                renamed[f"{theirs}{new}.{kind}"] = weights[f"{ours}{old}.{kind}"]
            parts = [weights[f"{ours}self_attn.{part}_proj.{kind}"] for part in "qkv"]
            renamed[f"{theirs}attn.in_proj_{kind}"] = torch.cat(parts)
    width = config.hidden_size
    return renamed | {"text_projection": torch.rand(width, width), "logit_scale": torch.ones(())}


def _unet(components: Components) -> dict[str, torch.Tensor]:
    stride = components.networks.unet.config.layers_per_block + 1
    weights = components.networks.unet.state_dict()
    attended = {m[1] for name in weights if (m := re.match(r"up_blocks\.(\d+)\.attentions", name))}

    def rename(name: str) -> str:
        module, _, kind = name.rpartition(".")
        if module in UNET_ENDS:
            return f"{UNET_ENDS[module]}.{kind}"
        if m := re.match(r"down_blocks\.(\d+)\.(resnets|attentions)\.(\d+)\.(.*)", name):
            index = 1 + int(m[1]) * stride + int(m[3])
            return f"input_blocks.{index}.{_layer(m[2], m[4])}"
        if m := re.match(r"down_blocks\.(\d+)\.downsamplers\.0\.conv\.(.*)", name):
            return f"input_blocks.{(int(m[1]) + 1) * stride}.0.op.{m[2]}"
        if m := re.match(r"mid_block\.(resnets|attentions)\.(\d+)\.(.*)", name):
            index = 1 if m[1] == "attentions" else 2 * int(m[2])
            return f"middle_block.{index}.{_layer(m[1], m[3]).partition('.')[2]}"
        if m := re.match(r"up_blocks\.(\d+)\.(resnets|attentions)\.(\d+)\.(.*)", name):
            return f"output_blocks.{int(m[1]) * stride + int(m[3])}.{_layer(m[2], m[4])}"
        if m := re.match(r"up_blocks\.(\d+)\.upsamplers\.0\.conv\.(.*)", name):
            slot = 2 if m[1] in attended else 1
            return f"output_blocks.{(int(m[1]) + 1) * stride - 1}.{slot}.conv.{m[2]}"
        raise KeyError(name)

    return {rename(name): weight for name, weight in weights.items()}


def _layer(kind: str, rest: str) -> str:
    """A residual block is layer 0 of its block, attention layer 1."""
    if kind == "attentions":
        return f"1.{rest}"
    layer, _, what = rest.partition(".")
    return f"0.{UNET_RESNET[layer]}.{what}"


def _autoencoder(components: Components) -> dict[str, torch.Tensor]:
    weights = components.networks.vae.state_dict()
    last = len(components.networks.vae.config.block_out_channels) - 1
    return dict(_autoencoder_weight(name, weight, last) for name, weight in weights.items())


def _autoencoder_weight(name: str, weight: torch.Tensor, last: int) -> tuple[str, torch.Tensor]:
    name = name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
    name = re.sub(r"down_blocks\.(\d+)\.resnets\.", r"down.\1.block.", name)
    name = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0\.", r"down.\1.downsample.", name)
    name = re.sub(r"up_blocks\.(\d+)\.", lambda m: f"up.{last - int(m[1])}.", name)
    name = re.sub(r"(up\.\d+)\.resnets\.", r"\1.block.", name)
    name = re.sub(r"(up\.\d+)\.upsamplers\.0\.", r"\1.upsample.", name)
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
    if "mid_block.attentions.0." not in name:
        return name, weight
    before, _, layer = name.partition("mid_block.attentions.0.")
    module, _, kind = layer.rpartition(".")
    if weight.ndim == 2:
        weight = weight[:, :, None, None]
    return f"{before}mid.attn_1.{VAE_ATTENTION[module]}.{kind}", weight


def _attention_as_diffusers(weights: Weights) -> Weights:
    """The autoencoder's attention as trainers built on diffusers name it, as matrices."""
    names = {old: new for new, old in VAE_ATTENTION.items() if new != "group_norm"}
    renamed: Weights = {}
    for name, weight in weights.items():
        for old, new in names.items():
            if name.startswith(VAE) and f".attn_1.{old}." in name:
                name = name.replace(f".attn_1.{old}.", f".attn_1.{new}.")
                weight = weight[:, :, 0, 0].contiguous() if weight.ndim == 4 else weight
                break
        renamed[name] = weight
    return renamed


def _text_encoder_before_2023(weights: Weights) -> Weights:
    return {name.replace(f"{CLIP}text_model.", CLIP): weight for name, weight in weights.items()}


def _averaged_alone(weights: Weights) -> Weights:
    """The UNet as its running average (EMA) alone, whose names have no dots."""
    return {
        "model_ema." + name.removeprefix("model.").replace(".", "")
        if name.startswith(UNET)
        else name: weight
        for name, weight in weights.items()
    } | {"model_ema.decay": torch.zeros(()), "model_ema.num_updates": torch.zeros(())}


# How trainers and converters name the same weights.
NAMINGS: dict[str, Callable[[Weights], Weights]] = {
    "original": dict,
    "attention as diffusers": _attention_as_diffusers,
    "text encoder before 2023": _text_encoder_before_2023,
    "averaged": _averaged_alone,
}
