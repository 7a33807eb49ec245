"""Stable Diffusion 2.1 and SD-Turbo, as small models with random weights, against diffusers.

2.1 predicts v and encodes prompts by OpenCLIP's text encoder, which pads with "!"; SD-Turbo is of
the same architecture, distilled to one to four steps of Euler with trailing timesteps.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from diffusers import DDIMScheduler, EulerDiscreteScheduler

from tests.support.oracle import DTYPES, Pair, assert_same
from tests.support.tiny_sd import build_tiny_sd, tiny_params

FAMILIES: dict[str, dict[str, Any]] = {
    "sd2.1": {"prediction_type": "v_prediction", "scheduler": DDIMScheduler},
    "sd-turbo": {
        "scheduler": EulerDiscreteScheduler,
        "schedule": {"timestep_spacing": "trailing"},
        "seed": 1,
    },
}


@pytest.fixture(scope="module", params=FAMILIES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("family") / "tiny"
    return build_tiny_sd(where, family="2", **FAMILIES[request.param])


@pytest.mark.parametrize("dtype", DTYPES)
def test_each_equals_diffusers(folder: Path, dtype: str) -> None:
    pair = Pair(folder, dtype)
    own = pair.model.info.default_scheduler
    assert own in ("ddim", "euler")
    tokenizer = pair.model.components.tokenizer  # a short prompt is mostly padding
    assert tokenizer.pad_token == "!"
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    assert_same(pair, tiny_params(scheduler=own, prompt="a", num_inference_steps=2))
    assert_same(pair, tiny_params(scheduler="dpmpp_2m", negative_prompt="the tree"))
    assert_same(pair, tiny_params(scheduler=own, num_inference_steps=1, guidance_scale=0.0))
