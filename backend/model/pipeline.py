"""Latent diffusion, step by step and over many images at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from diffusers.utils.torch_utils import randn_tensor

from backend.domain import Exactness, GenerationWarning
from backend.engine.protocols import Picture, Pixels
from backend.errors import NonFiniteOutput, OutOfMemory, Violation
from backend.model.batch import gather, scatter
from backend.model.checkpoint.components import Components
from backend.model.devices import one_torch_thread, settle_torch_threads
from backend.model.memory import is_out_of_memory
from backend.model.noise_schedulers import NoiseSchedulers, predict_original, timesteps_of
from backend.model.preview import PreviewProjector
from backend.model.prompts import PromptEncoder
from backend.model.runtime.protocol import Runtime
from backend.model.safety import SafetyChecker
from backend.model.trajectory import Advance, LatentTrajectory
from backend.params import GenerationParams, ModelInfo


class LatentDiffusion:
    """A `DiffusionModel`: what diffusers' StableDiffusionPipeline does, cut into steps.

    An image alone is bit for bit the pipeline's, given the same components, dtype and runtime.
    """

    def __init__(
        self,
        components: Components,
        runtime: Runtime,
        noise_schedulers: NoiseSchedulers,
        preview_projector: PreviewProjector,
        safety_checker: SafetyChecker | None,
        info: ModelInfo,
        exactness: Exactness,
    ) -> None:
        self.info = info
        self.exactness = exactness
        self.components = components
        self.runtime = runtime
        self._noise_schedulers = noise_schedulers
        self._prompts = PromptEncoder(components.tokenizer, runtime)
        self._preview_projector = preview_projector
        self._safety_checker = safety_checker

    def check(self, params: GenerationParams) -> list[Violation]:
        """See `DiffusionModel.check`."""
        violation = self._noise_schedulers.violation(params.scheduler, params.num_inference_steps)
        return [] if violation is None else [violation]

    def warnings(self, params: GenerationParams) -> tuple[GenerationWarning, ...]:
        """See `DiffusionModel.warnings`."""
        if params.do_classifier_free_guidance or not params.negative_prompt:
            texts = {"prompt": params.prompt, "negative_prompt": params.negative_prompt}
            return tuple(self._cut_warnings(texts))
        no_effect = GenerationWarning(
            "negative_prompt",
            "The negative prompt has no effect: guidance_scale must be above 1 for that.",
            "NO_EFFECT",
        )
        return (*self._cut_warnings({"prompt": params.prompt}), no_effect)

    def bind(self) -> None:
        """See `DiffusionModel.bind`."""
        settle_torch_threads()

    def prepare(self, params: GenerationParams, index: int) -> LatentTrajectory:
        """Encode the prompts (cached) and draw the noise of image `index`, seed + index.

        Raises:
            OutOfMemory: there is none for another image.
        """
        with _naming_out_of_memory("There is no memory left for another image."):
            noise_scheduler = self._noise_schedulers.create(
                params.scheduler, params.num_inference_steps
            )
            generator = torch.Generator("cpu").manual_seed(params.seed + index)
            noise = self._noise(params.height, params.width, generator)
            return LatentTrajectory(
                seed=params.seed + index,
                guidance_scale=params.guidance_scale,
                prompt_embeds=self._encode(params),
                timesteps=timesteps_of(noise_scheduler),
                noise_scheduler=noise_scheduler,
                generator=generator,
                latents=noise * noise_scheduler.init_noise_sigma,
            )

    def denoise_step(self, trajectories: Sequence[LatentTrajectory]) -> list[Exception | None]:
        """Advance every trajectory by one evaluation, all in one UNet call.

        Returns:
            One entry per trajectory: None, or what its noise scheduler raised; such a
            trajectory stays where it was.

        Raises:
            OutOfMemory: nothing was committed; try again with fewer.
        """
        with _naming_out_of_memory("The model ran out of memory while denoising."):
            rows = gather(trajectories)
            predictions = self.runtime.denoise(rows.latents, rows.timesteps, rows.prompt_embeds)
            guided = scatter(predictions, trajectories)
            advances = [
                _advance(*one) for one in zip(trajectories, rows.model_inputs, guided, strict=True)
            ]
        return [
            _commit(trajectory, advance)
            for trajectory, advance in zip(trajectories, advances, strict=True)
        ]

    def decode(self, trajectory: LatentTrajectory) -> Picture:
        """Latents to pixels, safety checker included; a flagged picture is black.

        Raises:
            NonFiniteOutput: instead of a black picture.
            OutOfMemory: try again when less is running.
        """
        with _naming_out_of_memory("The model ran out of memory while decoding."):
            _check_finite(trajectory.latents)
            latents = trajectory.latents / self.components.architecture.vae_scaling_factor
            image = self.runtime.decode(latents)  # [1, 3, height, width]
            with one_torch_thread():
                _check_finite(image)
                pixels = _to_pixels(image)
            if self._safety_checker is not None and self._safety_checker.flags(pixels):
                return Picture(np.zeros_like(pixels), nsfw_detected=True)
            return Picture(pixels, nsfw_detected=False)

    def preview(self, trajectory: LatentTrajectory) -> Pixels:
        """A small approximate picture of what the trajectory is heading for."""
        with one_torch_thread():
            return self._preview_projector.project(self._foresee(trajectory))

    def _encode(self, params: GenerationParams) -> torch.Tensor:
        """[1, tokens, hidden], or [2, tokens, hidden] with guidance: uncond first."""
        cond = self._prompts.encode(params.prompt)
        if not params.do_classifier_free_guidance:
            return cond
        return torch.cat([self._prompts.encode(params.negative_prompt), cond])

    def _cut_warnings(self, texts: Mapping[str, str]) -> Iterator[GenerationWarning]:
        for field, text in texts.items():
            unread = self._prompts.unread(text)
            if unread:
                yield GenerationWarning(
                    field,
                    f"Only the first {self._prompts.num_read} tokens of the "
                    f"{field.replace('_', ' ')} were read; this was cut: “{unread}”.",
                    "PROMPT_CUT",
                )

    def _noise(self, height: int, width: int, generator: torch.Generator) -> torch.Tensor:
        architecture = self.components.architecture
        factor = architecture.vae_scale_factor
        shape = (1, architecture.latent_channels, height // factor, width // factor)
        noise: torch.Tensor = randn_tensor(
            shape, generator=generator, device=self.runtime.device, dtype=self.runtime.dtype
        )
        return noise

    def _foresee(self, trajectory: LatentTrajectory) -> torch.Tensor:
        """The finished latents as of now: [1, channels, h, w]."""
        glimpse = trajectory.glimpse
        if glimpse is None:
            return trajectory.model_input()
        alphas = self._noise_schedulers.alphas_cumprod
        nearest = min(max(round(glimpse.timestep), 0), len(alphas) - 1)
        return predict_original(
            glimpse.model_input,
            glimpse.prediction,
            float(alphas[nearest]),
            self._noise_schedulers.prediction_type,
        )


def _advance(
    trajectory: LatentTrajectory, model_input: torch.Tensor, prediction: torch.Tensor
) -> Advance | Exception:
    try:
        return trajectory.advance(model_input, prediction)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        return error


def _commit(trajectory: LatentTrajectory, advance: Advance | Exception) -> Exception | None:
    if isinstance(advance, Exception):
        return advance
    trajectory.commit(advance)
    return None


def _check_finite(tensor: torch.Tensor) -> None:
    if not torch.isfinite(tensor).all():
        raise NonFiniteOutput("The model produced values that are not numbers.")


def _to_pixels(image: torch.Tensor) -> Pixels:
    """[1, 3, height, width] in -1 to 1 to uint8 [height, width, 3], rounded as diffusers does."""
    unit = (image[0] * 0.5 + 0.5).clamp(0, 1).cpu().float()
    return (unit * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()


@contextmanager
def _naming_out_of_memory(text: str) -> Iterator[None]:
    try:
        yield
        return
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    # Outside of the except clause: no traceback keeps the failed step's tensors alive.
    raise OutOfMemory(text)
