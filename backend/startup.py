"""From settings to a model that is ready to serve: the slow part of the start."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from backend.config import Settings
from backend.engine.loading import Load, Loaded, OnProgress


def loader(settings: Settings) -> Load:
    """What LocalBackend calls to load its model."""

    def load(on_progress: OnProgress) -> Loaded:
        on_progress("Importing torch.")
        # torch and diffusers take seconds to import: the port must be open before that.
        with _no_garbage(), _unneeded("torch._dynamo", unless=settings.runtime == "compiled"):
            from backend.model.loader import load_model
            from backend.model.measure.costs import cost_model, keep_costs
            from backend.model.memory import release

        model = load_model(settings, on_progress)
        cost = cost_model(model, settings, on_progress)
        return Loaded(model, cost, partial(keep_costs, model, settings, cost), release)

    return load


@contextmanager
def _unneeded(module: str, *, unless: bool) -> Iterator[None]:
    """Have imports do without `module`: diffusers marks layers for torch.compile where it can.

    That takes a second, of which nobody has anything where nothing is compiled.
    """
    is_absent = not unless and module not in sys.modules
    if is_absent:
        sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if is_absent:
            del sys.modules[module]


@contextmanager
def _no_garbage() -> Iterator[None]:
    """What modules make stays: looking through it for garbage takes a fifth of the import."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
