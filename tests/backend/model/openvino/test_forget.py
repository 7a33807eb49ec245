"""Weights are freed after a conversion, whatever names this version of torch has."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from torch import nn

from backend.model.openvino.convert import _forget

PRIVATE = (
    (torch._C, "_jit_clear_class_registry"),
    (torch.jit._recursive, "concrete_type_store"),
    (torch.jit._recursive, "ConcreteTypeStore"),
    (torch.jit._state, "_clear_class_state"),
)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("missing", [(), *[(name,) for name in PRIVATE], PRIVATE])
def test_the_weights_go(
    missing: tuple[tuple[object, str], ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = nn.Linear(300, 200)
    torch.jit.trace(network, torch.zeros(1, 300))
    weights = weakref.ref(network.weight.untyped_storage())
    for owner, name in missing:
        monkeypatch.delattr(owner, name, raising=False)
    _forget(network)
    gc.collect()
    assert weights() is None
    assert sum(parameter.numel() for parameter in network.parameters()) == 0
