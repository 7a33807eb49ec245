"""Which runtime is picked."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pytest
import torch

from backend.config import Settings
from backend.errors import ModelFailed
from backend.model import choose_runtime as module
from backend.model.checkpoint.components import Components
from backend.model.choose_runtime import Choice, Wanted, choose_runtime
from backend.model.openvino import convert


@pytest.fixture
def choose(components: Components, tmp_path: Path) -> Choose:
    def choose(like: torch.dtype = torch.float32, **settings: str) -> Choice:
        made = Settings(data_dir=tmp_path, **settings)  # type: ignore[arg-type]
        return choose_runtime(Wanted(components, made, like, "r1"))

    return choose


class Choose(Protocol):
    def __call__(self, like: torch.dtype = torch.float32, **settings: str) -> Choice: ...


def test_torch_as_set(choose: Choose) -> None:
    choice = choose(runtime="torch")
    assert (choice.runtime.name, choice.reason) == ("torch", "RUNTIME=torch")


def test_torch_where_openvino_is_missing(choose: Choose, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    choice = choose(runtime="auto")
    assert choice.runtime.name == "torch"
    assert "OpenVINO is not installed" in choice.reason
    with pytest.raises(ModelFailed, match="pip install openvino"):
        choose(runtime="openvino")


@pytest.mark.parametrize(
    ("native", "dtype", "precision"),
    [
        (("bf16", "f32"), torch.bfloat16, "bfloat16"),
        (("bf16", "f32"), torch.float32, "float32"),
        (("f32",), torch.bfloat16, "float32"),
        (("f32",), torch.float32, "float32"),
    ],
)
def test_openvino_on_a_cpu_in_its_fastest_precision(
    choose: Choose,
    monkeypatch: pytest.MonkeyPatch,
    native: tuple[str, ...],
    dtype: torch.dtype,
    precision: str,
) -> None:
    monkeypatch.setattr(convert, "precisions", lambda: native)
    choice = choose(dtype, runtime="auto")
    assert choice.runtime.name == "openvino"
    assert f" {precision}, " in choice.runtime.description
    assert precision in choice.reason


def test_bfloat16_is_refused_where_the_cpu_has_none(
    choose: Choose, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convert, "precisions", lambda: ("f32",))
    with pytest.raises(ModelFailed, match="no bfloat16"):
        choose(torch.bfloat16, runtime="openvino", dtype="bfloat16")


def test_bfloat16_that_only_torch_has_is_none_that_was_asked_for(
    choose: Choose, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Arm torch computes in bfloat16 where OpenVINO does not."""
    monkeypatch.setattr(convert, "precisions", lambda: ("f32",))
    choice = choose(torch.bfloat16, runtime="openvino", dtype="auto")
    assert " float32, " in choice.runtime.description


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_torch_on_an_accelerator(
    components: Components, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    asked: list[Wanted] = []
    monkeypatch.setattr(module, "torch_runtime", asked.append)
    there = replace(components, device=torch.device(device))
    wanted = Wanted(there, Settings(data_dir=tmp_path), torch.float16, "r1")
    assert device in choose_runtime(wanted).reason
    assert asked == [wanted]
    openvino = wanted._replace(settings=Settings(data_dir=tmp_path, runtime="openvino"))
    with pytest.raises(ModelFailed, match="runs on a CPU"):
        choose_runtime(openvino)
