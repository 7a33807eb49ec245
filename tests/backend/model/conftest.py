"""Fixtures shared by the tests of the model's folders."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from backend.model.checkpoint.components import Components, LoadOptions
from backend.model.checkpoint.folder import read_folder


@pytest.fixture
def components(tiny_model: Path) -> Components:
    """The tiny model's, in float32."""
    return read_folder(tiny_model, LoadOptions(torch.device("cpu"), torch.float32, False))
