"""Picking devices, and the number of torch threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from backend.config import Settings
from backend.model.devices import one_torch_thread, pick_device, set_up, settle_torch_threads


@pytest.mark.usefixtures("two_torch_threads")
def test_a_thread_that_is_settled_keeps_its_number_beside_one_that_computes_alone() -> None:
    with ThreadPoolExecutor(1) as other:
        other.submit(settle_torch_threads, 2).result()
        with one_torch_thread():
            assert torch.get_num_threads() == 1
            assert other.submit(torch.get_num_threads).result() == 2
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize(("device", "index"), [("auto", 0), ("cuda", 0), ("cuda:1", 1)])
def test_cuda_is_set_up_however_it_is_named(
    monkeypatch: pytest.MonkeyPatch, device: str, index: int
) -> None:
    fractions: dict[int, float] = {}
    monkeypatch.setattr(torch.cuda, "_initialized", True)
    monkeypatch.setattr(torch.cuda, "_cached_device_count", None)
    # Only what is compiled is replaced: torch's own checks of its arguments stay.
    for name, fake in {
        "_cuda_getDeviceCount": lambda: 2,
        "_cuda_getDevice": lambda: 0,
        "_cuda_setDevice": lambda _index: None,
        "_cuda_setMemoryFraction": lambda part, which: fractions.update({which: part}),
    }.items():
        monkeypatch.setattr(torch._C, name, fake, raising=False)
    settings = Settings(device=device, gpu_memory_fraction=0.5)
    set_up(settings, pick_device(settings))
    assert fractions == {index: 0.5}
    for short in ("fp16", "bf16"):
        setting = f"allow_{short}_reduced_precision_reduction"
        assert not getattr(torch.backends.cuda.matmul, setting)
        assert getattr(torch.backends.cuda.matmul, f"{setting}_split_k")  # cuBLAS needs it


def test_metal_that_does_not_compute_is_not_picked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    settings = Settings(device="auto", model="someone/model")
    assert pick_device(settings).type == "cpu"  # this machine has none
    assert pick_device(Settings(device="mps")).type == "mps"  # but who asks for it gets it
