"""torch.compile in the background, against eager torch."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from functools import partial

import pytest
import torch

from backend.model.checkpoint.components import Components
from backend.model.runtime.compiled import CompiledRuntime, shape_of
from backend.model.runtime.eager import TorchRuntime
from tests.support.networks import row_inputs as inputs


def test_eager_until_compiled_and_nearly_equal_after(components: Components) -> None:
    eager = TorchRuntime(components)
    runtime = CompiledRuntime(eager, backend="eager")  # traced, but spared the C++ compiler
    given = inputs(components, 2)
    tokens = torch.zeros(1, components.num_tokens, dtype=torch.int64)
    for network, expected, tensors in (
        (runtime.denoise, eager.denoise(*given), given),
        (runtime.decode, eager.decode(given[0][:1]), (given[0][:1],)),
        (runtime.encode, eager.encode(tokens), (tokens,)),
    ):
        assert torch.equal(network(*tensors), expected)
        _wait_until(partial(lambda made, shape: shape in made.ready, network, shape_of(*tensors)))
        torch.testing.assert_close(network(*tensors), expected, rtol=1e-3, atol=1e-4)


def test_what_does_not_compile_stays_eager(
    components: Components, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no compiler")

    eager = TorchRuntime(components)
    runtime = CompiledRuntime(eager, backend=broken)
    given = inputs(components, 2)
    runtime.denoise(*given)
    _wait_until(lambda: "stays eager" in caplog.text)
    assert torch.equal(runtime.denoise(*given), eager.denoise(*given))


@pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.timeout(600)
def test_the_real_compiler(components: Components) -> None:
    eager = TorchRuntime(components)
    runtime = CompiledRuntime(eager)
    latents = inputs(components, 1)[0]
    runtime.decode(latents)
    _wait_until(lambda: shape_of(latents) in runtime.decode.ready, seconds=500)
    expected = eager.decode(latents)
    torch.testing.assert_close(runtime.decode(latents), expected, rtol=1e-2, atol=1e-3)


def _wait_until(is_done: Callable[[], bool], seconds: float = 120.0) -> None:
    until = time.monotonic() + seconds
    while not is_done():
        assert time.monotonic() < until, "not in time"
        time.sleep(0.05)
