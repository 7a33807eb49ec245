"""Models in rotation: what many switches between them leave behind."""

from __future__ import annotations

import asyncio
import gc
import math
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

from backend.config import Settings
from backend.domain import FinishedImage
from backend.draft import Draft
from backend.engine.backend import LocalBackend
from backend.engine.turns import Turns
from backend.heap import trim
from backend.startup import offers
from bench.held import POOL_THREADS, Held, held_by
from bench.rows import Row
from tests.support.tiny_sd import build_tiny_sd

NAMES = ("first", "second", "third", "fourth", "fifth")
SIDE = 64  # pixels, the smallest that is served
WARMING = 150  # switches until memory, caches and pools are as full as they get
MOST_GROWTH = 0.02
FITTING = 2  # of the models, into the memory that there is for all


def held() -> Held:
    gc.collect()
    trim()
    return held_by()


@asynccontextmanager
async def rotating(place: Path, runtime: str = "torch") -> AsyncIterator[LocalBackend]:
    """Five small models of both families, of which two fit into memory at a time."""
    tables = []
    for seed, name in enumerate(NAMES):
        family: Literal["1", "2"] = "2" if seed % 2 else "1"
        build_tiny_sd(place / name, family=family, vae_scale_factor=2, seed=seed)
        tables.append(f'[{name}]\nsource = "{name}"\n')
    (place / "models.toml").write_text("".join(tables), encoding="utf-8")
    settings = Settings(
        models=place / "models.toml",
        model_memory_mb=_fitting_mb(place),
        device="cpu",
        dtype="float32",
        runtime=runtime,  # type: ignore[arg-type]
        num_threads=1,
        data_dir=place / "data",
    )
    turns = Turns()
    backend = LocalBackend(settings, offers(settings, turns), "bench", turns=turns)
    await backend.start()
    try:
        yield backend
    finally:
        await backend.stop()


def _fitting_mb(place: Path) -> int:
    sizes = [path.stat().st_size for path in place.glob("first/*/*.safetensors")]
    return math.ceil((FITTING + 0.4) * sum(sizes) / 2**20)


async def switch(backend: LocalBackend, first: int, count: int) -> list[float]:
    """`count` pictures, each by another model than the last: the seconds that each took."""
    took = []
    for number in range(first, first + count):
        started = time.perf_counter()
        draft = Draft(
            request_id=f"switch-{number}",
            is_named=False,
            prompt="a red cat",
            height=SIDE,
            width=SIDE,
            num_inference_steps=1,
            seed=number,
            model=NAMES[number % len(NAMES)],
        )
        events = [event async for event in backend.submit(draft, client="me", deadline_s=None)]
        assert any(isinstance(event, FinishedImage) for event in events)
        took.append(time.perf_counter() - started)
        loaded = [model.name for model in backend.status().models if model.loaded]
        assert len(loaded) <= FITTING, loaded
    return took


def switches(count: int, runtime: str = "torch") -> Row:
    """L3: five models in rotation with memory for two."""
    with tempfile.TemporaryDirectory() as place:
        before, after, took = asyncio.run(_switches(Path(place), count, runtime))
    growth = after.resident_bytes / before.resident_bytes - 1
    is_flat = (
        after.descriptors <= before.descriptors and after.threads <= before.threads + POOL_THREADS
    )
    return Row(
        "L3",
        f"resident memory growth over {count} switches between {len(NAMES)} models, {runtime}",
        f"< {MOST_GROWTH:.0%}",
        f"{growth:+.1%} of {before.resident_bytes / 2**20:.0f} MiB",
        growth < MOST_GROWTH and is_flat,
        note=f"{statistics.median(took) * 1000:.0f} ms per switch; descriptors "
        f"{before.descriptors} to {after.descriptors}, threads {before.threads} to {after.threads}",
    )


async def _switches(place: Path, count: int, runtime: str) -> tuple[Held, Held, list[float]]:
    async with rotating(place, runtime) as backend:
        await switch(backend, 0, WARMING)
        before = held()
        took = await switch(backend, WARMING, count)
        return before, held(), took
