"""Fixtures shared by several test modules."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from backend import logs

if TYPE_CHECKING:
    from backend.model.pipeline import LatentDiffusion

logs.configure("console", "error")
# Before gRPC is imported: what its core logs about forks would turn up in children's stderr.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
# Before torch is imported: threads that share so little work wait for each other, many times
# longer on busy cores. Tests that need two have `two_torch_threads`.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small, randomly initialised Stable Diffusion in diffusers layout, built once a session."""
    from tests.support.tiny_sd import build_tiny_sd

    return build_tiny_sd(tmp_path_factory.mktemp("models") / "tiny-sd")


@pytest.fixture(scope="session")
def tiny_diffusion(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> LatentDiffusion:
    """The tiny model, loaded once a session in the torch runtime; it holds no requests."""
    from backend.model.loader import load_model
    from tests.support.fakes import settings

    wanted = settings(
        model=str(tiny_model),
        device="cpu",
        dtype="float32",
        runtime="torch",
        data_dir=tmp_path_factory.mktemp("data"),
    )
    return load_model(wanted, lambda message: None)


@pytest.fixture(params=range(5))
def seeded(request: pytest.FixtureRequest) -> random.Random:
    """Randomness that comes out the same in every run."""
    return random.Random(request.param)


@pytest.fixture
def two_torch_threads() -> Iterator[None]:
    """Torch computes with two threads, whatever other tests have set."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)
