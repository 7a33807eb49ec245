"""Replayed kernels compute what called ones do; needs a CUDA device."""

from __future__ import annotations

import pytest
import torch

from backend.model.runtime.cuda_graphs import CudaGraphs

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def test_a_replay_computes_what_a_call_does() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.SiLU()).cuda()
    graphs = CudaGraphs(network)
    first, second = (torch.randn(4, 8, device="cuda") for _ in range(2))
    kept = graphs(first)
    assert torch.equal(graphs(second), network(second))
    assert torch.equal(kept, network(first))  # the second replay left it alone


def test_every_shape_has_a_graph_of_its_own() -> None:
    network = torch.nn.Linear(8, 8).cuda()
    graphs = CudaGraphs(network)
    for rows in (1, 2, 1):
        inputs = torch.randn(rows, 8, device="cuda")
        assert torch.equal(graphs(inputs), network(inputs))
