"""From settings to a model that is ready to draw."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import diffusers
import torch
import transformers

from backend.config import Settings
from backend.domain import Exactness, GenerationParams, ModelInfo
from backend.errors import ModelFailed, NonFiniteOutput, OutOfMemory
from backend.model.checkpoint import Reading, read_folder
from backend.model.components import Components
from backend.model.devices import pick_device, pick_dtype, set_up
from backend.model.fingerprint import fingerprint
from backend.model.hub import fetch
from backend.model.memory import is_out_of_memory
from backend.model.noise_schedulers import NoiseSchedulers
from backend.model.pipeline import LatentDiffusion
from backend.model.preview import (
    SD1_LATENT_RGB,
    SD1_SCALING_FACTOR,
    PreviewProjector,
    fit_projector,
    published_projector,
)
from backend.model.runtime import Runtime
from backend.model.runtimes import Choice, Wanted, choose_runtime, reading_dtype
from backend.model.safety import SafetyChecker
from backend.model.single_file import read_file
from backend.model.sources import Kind, Source, resolve_source

logger = logging.getLogger(__name__)

OnProgress = Callable[[str], None]
WARM_UP_STEPS = 1


class Checkpoint(NamedTuple):
    """What was read, and which version of it."""

    components: Components
    revision: str


def load_model(settings: Settings, on_progress: OnProgress) -> LatentDiffusion:
    """Load, check and warm up the model that `settings` name.

    Args:
        settings: model, revision, device, dtype, runtime and the like.
        on_progress: told in a few words what is being done, for people.

    Raises:
        ModelFailed: with one sentence that says what is wrong.
    """
    _quieten_libraries()
    source = resolve_source(settings)
    device = pick_device(settings)
    dtype = pick_dtype(settings, device)
    set_up(settings, device)
    on_progress(f"Loading {source.name}")
    checkpoint = _read(
        source,
        Reading(
            device,
            reading_dtype(settings, device, dtype),
            settings.safety_checker,
            settings.allow_pickle,
        ),
    )
    model = build_model(source, checkpoint, settings, dtype, on_progress)
    on_progress(f"Warming up {source.name}")
    try:
        warm_up(model)
    except NonFiniteOutput:
        raise ModelFailed(
            f"{source.name} produces values that are not numbers in {model.info.dtype}: "
            "set DTYPE=float32."
        ) from None
    except OutOfMemory:
        raise ModelFailed(
            f"{source.name} loads, but not even one picture of its native size fits into memory."
        ) from None
    return model


def build_model(
    source: Source,
    checkpoint: Checkpoint,
    settings: Settings,
    dtype: torch.dtype,
    on_progress: OnProgress,
) -> LatentDiffusion:
    """Put runtime, noise schedulers, previews and safety checker around loaded components.

    Raises:
        ModelFailed: the settings ask for what this model or machine can't do.
    """
    components = checkpoint.components
    noise_schedulers = NoiseSchedulers(components.scheduler_class, components.scheduler_config)
    wanted = Wanted(components, settings, dtype, checkpoint.revision)
    choice = choose_runtime(wanted, on_progress)
    checker = None
    if components.safety_checker is not None:
        checker = SafetyChecker(components.safety_checker, components.feature_extractor)
    return LatentDiffusion(
        components=components,
        runtime=choice.runtime,
        noise_schedulers=noise_schedulers,
        preview_projector=_preview_projector(components, choice.runtime),
        safety_checker=checker,
        info=_describe(source, checkpoint, noise_schedulers, choice),
        exactness=_exactness(settings, choice.runtime),
        note=source.note,
    )


def warm_up(model: LatentDiffusion) -> None:
    """Draw one picture of native size, so that the first request doesn't pay for it.

    Raises:
        NonFiniteOutput: the model does not work in this dtype.
        OutOfMemory: there is not enough even for that.
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


def _read(source: Source, reading: Reading) -> Checkpoint:
    try:
        return _read_source(source, reading)
    except ModelFailed as error:
        raise ModelFailed(f"{source.name} can't be loaded. {error}") from None
    except Exception as error:  # a broken file makes its reader fail in any way
        logger.debug("loading %s failed", source.location, exc_info=True)
        if is_out_of_memory(error):
            raise ModelFailed(f"{source.name} does not fit into memory.") from error
        raise ModelFailed(f"{source.name} can't be loaded: {_first_line(error)}") from error


def _read_source(source: Source, reading: Reading) -> Checkpoint:
    if source.kind is Kind.FOLDER:
        folder = Path(source.location)
        return Checkpoint(read_folder(folder, reading), fingerprint(folder))
    if source.kind is Kind.FILE:
        path = Path(source.location)
        return Checkpoint(read_file(path, reading), fingerprint(path))
    folder = fetch(
        source.location,
        source.revision,
        half=reading.dtype == torch.float16,
        allow_pickle=reading.allow_pickle,
    )
    return Checkpoint(read_folder(folder, reading), folder.name)  # a snapshot is named by commit


def _preview_projector(components: Components, runtime: Runtime) -> PreviewProjector:
    vae = components.vae.config
    is_sd1 = (
        isinstance(components.vae, diffusers.AutoencoderKL)
        and vae.latent_channels == len(SD1_LATENT_RGB)
        and vae.scaling_factor == SD1_SCALING_FACTOR
    )
    if is_sd1:
        return published_projector()

    def decode(latents: torch.Tensor) -> torch.Tensor:
        scaled = (latents / vae.scaling_factor).to(runtime.device, runtime.dtype)
        return runtime.decode(scaled)

    factor = components.vae_scale_factor
    height, width = (side // factor for side in components.native_size)
    return fit_projector(decode, components.latent_channels, factor, (height, width))


def _describe(
    source: Source, checkpoint: Checkpoint, noise_schedulers: NoiseSchedulers, choice: Choice
) -> ModelInfo:
    components, runtime = checkpoint.components, choice.runtime
    height, width = components.native_size
    return ModelInfo(
        name=source.name,
        source=source.shown,
        revision=checkpoint.revision,
        num_parameters=components.num_parameters,
        native_height=height,
        native_width=width,
        size_multiple=components.size_multiple,
        default_scheduler=noise_schedulers.default,
        schedulers=noise_schedulers.names,
        device=str(runtime.device),
        dtype=str(runtime.dtype).removeprefix("torch."),
        runtime=runtime.description,
        runtime_reason=choice.reason,
    )


def _exactness(settings: Settings, runtime: Runtime) -> Exactness:
    """Certified on a CPU unless told otherwise; tolerant elsewhere unless told otherwise.

    It is a promise that whoever forms batches has to keep: see `backend.model.probe`.
    """
    if settings.exactness != "auto":
        return Exactness(settings.exactness)
    return Exactness.CERTIFIED if runtime.device.type == "cpu" else Exactness.TOLERANT


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _quieten_libraries() -> None:
    """What they would print is said once, by us: as progress, or as one clear error."""
    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
