"""Networks that enlarge pictures: which there are, what is refused, and what they draw.

Those that load one are left out where spandrel isn't installed: see the extra esrgan.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from backend.config import Settings
from backend.errors import InvalidParams
from backend.model.upscalers.tiles import OVERLAP, TILE, tiles, times
from backend.model.upscalers.upscalers import Upscalers
from backend.startup import upscalers
from backend.upscale import Cancelled, Lanczos, enlarge
from tests.support.upscaler_files import needs_spandrel, whole, write_compact, write_rrdb

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)


def always() -> bool:
    return True


def of(folder: Path) -> Upscalers:
    return Upscalers(folder, lambda: torch.device("cpu"))


@pytest.mark.parametrize("size", [(1, 1), (TILE, TILE), (TILE + 1, 2 * TILE + 40), (64, 1000)])
def test_tiles_cover_every_pixel_once_and_see_around_it(size: tuple[int, int]) -> None:
    large, scale = np.zeros((2 * size[0], 2 * size[1]), int), 2
    for tile in tiles(*size):
        large[times(tile.kept, scale)] += 1
        for seen, kept, inner, length in zip(*tile, size, strict=True):
            assert seen.start == max(0, kept.start - OVERLAP)
            assert seen.stop == min(length, kept.stop + OVERLAP)
            assert (kept.start - seen.start, kept.stop - seen.start) == (inner.start, inner.stop)
    assert (large == 1).all()


def test_files_are_listed_and_broken_ones_are_told(tmp_path: Path) -> None:
    save_file({"body.0.weight": torch.zeros(1)}, tmp_path / "fine.safetensors")
    (tmp_path / "page.safetensors").write_bytes(b"<html>")
    (tmp_path / "short.safetensors").write_bytes((tmp_path / "fine.safetensors").read_bytes()[:-2])
    found = of(tmp_path)
    assert found.names == ("lanczos", "fine")
    assert "web page" in found.refusal("page")
    assert "cut short" in found.refusal("short")
    assert found.refusal("other") == "Must be one of lanczos, fine."
    drawn = found.enlarge("lanczos", PIXELS, 60, 40, always)
    assert np.array_equal(drawn, enlarge(PIXELS, 60, 40))


def test_without_a_folder_there_is_lanczos_alone() -> None:
    assert isinstance(upscalers(Settings()), Lanczos)


def test_without_spandrel_a_folder_is_refused_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"needs? spandrel: pip install .*esrgan"):
        Settings(upscaler_dir=tmp_path)


def test_a_torchvision_for_another_torch_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_file({"body.0.weight": torch.zeros(1)}, tmp_path / "fine.safetensors")
    monkeypatch.setitem(sys.modules, "spandrel", None)
    monkeypatch.delitem(sys.modules, "backend.model.upscalers.network", raising=False)
    with pytest.raises(InvalidParams, match="torchvision has to come from the index"):
        of(tmp_path).enlarge("fine", PIXELS, 60, 40, always)


@needs_spandrel
@pytest.mark.parametrize(("write", "scale"), [(write_compact, 2), (write_rrdb, 4)])
def test_a_network_draws_what_it_draws_alone(
    write: Callable[[Path], Any], scale: int, tmp_path: Path
) -> None:
    network = write(tmp_path / "mine.safetensors")
    found = of(tmp_path)
    drawn = found.enlarge("mine", PIXELS, 30 * scale, 20 * scale, always)
    assert np.array_equal(drawn, whole(network, PIXELS))
    assert drawn.std() > 1, "a uniform picture would prove nothing"
    half = found.enlarge("mine", PIXELS, 45, 30, always)
    assert np.array_equal(half, enlarge(drawn, 45, 30))


@needs_spandrel
def test_no_tile_shows(tmp_path: Path) -> None:
    network = write_compact(tmp_path / "mine.safetensors")
    pixels = np.random.default_rng(1).integers(0, 256, (TILE + 30, 2 * TILE + 5, 3), np.uint8)
    height, width = pixels.shape[:2]
    drawn = of(tmp_path).enlarge("mine", pixels, 2 * width, 2 * height, always)
    assert np.abs(drawn.astype(int) - whole(network, pixels)).max() <= 1


@needs_spandrel
def test_nothing_is_drawn_for_nobody(tmp_path: Path) -> None:
    write_compact(tmp_path / "mine.safetensors")
    with pytest.raises(Cancelled):
        of(tmp_path).enlarge("mine", PIXELS, 60, 40, lambda: False)


@needs_spandrel
@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"anything": torch.zeros(3)}, "no upscaler"),
        ({"body.0.weight": torch.zeros(3), "body.1.weight": torch.zeros(3)}, "damaged"),
        ({"model.0.weight": torch.zeros(2, 2), "model.1.sub.0.x": torch.zeros(2)}, "no upscaler"),
    ],
)
def test_what_does_not_enlarge_is_told(
    tensors: dict[str, torch.Tensor], words: str, tmp_path: Path
) -> None:
    save_file(tensors, tmp_path / "odd.safetensors")
    with pytest.raises(InvalidParams) as told:
        of(tmp_path).enlarge("odd", PIXELS, 60, 40, always)
    (violation,) = told.value.violations
    assert violation.field == "upscaler"
    assert violation.description.startswith("odd: ")
    assert words in violation.description


@needs_spandrel
def test_a_network_that_keeps_the_size_is_told(tmp_path: Path) -> None:
    write_compact(tmp_path / "same.safetensors", scale=1)
    with pytest.raises(InvalidParams, match="doesn't enlarge"):
        of(tmp_path).enlarge("same", PIXELS, 60, 40, always)
