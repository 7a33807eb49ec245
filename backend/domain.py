"""Data types shared by all layers: events of a generation, and the service's status."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from backend.params import GenerationParams, Limits, ModelInfo


class Exactness(enum.Enum):
    """Whether batching may change an image: not at all, or in its last bits."""

    CERTIFIED = "certified"
    TOLERANT = "tolerant"


@dataclass(frozen=True, slots=True)
class Queued:
    """Position in the queue (0 = next) and the predicted wait in milliseconds.

    `message` is set while the model has to be loaded: what is being done for it.
    """

    position: int
    estimated_wait_ms: float
    message: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """Steps done so far, averaged over the request's images, and sometimes a preview."""

    step: int
    num_steps: int
    eta_ms: float
    preview: GeneratedImage | None = None


@dataclass(frozen=True, slots=True)
class GeneratedImage:
    """One encoded image. `data` is empty if the safety checker withheld it."""

    data: bytes
    mime_type: str
    width: int
    height: int
    seed: int
    nsfw_detected: bool = False


@dataclass(frozen=True, slots=True)
class FinishedImage:
    """One finished image and its index among the request's images."""

    index: int
    image: GeneratedImage


@dataclass(frozen=True, slots=True)
class Timings:
    """Time spent in each stage of a request, in milliseconds."""

    queued_ms: float = 0.0
    encode_ms: float = 0.0
    denoise_ms: float = 0.0
    decode_ms: float = 0.0
    total_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class GenerationWarning:
    """Something in the request that had no or only partial effect.

    `field` is the request's field, `description` a sentence, `reason` an UPPER_SNAKE name;
    `excerpt` is the part of the field concerned, `alternatives` are replacements for it.
    """

    field: str
    description: str
    reason: str
    excerpt: str = ""
    alternatives: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Done:
    """The end of a request: resolved parameters, model and timings."""

    request_id: str
    params: GenerationParams
    model: ModelInfo
    exactness: Exactness
    timings: Timings
    warnings: tuple[GenerationWarning, ...] = ()


Event = Queued | Progress | FinishedImage | Done


class State(enum.Enum):
    """The service's state; values as in the proto file."""

    STARTING = 1
    READY = 2
    DRAINING = 3
    FAILED = 4
    STUCK = 5


@dataclass(frozen=True, slots=True)
class Counters:
    """Number of requests since the start.

    received = completed + failed + cancelled + rejected + queued + running.
    """

    received: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    rejected: int = 0
    images: int = 0


@dataclass(frozen=True, slots=True)
class Latency:
    """Latency over the last minutes; all zero if no request finished in them."""

    p50_ms: float = 0.0
    p95_ms: float = 0.0
    p99_ms: float = 0.0
    images_per_minute: float = 0.0


@dataclass(frozen=True, slots=True)
class Histogram:
    """How values are distributed: `counts[i]` lie above `bounds[i - 1]` and up to `bounds[i]`.

    The last count is of those above all bounds. `name` ends with the unit, as Prometheus' do.
    """

    name: str
    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    sum: float


@dataclass(frozen=True, slots=True)
class Gpu:
    """One accelerator. Values that its driver does not report are zero."""

    name: str
    memory_bytes: int
    memory_used_bytes: int
    utilization_percent: float = 0.0
    temperature_celsius: float = 0.0


@dataclass(frozen=True, slots=True)
class Resources:
    """Resource usage of the process and the machine.

    `cpu_percent`: share of all cores used by the process, 0 to 100.
    """

    cpu_percent: float = 0.0
    process_memory_bytes: int = 0
    system_memory_bytes: int = 0
    system_memory_used_bytes: int = 0
    gpus: tuple[Gpu, ...] = ()


@dataclass(frozen=True, slots=True)
class ReplicaStatus:
    """One of several engines behind this front. `running`: requests it has from this front."""

    name: str
    state: State
    message: str
    host: str = ""
    device: str = ""
    running: int = 0
    process_memory_bytes: int = 0


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """The service's status for people and dashboards."""

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
    histograms: tuple[Histogram, ...] = ()  # since the start
    last_hour: tuple[Histogram, ...] = ()
    replicas: tuple[ReplicaStatus, ...] = ()  # empty where the engine is in this process
    upscalers: tuple[str, ...] = ("lanczos",)
