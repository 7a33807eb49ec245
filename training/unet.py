"""Trains the UNet on precomputed latents and on the text encoder's sketches.

For speed on a CPU, latents are encoded once, and most weights are at the levels of 4 x 4 and 2 x 2,
where they are cheap. The sketch enters by cross-attention in the second layer at 8 x 8: by then
zero-padded convolutions have given every position a notion of where it is, and all later layers
have the sketch.
"""

import logging
from pathlib import Path
from typing import NamedTuple

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPTokenizer

from training import arithmetic, attention, sketches
from training.checkpoints import Checkpoints
from training.lessons import CaptionBatch, Source
from training.muon import CombinedOptimizer, optimizers
from training.schedule import Clock, Settings
from training.text_encoder import WIDTH as TEXT_WIDTH
from training.text_encoder import TextEncoder
from training.tokenizer import tokens_of

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

MILDNESS = 0.2
"""How far, late in training, what is predicted for a text goes from what is predicted for none.

So that the guidance of 7.5 that everyone uses by default works like 1.5, at which pictures are
clearest: the sketch decides nearly all, and more guidance overdraws it.
"""
LATE = 0.6
"""Share of the samples after which guidance is made mild."""
NOISIER = 0.75
"""Power that moves time steps towards the noise, where the sketch decides what is drawn."""
ASTRAY = 0.1
"""Weight of attention that looks elsewhere than it should."""
DECAY, EVERY = 0.999, 4
"""Of the averaged weights, a step; less at the start. Steps between two averagings."""
WIDTHS = (128, 256, 256)


def build(widths: tuple[int, ...] = WIDTHS) -> UNet2DConditionModel:
    """A UNet with levels 8 x 8, 4 x 4 and 2 x 2; at 2 x 2 a convolution sees all."""
    unet = UNet2DConditionModel(
        sample_size=attention.SIDE,
        in_channels=sketches.CHANNELS,
        out_channels=sketches.CHANNELS,
        block_out_channels=widths,
        layers_per_block=(2, *(1 for _ in widths[1:])),
        down_block_types=("CrossAttnDownBlock2D", *("DownBlock2D" for _ in widths[1:])),
        mid_block_type="UNetMidBlock2D",
        up_block_types=("UpBlock2D",) * len(widths),
        cross_attention_dim=sketches.WIDTH,
        encoder_hid_dim=TEXT_WIDTH,
        encoder_hid_dim_type="text_proj",
        attention_head_dim=attention.HEADS,  # diffusers' name for the number of heads
        resnet_time_scale_shift="scale_shift",
        norm_num_groups=16,
        use_linear_projection=True,
    )
    attention.prepare(unet)
    return unet


def with_text(unet: UNet2DConditionModel, encoder: TextEncoder) -> UNet2DConditionModel:
    """The same UNet, with the text encoder's hidden states as input instead of sketches."""
    unet.encoder_hid_proj = encoder.projection
    return unet


def alphas_cumprod() -> Tensor:
    cumulative: Tensor = DDIMScheduler(**NOISE_SCHEDULE).alphas_cumprod
    return cumulative


class Batch(NamedTuple):
    """Noisy latents, timesteps, sketch tokens, whether the text is not empty, target velocity."""

    noisy: Tensor
    steps: Tensor
    tokens: Tensor
    is_told: Tensor
    velocity: Tensor


class Reader:
    """Adds noise to latents, and encodes captions with the trained text encoder."""

    def __init__(self, encoder: TextEncoder, tokenizer: CLIPTokenizer) -> None:
        self.encoder = encoder.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.device = encoder.projection.weight.device
        self.alphas = alphas_cumprod().to(self.device)
        self.untold = self.read(tokens_of(tokenizer, [""]).to(self.device))

    @torch.no_grad()
    def read(self, tokens: Tensor) -> Tensor:
        with arithmetic.fastest(self.device):
            said: Tensor = self.encoder(tokens)
        return said.float()

    def _steps(self, count: int) -> Tensor:
        """Timesteps spread evenly over the batch to reduce variance, biased towards high noise."""
        places = torch.arange(count, device=self.device) + torch.rand(1, device=self.device)
        spread = (places / count) ** NOISIER
        return (spread * len(self.alphas)).long().clamp(max=len(self.alphas) - 1)

    def noised(self, told: CaptionBatch) -> Batch:
        clean = told.latents.float()
        steps, noise = self._steps(len(clean)), torch.randn_like(clean)
        alpha = self.alphas[steps].view(-1, 1, 1, 1)
        noisy = alpha.sqrt() * clean + (1 - alpha).sqrt() * noise
        velocity = alpha.sqrt() * noise - (1 - alpha).sqrt() * clean
        return Batch(noisy, steps, self.read(told.tokens), told.is_told, velocity)


class Averaged:
    """Exponential moving average of a network's weights."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.weights = {k: v.detach().clone() for k, v in network.state_dict().items()}

    @torch.no_grad()
    def update(self, steps: int) -> None:
        if steps % EVERY:
            return
        decay = min(DECAY, steps / (steps + 10)) ** EVERY
        current = self.network.state_dict()
        names = [name for name, value in self.weights.items() if value.is_floating_point()]
        torch._foreach_lerp_(
            [self.weights[name] for name in names], [current[name] for name in names], 1 - decay
        )

    def state_dict(self) -> dict[str, Tensor]:
        return self.weights

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        for name, value in state.items():
            self.weights[name].copy_(value)


class Training:
    """The state of one training run: UNet, averaged weights, optimizer and clock."""

    def __init__(
        self,
        unet: UNet2DConditionModel,
        settings: Settings,
        checkpoint: Path,
        *,
        on_gpu: bool = False,
    ) -> None:
        unet.encoder_hid_proj = nn.Identity()  # its input is sketches, not hidden states
        self.unet, self.settings = unet, settings
        self.watched = attention.watch(unet)
        self.optimizer = _optimizer(unet, settings.learning_rate, on_gpu=on_gpu)
        self.averaged, self.clock = Averaged(unet), Clock(settings)
        self.checkpoints = Checkpoints(
            checkpoint,
            {
                "model": unet,
                "averaged": self.averaged,
                "optimizer": self.optimizer,
                "clock": self.clock,
            },
            unet.device,
        )
        self.predict = torch.compile(self._predict) if on_gpu else self._predict

    def warm_up(self) -> None:
        """Compile, or find out that this device can't and go on without."""
        side, count = attention.SIDE, self.settings.batch
        noisy = torch.randn(count, sketches.CHANNELS, side, side, device=self.unet.device)
        steps = torch.arange(count, device=self.unet.device) % 1000
        tokens = sketches.to_tokens(torch.randn_like(noisy))
        try:
            for _ in range(3):
                velocity, astray = self.predict(noisy, steps, tokens)
                (velocity.square().mean() + astray).backward()
        except Exception:
            log.exception("unet: not compiled")
            self.predict = self._predict
        self.optimizer.zero_grad()

    def _predict(self, noisy: Tensor, steps: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """The predicted velocity and the attention loss."""
        with arithmetic.fastest(noisy.device):
            velocity = self.unet(noisy, steps, tokens, return_dict=False)[0]
        return velocity.float(), attention.astray(self.watched)

    def _target(self, batch: Batch, untold: Tensor) -> Tensor:
        """The target velocity.

        Late in training, for texts that are not empty, it is interpolated between the prediction
        without text and the true velocity.
        """
        if self.clock.share < LATE:
            return batch.velocity
        with torch.no_grad():
            tokens = untold.expand_as(batch.tokens)
            without, _ = self._predict(batch.noisy, batch.steps, tokens)
        mild = without.lerp(batch.velocity, MILDNESS)
        return torch.where(batch.is_told.view(-1, 1, 1, 1), mild, batch.velocity)

    def step(self, batch: Batch, untold: Tensor) -> tuple[Tensor, Tensor]:
        """Train on one batch; returns the velocity loss and the attention loss."""
        target = self._target(batch, untold)
        velocity, astray = self.predict(batch.noisy, batch.steps, batch.tokens)
        loss = F.mse_loss(velocity, target)
        self.clock.step(self.optimizer, loss + ASTRAY * astray, len(target))
        self.averaged.update(self.clock.steps)
        return loss.detach(), astray.detach()

    def run(self, lessons: Source, reader: Reader) -> None:
        smooth, batch = 1.0, self.settings.batch
        self.clock.resume()
        for told in lessons.batches(batch, self.clock.steps, reader.device):
            if self.clock.is_over():
                break
            loss, astray = self.step(reader.noised(told), reader.untold)
            if self.clock.steps % 10 == 0:
                smooth += 0.05 * (loss.item() - smooth)
            if self.clock.steps % 100 == 0:
                log.info("unet %s loss %.4f, attention %.4f", self.clock, smooth, astray)
            self.checkpoints.save_sometimes()
        self.checkpoints.save()


def _optimizer(
    unet: UNet2DConditionModel, rate: float, *, on_gpu: bool
) -> torch.optim.Optimizer | CombinedOptimizer:
    if on_gpu:
        return CombinedOptimizer(optimizers(unet, rate))
    return torch.optim.AdamW(unet.parameters(), rate, betas=(0.9, 0.99), fused=True)


def finished(checkpoint: Path) -> UNet2DConditionModel:
    """The UNet with a checkpoint's averaged weights; its input is sketches."""
    unet = build()
    unet.encoder_hid_proj = nn.Identity()
    unet.load_state_dict(torch.load(checkpoint, weights_only=True, map_location="cpu")["averaged"])
    return unet.eval()
