"""The status of a service: plain frozen dataclasses, no protobuf types.

Sizes are in pixels, memory in bytes, durations carry their unit in the name. The fields are
documented in `proto/text2image.proto`.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from text2image.abilities import Abilities
from text2image.types import Lora


class State(enum.Enum):
    """State of the service. UNKNOWN: a state of a newer service."""

    UNKNOWN = "unknown"
    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    FAILED = "failed"
    STUCK = "stuck"


class ModelState(enum.Enum):
    """Whether a model is in memory. An AVAILABLE one is loaded by the next request."""

    UNKNOWN = "unknown"
    AVAILABLE = "available"
    LOADING = "loading"
    LOADED = "loaded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Figure:
    """A number that was measured of a model, in words for people."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """One served model. Of one never loaded, numbers are 0 and lists empty."""

    name: str
    source: str
    revision: str
    loaded: bool
    num_parameters: int
    native_height: int
    native_width: int
    default_scheduler: str
    device: str
    dtype: str
    runtime: str
    runtime_reason: str
    abilities: Abilities | None = None  # if requested, and the model declares any
    num_text_layers: int = 0  # 0: an older service, which does not tell
    license: str = ""
    figures: tuple[Figure, ...] = ()  # if requested
    state: ModelState = ModelState.UNKNOWN
    message: str = ""
    limits: Limits | None = None
    schedulers: tuple[str, ...] = ()
    adapters: tuple[Adapter, ...] = ()
    embeddings: tuple[str, ...] = ()
    default_num_inference_steps: int = 50
    default_guidance_scale: float = 7.5
    default_loras: tuple[Lora, ...] = ()


@dataclass(frozen=True, slots=True)
class Queue:
    """Number of requests waiting and running, and how many can wait at most."""

    queued: int = 0
    running: int = 0
    capacity: int = 0


@dataclass(frozen=True, slots=True)
class Counters:
    """Requests since the start of the service, and images generated."""

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

    The last count is of those above all bounds. `name` ends with the unit.
    """

    name: str
    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    sum: float

    def quantile(self, share: float) -> float | None:
        """The upper bound of the bucket in which this share of the values is reached.

        None where there are no values, or it lies above all bounds.
        """
        wanted, seen = share * sum(self.counts), 0
        for bound, count in zip(self.bounds, self.counts, strict=False):
            seen += count
            if count and seen >= wanted:
                return bound
        return None


@dataclass(frozen=True, slots=True)
class Gpu:
    """One accelerator of the service."""

    name: str
    memory_bytes: int
    memory_used_bytes: int
    utilization_percent: float
    temperature_celsius: float


@dataclass(frozen=True, slots=True)
class Resources:
    """Resource usage of the service and its machine."""

    cpu_percent: float = 0.0
    process_memory_bytes: int = 0
    system_memory_bytes: int = 0
    system_memory_used_bytes: int = 0
    gpus: tuple[Gpu, ...] = ()


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits for requests."""

    min_size: int
    max_size: int
    size_multiple: int
    max_pixels: int
    max_num_inference_steps: int
    max_num_images: int
    max_prompt_characters: int
    max_negative_prompt_characters: int
    max_guidance_scale: float
    max_seed: int
    max_picture_bytes: int = 0  # of an older service, which takes none
    max_picture_pixels: int = 0


@dataclass(frozen=True, slots=True)
class Adapter:
    """A LoRA of the service, and the words that its file says it was trained with."""

    name: str
    trigger_words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReplicaStatus:
    """One engine of a cluster. `running`: requests that it has from this service."""

    name: str
    state: State
    message: str
    host: str
    device: str
    running: int
    process_memory_bytes: int


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """Status of the service. The first model is the default one."""

    state: State
    message: str
    version: str
    uptime_s: float
    models: tuple[ModelStatus, ...]
    queue: Queue
    counters: Counters
    latency: Latency
    resources: Resources
    limits: Limits
    schedulers: tuple[str, ...]
    loras: tuple[str, ...]
    embeddings: tuple[str, ...] = ()
    adapters: tuple[Adapter, ...] = ()
    upscalers: tuple[str, ...] = ()
    histograms: tuple[Histogram, ...] = ()  # since the start
    last_hour: tuple[Histogram, ...] = ()
    replicas: tuple[ReplicaStatus, ...] = ()  # empty where the service is one engine
