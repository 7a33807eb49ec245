"""A second, larger pass: what it draws, what it costs, and what is told of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from backend.draft import Draft
from backend.engine.cost import CostModel
from backend.engine.engine import Engine
from backend.engine.request import Request
from backend.engine.scheduler import Scheduler
from backend.model.pipeline import LatentDiffusion
from backend.params import GenerationParams, Limits
from backend.source_picture import SourcePicture
from backend.upscale import enlarge
from tests.support.fakes import (
    INFO,
    FakeModel,
    RecordingObserver,
    fake_draft,
    fake_params,
    wide_costs,
)


def run(model: FakeModel | LatentDiffusion, *wanted: GenerationParams) -> RecordingObserver:
    told, cost = RecordingObserver(), wide_costs()
    engine = Engine(model, Scheduler(cost, 100), cost, told)
    for number, params in enumerate(wanted):
        engine.add(Request(str(number), "me", params, 0.0))
    while engine.step():
        assert not told.errors
    return told


def twice(**changes: Any) -> GenerationParams:
    draft: Draft = fake_draft(upscale=2.0, **changes)
    return draft.resolve(INFO, "me")


def test_it_is_the_first_picture_enlarged_and_started_from(tiny_diffusion: LatentDiffusion) -> None:
    params = twice(num_images=2)
    told = run(tiny_diffusion, params, fake_params("a fox"))
    for index in range(2):
        first = run(tiny_diffusion, fake_params(seed=1 + index)).pixels["0", 0]
        assert first.shape == (64, 64, 3)
        start = SourcePicture("first", enlarge(first, 128, 128))
        second = fake_params(seed=1 + index, height=128, width=128, init_image=start, strength=0.5)
        expected = run(tiny_diffusion, second).pixels["0", 0]
        found = told.pixels["0", index]
        assert found.shape == (128, 128, 3)
        assert np.abs(found.astype(int) - expected.astype(int)).max() <= 1
        assert not np.array_equal(found, start.pixels)


def test_steps_of_both_passes_are_counted_and_told() -> None:
    model = FakeModel()
    told = run(model, twice(num_inference_steps=10, upscale_strength=0.3))
    assert [step for _, step in told.progress] == list(range(1, 14))
    assert told.etas == sorted(told.etas, reverse=True)
    assert (len(model.encoded), len(model.decoded)) == (1, 2)


def test_a_flagged_picture_is_not_drawn_again() -> None:
    model = FakeModel(nsfw=frozenset({"a red apple"}))
    told = run(model, twice())
    assert told.pictures == [("0", 0)]
    assert model.encoded == []


@pytest.mark.parametrize("failing", ["encode", "prepare"])
def test_a_second_pass_that_fails_fails_the_request(failing: str) -> None:
    told, cost = RecordingObserver(), wide_costs()
    engine = Engine(FakeModel(fails_in={"bad": failing}), Scheduler(cost, 9), cost, told)
    engine.add(Request("0", "me", twice(prompt="bad") if failing else twice(), 0.0))
    while engine.step():
        pass
    assert [*told.errors] == ["0"]


def test_both_passes_are_predicted() -> None:
    cost = CostModel(encode=0.0)
    cost.steps = {(64, 64, 2): 10.0, (128, 128, 2): 40.0}
    cost.decodes = {(64, 64): 5.0, (128, 128): 20.0}
    request = Request("0", "me", twice(num_inference_steps=10), 0.0)
    assert cost.request_ms(request) == 10 * 10 + 5 + (10 + 5 * 40 + 20)
    plain = Request("1", "me", fake_params(num_inference_steps=10), 0.0)
    assert cost.request_ms(plain) == 10 * 10 + 5


class TestParams:
    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"upscale": 0.5}, "upscale"),
            ({"upscale": 4.5}, "upscale"),
            ({"upscale": float("nan")}, "upscale"),
            ({"upscale": 4.0, "width": 512, "height": 512}, "upscale"),
            ({"upscale": 2.0, "upscale_strength": 0.0}, "upscale_strength"),
            ({"upscale": 2.0, "upscale_strength": 0.1}, "upscale_strength"),
        ],
    )
    def test_what_can_not_be_drawn_is_refused(self, changes: dict[str, Any], field: str) -> None:
        params = fake_draft(**changes).resolve(INFO, "me")
        assert [one.field for one in params.violations(Limits(), INFO)] == [field]

    def test_sizes_are_rounded_to_what_the_model_can_draw(self) -> None:
        params = fake_draft(upscale=1.3, width=72).resolve(INFO, "me")
        assert params.upscaled == params.final_size == (80, 96)
        assert fake_draft(upscale=1.0).resolve(INFO, "me").upscaled is None
        assert fake_params().final_size == (64, 64)

    def test_the_answer_has_room_for_the_larger_picture(self) -> None:
        draft = fake_draft(upscale=2.0, max_answer_bytes=40_000)
        (found,) = draft.violations(draft.resolve(INFO, "me"))
        assert found.reason == "ANSWER_TOO_LARGE"
