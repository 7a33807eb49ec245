"""Checks that the service starts and generates the right pictures."""

from __future__ import annotations

import platform
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from diffusers import StableDiffusionPipeline

from backend.model.devices import machine, pick_device, set_up
from backend.model.measure.certify import certified_row_counts
from backend.model.measure.fidelity import LOWEST_DB, median_psnr, psnr
from backend.model.measure.subject import row_shape
from backend.model.noise_schedulers import NoiseSchedulers
from backend.model.pipeline import LatentDiffusion
from backend.resources import ResourceReader
from bench.gpu_check.stage import Bench, Found, draw

NEARLY = 2e-2  # relative to the latents' norm, where diffusers rounds coefficients differently


def versions(bench: Bench) -> Iterator[Found]:
    device = pick_device(bench.settings())
    yield Found("torch", f"{torch.__version__}, Python {platform.python_version()}")
    yield Found("device", f"{device}: {machine(device)}")
    if device.type == "cuda":
        yield Found("capability", torch.cuda.get_device_capability(device))
        free, total = torch.cuda.mem_get_info(device)
        yield Found("free memory, GiB", round(free / 2**30, 1), f"of {total / 2**30:.1f}")
        gpus = ResourceReader().read().gpus
        names = [gpu.name for gpu in gpus]
        yield Found("GPUs that GetStatus tells of", names, "at least one", bool(gpus))


def setting_up(bench: Bench) -> Iterator[Found]:
    settings = bench.settings()
    set_up(settings, pick_device(settings))
    yield Found("set_up", "no error", "no error", True)


def embedded_on_both(bench: Bench) -> Iterator[Found]:
    """Compares the embedded model on the device with the CPU in float32."""
    model = bench.embedded_model()
    reference = bench.load(bench.embedded_folder, device="cpu", dtype="float32")
    wanted = [bench.params(model, number) for number in range(3)]
    # Some versions of torch draw other noise in half precision.
    noises = [reference.prepare(params, 0).latents for params in wanted]
    own = [model.prepare(params, 0).latents.cpu().float() for params in wanted]
    off = max(float((one - other).abs().max()) for one, other in zip(own, noises, strict=True))
    found = median_psnr(
        [draw(model, *given) for given in zip(wanted, noises, strict=True)],
        [draw(reference, *given) for given in zip(wanted, noises, strict=True)],
    )
    info = model.info
    yield Found("a seed's noise, largest difference to float32's", round(off, 4))
    yield Found("runtime", f"{info.runtime}; {info.runtime_reason}", "", not model.runtime.remark)
    yield Found("embedded model against the CPU, dB", found, ">= 35", found >= LOWEST_DB)


def noise_schedulers(bench: Bench) -> Iterator[Found]:
    """Compares every noise scheduler with diffusers' pipeline, same device and seeds."""
    model = bench.embedded_model()
    pipeline = published(bench, model)
    for name in model.info.schedulers:
        params = bench.params(model, 1, scheduler=name, num_inference_steps=5)
        trajectory = model.prepare(params, 0)
        for _ in range(trajectory.num_evaluations):
            model.denoise_step([trajectory])
        schedulers = NoiseSchedulers(
            model.components.architecture.scheduler_class,
            model.components.architecture.scheduler_config,
        )
        pipeline.scheduler = schedulers.create(name, 5)
        theirs = pipeline(
            params.prompt,
            negative_prompt="",
            height=params.height,
            width=params.width,
            guidance_scale=params.guidance_scale,
            num_inference_steps=5,
            eta=0.3 if name == "tcd" else 0.0,  # the pipeline passes 0 over its default
            generator=torch.Generator("cpu").manual_seed(params.seed),
            output_type="latent",
        ).images
        ours, theirs = trajectory.latents.cpu().float(), theirs.cpu().float()
        off = float((ours - theirs).norm() / theirs.norm())
        is_equal = bool(torch.equal(ours, theirs))
        yield Found(
            f"{name} against diffusers",
            "equal" if is_equal else f"off by {off:.1e}",
            "equal, or close where numbers stay on the host",
            is_equal or off <= NEARLY,
        )


def waits(bench: Bench) -> Iterator[Found]:
    """Counts synchronizations in a step that torch warns about (not the wait for our event)."""
    model = bench.embedded_model()
    if model.runtime.device.type != "cuda":
        yield Found("waits in a step", "not checked", "needs CUDA")
        return
    for name in model.info.schedulers:
        trajectory = model.prepare(bench.params(model, 1, scheduler=name, num_inference_steps=8), 0)
        for _ in range(3):
            model.denoise_step([trajectory])
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                model.denoise_step([trajectory])
        finally:
            torch.cuda.set_sync_debug_mode("default")
        count = sum("synchroniz" in str(one.message) for one in caught)
        yield Found(f"{name}: waits in a step beside ours", count, "0", count == 0)


def crowds(bench: Bench) -> Iterator[Found]:
    """The certified row counts, and how much a picture in a batch differs from alone."""
    model = bench.embedded_model()
    shape = row_shape(model.components, model.info.native_height, model.info.native_width)
    counts = certified_row_counts(model.runtime, shape, [rows for rows in bench.rows if rows > 1])
    yield Found("certified row counts", sorted(counts))
    params = bench.params(model, 1)
    together = [model.prepare(bench.params(model, number), 0) for number in range(1, 9)]
    for _ in range(together[0].num_evaluations):
        model.denoise_step(together)
    found = psnr(model.decode(together[0]).pixels, draw(model, params))
    yield Found("a picture in a crowd against itself alone, dB", found, ">= 35", found >= LOWEST_DB)


def published(bench: Bench, model: LatentDiffusion) -> Any:
    """diffusers' pipeline with the embedded model, in our memory layout and dtype."""
    pipeline: Any = StableDiffusionPipeline.from_pretrained(
        bench.embedded_folder,
        dtype=model.runtime.dtype,
        local_files_only=True,
        safety_checker=None,
        requires_safety_checker=False,
    )
    for network in (pipeline.unet, pipeline.vae):
        network.to(memory_format=torch.channels_last)
    pipeline.to(model.runtime.device)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
