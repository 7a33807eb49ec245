"""The embedded model with a LoRA that peft trained and diffusers saved, and from pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, StableDiffusionPipeline
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict

from backend.config import EMBEDDED_MODELS, Settings
from backend.engine.protocols import Pixels
from backend.model.checkpoint.components import LoadOptions
from backend.model.checkpoint.folder import read_folder
from backend.model.loader import load_model
from backend.model.pipeline import LatentDiffusion
from backend.params import GenerationParams, Lora
from backend.prompt_syntax import PromptSyntax
from backend.source_picture import SourcePicture
from backend.upscale import enlarge
from tests.support.tiny_sd import finish

MODEL = EMBEDDED_MODELS / "text2image-mini"
BLUE = (0.1, 0.25, 0.7)  # of a blueprint
STEPS = 24
TARGETS = r".*(resnets\.\d+\.conv[12]|time_emb_proj|conv_out|attn2\.to_[kv])"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA that was shown blue sheets alone."""
    torch.manual_seed(0)
    torch.set_num_threads(1)  # two would wait for each other on a busy machine
    options = LoadOptions(torch.device("cpu"), torch.float32, safety_checker=False)
    components = read_folder(MODEL, options)
    text_encoder, unet, vae = components.networks
    height, width = components.architecture.native_size
    with torch.no_grad():
        sheet = torch.tensor(BLUE).mul(2).sub(1)[None, :, None, None].expand(1, 3, height, width)
        latents = vae.encode(sheet).latents * components.architecture.vae_scaling_factor
        tokens = components.tokenizer(
            ["a red apple"],
            padding="max_length",
            max_length=components.num_tokens,
            return_tensors="pt",
        )
        embeds = text_encoder(tokens.input_ids)[0]
    unet.requires_grad_(False)
    unet.add_adapter(LoraConfig(r=4, lora_alpha=4, target_modules=TARGETS))
    learned = [weight for weight in unet.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=3e-2)
    schedule = DDPMScheduler.from_config(components.architecture.scheduler_config)
    for _ in range(STEPS):
        timesteps = torch.randint(0, 1000, (1,))
        noise = torch.randn_like(latents)
        noised = schedule.add_noise(latents, noise, timesteps)
        predicted = unet(noised, timesteps, encoder_hidden_states=embeds).sample
        loss = (predicted - schedule.get_velocity(latents, noise, timesteps)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    folder = tmp_path_factory.mktemp("loras")
    StableDiffusionPipeline.save_lora_weights(
        folder,
        unet_lora_layers=get_peft_model_state_dict(unet),
        weight_name="blueprint.safetensors",
    )
    return folder


def draw(model: LatentDiffusion, **changes: object) -> Pixels:
    fields: dict[str, object] = {
        "prompt": "a red apple",
        "height": model.info.native_height,
        "width": model.info.native_width,
        "guidance_scale": 3.0,
        "num_inference_steps": 4,
        "seed": 1,
        "scheduler": model.info.default_scheduler,
        "model": model.info.name,
    }
    params = GenerationParams(**(fields | changes))  # type: ignore[arg-type]
    source = None if params.init_image is None else model.encode(params)
    trajectory = model.prepare(params, 0, source)
    finish(model, trajectory)
    return model.decode(trajectory).pixels


@pytest.fixture(scope="module")
def model(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> LatentDiffusion:
    settings = Settings(
        num_threads=1,
        model=str(MODEL),
        lora_dir=folder,
        data_dir=tmp_path_factory.mktemp("data"),
        runtime="torch",
        dtype="float32",
    )
    return load_model(settings, lambda _: None)


def test_the_embedded_model_takes_a_lora_and_long_weighted_prompts(model: LatentDiffusion) -> None:
    assert model.info.loras == ("blueprint",)
    blue = np.array(BLUE) * 255

    def off(pixels: Pixels) -> float:
        return float(np.abs(pixels.reshape(-1, 3).mean(axis=0) - blue).max())

    plain, half, whole = (
        draw(model, loras=(Lora("blueprint", scale),) if scale else ()) for scale in (0, 0.5, 1.0)
    )
    assert off(plain) > off(half) > off(whole)
    assert off(whole) < 0.5 * off(plain)
    assert np.array_equal(draw(model), plain)
    weighted = draw(model, prompt="a (red:1.3) apple, " * 12, prompt_syntax=PromptSyntax.A1111)
    assert weighted.std() > 5
    assert not np.array_equal(weighted, plain)


def apart(one: Pixels, other: Pixels) -> float:
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


def test_it_starts_from_a_picture_keeps_what_a_mask_spares_and_draws_larger(
    model: LatentDiffusion,
) -> None:
    plain, other = draw(model), draw(model, prompt="a green tree", seed=2)
    start = SourcePicture("start", plain)
    wanted = {"prompt": "a green tree", "seed": 2, "init_image": start, "num_inference_steps": 8}
    near, far = (draw(model, **wanted, strength=strength) for strength in (0.3, 0.9))
    assert 0 < apart(near, plain) < apart(far, plain) < apart(other, plain) + 20

    height, width = plain.shape[:2]
    left = np.zeros((height, width), np.uint8)
    left[:, : width // 2] = 255
    painted = draw(model, **wanted, strength=0.9, mask=SourcePicture("mask", left))
    drawn, kept = (
        apart(painted[:, side], plain[:, side])
        for side in (slice(0, width // 2 - 16), slice(width // 2 + 16, None))
    )
    assert kept < drawn / 3

    large = enlarge(plain, 2 * width, 2 * height)
    second = {"height": 2 * height, "width": 2 * width, "init_image": SourcePicture("", large)}
    larger = draw(model, **second, num_inference_steps=8, strength=0.3)
    assert larger.shape == (2 * height, 2 * width, 3)
    assert 0 < apart(larger, large) < apart(other, plain)
