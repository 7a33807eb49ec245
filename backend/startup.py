"""From settings to a model that is ready to serve: the slow part of the start."""

from __future__ import annotations

import gc
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
        with _no_garbage():
            from backend.model.calibrate import cost_model, keep_costs
            from backend.model.loader import load_model
            from backend.model.memory import release

        model = load_model(settings, on_progress)
        cost = cost_model(model, settings, on_progress)
        return Loaded(model, cost, partial(keep_costs, model, settings, cost), release)

    return load


@contextmanager
def _no_garbage() -> Iterator[None]:
    """What modules make stays: looking through it for garbage takes a fifth of the import."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
