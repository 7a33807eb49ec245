"""`python -m backend --check`: speed and accuracy of every runtime."""

from __future__ import annotations

from pathlib import Path

import pytest

from backend.config import Settings
from backend.model.checkpoint.components import Components
from backend.model.choose_runtime import Wanted, has_openvino
from backend.model.measure import check as module
from backend.model.measure import fidelity
from backend.model.measure.check import check
from backend.model.measure.fidelity import Comparison, choose_comparison, draw, median_psnr
from backend.model.openvino.convert import precisions
from backend.model.openvino.runtime import OpenVinoRuntime
from backend.model.runtime.eager import TorchRuntime


def test_every_runtime_is_told_with_its_speed_and_fidelity(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fidelity, "FAST_STEP_S", 0.0)  # one picture each
    told: list[str] = []
    settings = Settings(
        model=str(tiny_model), data_dir=tmp_path, dtype="float32", device="cpu", num_threads=1
    )
    assert check(settings, told.append)
    assert told[0].startswith("tiny-sd on ")
    reference = next(line for line in told if line.startswith("torch "))
    assert " s per picture " in reference
    assert reference.endswith(f" {fidelity.EQUAL_DB:.0f} dB")
    (picked,) = [line for line in told if line.endswith("<- RUNTIME=auto")]
    assert picked.startswith("openvino" if has_openvino() else "torch")


def test_a_runtime_that_draws_something_else_fails_the_check(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    class Wrong(TorchRuntime):
        name = "wrong"
        description = "wrong"

        def decode(self, latents):  # type: ignore[no-untyped-def]
            return -super().decode(latents)

    def wrong(wanted: Wanted) -> Wrong:
        return Wrong(wanted.components)

    monkeypatch.setattr(module, "torch_runtime", wrong)
    monkeypatch.setattr("backend.model.choose_runtime.torch_runtime", wrong)
    monkeypatch.setattr(module, "has_openvino", lambda: False)
    settings = Settings(
        model=str(tiny_model),
        data_dir=tmp_path,
        dtype="bfloat16",
        device="cpu",
        runtime="torch",
        num_threads=1,
    )
    assert not check(settings, told.append)
    assert any(line.startswith("wrong") and "below 35 dB" in line for line in told)


def test_bfloat16_is_faithful_where_there_is_bfloat16(
    components: Components, tmp_path: Path
) -> None:
    comparison = Comparison(("a red cat",), 4, 8, 8)
    expected = draw(components, TorchRuntime(components), comparison)
    for precision in precisions():
        runtime = OpenVinoRuntime(components, tmp_path, precision=precision, num_threads=2)
        assert median_psnr(draw(components, runtime, comparison), expected) >= 35.0


@pytest.mark.parametrize(("fast_step_s", "prompts"), [(60.0, 3), (0.0, 1)])
def test_a_slow_model_is_asked_for_less(
    components: Components, fast_step_s: float, prompts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fidelity, "FAST_STEP_S", fast_step_s)
    assert len(choose_comparison(components, TorchRuntime(components)).prompts) == prompts
