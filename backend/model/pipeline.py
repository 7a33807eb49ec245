"""Latent diffusion in single steps, for several images at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from diffusers.utils.torch_utils import randn_tensor

from backend.domain import Exactness, GenerationWarning
from backend.engine.protocols import Picture, Pixels
from backend.errors import NonFiniteOutput, Violation
from backend.model.adapters.adapter_set import AdapterSet
from backend.model.adapters.adapters import Adapters
from backend.model.batch import gather, scatter
from backend.model.checkpoint.components import Components
from backend.model.devices import move, one_torch_thread, settle_torch_threads
from backend.model.failures import is_device_lost, is_out_of_memory, naming_failures
from backend.model.lap import DeviceLap, Pace
from backend.model.noise_schedulers import NoiseSchedulers, predict_original, timesteps_of
from backend.model.picture.source import PictureEncoder, Source
from backend.model.picture.start import Start, begin
from backend.model.preview import PreviewProjector
from backend.model.prompts.chunks import Chunker
from backend.model.prompts.encoder import PromptEncoder, Reading
from backend.model.prompts.notes import PromptNotes
from backend.model.runtime.protocol import Runtime
from backend.model.safety import SafetyChecker
from backend.model.trajectory import Advance, LatentTrajectory
from backend.params import GenerationParams, ModelInfo
from backend.prompt_syntax import PromptSyntax


class LatentDiffusion:
    """A `DiffusionModel`: diffusers' StableDiffusionPipeline, split into steps.

    An image alone is bitwise equal to the pipeline's, with the same components, dtype and runtime.
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
        adapters: Adapters,
    ) -> None:
        self._info = info
        self.exactness = exactness
        self.components = components
        self.runtime = runtime
        self._noise_schedulers = noise_schedulers
        self._adapters = adapters
        read = info.abilities.read if info.abilities is not None else str
        self._chunker = Chunker(components.tokenizer, adapters.vectors, read)
        self._prompts = PromptEncoder(self._chunker, runtime)
        self._notes = PromptNotes(self._chunker)
        self._preview_projector = preview_projector
        self._safety_checker = safety_checker
        self._pictures = PictureEncoder(components.architecture, runtime)
        self._pace = Pace(runtime.device)
        self._num_threads = torch.get_num_threads()

    @property
    def info(self) -> ModelInfo:
        """Facts about the model, with the runtime's problems if there are any."""
        info, remark = self._adapters.describe(self._info), self.runtime.remark
        if not remark:
            return info
        return replace(info, runtime_reason=f"{info.runtime_reason}; {remark}")

    def check(self, params: GenerationParams) -> list[Violation]:
        """See `DiffusionModel.check`."""
        violation = self._noise_schedulers.violation(params.scheduler, params.num_inference_steps)
        return [] if violation is None else [violation]

    def warnings(self, params: GenerationParams) -> tuple[GenerationWarning, ...]:
        """See `DiffusionModel.warnings`."""
        notes = self._notes.warnings(params, self.info.abilities)
        return (*notes, *_strength_warnings(params))

    def num_chunks(self, params: GenerationParams) -> int:
        """See `DiffusionModel.num_chunks`."""
        if params.prompt_syntax is PromptSyntax.PLAIN:
            return 1
        texts = [params.prompt]
        if params.do_classifier_free_guidance:
            texts.append(params.negative_prompt)
        return max(len(self._chunker.split(text, params.prompt_syntax).chunks) for text in texts)

    def get_ready(self, params: GenerationParams) -> None:
        """See `DiffusionModel.get_ready`."""
        with naming_failures("There is no memory for these LoRAs."):
            self._runtime(self._adapters.used(params.loras))

    def bind(self) -> None:
        """See `DiffusionModel.bind`."""
        settle_torch_threads(self._num_threads)
        if self.runtime.device.type == "cuda":
            torch.cuda.set_device(self.runtime.device)

    def start_lap(self) -> DeviceLap | None:
        """See `DiffusionModel.start_lap`."""
        if self.runtime.device.type == "cpu":
            return None
        with naming_failures("The device ran out of memory."):
            return DeviceLap(self.runtime.device, lambda: self.runtime.num_captures)

    def encode(self, params: GenerationParams) -> Source:
        """See `DiffusionModel.encode`."""
        with naming_failures("There is no memory left to encode a picture."):
            return self._pictures.encode(params)

    def prepare(
        self, params: GenerationParams, index: int, source: Source | None = None
    ) -> LatentTrajectory:
        """Encode the prompts (cached) and draw the noise of image `index`, seed + index.

        Raises:
            OutOfMemory: not enough memory for another image.
        """
        with naming_failures("There is no memory left for another image."):
            noise_scheduler = self._noise_schedulers.create(
                params.scheduler, params.num_inference_steps
            )
            generator = torch.Generator("cpu").manual_seed(params.seed + index)
            start = self._start(params, source, noise_scheduler, generator)
            adapters = self._adapters.used(params.loras)
            return LatentTrajectory(
                seed=params.seed + index,
                guidance_scale=params.guidance_scale,
                prompt_embeds=self._encode(params, adapters),
                timesteps=timesteps_of(noise_scheduler)[start.first :],
                noise_scheduler=noise_scheduler,
                generator=generator,
                latents=start.latents,
                blend=start.blend,
                conditions=start.conditions,
                adapters=adapters,
            )

    def denoise_step(self, trajectories: Sequence[LatentTrajectory]) -> list[Exception | None]:
        """Advance every trajectory by one evaluation, all in one UNet call.

        Returns:
            One entry per trajectory: None, or the exception of its noise scheduler; such a
            trajectory is unchanged.

        Raises:
            OutOfMemory: nothing was committed; try again with fewer.
        """
        with naming_failures("The model ran out of memory while denoising."):
            rows = gather(trajectories)
            runtime = self._runtime(trajectories[0].adapters)
            predictions = runtime.denoise(rows.latents, rows.timesteps, rows.prompt_embeds)
            guided = scatter(predictions, trajectories)
            advances = [
                _advance(*one) for one in zip(trajectories, rows.model_inputs, guided, strict=True)
            ]
            self._pace.queued()
        return [
            _commit(trajectory, advance)
            for trajectory, advance in zip(trajectories, advances, strict=True)
        ]

    def decode(self, trajectory: LatentTrajectory) -> Picture:
        """Latents to pixels, including the safety checker; a flagged image is black.

        Raises:
            NonFiniteOutput: the image contains NaN or infinity.
            OutOfMemory: try again when less is running.
        """
        with naming_failures("The model ran out of memory while decoding."):
            is_sound = torch.isfinite(trajectory.latents).all()
            latents = trajectory.latents / self.components.architecture.vae_scaling_factor
            image = self.runtime.decode(latents)  # [1, 3, height, width]
            with one_torch_thread():
                is_sound = is_sound & torch.isfinite(image).all()
                pixels = _to_pixels(image)
            if not is_sound:  # checked last, since it waits for the GPU
                raise NonFiniteOutput("The model produced values that are not numbers.")
        return self._checked(pixels)

    def preview(self, trajectory: LatentTrajectory) -> Pixels:
        """A small approximation of the final image at the current step."""
        with naming_failures("There is no memory for a preview."), one_torch_thread():
            return self._preview_projector.project(self._predict_final(trajectory))

    def _checked(self, pixels: Pixels) -> Picture:
        checker = self._safety_checker
        if checker is None:
            return Picture(pixels, nsfw_detected=False)

        def flags() -> bool:
            with naming_failures("The safety checker ran out of memory."):
                return checker.flags(pixels)

        return Picture(pixels, nsfw_detected=flags if checker.runs_aside else flags())

    def _runtime(self, adapters: AdapterSet) -> Runtime:
        return self._adapters.runtime(adapters) if adapters else self.runtime

    def _encode(self, params: GenerationParams, adapters: AdapterSet) -> torch.Tensor:
        """Embeddings [1, tokens, hidden]; with guidance [2, tokens, hidden], uncond first."""
        version = self._adapters.embeddings_version
        reading = Reading(params.prompt_syntax, params.clip_skip, adapters, version)
        runtime = self._runtime(adapters)
        if not params.do_classifier_free_guidance:
            return self._prompts.encode(params.prompt, reading, runtime)
        return self._prompts.encode_pair(params.negative_prompt, params.prompt, reading, runtime)

    def _start(
        self,
        params: GenerationParams,
        source: Source | None,
        noise_scheduler: Any,
        generator: torch.Generator,
    ) -> Start:
        def draw() -> torch.Tensor:
            return self._noise(params.height, params.width, generator)

        if source is None and self.components.architecture.extra_channels:
            source = self._pictures.nothing(params.height, params.width)
        if source is None:
            return Start(draw() * noise_scheduler.init_noise_sigma)
        return begin(params, source, noise_scheduler, generator, draw)

    def _noise(self, height: int, width: int, generator: torch.Generator) -> torch.Tensor:
        architecture = self.components.architecture
        factor = architecture.vae_scale_factor
        shape = (1, architecture.latent_channels, height // factor, width // factor)
        noise: torch.Tensor = randn_tensor(shape, generator=generator, dtype=self.runtime.dtype)
        return move(noise, self.runtime.device)

    def _predict_final(self, trajectory: LatentTrajectory) -> torch.Tensor:
        """The final latents predicted at the current step: [1, channels, h, w]."""
        last_prediction = trajectory.last_prediction
        if last_prediction is None:
            return trajectory.model_input()
        alphas = self._noise_schedulers.alphas_cumprod
        nearest = min(max(round(last_prediction.timestep), 0), len(alphas) - 1)
        return predict_original(
            last_prediction.model_input,
            last_prediction.prediction,
            float(alphas[nearest]),
            self._noise_schedulers.prediction_type,
        )


def _strength_warnings(params: GenerationParams) -> Iterator[GenerationWarning]:
    if params.init_image is None and params.strength != 1.0:
        text = "strength has no effect without an init_image."
        yield GenerationWarning("strength", text, "NO_EFFECT")


def _advance(
    trajectory: LatentTrajectory, model_input: torch.Tensor, prediction: torch.Tensor
) -> Advance | Exception:
    try:
        return trajectory.advance(model_input, prediction)
    except Exception as error:
        if is_out_of_memory(error) or is_device_lost(error):
            raise
        return error


def _commit(trajectory: LatentTrajectory, advance: Advance | Exception) -> Exception | None:
    if isinstance(advance, Exception):
        return advance
    trajectory.commit(advance)
    return None


def _to_pixels(image: torch.Tensor) -> Pixels:
    """[1, 3, height, width] in -1 to 1 to uint8 [height, width, 3], rounded as diffusers does."""
    unit = (image[0] * 0.5 + 0.5).clamp(0, 1).float()
    return (unit * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().cpu().numpy()
