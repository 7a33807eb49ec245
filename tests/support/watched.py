"""A server around a real, small diffusion model that counts what is asked of it."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backend.domain import GenerationWarning
from backend.engine.cost import CostModel
from backend.engine.loading import Loaded, OnProgress
from backend.engine.protocols import Lap, Picture, Pixels
from backend.errors import Violation
from backend.model.pipeline import LatentDiffusion
from backend.params import GenerationParams
from proto import text2image_pb2 as pb
from tests.support.served import Served, ask, served

LONG: dict[str, Any] = {"num_inference_steps": 900, "scheduler": "ddim"}
"""A request that does not end by itself."""


class Watched:
    """A model that counts what is asked of it."""

    def __init__(self, model: LatentDiffusion) -> None:
        self.model = model
        self.info = model.info
        self.exactness = model.exactness
        self.steps = 0

    def check(self, params: GenerationParams) -> Sequence[Violation]:
        return self.model.check(params)

    def warnings(self, params: GenerationParams) -> tuple[GenerationWarning, ...]:
        return self.model.warnings(params)

    def num_chunks(self, params: GenerationParams) -> int:
        return self.model.num_chunks(params)

    def get_ready(self, params: GenerationParams) -> None:
        self.model.get_ready(params)

    def bind(self) -> None:
        self.model.bind()

    def start_lap(self) -> Lap | None:
        return self.model.start_lap()

    def encode(self, params: GenerationParams) -> Any:
        return self.model.encode(params)

    def prepare(self, params: GenerationParams, index: int, source: Any = None) -> Any:
        return self.model.prepare(params, index, source)

    def denoise_step(self, trajectories: Sequence[Any]) -> list[Exception | None]:
        self.steps += 1
        return self.model.denoise_step(trajectories)

    def decode(self, trajectory: Any) -> Picture:
        return self.model.decode(trajectory)

    def preview(self, trajectory: Any) -> Pixels:
        return self.model.preview(trajectory)


@asynccontextmanager
async def serving(model: LatentDiffusion, **changes: Any) -> AsyncIterator[tuple[Served, Watched]]:
    watched = Watched(model)

    def load(on_progress: OnProgress) -> Loaded:
        return Loaded(watched, CostModel())

    async with served(load=load, max_steps=1000, **changes) as running:
        yield running, watched


def pixels_of(image: pb.Image) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(image.data)))


async def picture(running: Served, prompt: str = "a red apple", **changes: Any) -> pb.Image:
    answer = await running.stub.GenerateImage(ask(prompt, **changes), timeout=60)
    image: pb.Image
    (image,) = answer.images
    return image


async def story(running: Served, request: pb.GenerateImageRequest) -> list[pb.GenerateImageEvent]:
    call = running.stub.StreamGenerateImage(request, timeout=60)
    return [event async for event in call]
