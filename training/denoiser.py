"""The UNet, trained on precomputed latents and on codes of what captions tell.

What matters on a CPU: latents are encoded once and nobody reads a text, so a training step touches
nothing but the UNet; most weights sit where the picture is 4 x 4 or 2 x 2 and cost little; the code
reaches every layer through the time embedding, which is the quickest way to tell a small network
what to draw.
"""

import logging
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from diffusers import AutoencoderTiny, DDIMScheduler, UNet2DConditionModel
from torch import Tensor
from torch.nn import functional as F

from training import arithmetic, autoencoder, paths
from training.captions import Caption, Names, caption
from training.clock import Clock, Schedule
from training.data import SIZE, Scene, Sprites, Thing, training_scene
from training.meanings import CODE, Meanings
from training.words import HEADS, TEXT_WIDTH, Words

log = logging.getLogger(__name__)

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


MILDNESS = 0.4
"""How far, late in training, what is predicted for a text goes from what is predicted for none.

So that the guidance of 7.5 that everyone uses by default works like 3, at which pictures are
clearest: what so small a model is told decides nearly all, and more guidance overdraws it.
"""
NOISIER = 0.75
"""Power that moves time steps towards the noise, where the code decides what is drawn."""
LEVEL, LATE = 0.4, 0.5
"""Shares of the time at the full learning rate, and after which guidance is made mild."""


@dataclass(frozen=True)
class Settings:
    minutes: float
    batch: int = 16
    """Pictures a step at first: many small steps find the way sooner than few exact ones."""
    late_batch: int = 32
    """Pictures a step once the learning rate falls."""
    learning_rate: float = 1e-3
    ema: float = 0.999
    """Decay of the averaged weights a step; less at the start."""


def build_unet(
    widths: tuple[int, ...] = (128, 256, 256), *, reads_text: bool = False
) -> UNet2DConditionModel:
    """8 x 8, 4 x 4 and 2 x 2; told codes, as class labels, or a text, from which it makes them.

    At 2 x 2 a convolution connects every place with every other: that is where a code becomes a
    picture with a left and a right. Without it the words stay colours.
    """
    told = {"addition_embed_type": "text"} if reads_text else {"class_embed_type": "identity"}
    return UNet2DConditionModel(
        sample_size=SIZE // autoencoder.FACTOR,
        in_channels=autoencoder.CHANNELS,
        out_channels=autoencoder.CHANNELS,
        block_out_channels=widths,
        layers_per_block=1,
        down_block_types=("DownBlock2D",) * len(widths),
        mid_block_type="UNetMidBlock2D",
        up_block_types=("UpBlock2D",) * len(widths),
        cross_attention_dim=TEXT_WIDTH,
        time_embedding_dim=CODE,
        addition_embed_type_num_heads=HEADS,
        resnet_time_scale_shift="scale_shift",
        norm_num_groups=16,
        **told,
    )


def with_words(unet: UNet2DConditionModel, words: Words) -> UNet2DConditionModel:
    """The same UNet, reading the text encoder's output in place of codes."""
    reading = build_unet(unet.config.block_out_channels, reads_text=True)
    pooling = {f"add_embedding.{name}": value for name, value in words.pooling.state_dict().items()}
    reading.load_state_dict(unet.state_dict() | pooling)
    return reading


@dataclass(frozen=True)
class Encoded:
    """Scenes and their latents (n, c, 8, 8), bfloat16."""

    scenes: list[Scene]
    latents: Tensor


def random_scenes(things: list[Thing], variants: int, seed: int = 0) -> list[Scene]:
    """`variants` random scenes of every thing, the same for the same seed."""
    rng = random.Random(seed)
    count = len(things)
    return [training_scene(index, things, rng) for _ in range(variants) for index in range(count)]


@torch.no_grad()
def encode(vae: AutoencoderTiny, sprites: Sprites, variants: int) -> Encoded:
    """`variants` random scenes of every thing, and their latents."""
    scenes = random_scenes(sprites.things, variants)
    parts = []
    for start in range(0, len(scenes), 64):
        pictures = [sprites.render(scene) for scene in scenes[start : start + 64]]
        with arithmetic.fastest():
            parts.append(vae.encoder(autoencoder.to_tensor(pictures)).bfloat16())
    return Encoded(scenes, torch.cat(parts))


def alphas_cumprod() -> Tensor:
    cumulative: Tensor = DDIMScheduler(**NOISE_SCHEDULE).alphas_cumprod
    return cumulative


class Batch(NamedTuple):
    """Noisy latents, time steps, codes, whether a code tells anything, and the velocity."""

    noisy: Tensor
    steps: Tensor
    codes: Tensor
    is_told: Tensor
    velocity: Tensor


class Batches:
    """Noisy latents and codes for training, fresh each time."""

    def __init__(self, encoded: Encoded, names: list[Names], meanings: Meanings, seed: int) -> None:
        self.encoded, self.names, self.meanings = encoded, names, meanings
        self.rng = random.Random(seed)
        self.generator = torch.Generator().manual_seed(seed)
        self.alphas = alphas_cumprod()
        self.nothing = meanings.rows([Caption()])
        self.untold: Tensor = meanings(self.nothing)

    def _told(self, rows: list[int]) -> Tensor:
        scenes = [self.encoded.scenes[row] for row in rows]
        return self.meanings.rows([caption(self.names, scene, self.rng) for scene in scenes])

    def _steps(self, count: int) -> Tensor:
        """Time steps spread over the batch, so that the loss is less noisy; more of them noisy."""
        offset = torch.rand(1, generator=self.generator)
        spread = ((torch.arange(count) + offset) / count) ** NOISIER
        return (spread * len(self.alphas)).long().clamp(max=len(self.alphas) - 1)

    def next(self, count: int) -> Batch:
        rows = self.rng.sample(range(len(self.encoded.scenes)), count)
        clean = self.encoded.latents[rows].float()
        steps = self._steps(count)
        noise = torch.randn(clean.shape, generator=self.generator)
        alpha = self.alphas[steps].view(-1, 1, 1, 1)
        noisy = alpha.sqrt() * clean + (1 - alpha).sqrt() * noise
        velocity = alpha.sqrt() * noise - (1 - alpha).sqrt() * clean
        told = self._told(rows)
        is_told = (told != self.nothing).any(dim=1)
        return Batch(noisy, steps, self.meanings(told), is_told, velocity)


class Training:
    """One run: the UNet, its average, the optimizer, and how far it has come."""

    def __init__(self, unet: UNet2DConditionModel, settings: Settings, checkpoint: Path) -> None:
        self.unet, self.settings, self.checkpoint = unet, settings, checkpoint
        rate = settings.learning_rate
        self.optimizer = torch.optim.AdamW(unet.parameters(), rate, betas=(0.9, 0.99), fused=True)
        self.averaged = {k: v.detach().clone() for k, v in unet.state_dict().items()}
        self.clock = Clock(Schedule(settings.minutes, rate, level=LEVEL))
        self.samples = 0
        if checkpoint.exists():
            self._load(torch.load(checkpoint, weights_only=True))

    def _load(self, state: dict[str, Any]) -> None:
        self.unet.load_state_dict(state["model"])
        self.averaged = state["averaged"]
        self.samples = state["samples"]
        if "optimizer" in state:  # recovered weights come without
            self.optimizer.load_state_dict(state["optimizer"])
            self.clock.load_state_dict(state["clock"])

    def save(self) -> None:
        state = {
            "model": self.unet.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "averaged": self.averaged,
            "clock": self.clock.state_dict(),
            "samples": self.samples,
        }
        paths.save_atomically(state, self.checkpoint)

    @property
    def batch(self) -> int:
        late = self.clock.share > LEVEL
        return self.settings.late_batch if late else self.settings.batch

    def _predict(self, batch: Batch, codes: Tensor) -> Tensor:
        with arithmetic.fastest():
            predicted = self.unet(batch.noisy, batch.steps, None, class_labels=codes).sample
        velocity: Tensor = predicted.float()
        return velocity

    def _target(self, batch: Batch, untold: Tensor) -> Tensor:
        """The velocity; late in training, where something is told, only part of the way to it."""
        if self.clock.share < LATE:
            return batch.velocity
        with torch.no_grad():
            without = self._predict(batch, untold.expand_as(batch.codes))
        mild = without.lerp(batch.velocity, MILDNESS)
        return torch.where(batch.is_told.view(-1, 1, 1, 1), mild, batch.velocity)

    def step(self, batches: Batches) -> float:
        batch = batches.next(self.batch)
        target = self._target(batch, batches.untold)
        loss = F.mse_loss(self._predict(batch, batch.codes), target)
        self.samples += len(batch.noisy)
        self.clock.step(self.optimizer, loss)
        self._average()
        return loss.item()

    @torch.no_grad()
    def _average(self, every: int = 4) -> None:
        count = self.clock.count
        if count % every:
            return
        decay = min(self.settings.ema, count / (count + 10)) ** every
        for name, value in self.unet.state_dict().items():
            self.averaged[name].lerp_(value, 1 - decay)

    def run(self, batches: Batches) -> None:
        """Until the time is used up, with a checkpoint every three minutes."""
        saved, smooth = time.monotonic(), 1.0
        while not self.clock.is_over():
            smooth += 0.01 * (self.step(batches) - smooth)
            if self.clock.count % 200 == 0:
                seconds = self.clock.elapsed
                log.info("denoiser %d samples %.0f s loss %.4f", self.samples, seconds, smooth)
            if time.monotonic() - saved > 180:
                saved = time.monotonic()
                self.save()
        self.save()
