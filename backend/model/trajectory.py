"""The state of one image during denoising."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from backend.model.adapters.adapter_set import AdapterSet
from backend.model.devices import UnawaitedMoves
from backend.model.noise_schedulers import fork, takes_generator
from backend.model.picture.blend import Blend


class LastPrediction(NamedTuple):
    """The UNet's last input and output for an image; both [1, channels, h, w]."""

    model_input: torch.Tensor
    prediction: torch.Tensor  # guidance applied
    timestep: float


class Advance(NamedTuple):
    """The state of a trajectory after the next step, not yet committed."""

    latents: torch.Tensor  # [1, channels, h, w]
    noise_scheduler: Any
    generator: torch.Generator
    last_prediction: LastPrediction


@dataclass(slots=True)
class LatentTrajectory:
    """The whole state of one image. Batches are built from these for every step."""

    # set once by prepare
    seed: int
    guidance_scale: float
    prompt_embeds: torch.Tensor  # [num_rows, tokens, hidden]: cond, or uncond and cond
    timesteps: Sequence[Any]  # one per evaluation, in the form of `timesteps_of`
    adapters: AdapterSet  # equal for all in a batch

    # changed by every denoise_step
    noise_scheduler: Any
    generator: torch.Generator
    latents: torch.Tensor  # [1, channels, h, w]
    step_index: int = 0
    last_prediction: LastPrediction | None = None

    # for inpainting, set once by prepare: `blend` for ordinary models, `conditions` for
    # inpainting models, whose UNet takes mask and picture as additional channels
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
        """The latents scaled as the UNet's input for `timestep`: [1, channels, h, w]."""
        scaled: torch.Tensor = self.noise_scheduler.scale_model_input(self.latents, self.timestep)
        return scaled

    def beside(self, model_input: torch.Tensor) -> torch.Tensor:
        """`model_input` with the additional channels of an inpainting model."""
        if self.conditions is None:
            return model_input
        return torch.cat([model_input, self.conditions], dim=1)

    def advance(self, model_input: torch.Tensor, prediction: torch.Tensor) -> Advance:
        """The state after a step with `prediction`; doesn't change this trajectory.

        Args:
            model_input: the UNet's input, [1, channels, h, w].
            prediction: the UNet's output with guidance applied, [1, channels, h, w].
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
        """Take over the state of `advance`."""
        self.latents = advance.latents
        self.noise_scheduler = advance.noise_scheduler
        self.generator = advance.generator
        self.last_prediction = advance.last_prediction
        self.step_index += 1
