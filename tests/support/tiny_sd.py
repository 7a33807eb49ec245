"""Builds small, randomly initialised Stable Diffusion folders: the true layout, no hub, no wait."""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    PNDMScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
)

from backend.config import Settings
from backend.model.loader import load_model
from backend.model.pipeline import LatentDiffusion
from backend.model.trajectory import LatentTrajectory
from backend.params import GenerationParams

HIDDEN = 32
SD_SCHEDULE: dict[str, Any] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "clip_sample": False,
}


def build_tiny_sd(
    folder: Path,
    *,
    prediction_type: Literal["epsilon", "v_prediction", "sample"] = "epsilon",
    scheduler: Any = PNDMScheduler,
    schedule: dict[str, Any] | None = None,
    autoencoder: Literal["kl", "tiny"] = "kl",
    vae_scale_factor: int = 8,
    latent_channels: int = 4,
    tokens: int = 16,
    sample_size: int = 8,
    inpainting: bool = False,
    family: Literal["1", "2"] = "1",
    text_layers: int = 2,
    safety_checker: bool = False,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    variant: str | None = None,
) -> Path:
    """Write a tiny model to `folder` in diffusers layout, and return the folder.

    Args:
        prediction_type: what the UNet predicts.
        scheduler: class of the model's own noise scheduler.
        schedule: settings of it that differ from Stable Diffusion's.
        autoencoder: `AutoencoderKL` or `AutoencoderTiny`.
        vae_scale_factor: pixels per latent cell, a power of 2.
        latent_channels: of the latents.
        tokens: longest prompt, in tokens, start and end included.
        sample_size: native size in latent cells; times the factor, in pixels.
        inpainting: whether the UNet sees a mask and the masked picture, as well.
        family: 2 has OpenCLIP's text encoder, padding with "!", and linear projections.
        text_layers: of the text encoder.
        safety_checker: whether the checkpoint ships one; `flag_everything` makes it fire.
        seed: of the weights.
        dtype: of the weights on disk.
        variant: for example fp16: the infix of the weight files' names.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        tokenizer = _tokenizer(tokens, family)
        checker = StableDiffusionSafetyChecker(_vision_config()) if safety_checker else None
        pipeline = StableDiffusionPipeline(
            vae=_autoencoder(autoencoder, vae_scale_factor, latent_channels),
            text_encoder=_text_encoder(tokenizer, tokens, family, text_layers),
            tokenizer=tokenizer,
            unet=_unet(latent_channels, sample_size, inpainting, family),
            scheduler=scheduler.from_config(
                SD_SCHEDULE | {"prediction_type": prediction_type} | (schedule or {})
            ),
            safety_checker=checker,
            feature_extractor=_feature_extractor() if safety_checker else None,
            requires_safety_checker=safety_checker,
        )
    pipeline.to(dtype)
    pipeline.save_pretrained(folder, safe_serialization=True, variant=variant)
    if inpainting:  # as such models are published
        index = describe(folder) | {"_class_name": "StableDiffusionInpaintPipeline"}
        (folder / "model_index.json").write_text(json.dumps(index), encoding="utf-8")
    return folder


def load_tiny(folder: Path, **settings: Any) -> LatentDiffusion:
    """Load the folder through the real loader, in float32 by torch unless told otherwise.

    With one thread: two would wait for each other on a busy machine, thirty times longer than
    so small a network takes.
    """
    defaults: dict[str, Any] = {
        "dtype": "float32",
        "device": "cpu",
        "runtime": "torch",
        "num_threads": 1,
        "data_dir": folder.parent / "data",
    }
    return load_model(Settings(model=str(folder), **(defaults | settings)), lambda _: None)


def tiny_params(**changes: Any) -> GenerationParams:
    """A small request: 64 x 64, three steps, with guidance."""
    defaults: dict[str, Any] = {
        "prompt": "a red cat",
        "height": 64,
        "width": 64,
        "guidance_scale": 7.5,
        "num_inference_steps": 3,
        "seed": 3,
        "scheduler": "ddim",
        "model": "tiny",
    }
    return GenerationParams(**(defaults | changes))


def finish(model: LatentDiffusion, trajectory: LatentTrajectory) -> None:
    """Denoise one image alone to its end."""
    while trajectory.step_index < trajectory.num_evaluations:
        assert model.denoise_step([trajectory]) == [None]


def same(one: Any, other: Any) -> bool:
    """Whether two attributes of a noise scheduler are equal, tensors and lists included."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other)
    return bool(one == other)


def flag_everything(folder: Path) -> None:
    """Lower the thresholds of the folder's safety checker below every score."""
    checker = StableDiffusionSafetyChecker.from_pretrained(folder / "safety_checker")
    checker.concept_embeds_weights.data.fill_(-2.0)
    checker.save_pretrained(folder / "safety_checker")


def flag_nothing(folder: Path) -> None:
    """Raise the thresholds of the folder's safety checker above every score."""
    checker = StableDiffusionSafetyChecker.from_pretrained(folder / "safety_checker")
    checker.concept_embeds_weights.data.fill_(2.0)
    checker.special_care_embeds_weights.data.fill_(2.0)
    checker.save_pretrained(folder / "safety_checker")


def break_output(folder: Path) -> None:
    """Make the autoencoder answer with NaN."""
    from safetensors.torch import load_file, save_file

    path = folder / "vae" / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    last = next(name for name in sorted(weights) if name.startswith("decoder."))
    weights[last] = torch.full_like(weights[last], float("nan"))
    save_file(weights, path, metadata={"format": "pt"})


def _tokenizer(tokens: int, family: str) -> CLIPTokenizer:
    """Byte-level BPE over letters, digits and a few merges, as CLIP's but small."""
    letters = string.ascii_lowercase + string.digits + string.punctuation
    merges = ["r e", "re d</w>", "c a", "ca t</w>", "t h", "th e</w>"]
    vocabulary = [*letters, *(f"{letter}</w>" for letter in letters)]
    vocabulary += [merge.replace(" ", "") for merge in merges]
    vocabulary += ["<|startoftext|>", "<|endoftext|>"]
    pairs: Any = [tuple(merge.split()) for merge in merges]
    return CLIPTokenizer(
        vocab={token: index for index, token in enumerate(vocabulary)},
        merges=pairs,
        model_max_length=tokens,
        **({"pad_token": "!"} if family == "2" else {}),
    )


def _text_encoder(tokenizer: CLIPTokenizer, tokens: int, family: str, layers: int) -> CLIPTextModel:
    encoder: CLIPTextModel = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=HIDDEN,
            intermediate_size=2 * HIDDEN,
            num_hidden_layers=layers,
            num_attention_heads=4,
            hidden_act="gelu" if family == "2" else "quick_gelu",
            max_position_embeddings=tokens,
            projection_dim=HIDDEN,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    return encoder


def _unet(
    latent_channels: int, sample_size: int, inpainting: bool, family: str
) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=sample_size,
        in_channels=2 * latent_channels + 1 if inpainting else latent_channels,
        out_channels=latent_channels,
        block_out_channels=(32, 64),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=HIDDEN,
        attention_head_dim=(2, 4) if family == "2" else 4,
        use_linear_projection=family == "2",
        upcast_attention=family == "2",
        norm_num_groups=16,
    ).eval()


def _autoencoder(kind: str, factor: int, latent_channels: int) -> Any:
    levels = factor.bit_length()  # each level but the last doubles the size
    if kind == "tiny":
        return AutoencoderTiny(
            latent_channels=latent_channels,
            encoder_block_out_channels=(16,) * levels,
            decoder_block_out_channels=(16,) * levels,
            num_encoder_blocks=(1,) * levels,
            num_decoder_blocks=(1,) * levels,
        ).eval()
    return AutoencoderKL(
        latent_channels=latent_channels,
        block_out_channels=(8,) + (16,) * (levels - 1),
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        layers_per_block=1,
        norm_num_groups=4,
        sample_size=factor * 8,
    ).eval()


def _vision_config() -> CLIPConfig:
    return CLIPConfig(
        projection_dim=16,
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 1,
            "num_attention_heads": 4,
            "image_size": 32,
            "patch_size": 8,
            "projection_dim": 16,
        },
    )


def _feature_extractor() -> CLIPImageProcessorPil:
    return CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})


def describe(folder: Path) -> dict[str, Any]:
    """The folder's model_index.json."""
    found: dict[str, Any] = json.loads((folder / "model_index.json").read_text("utf-8"))
    return found
