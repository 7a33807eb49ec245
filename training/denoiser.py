"""The text encoder and the UNet, trained together on precomputed latents.

What matters on a CPU: latents are encoded once, so a training step touches nothing but these two
networks; most weights sit where the picture is 4 x 4 or 2 x 2 and cost little; the whole caption
reaches every layer through the time embedding (`addition_embed_type="text"`), which is the
quickest way to tell a small network what to draw.
"""

import logging
import math
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderTiny, DDIMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from training import autoencoder, parallel, paths
from training.captions import MAX_TOKENS, Names, caption
from training.data import SIZE, Scene, Sprites, training_scene
from training.muon import Together, optimizers

log = logging.getLogger(__name__)

TEXT_WIDTH = 192
ADAMW_SHARE = 0.3
"""Of the learning rate, for all but the convolutions: at the full rate the text encoder's
activations grow without bound and drown the words."""
NOISE_SCHEDULE = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.02,
    "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}
"""Stable Diffusion's schedule but for `beta_end`, 0.02 in place of 0.012: at the last step 1.6 %
of the picture is left instead of 6.8 %, so that plain backgrounds take any colour, and every
noise scheduler still works, as they do not with an exactly noisy last step."""


@dataclass(frozen=True)
class Settings:
    minutes: float
    batch: int = 32
    """Pictures a step, in each process."""
    learning_rate: float = 1.5e-3
    ema: float = 0.999
    """Decay of the averaged weights a step; less at the start."""


class Denoiser(nn.Module):
    """The two networks that training changes."""

    def __init__(self, text_encoder: CLIPTextModel, unet: UNet2DConditionModel) -> None:
        super().__init__()
        self.text_encoder = text_encoder
        self.unet = unet

    def forward(self, latents: Tensor, steps: Tensor, tokens: Tensor) -> Tensor:
        """Velocity for noisy latents (n, c, 8, 8), time steps (n,), token ids (n, MAX_TOKENS)."""
        text = self.text_encoder(tokens).last_hidden_state
        predicted: Tensor = self.unet(latents, steps, text).sample
        return predicted


def build_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=3 * TEXT_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=MAX_TOKENS,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config)


def build_unet(widths: tuple[int, ...] = (128, 256, 256)) -> UNet2DConditionModel:
    """8 x 8, 4 x 4 and 2 x 2, with attention in the middle.

    At 2 x 2 a convolution connects every place with every other: that is where a word becomes a
    picture with a left and a right. Without it the words stay colours.
    """
    return UNet2DConditionModel(
        sample_size=SIZE // autoencoder.FACTOR,
        in_channels=autoencoder.CHANNELS,
        out_channels=autoencoder.CHANNELS,
        block_out_channels=widths,
        layers_per_block=1,
        down_block_types=("DownBlock2D",) * len(widths),
        up_block_types=("UpBlock2D",) * len(widths),
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4,
        addition_embed_type="text",
        addition_embed_type_num_heads=4,
        resnet_time_scale_shift="scale_shift",
        norm_num_groups=16,
    )


@dataclass(frozen=True)
class Encoded:
    """Scenes and their latents (n, c, 8, 8), bfloat16."""

    scenes: list[Scene]
    latents: Tensor


@torch.no_grad()
def encode(vae: AutoencoderTiny, sprites: Sprites, variants: int, seed: int = 0) -> Encoded:
    """`variants` random scenes of every thing."""
    rng = random.Random(seed)
    count = len(sprites.things)
    scenes = [training_scene(i, sprites.things, rng) for _ in range(variants) for i in range(count)]
    parts = []
    for start in range(0, len(scenes), 64):
        pictures = [sprites.render(scene) for scene in scenes[start : start + 64]]
        with torch.autocast("cpu", torch.bfloat16):
            parts.append(vae.encoder(autoencoder.to_tensor(pictures)).bfloat16())
    return Encoded(scenes, torch.cat(parts))


def alphas_cumprod() -> Tensor:
    cumulative: Tensor = DDIMScheduler(**NOISE_SCHEDULE).alphas_cumprod
    return cumulative


class Batches:
    """Latents, noise and captions for training, fresh each time."""

    def __init__(
        self, encoded: Encoded, names: list[Names], tokenizer: CLIPTokenizer, seed: int
    ) -> None:
        self.encoded, self.names, self.tokenizer = encoded, names, tokenizer
        self.rng = random.Random(seed)
        self.generator = torch.Generator().manual_seed(seed)
        self.alphas = alphas_cumprod()

    def _tokens(self, rows: list[int]) -> Tensor:
        scenes = [self.encoded.scenes[row] for row in rows]
        texts = [caption(self.names[scene.thing], scene, self.rng) for scene in scenes]
        tokens: Tensor = self.tokenizer(
            texts, padding="max_length", truncation=True, return_tensors="pt"
        ).input_ids
        return tokens

    def _steps(self, count: int) -> Tensor:
        """Time steps spread evenly over the batch, so that the loss is less noisy."""
        offset = torch.rand(1, generator=self.generator)
        spread = (torch.arange(count) + offset) / count
        return (spread * len(self.alphas)).long().clamp(max=len(self.alphas) - 1)

    def next(self, count: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Noisy latents, time steps, token ids, and the velocity to predict."""
        rows = self.rng.sample(range(len(self.encoded.scenes)), count)
        clean = self.encoded.latents[rows].float()
        steps = self._steps(count)
        noise = torch.randn(clean.shape, generator=self.generator)
        alpha = self.alphas[steps].view(-1, 1, 1, 1)
        noisy = alpha.sqrt() * clean + (1 - alpha).sqrt() * noise
        velocity = alpha.sqrt() * noise - (1 - alpha).sqrt() * clean
        return noisy, steps, self._tokens(rows), velocity


def learning_rate(settings: Settings, elapsed: float) -> float:
    """Up over 1 % of the time, level to the middle, then down to zero along a cosine."""
    share = min(1.0, elapsed / (60 * settings.minutes))
    warm = min(1.0, share / 0.01 + 0.02)
    decay = 0.5 * (1 + math.cos(math.pi * max(0.0, (share - 0.4) / 0.6)))
    return settings.learning_rate * warm * decay


class Training:
    """One run: the networks, their averages, the optimizer, and how far it has come."""

    def __init__(self, denoiser: Denoiser, settings: Settings, checkpoint: Path) -> None:
        self.denoiser, self.settings, self.checkpoint = denoiser, settings, checkpoint
        rate = settings.learning_rate
        self.optimizer = Together(optimizers(denoiser.parameters(), rate, ADAMW_SHARE))
        self.averaged = {k: v.detach().clone() for k, v in denoiser.state_dict().items()}
        self.elapsed, self.samples, self.count = 0.0, 0, 0
        if checkpoint.exists():
            self._load(torch.load(checkpoint, weights_only=True))

    def _load(self, state: dict[str, Any]) -> None:
        self.denoiser.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.averaged = state["averaged"]
        self.elapsed, self.samples, self.count = state["elapsed"], state["samples"], state["count"]

    def save(self) -> None:
        state = {
            "model": self.denoiser.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "averaged": self.averaged,
            "elapsed": self.elapsed,
            "samples": self.samples,
            "count": self.count,
        }
        paths.save_atomically(state, self.checkpoint)

    def step(self, batches: Batches) -> float:
        noisy, steps, tokens, velocity = batches.next(self.settings.batch)
        self.optimizer.set_learning_rate(learning_rate(self.settings, self.elapsed))
        # For so few tokens plain matrix products beat the fused attention.
        with sdpa_kernel(SDPBackend.MATH), torch.autocast("cpu", torch.bfloat16):
            predicted = self.denoiser(noisy, steps, tokens)
        loss = F.mse_loss(predicted.float(), velocity)
        loss.backward()
        self.elapsed = parallel.average_gradients(self.denoiser.parameters(), self.elapsed)
        torch.nn.utils.clip_grad_norm_(self.denoiser.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.count += 1
        self.samples += self.settings.batch * parallel.workers()
        self._average()
        return loss.item()

    @torch.no_grad()
    def _average(self, every: int = 4) -> None:
        if self.count % every:
            return
        decay = min(self.settings.ema, self.count / (self.count + 10)) ** every
        for name, value in self.denoiser.state_dict().items():
            if value.is_floating_point():
                self.averaged[name].lerp_(value, 1 - decay)

    def run(self, batches: Batches) -> None:
        """Until the time is used up, with a checkpoint every three minutes."""
        saved = tick = time.monotonic()
        smooth = 1.0
        while self.elapsed < 60 * self.settings.minutes:
            smooth += 0.02 * (self.step(batches) - smooth)
            now = time.monotonic()
            self.elapsed, tick = self.elapsed + now - tick, now
            if self.count % 50 == 0:
                log.info("denoiser %d samples %.0f s loss %.4f", self.samples, self.elapsed, smooth)
            if now - saved > 180 and parallel.rank() == 0:
                saved = now
                self.save()
        if parallel.rank() == 0:
            self.save()
