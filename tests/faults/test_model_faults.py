"""Models that are broken: the process stays up, says why, and never sends a black picture."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import grpc
import pytest
import torch

from backend.engine.cost import CostModel
from backend.engine.loading import Loaded, OnProgress
from backend.model.pipeline import LatentDiffusion
from backend.startup import loader
from proto import text2image_pb2 as pb
from tests.support.fakes import settings
from tests.support.served import ask, reason_of, refusal_of, served
from tests.support.tiny_sd import break_output

WEIGHTS = Path("unet") / "diffusion_pytorch_model.safetensors"


@pytest.fixture
def folder(tiny_model: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model, to be broken."""
    return Path(shutil.copytree(tiny_model, tmp_path / "broken-model"))


async def reason_for_failing(folder: Path, tmp_path: Path) -> str:
    """What the status says of a model that can't be served."""
    wanted = settings(model=str(folder), device="cpu", runtime="torch", data_dir=tmp_path / "data")
    async with served(load=loader(wanted)) as running:
        told = await running.stub.GetStatus(pb.GetStatusRequest(), timeout=30)
        assert told.state == pb.GetStatusResponse.STATE_FAILED
        error = await refusal_of(running.stub.GenerateImage(ask(), timeout=30))
        assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert reason_of(error) == "MODEL_FAILED"
        assert error.details() == told.message
        return str(told.message)


async def test_a_data_folder_that_cannot_be_written_costs_no_model(
    tiny_model: Path, tmp_path: Path
) -> None:
    (tmp_path / "data").write_text("a file, where the folder should be", encoding="utf-8")
    wanted = settings(model=str(tiny_model), device="cpu", data_dir=tmp_path / "data" / "x")
    async with served(load=loader(wanted)) as running:
        told = await running.stub.GetStatus(pb.GetStatusRequest(), timeout=30)
        assert told.state == pb.GetStatusResponse.STATE_READY
        assert (await running.stub.GenerateImage(ask(), timeout=60)).images[0].data


async def test_weights_that_end_in_the_middle(folder: Path, tmp_path: Path) -> None:
    whole = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(whole[: len(whole) // 2])
    text = await reason_for_failing(folder, tmp_path)
    assert text.startswith("broken-model can't be loaded")


async def test_weights_that_are_not_there(folder: Path, tmp_path: Path) -> None:
    (folder / WEIGHTS).unlink()
    text = await reason_for_failing(folder, tmp_path)
    assert text.startswith("broken-model can't be loaded")


async def test_weights_that_draw_nothing_but_nan(folder: Path, tmp_path: Path) -> None:
    break_output(folder)
    text = await reason_for_failing(folder, tmp_path)
    assert "not numbers" in text


async def test_values_that_are_no_numbers_are_told_and_the_next_request_is_served(
    tiny_diffusion: LatentDiffusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    denoise = tiny_diffusion.runtime.denoise

    def overflowing(*args: Any) -> torch.Tensor:
        return denoise(*args) * float("nan")

    def load(on_progress: OnProgress) -> Loaded:
        return Loaded(tiny_diffusion, CostModel())

    async with served(load=load) as running:
        monkeypatch.setattr(tiny_diffusion.runtime, "denoise", overflowing)
        error = await refusal_of(running.stub.GenerateImage(ask(), timeout=60))
        assert error.code() is grpc.StatusCode.INTERNAL
        assert reason_of(error) == "NON_FINITE_OUTPUT"
        monkeypatch.undo()
        assert len((await running.stub.GenerateImage(ask(), timeout=60)).images) == 1
