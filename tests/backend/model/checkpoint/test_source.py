"""Resolving the settings for model, device and dtype."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from backend.config import Settings
from backend.errors import ModelFailed
from backend.model.checkpoint import source as sources
from backend.model.checkpoint.source import Kind, embedded_model, resolve_source
from backend.model.devices import pick_device, pick_dtype


@pytest.fixture
def folder(tiny_model: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model, to break."""
    return Path(shutil.copytree(tiny_model, tmp_path / "tiny"))


def test_a_setting_that_names_nothing_is_told(tmp_path: Path) -> None:
    for model in (str(tmp_path / "none"), "./nowhere/at/all", "no-slash", "a/b/c"):
        with pytest.raises(ModelFailed, match="no such folder, file or Hugging Face id"):
            resolve_source(Settings(model=model))
    with pytest.raises(ModelFailed, match="no such file"):
        resolve_source(Settings(model=str(tmp_path / "none.safetensors")))


def test_an_id_is_an_id() -> None:
    source = resolve_source(Settings(model="CompVis/stable-diffusion-v1-4", revision="main"))
    assert (source.kind, source.revision) == (Kind.HUB, "main")
    assert source.name == "CompVis/stable-diffusion-v1-4"


def test_a_folder_is_named_by_its_last_part(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert resolve_source(Settings(model=".")).name == "tiny"
    v1_5 = folder.parent / "model-v1.5"
    shutil.copytree(folder, v1_5)
    assert resolve_source(Settings(model=str(v1_5))).name == "model-v1.5"


def test_clients_are_not_told_what_leads_to_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models" / "mine").mkdir(parents=True)
    assert resolve_source(Settings(model=str(tmp_path / "models" / "mine"))).shown == "models/mine"
    assert resolve_source(Settings(model=str(tmp_path.parent))).shown == str(tmp_path.parent)
    assert resolve_source(Settings(model="CompVis/stable-diffusion-v1-4")).shown.startswith("Comp")


def test_the_embedded_model_is_the_only_folder_with_an_index(tmp_path: Path) -> None:
    with pytest.raises(ModelFailed, match="holds no model"):
        embedded_model(tmp_path)
    (tmp_path / "notes").mkdir()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model_index.json").write_text("{}", encoding="utf-8")
        if name == "one":
            assert embedded_model(tmp_path) == tmp_path / "one"
    with pytest.raises(ModelFailed, match="several models: one, two"):
        embedded_model(tmp_path)


@pytest.mark.parametrize(
    ("cuda", "cached", "expected"),
    [
        (False, True, Kind.FOLDER),
        (True, True, Kind.HUB),
        (True, False, Kind.FOLDER),
    ],
)
def test_auto_is_stable_diffusion_where_it_can_be(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, cuda: bool, cached: bool, expected: Kind
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(sources, "cached_folder", lambda *_: tiny_model if cached else None)
    source = resolve_source(Settings(), embedded=tiny_model.parent)
    assert source.kind is expected
    assert source.note
    assert resolve_source(Settings(device="cuda:1"), embedded=tiny_model.parent) == source
    on_cpu = resolve_source(Settings(device="cpu"), embedded=tiny_model.parent)
    assert on_cpu.kind is Kind.FOLDER


def test_a_device_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ModelFailed, match="sees no CUDA device"):
        pick_device(Settings(device="cuda"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    with pytest.raises(ModelFailed, match="only 1 CUDA device"):
        pick_device(Settings(device="cuda:1"))
    assert pick_device(Settings(device="auto")) == torch.device("cuda:0")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ModelFailed, match="Metal"):
        pick_device(Settings(device="mps"))


@pytest.mark.parametrize(
    ("device", "native", "expected"),
    [
        ("cuda", False, torch.float16),
        ("cpu", True, torch.bfloat16),
        ("cpu", False, torch.float32),
        ("mps", True, torch.float32),
    ],
)
def test_auto_picks_the_fastest_native_dtype(
    monkeypatch: pytest.MonkeyPatch, device: str, native: bool, expected: torch.dtype
) -> None:
    capabilities = {"avx512_bf16": native}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert pick_dtype(Settings(), torch.device(device)) == expected
    assert pick_dtype(Settings(dtype="float16"), torch.device(device)) == torch.float16
