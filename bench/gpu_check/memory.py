"""Checks that models give their memory back."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from backend.model.memory import release
from bench.gpu_check.stage import Bench, Found, draw

MIB = 1 << 20


def unloading(bench: Bench) -> Iterator[Found]:
    """Memory that remains after unloading a model, once and again.

    Some remains after the first time: cuBLAS keeps 33 MiB for every stream that it was used on.
    """
    device = bench.embedded_model().runtime.device
    held = [_unloaded(bench, device)]
    model = bench.embedded_model()
    picture = draw(model, bench.params(model, 1))
    yield Found("a picture after loading again", str(picture.shape), "", bool(picture.any()))
    del model
    held.append(_unloaded(bench, device))
    yield Found("allocated after release, MiB", held[0])
    more = held[1] - held[0]
    yield Found("more after the second release, MiB", more, "< 50", more < 50)


def _unloaded(bench: Bench, device: torch.device) -> float:
    """MiB that are allocated once the models are gone."""
    bench.forget()
    release()
    return round(torch.cuda.memory_allocated(device) / MIB, 1) if device.type == "cuda" else 0.0
