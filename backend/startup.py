"""From settings to a model that is ready to serve: the slow part of the start."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from backend.config import Settings
from backend.engine.loading import Load, Loaded, OnProgress


def loader(settings: Settings) -> Load:
    """What LocalBackend calls to load its model."""

    def load(on_progress: OnProgress) -> Loaded:
        on_progress("Importing torch.")
        # torch and diffusers take seconds to import: the port must be open before that.
        with _no_garbage(), _unneeded("torch._dynamo"):
            from backend.model.devices import visible_gpus
            from backend.model.loader import load_model
            from backend.model.measure.costs import Costs
            from backend.model.memory import release

        model = load_model(settings, on_progress)
        costs = Costs(model, settings)
        gpus = visible_gpus()
        return Loaded(model, costs.model, costs.calibrate, costs.keep, release, gpus)

    return load


def check(settings: Settings) -> bool:
    """`python -m backend --check`: compare the runtimes; whether the picked one is faithful."""
    from backend.model.loader import quieten_libraries
    from backend.model.measure.check import check

    quieten_libraries()
    return check(settings, print)


@contextmanager
def _unneeded(module: str) -> Iterator[None]:
    """Have imports do without `module`: diffusers marks layers for torch.compile where it can.

    That takes a second, and nothing here is compiled by torch.
    """
    is_absent = module not in sys.modules
    if is_absent:
        sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if is_absent:
            del sys.modules[module]


@contextmanager
def _no_garbage() -> Iterator[None]:
    """Objects that imports create live forever; skipping garbage collection saves a fifth of it."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
