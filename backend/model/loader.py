"""Loads and warms up the model that the settings name."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import diffusers
import torch
import transformers

from backend.config import Settings
from backend.domain import Exactness
from backend.engine.turns import Turns
from backend.errors import ModelFailed, NonFiniteOutput, OutOfMemory
from backend.model.adapters.adapters import Adapters
from backend.model.checkpoint.components import Components, LoadOptions
from backend.model.checkpoint.open import Checkpoint, open_checkpoint
from backend.model.checkpoint.source import Source, resolve_source
from backend.model.checkpoint.weights_on_disk import bytes_on_disk
from backend.model.choose_runtime import Choice, Wanted, choose_runtime, reading_dtype
from backend.model.devices import pick_device, pick_dtype, set_up
from backend.model.measure.subject import row_shape
from backend.model.memory import release
from backend.model.noise_schedulers import NoiseSchedulers
from backend.model.pipeline import LatentDiffusion
from backend.model.preview import (
    SD1_LATENT_RGB,
    SD1_SCALING_FACTOR,
    PreviewProjector,
    fit_projector,
    published_projector,
)
from backend.model.runtime.protocol import Runtime
from backend.model.safety import SafetyChecker
from backend.model_list import ModelEntry, Named
from backend.params import GenerationParams, ModelInfo

logger = logging.getLogger(__name__)

OnProgress = Callable[[str], None]
WARM_UP_STEPS = 1


def load_model(
    settings: Settings,
    on_progress: OnProgress,
    named: Named | None = None,
    turns: Turns | None = None,
) -> LatentDiffusion:
    """Load, check and warm up the model that `settings` name.

    Args:
        settings: model, revision, device, dtype, runtime and the like.
        on_progress: called with a short text for people, before each stage.
        named: the model's entry in the list of models, if there is one.
        turns: of the engines on the same device; taken while this computes there.

    Raises:
        ModelFailed: with one sentence that says what is wrong.
    """
    quieten_libraries()
    source, turns = resolve_source(settings), turns or Turns()
    if named is not None:
        source = replace(source, given_name=named.name)
    device = pick_device(settings)
    dtype = pick_dtype(settings, device)
    with turns:
        set_up(settings, device)
    on_progress(f"Loading {source.name}")
    reading = LoadOptions(
        device,
        reading_dtype(settings, device, dtype),
        settings.safety_checker,
        settings.allow_pickle,
    )
    checkpoint = open_checkpoint(source, reading, settings.data_dir)
    model = build_model(source, checkpoint, settings, dtype, named and named.entry)
    on_progress(f"Warming up {source.name}")
    try:
        with turns:
            warm_up(model)
    except RuntimeError as error:
        if model.runtime.name != "openvino":
            raise
        logger.exception("OpenVINO failed")
        raise ModelFailed(
            f"OpenVINO can't run {source.name} on this machine; the log says why. "
            "Set RUNTIME=torch."
        ) from error
    except NonFiniteOutput:
        raise ModelFailed(
            f"{source.name} produces values that are not numbers in {model.info.dtype}: "
            "set DTYPE=float32."
        ) from None
    except OutOfMemory:
        raise ModelFailed(
            f"{source.name} loads, but not even one picture of its native size fits into memory."
        ) from None
    checkpoint.components.release()
    release()  # a first start has allocated memory for reading and converting
    return model


def build_model(
    source: Source,
    checkpoint: Checkpoint,
    settings: Settings,
    dtype: torch.dtype,
    entry: ModelEntry | None = None,
) -> LatentDiffusion:
    """Combine components with runtime, noise schedulers, previews and safety checker.

    Raises:
        ModelFailed: this model or machine can't do what the settings ask for.
    """
    components = checkpoint.components
    choice = choose_runtime(Wanted(components, settings, dtype, checkpoint.revision))
    with ThreadPoolExecutor(1) as aside:
        # An error here shows up in warm_up too.
        aside.submit(_compile, components, choice.runtime)
        noise_schedulers = NoiseSchedulers(
            components.architecture.scheduler_class, components.architecture.scheduler_config
        )
        preview_projector = _preview_projector(checkpoint, choice.runtime)
    checker = None
    if components.safety_checker is not None:
        checker = SafetyChecker(components.safety_checker, components.feature_extractor)
    info = _describe(source, checkpoint, noise_schedulers, choice)
    adapters = Adapters(settings, components, choice.runtime)
    if entry is not None:
        info = replace(
            info,
            default_num_inference_steps=entry.steps,
            default_guidance_scale=entry.guidance_scale,
            default_loras=entry.default_loras,
        )
        _check_loras(source, adapters.describe(info))
    return LatentDiffusion(
        components=components,
        runtime=choice.runtime,
        noise_schedulers=noise_schedulers,
        preview_projector=preview_projector,
        safety_checker=checker,
        info=info,
        exactness=_exactness(settings, choice.runtime),
        adapters=adapters,
    )


def _check_loras(source: Source, info: ModelInfo) -> None:
    for lora in info.default_loras:
        if lora.name not in info.loras:
            reason = info.refused_adapters.get(lora.name, "there is none of this name in LORA_DIR.")
            raise ModelFailed(f"{source.name} can't be loaded. Its LoRA {lora.name}: {reason}")


def expected_bytes(settings: Settings) -> int:
    """A guess of the memory that the weights will take; 0 if nothing is known of them."""
    try:
        source = resolve_source(settings)
        half = pick_dtype(settings, pick_device(settings)) == torch.float16
    except ModelFailed:
        return 0  # loading it tells why
    return bytes_on_disk(source, half=half, allow_pickle=settings.allow_pickle)


def _compile(components: Components, runtime: Runtime) -> None:
    """Compile the networks for one guided image of native size, if the runtime compiles."""
    shape = row_shape(components, *components.architecture.native_size)
    runtime.warm(2, shape.latents, shape.prompt_embeds)


def warm_up(model: LatentDiffusion) -> None:
    """Generate one image of native size, so that the first request is not slow.

    Raises:
        NonFiniteOutput: the model does not work in this dtype.
        OutOfMemory: not even one image fits into memory.
    """
    info = model.info
    params = GenerationParams(
        prompt="",
        height=info.native_height,
        width=info.native_width,
        guidance_scale=7.5,
        num_inference_steps=WARM_UP_STEPS,
        seed=0,
        scheduler="ddim",
        model=info.name,
    )
    trajectory = model.prepare(params, 0)
    for _ in range(trajectory.num_evaluations):
        model.denoise_step([trajectory])
    model.preview(trajectory)
    model.decode(trajectory)


def _preview_projector(checkpoint: Checkpoint, runtime: Runtime) -> PreviewProjector:
    architecture = checkpoint.components.architecture
    is_sd1 = (
        architecture.vae_class == "AutoencoderKL"
        and architecture.latent_channels == len(SD1_LATENT_RGB)
        and architecture.vae_scaling_factor == SD1_SCALING_FACTOR
    )
    if is_sd1:
        return published_projector()
    return checkpoint.cache.load_projector() or _fit_projector(checkpoint, runtime)


def _fit_projector(checkpoint: Checkpoint, runtime: Runtime) -> PreviewProjector:
    architecture = checkpoint.components.architecture

    def decode(latents: torch.Tensor) -> torch.Tensor:
        scaled = (latents / architecture.vae_scaling_factor).to(runtime.device, runtime.dtype)
        return runtime.decode(scaled)

    factor = architecture.vae_scale_factor
    height, width = (side // factor for side in architecture.native_size)
    projector = fit_projector(decode, architecture.latent_channels, factor, (height, width))
    checkpoint.cache.save_projector(projector)
    return projector


def _describe(
    source: Source, checkpoint: Checkpoint, noise_schedulers: NoiseSchedulers, choice: Choice
) -> ModelInfo:
    architecture, runtime = checkpoint.components.architecture, choice.runtime
    height, width = architecture.native_size
    return ModelInfo(
        name=source.name,
        source=source.shown,
        revision=checkpoint.revision,
        num_parameters=architecture.num_parameters,
        native_height=height,
        native_width=width,
        size_multiple=architecture.size_multiple,
        default_scheduler=noise_schedulers.default,
        schedulers=noise_schedulers.names,
        device=str(runtime.device),
        dtype=str(runtime.dtype).removeprefix("torch."),
        runtime=runtime.description,
        runtime_reason=choice.reason,
        note=source.note,
        num_text_layers=architecture.num_text_layers,
        abilities=checkpoint.abilities,
        license=checkpoint.card.license,
        figures=checkpoint.card.figures,
    )


def _exactness(settings: Settings, runtime: Runtime) -> Exactness:
    """The configured exactness; `auto` is certified on a CPU, tolerant elsewhere.

    The scheduler enforces it with the row counts found by `backend.model.measure.certify`.
    """
    if settings.exactness != "auto":
        return Exactness(settings.exactness)
    return Exactness.CERTIFIED if runtime.device.type == "cpu" else Exactness.TOLERANT


def quieten_libraries() -> None:
    """No progress bars; of their logs errors only, through the handler of all others."""
    for log in (diffusers.utils.logging, transformers.logging):
        log.set_verbosity_error()
        log.disable_default_handler()
        log.enable_propagation()
        log.disable_progress_bar()
