"""P2 and P3: one picture with Stable Diffusion 1.4's architecture, random weights, 256²."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from backend.domain import GenerationParams
from tests.bench.figures import abba, ratio_of
from tests.bench.peers.lock import LockedPipeline
from tests.bench.rows import Row
from tests.bench.subject import load
from tests.sd14.build import build_sd14

SIZE = 256


def one_picture(folder: Path, venvs: Path, steps: int, rounds: int = 2) -> list[Row]:
    """diffusers as shipped, float32, against ours; both draw `steps` steps and decode."""
    if not (folder / "model_index.json").is_file():
        print("  building the model …", flush=True)
        build_sd14(folder)
    subject = load(str(folder), "openvino")
    pipeline = LockedPipeline(str(folder))

    def ours(number: int) -> None:
        params = subject.params(number, steps)
        subject.draw(_at(params, SIZE))

    theirs_s, ours_s = abba(lambda n: pipeline.draw(n, steps, SIZE), ours, rounds)
    found = ratio_of(theirs_s, ours_s)
    told = f"{min(theirs_s):.1f} s against {min(ours_s):.1f} s, {steps} steps"
    return [
        Row(
            "P2",
            "one picture on a CPU, SD 1.4 shape, 256²: diffusers float32 ÷ ours",
            "3.5 ×",
            f"{found} × ({told})",
            found.value >= 3.5,
            details={"diffusers_s": theirs_s, "ours_s": ours_s},
        ),
        Row(
            "P3",
            "one picture on a CPU: best peer ÷ ours",
            "1.0 ×",
            "",
            None,
            "optimum-intel and stable-diffusion.cpp were not run",
        ),
    ]


def _at(params: GenerationParams, size: int) -> GenerationParams:
    return replace(params, height=size, width=size)
