"""An image does not depend on others in its batch, nor on when they join and leave."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backend.domain import GenerationWarning
from backend.engine.engine import Engine
from backend.engine.protocols import Lap, Picture, Pixels
from backend.engine.request import Request
from backend.engine.scheduler import Scheduler
from backend.errors import Violation
from backend.model.loader import load_model
from backend.model.pipeline import LatentDiffusion
from backend.params import GenerationParams
from tests.support.fakes import SIZE, RecordingObserver, fake_params, settings, wide_costs

MIN_ROWS = 8
MAX_ROWS = 16
SCHEDULERS = ["ddim", "pndm", "euler", "euler_ancestral", "heun", "dpmpp_2m", "unipc", "lms"]


class Recorder:
    """A model that remembers who shared each step, and in how many rows."""

    def __init__(self, model: LatentDiffusion) -> None:
        self.model = model
        self.info = model.info
        self.exactness = model.exactness
        self.batches: list[tuple[int, tuple[int, ...]]] = []  # rows, seeds

    def check(self, params: GenerationParams) -> Sequence[Violation]:
        return self.model.check(params)

    def warnings(self, params: GenerationParams) -> tuple[GenerationWarning, ...]:
        return self.model.warnings(params)

    def start_lap(self) -> Lap | None:
        return self.model.start_lap()

    def num_chunks(self, params: GenerationParams) -> int:
        return self.model.num_chunks(params)

    def get_ready(self, params: GenerationParams) -> None:
        self.model.get_ready(params)

    def bind(self) -> None:
        self.model.bind()

    def encode(self, params: GenerationParams) -> Any:
        return self.model.encode(params)

    def prepare(self, params: GenerationParams, index: int, source: Any = None) -> Any:
        return self.model.prepare(params, index, source)

    def denoise_step(self, trajectories: Sequence[Any]) -> list[Exception | None]:
        rows = sum(one.num_rows for one in trajectories)
        self.batches.append((rows, tuple(one.seed for one in trajectories)))
        return self.model.denoise_step(trajectories)

    def decode(self, trajectory: Any) -> Picture:
        return self.model.decode(trajectory)

    def preview(self, trajectory: Any) -> Pixels:
        return self.model.preview(trajectory)


class Bench:
    """An engine that puts up to `max_rows` rows into a step."""

    def __init__(self, model: LatentDiffusion, max_rows: int) -> None:
        self.recorder = Recorder(model)
        self.observer = RecordingObserver()
        cost = wide_costs(max_rows)
        self.engine = Engine(self.recorder, Scheduler(cost, 100), cost, self.observer)

    def run(self) -> RecordingObserver:
        for _ in range(2000):
            if not self.engine.step():
                assert not self.observer.errors
                return self.observer
        raise AssertionError("the engine does not come to an end")


@pytest.fixture(scope="module", params=["bfloat16", "float32"])
def model(
    request: pytest.FixtureRequest, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> LatentDiffusion:
    return load_model(
        settings(
            model=str(tiny_model),
            device="cpu",
            dtype=request.param,
            runtime="torch",
            data_dir=tmp_path_factory.mktemp("data"),
        ),
        lambda message: None,
    )


def crowd() -> list[GenerationParams]:
    """Requests that differ in all that may differ within a step; the seed names each."""
    return [
        fake_params(
            f"{colour} {thing}",
            negative_prompt="blurry" if number % 2 else "",
            seed=100 * number,
            num_inference_steps=4 + number % 3,
            guidance_scale=[7.5, 1.0, 3.0, 12.0][number % 4],
            scheduler=SCHEDULERS[number % len(SCHEDULERS)],
            num_images=1 + (number == 3),
        )
        for number, (colour, thing) in enumerate(
            (colour, thing)
            for colour in ("red", "blue", "green")
            for thing in ("fox", "owl", "cat")
        )
    ]


def requests_for(wanted: Sequence[GenerationParams]) -> list[Request]:
    return [
        Request(str(params.seed), f"client {number % 3}", params, 0.0)
        for number, params in enumerate(wanted)
    ]


def alone(model: LatentDiffusion, params: GenerationParams) -> dict[tuple[str, int], Pixels]:
    bench = Bench(model, max_rows=2)
    bench.engine.add(*requests_for([params]))
    observer = bench.run()
    assert all(len(seeds) == 1 for _, seeds in bench.recorder.batches)
    return observer.pixels


def test_the_same_pixels_alone_and_in_a_crowd_that_comes_and_goes(model: LatentDiffusion) -> None:
    wanted = crowd()
    bench = Bench(model, MAX_ROWS)
    leaving = Request("leaving", "client 9", fake_params("who leaves", seed=7777), 0.0)
    bench.engine.add(leaving)
    for number, request in enumerate(requests_for(wanted)):
        bench.engine.add(request)
        if number % 2:
            assert bench.engine.step()
        if number == 5:
            bench.engine.abort(leaving)
    observer = bench.run()

    rows = [rows for rows, _ in bench.recorder.batches]
    assert max(rows) >= MIN_ROWS
    shared = {seed for n, seeds in bench.recorder.batches if n >= MIN_ROWS for seed in seeds}
    assert {params.seed for params in wanted} <= shared

    for params in wanted:
        for name, pixels in alone(model, params).items():
            assert_same(observer.pixels[name], pixels, model.info.dtype)


def assert_same(crowded: Pixels, alone: Pixels, dtype: str) -> None:
    difference = np.abs(crowded.astype(int) - alone.astype(int)).max()
    assert difference <= (0 if dtype == "bfloat16" else 1)


def test_pictures_of_one_request_share_steps_and_equal_seed_plus_i(model: LatentDiffusion) -> None:
    several = fake_params("a red fox", num_images=4, seed=40, num_inference_steps=8)
    bench = Bench(model, MAX_ROWS)
    bench.engine.add(*requests_for([several]))
    observer = bench.run()
    assert {rows for rows, _ in bench.recorder.batches} == {8}
    for index in range(4):
        single = fake_params("a red fox", seed=40 + index, num_inference_steps=8)
        (pixels,) = alone(model, single).values()
        assert_same(observer.pixels["40", index], pixels, model.info.dtype)


def test_certified_row_counts_alone_are_used_where_exactness_is_promised(
    model: LatentDiffusion,
) -> None:
    bench = Bench(model, MAX_ROWS)
    cost = wide_costs(MAX_ROWS)
    cost.certified = {(SIZE, SIZE): frozenset({1, 2, 4})}
    bench.engine = Engine(bench.recorder, Scheduler(cost, 100), cost, bench.observer)
    for request in requests_for(crowd()):
        bench.engine.add(request)
    bench.run()
    assert {rows for rows, seeds in bench.recorder.batches if len(seeds) > 1} <= {1, 2, 4}
