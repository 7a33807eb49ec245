"""What callers see: plain frozen dataclasses. No protobuf type leaves this package.

Sizes are in pixels, durations carry their unit in the name, memory is in bytes. What each field
means is written once, in `proto/text2image.proto`.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TypedDict

from text2image.abilities import Abilities


class ImageFormat(enum.Enum):
    """File format of the pictures; the value is its usual file ending."""

    PNG = "png"
    JPEG = "jpg"
    WEBP = "webp"


class Exactness(enum.Enum):
    """What batching may change: nothing at all (CERTIFIED), or the last bits."""

    UNKNOWN = "unknown"
    CERTIFIED = "certified"
    TOLERANT = "tolerant"


class State(enum.Enum):
    """State of the service. UNKNOWN where a newer service has a state of its own."""

    UNKNOWN = "unknown"
    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    FAILED = "failed"
    STUCK = "stuck"


@dataclass(frozen=True, slots=True)
class Lora:
    """A low-rank adapter and its weight, -2 to 2."""

    name: str
    scale: float = 1.0


class GenerationOptions(TypedDict, total=False):
    """Everything but the prompt. Left out or None: the service's default."""

    negative_prompt: str | None
    height: int | None
    width: int | None
    num_inference_steps: int | None
    guidance_scale: float | None
    # 0 to 2^53 - 1; None or -1: drawn at random, and told in the answer.
    seed: int | None
    # Picture i uses seed + i.
    num_images: int | None
    # Names from ServiceStatus.schedulers and ServiceStatus.models.
    scheduler: str | None
    model: str | None
    output_format: ImageFormat | None
    # A preview every n steps; 0 or None sends none.
    preview_interval: int | None
    loras: tuple[Lora, ...]


@dataclass(frozen=True, slots=True)
class Image:
    """One encoded picture. `data` is empty where the safety checker withheld it."""

    data: bytes
    mime_type: str
    width: int
    height: int
    seed: int
    nsfw_detected: bool = False


@dataclass(frozen=True, slots=True)
class Queued:
    """Place in the queue (0 = next) and the predicted wait until the first step."""

    position: int
    estimated_wait_ms: int


@dataclass(frozen=True, slots=True)
class Progress:
    """Steps done, the predicted time until the pictures are there, and maybe a small JPEG."""

    step: int
    num_steps: int
    eta_ms: int
    preview: Image | None = None


@dataclass(frozen=True, slots=True)
class FinishedImage:
    """One finished picture; `index` is 0 to num_images - 1."""

    index: int
    image: Image


@dataclass(frozen=True, slots=True)
class GenerationParams:
    """A request as it was carried out: every default resolved, the seed drawn."""

    prompt: str
    negative_prompt: str
    height: int
    width: int
    num_inference_steps: int
    guidance_scale: float
    seed: int
    num_images: int
    scheduler: str
    model: str
    output_format: ImageFormat
    loras: tuple[Lora, ...] = ()


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
    """What the service could not follow in full: a prompt that was cut, for example.

    `excerpt` is the part of the field that it is about, `alternatives` what could stand there.
    """

    field: str
    description: str
    reason: str
    excerpt: str = ""
    alternatives: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GenerationInfo:
    """Everything needed to make the pictures again, and where the time went."""

    request_id: str
    params: GenerationParams
    model: str
    model_revision: str
    device: str
    dtype: str
    runtime: str
    exactness: Exactness
    timings: Timings
    warnings: tuple[GenerationWarning, ...] = ()


@dataclass(frozen=True, slots=True)
class Done:
    """The last event of every generation that succeeded."""

    info: GenerationInfo


Event = Queued | Progress | FinishedImage | Done


@dataclass(frozen=True, slots=True)
class Generation:
    """A finished generation: the pictures in the order of their seeds, and how they came about."""

    images: tuple[Image, ...]
    info: GenerationInfo


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """One served model."""

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
    abilities: Abilities | None = None  # where they were asked for, and the model declares any


@dataclass(frozen=True, slots=True)
class Queue:
    """Requests waiting, requests running, and how many may wait."""

    queued: int = 0
    running: int = 0
    capacity: int = 0


@dataclass(frozen=True, slots=True)
class Counters:
    """Requests since the start of the service, and the pictures made."""

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
    """One accelerator of the service."""

    name: str
    memory_bytes: int
    memory_used_bytes: int
    utilization_percent: float
    temperature_celsius: float


@dataclass(frozen=True, slots=True)
class Resources:
    """What the service and its machine use."""

    cpu_percent: float = 0.0
    process_memory_bytes: int = 0
    system_memory_bytes: int = 0
    system_memory_used_bytes: int = 0
    gpus: tuple[Gpu, ...] = ()


@dataclass(frozen=True, slots=True)
class Limits:
    """What requests may ask for."""

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


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """The service as people and dashboards see it. The first model is the default one."""

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
