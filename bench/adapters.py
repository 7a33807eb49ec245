"""LoRAs: what one costs per step after its first use, and what many switches leave behind."""

from __future__ import annotations

import gc
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil

from backend.config import Settings
from backend.heap import trim
from backend.model.loader import load_model
from backend.model.pipeline import LatentDiffusion
from backend.params import GenerationParams, Lora
from bench.figures import Ratio, abba, ratio_of, seconds
from bench.rows import Row
from bench.subject import DATA_DIR
from tests.support.lora_files import write_lora

RUNTIMES = ("torch", "openvino")
STEPS = 8
SETS = 20
MOST_RATIO = 1.02
MOST_S, FEWEST_ROUNDS = 60.0, 30  # of each runtime
MOST_GROWTH = 0.02


def per_step(folder: str | None, rounds: int) -> Iterator[Row]:
    """L1: denoising with a LoRA merged in, relative to the model as it is; in one process."""
    for runtime in RUNTIMES:
        with loaded(folder, runtime) as model:
            found = _per_step(model, rounds)
            yield Row(
                "L1",
                f"a step with a LoRA ÷ without, after its first use, {runtime}",
                f"≤ {MOST_RATIO}",
                f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f})",
                found.value <= MOST_RATIO,
                note=f"{model.info.runtime_reason}, {model.info.dtype}",
            )


def affordable(step_s: float, rounds: int) -> int:
    """So many rounds of two steps that a minute is enough, unless a machine is very slow."""
    return max(FEWEST_ROUNDS, min(rounds, int(MOST_S / (2 * step_s))))


def _per_step(model: LatentDiffusion, rounds: int) -> Ratio:
    """Single steps in turn, so that what else the machine does meets both alike."""
    plain = model.prepare(params(model, 0, ()), 0)
    took = [seconds(lambda: model.denoise_step([plain])) for _ in range(STEPS)]
    rounds = affordable(statistics.median(took[1:]), rounds)

    def stepping(loras: tuple[Lora, ...]) -> Callable[[int], None]:
        wanted = replace(params(model, 0, loras), num_inference_steps=rounds + 1)
        trajectory = model.prepare(wanted, 0)

        def step(_: int) -> None:
            model.denoise_step([trajectory])

        return step

    return ratio_of(*abba(stepping((Lora("lora", 0.7),)), stepping(()), rounds))


def switches(folder: str | None, runtime: str, count: int) -> Row:
    """L2: sets of LoRAs in rotation, with memory for four of them, and a step with each."""
    with loaded(folder, runtime) as model:
        cache = model._adapters.cache

        def use(number: int) -> None:
            loras = (Lora("lora", (number % SETS + 1) / SETS),)
            model.get_ready(params(model, number, loras))
            model.denoise_step([model.prepare(params(model, number, loras), 0)])

        use(0)
        budget = 4 * cache.num_bytes
        cache._budget_bytes = budget
        for number in range(SETS):  # all caches are as full as they get
            use(number)
        before, held, took = resident_bytes(), [], []
        for number in range(count):
            started = time.perf_counter()
            use(number)
            took.append(time.perf_counter() - started)
            held.append(cache.num_bytes)
        growth = resident_bytes() / before - 1
    return Row(
        "L2",
        f"resident memory growth over {count} switches between {SETS} sets, {runtime}",
        f"< {MOST_GROWTH:.0%}",
        f"{growth:+.1%} of {before / 2**20:.0f} MiB",
        growth < MOST_GROWTH and max(held) <= budget,
        note=f"{statistics.median(took) * 1000:.0f} ms per switch; at most "
        f"{max(held) / 2**20:.1f} of {budget / 2**20:.1f} MiB held",
    )


def params(model: LatentDiffusion, number: int, loras: tuple[Lora, ...]) -> GenerationParams:
    info = model.info
    return GenerationParams(
        prompt="a red apple",
        height=info.native_height,
        width=info.native_width,
        guidance_scale=5.0,
        num_inference_steps=STEPS,
        seed=number,
        scheduler="ddim",
        model=info.name,
        loras=loras,
    )


@contextmanager
def loaded(folder: str | None, runtime: str) -> Iterator[LatentDiffusion]:
    """The model, with a LoRA for every attention and feed-forward layer of it."""
    with tempfile.TemporaryDirectory() as loras:
        settings = Settings.model_validate(
            {
                "model": folder or "auto",
                "runtime": runtime,
                "safety_checker": False,
                "data_dir": DATA_DIR,
                "lora_dir": loras,
            }
        )
        model = load_model(settings, lambda _: None)
        networks = model.components.read()
        write_lora(Path(loras) / "lora.safetensors", networks, strength=0.02, convolutions=True)
        del networks
        model.components.release()
        time.sleep(1.1)  # until the folder is looked at again
        yield model


def resident_bytes() -> int:
    gc.collect()
    trim()
    return psutil.Process().memory_info().rss
