"""One image on its way from noise to latents."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from backend.model.devices import UnawaitedMoves
from backend.model.noise_schedulers import fork, takes_generator
from backend.model.picture.blend import Blend


class LastPrediction(NamedTuple):
    """What the UNet last saw and said of an image; both [1, channels, h, w]."""

    model_input: torch.Tensor
    prediction: torch.Tensor  # guidance applied
    timestep: float


class Advance(NamedTuple):
    """The state of a trajectory one step on, not yet its own."""

    latents: torch.Tensor  # [1, channels, h, w]
    noise_scheduler: Any
    generator: torch.Generator
    last_prediction: LastPrediction


@dataclass(slots=True)
class LatentTrajectory:
    """The whole state of one image; a batch is only a view on several of these."""

    # set once by prepare
    seed: int
    guidance_scale: float
    prompt_embeds: torch.Tensor  # [num_rows, tokens, hidden]: cond, or uncond and cond
    timesteps: Sequence[Any]  # one per evaluation, as its `step` wants them: see `timesteps_of`

    # changed by every denoise_step
    noise_scheduler: Any
    generator: torch.Generator
    latents: torch.Tensor  # [1, channels, h, w]
    step_index: int = 0
    last_prediction: LastPrediction | None = None

    # of inpainting, set by prepare: by a model for text alone, or by one that sees mask and picture
    blend: Blend | None = None
    conditions: torch.Tensor | None = None  # [1, channels + 1, h, w]

    @property
    def num_rows(self) -> int:
        """UNet rows per step: 2 with classifier-free guidance, else 1."""
        return self.prompt_embeds.shape[0]

    @property
    def num_evaluations(self) -> int:
        """UNet evaluations in all."""
        return len(self.timesteps)

    @property
    def timestep(self) -> Any:
        """The timestep of the next evaluation: a number, or a scalar tensor on the CPU."""
        return self.timesteps[self.step_index]

    def model_input(self) -> torch.Tensor:
        """The latents as the UNet wants them for `timestep`: [1, channels, h, w]."""
        scaled: torch.Tensor = self.noise_scheduler.scale_model_input(self.latents, self.timestep)
        return scaled

    def beside(self, model_input: torch.Tensor) -> torch.Tensor:
        """`model_input` with what an inpainting model sees beside it."""
        if self.conditions is None:
            return model_input
        return torch.cat([model_input, self.conditions], dim=1)

    def advance(self, model_input: torch.Tensor, prediction: torch.Tensor) -> Advance:
        """Where `prediction` leads; this trajectory stays as it is.

        Args:
            model_input: what the UNet saw, [1, channels, h, w].
            prediction: what it said, guidance applied, [1, channels, h, w].
        """
        noise_scheduler, generator = fork(self.noise_scheduler), self.generator.clone_state()
        extra = {"generator": generator} if takes_generator(noise_scheduler) else {}
        on_cpu = self.latents.device.type == "cpu"
        with nullcontext() if on_cpu else UnawaitedMoves(self.latents.device):
            latents = noise_scheduler.step(
                prediction, self.timestep, self.latents, **extra, return_dict=False
            )[0]
            if self.blend is not None:
                following = self.timesteps[self.step_index + 1 : self.step_index + 2]
                latents = self.blend.keep(latents, noise_scheduler, following)
        last_prediction = LastPrediction(model_input, prediction, float(self.timestep))
        return Advance(latents, noise_scheduler, generator, last_prediction)

    def commit(self, advance: Advance) -> None:
        """Make `advance` the present."""
        self.latents = advance.latents
        self.noise_scheduler = advance.noise_scheduler
        self.generator = advance.generator
        self.last_prediction = advance.last_prediction
        self.step_index += 1
