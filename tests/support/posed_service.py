"""The fake service, posing as the embedded model's in states that are rare."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from PIL import Image

from backend.model.abilities import EXAMPLES, read_abilities
from backend.model.checkpoint.source import embedded_model
from backend.transport.rpc.convert_status import _abilities_to_pb
from proto import text2image_pb2 as pb
from tests.support.fake_service import Failure, FakeService, error_info

FAILURES = {
    "failed": Failure(grpc.StatusCode.INTERNAL, "internal error"),
    "no-memory": Failure(
        grpc.StatusCode.RESOURCE_EXHAUSTED, "out of memory", (error_info("OUT_OF_MEMORY"),)
    ),
}
REPLICAS = (
    ("replica-0", "STATE_READY", "cuda", "gpu-node-1.cluster.local", 2, 6_100, ""),
    ("replica-1", "STATE_READY", "cuda", "gpu-node-1.cluster.local", 1, 6_080, ""),
    (
        "replica-2",
        "STATE_STARTING",
        "cuda",
        "gpu-node-2.cluster.local",
        0,
        900,
        "Loading the model.",
    ),
    (
        "replica-3",
        "STATE_FAILED",
        "cuda",
        "gpu-node-2.cluster.local",
        0,
        0,
        "It lost its GPU (CUDA error 999) and starts again in 40 s.",
    ),
)


def posed_service() -> FakeService:
    """A service that says what the embedded model says, and sends one of its pictures."""
    service = FakeService()
    model = service.status.models[0]
    abilities = read_abilities(embedded_model())
    if abilities is not None:
        model.name = "text2image-mini"
        model.native_width = model.native_height = 128
        model.abilities.CopyFrom(_abilities_to_pb(abilities))
    service.picture = example_picture()
    service.status.latency.CopyFrom(
        pb.GetStatusResponse.Latency(p50_ms=1400, p95_ms=3100, images_per_minute=21)
    )
    return service


def add_replicas(service: FakeService) -> None:
    """Four replicas on two machines: two work, one loads its model, one has failed."""
    for name, state, device, host, running, megabytes, message in REPLICAS:
        service.status.replicas.add(
            name=name,
            state=state,
            device=device,
            host=host,
            running=running,
            process_memory_bytes=megabytes * 2**20,
            message=message,
        )


@contextmanager
def changed(service: FakeService, **values: Any) -> Iterator[None]:
    """The service with other values meanwhile."""
    before = {name: getattr(service, name) for name in values}
    for name, value in values.items():
        setattr(service, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(service, name, value)


def example_picture() -> bytes:
    first = sorted((embedded_model() / EXAMPLES).glob("*.webp"))[0]
    file = io.BytesIO()
    with Image.open(first) as picture:
        picture.convert("RGB").save(file, "PNG")
    return file.getvalue()


def large_picture() -> bytes:
    """Noise, which no format makes small."""
    file = io.BytesIO()
    Image.effect_noise((900, 900), 90).convert("RGB").save(file, "PNG")
    return file.getvalue()
