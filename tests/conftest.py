"""Fixtures shared by several test modules."""

from __future__ import annotations

import os
import random
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

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


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from tests.support.side_by_side import ByFile

    return ByFile(config, log)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, bool, bool]:
    """Beside other processes' tests, unless the test is marked `alone`."""
    if not hasattr(item.config, "workerinput") or item.config.cache is None:
        return (yield)
    from tests.support.side_by_side import Turns

    turns = Turns(item.config.cache.mkdir("turns"))
    with turns.taken(alone=item.get_closest_marker("alone") is not None):
        return (yield)


@pytest.fixture(scope="session")
def run_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What all processes of this test run share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if hasattr(request.config, "workerinput") else own


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
