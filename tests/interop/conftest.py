from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.interop.live import Live, live_backend
from tests.support.tiny_sd import build_tiny_sd


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """One live backend, with a tiny model, for all clients."""
    folder = tmp_path_factory.mktemp("interop")
    model = build_tiny_sd(folder / "tiny")
    with live_backend(model, folder) as backend:
        yield backend
