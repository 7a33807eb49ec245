"""CUDA graphs on an emulated device: results, costs and failures."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from backend.errors import DeviceLost, OutOfMemory
from backend.model.failures import naming_failures
from backend.model.runtime.cuda_graphs import GraphRuntime
from tests.support.networks import small_unet
from tests.support.pretended_cuda import Counts, Device, pretended_cuda

CUDA = torch.device("cuda:0")
MIB = 1 << 20


@pytest.fixture
def gpu() -> Iterator[Device]:
    with pretended_cuda(64 * MIB) as device:
        yield device


class Unet:
    """An eager runtime of which only the UNet is used."""

    def __init__(self, unet: Any) -> None:
        self.unet = unet
        self.device, self.dtype = CUDA, torch.float32
        self.description = "unet"
        self.calls = 0

    @torch.inference_mode()
    def denoise(
        self, latents: torch.Tensor, timesteps: torch.Tensor, prompt_embeds: torch.Tensor
    ) -> torch.Tensor:
        self.calls += 1
        found: torch.Tensor = self.unet(latents, timesteps.to(CUDA), prompt_embeds).sample
        return found


@pytest.fixture
def eager(gpu: Device) -> Unet:
    return Unet(small_unet().requires_grad_(False).to(CUDA))


@pytest.fixture
def runtime(eager: Unet) -> GraphRuntime:
    made: Any = eager
    return GraphRuntime(made)


def inputs(rows: int, size: int = 8) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(rows)
    latents = torch.randn(rows, 4, size, size, generator=generator)
    timesteps = torch.linspace(900.0, 10.0, rows)
    return latents.to(CUDA), timesteps, torch.randn(rows, 5, 8, generator=generator).to(CUDA)


def test_a_replay_computes_what_a_call_does(runtime: GraphRuntime, eager: Unet) -> None:
    first, second = inputs(2), inputs(2)
    kept = runtime.denoise(*first)
    assert torch.equal(runtime.denoise(*second), eager.denoise(*second))
    assert torch.equal(kept, eager.denoise(*first))  # the second replay left it alone
    assert runtime.num_captures == 1


def test_rows_are_filled_up_and_each_comes_out_as_alone(runtime: GraphRuntime, eager: Unet) -> None:
    runtime.denoise(*inputs(4))
    for rows in (3, 4, 3):
        given = inputs(rows)
        expected = eager.denoise(*given).cpu()
        torch.testing.assert_close(runtime.denoise(*given).cpu(), expected, rtol=1e-4, atol=1e-5)
    assert runtime.num_captures == 1
    filled = {rows: runtime.bucket(rows) for rows in (1, 2, 3, 9, 13, 17, 25, 33)}
    assert filled == {1: 1, 2: 2, 3: 4, 9: 12, 13: 16, 17: 24, 25: 32, 33: 33}


def test_a_replay_costs_four_copies_and_no_wait(runtime: GraphRuntime, gpu: Device) -> None:
    given = inputs(2)
    runtime.denoise(*given)
    gpu.counts = Counts()
    runtime.denoise(*given)
    assert gpu.counts.replays == 1
    assert gpu.counts.launches <= 5  # three inputs, the graph, the output
    assert not gpu.counts.syncs


def test_graphs_share_one_pool_that_goes_with_them(runtime: GraphRuntime, gpu: Device) -> None:
    resting = gpu.allocated
    reserved = []
    for rows in (1, 2, 4, 8):
        runtime.denoise(*inputs(rows))
        (pool,) = gpu.pools.values()
        reserved.append(pool.reserved)
    largest = reserved[-1]
    runtime.denoise(*inputs(1))
    (pool,) = gpu.pools.values()
    assert pool.reserved == largest < sum(reserved) / 1.5  # the largest of them, not the sum
    runtime.drop()
    gc.collect()
    assert gpu.allocated <= resting + MIB // 8


@pytest.mark.parametrize("fault", ["operation not permitted", "out of memory"])
def test_where_capturing_fails_the_eager_networks_go_on(
    runtime: GraphRuntime, eager: Unet, gpu: Device, fault: str
) -> None:
    gpu.fails_to_capture = fault
    given = inputs(2)
    found = runtime.denoise(*given)
    assert torch.equal(found, eager.denoise(*given))
    assert torch.cuda.current_stream() == torch.cuda.default_stream()
    calls = eager.calls
    runtime.denoise(*given)
    assert eager.calls == calls + 1  # not tried again
    gpu.fails_to_capture = ""
    if fault == "out of memory":  # others may still fit
        assert runtime.remark == ""
        runtime.denoise(*inputs(1))
        assert runtime.num_captures == 1
    else:
        assert fault in runtime.remark


def test_eager_work_gets_the_memory_that_graphs_hold(runtime: GraphRuntime, gpu: Device) -> None:
    runtime.denoise(*inputs(8, 32))
    held = gpu.reserved
    (pool,) = gpu.pools.values()
    assert pool.reserved > MIB
    gpu.taken_by_others = gpu.total_bytes - held - MIB // 4
    needed = pool.reserved // 2

    def decode(latents: torch.Tensor) -> torch.Tensor:
        return latents.new_zeros(needed // 4)

    runtime.eager.decode = decode  # type: ignore[method-assign]
    assert len(runtime.decode(torch.zeros(1, device=CUDA))) == needed // 4
    runtime.denoise(*inputs(1))  # and graphs are captured anew
    assert runtime.num_captures == 2


def test_what_does_not_fit_at_all_is_out_of_memory(runtime: GraphRuntime, gpu: Device) -> None:
    gpu.taken_by_others = gpu.total_bytes - gpu.reserved - MIB // 2
    with pytest.raises(OutOfMemory, match="too much"), naming_failures("too much"):
        runtime.denoise(*inputs(8, 64))
    gpu.taken_by_others = 0
    assert torch.isfinite(runtime.denoise(*inputs(2))).all()


def test_a_poisoned_context_is_a_lost_device(runtime: GraphRuntime, gpu: Device) -> None:
    given = inputs(2)
    runtime.denoise(*given)
    gpu.poison()
    with pytest.raises(DeviceLost, match="device-side assert"), naming_failures(""):
        runtime.denoise(*given)
    runtime.drop()  # nothing more to say


def test_sizes_that_clients_choose_do_not_pile_up(
    runtime: GraphRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.model.runtime.cuda_graphs.MOST_GRAPHS", 2)
    for size in (8, 16, 24):
        runtime.denoise(*inputs(1, size))
    assert runtime.num_captures == 3
    assert len(runtime._graphs) == 1
