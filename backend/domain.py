"""The nouns that every layer shares: what happened, and how the service is.

Knows nothing of gRPC, HTTP or torch.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from backend.params import GenerationParams, Limits, ModelInfo


class Exactness(enum.Enum):
    """What batching may change: nothing at all, or the last bits."""

    CERTIFIED = "certified"
    TOLERANT = "tolerant"


@dataclass(frozen=True, slots=True)
class Queued:
    """Place in the queue (0 = next) and the predicted wait in milliseconds."""

    position: int
    estimated_wait_ms: float


@dataclass(frozen=True, slots=True)
class Progress:
    """Steps done so far, averaged over the request's images, and maybe a small preview."""

    step: int
    num_steps: int
    eta_ms: float
    preview: GeneratedImage | None = None


@dataclass(frozen=True, slots=True)
class GeneratedImage:
    """One encoded picture. `data` is empty where the safety checker withheld it."""

    data: bytes
    mime_type: str
    width: int
    height: int
    seed: int
    nsfw_detected: bool = False


@dataclass(frozen=True, slots=True)
class FinishedImage:
    """One finished picture and its place among the request's images."""

    index: int
    image: GeneratedImage


@dataclass(frozen=True, slots=True)
class Timings:
    """Where a request's time went, in milliseconds."""

    queued_ms: float = 0.0
    encode_ms: float = 0.0
    denoise_ms: float = 0.0
    decode_ms: float = 0.0
    total_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class GenerationWarning:
    """What could not be followed in full: the request's field, a sentence, a name for programs.

    `excerpt`: the part of the field that it is about; `alternatives`: what could stand there.
    """

    field: str
    description: str
    reason: str
    excerpt: str = ""
    alternatives: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Done:
    """The end of a request: what was used, and where the time went."""

    request_id: str
    params: GenerationParams
    model: ModelInfo
    exactness: Exactness
    timings: Timings
    warnings: tuple[GenerationWarning, ...] = ()


Event = Queued | Progress | FinishedImage | Done


class State(enum.Enum):
    """The service's state, as on the wire."""

    STARTING = 1
    READY = 2
    DRAINING = 3
    FAILED = 4
    STUCK = 5


@dataclass(frozen=True, slots=True)
class Counters:
    """Requests since the start.

    received = completed + failed + cancelled + rejected + those queued or running.
    """

    received: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    rejected: int = 0
    images: int = 0


@dataclass(frozen=True, slots=True)
class Latency:
    """Of the last minutes; all zero before the first finished request."""

    p50_ms: float = 0.0
    p95_ms: float = 0.0
    p99_ms: float = 0.0
    images_per_minute: float = 0.0


@dataclass(frozen=True, slots=True)
class Gpu:
    """One accelerator. What its driver does not tell is zero."""

    name: str
    memory_bytes: int
    memory_used_bytes: int
    utilization_percent: float = 0.0
    temperature_celsius: float = 0.0


@dataclass(frozen=True, slots=True)
class Resources:
    """What the process and the machine use.

    `cpu_percent`: of all cores together, used by the process: 0 to 100.
    """

    cpu_percent: float = 0.0
    process_memory_bytes: int = 0
    system_memory_bytes: int = 0
    system_memory_used_bytes: int = 0
    gpus: tuple[Gpu, ...] = ()


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """The service as people and dashboards see it."""

    state: State
    message: str
    version: str
    uptime_s: float
    models: tuple[ModelInfo, ...]
    queued: int
    running: int
    capacity: int
    limits: Limits
    counters: Counters = field(default_factory=Counters)
    latency: Latency = field(default_factory=Latency)
    resources: Resources = field(default_factory=Resources)
