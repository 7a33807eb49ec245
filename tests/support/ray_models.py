"""Models for replicas in other processes: importable there, and slow on purpose."""

from __future__ import annotations

import time

from backend.config import Settings
from backend.engine.loading import Load
from tests.support.fakes import FakeModel, FixedCosts, loads, noise, wide_costs

STEP_S = 0.02
SIZE = 64


def sleepers(settings: Settings) -> Load:
    """A model whose steps only sleep, one request at a time."""
    cost = FixedCosts(
        caps={(SIZE, SIZE): 2},
        steps={(SIZE, SIZE, 1): STEP_S * 1000, (SIZE, SIZE, 2): STEP_S * 1000},
        decodes={(SIZE, SIZE): 1.0},
        encode=0.1,
    )
    return loads(FakeModel(on_step=lambda: time.sleep(STEP_S)), cost)


def at_once(settings: Settings) -> Load:
    """A model that takes no time."""
    return loads(FakeModel(), wide_costs())


def noisy(settings: Settings) -> Load:
    """The same, with pictures that compress worst."""
    return loads(FakeModel(pixels=noise), wide_costs())
