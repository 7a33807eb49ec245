"""Fixtures shared by the tests of the model's folders."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from backend.model.checkpoint.components import Components, LoadOptions
from backend.model.checkpoint.folder import read_folder
from backend.model.openvino import convert
from tests.support.conversions import Conversions


@pytest.fixture(scope="session", autouse=True)
def shared_conversions(run_folder: Path) -> Iterator[None]:
    """OpenVINO converts the same network once a run, whichever test's folder it is for."""
    if importlib.util.find_spec("openvino") is None:
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convert, "_convert", Conversions(run_folder / "conversions"))
        yield


@pytest.fixture
def unshared_conversions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every network is converted anew."""
    if isinstance(convert._convert, Conversions):
        monkeypatch.setattr(convert, "_convert", convert._convert.really)


@pytest.fixture
def components(tiny_model: Path) -> Components:
    """The tiny model's, in float32."""
    return read_folder(tiny_model, LoadOptions(torch.device("cpu"), torch.float32, False))
