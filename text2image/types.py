"""The client's data types: plain frozen dataclasses, no protobuf types.

Sizes are in pixels, memory in bytes, durations carry their unit in the name. The fields are
documented in `proto/text2image.proto`.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TypedDict

from text2image.abilities import Abilities


class ImageFormat(enum.Enum):
    """File format of the images; the value is its usual file extension."""

    PNG = "png"
    JPEG = "jpg"
    WEBP = "webp"


class PromptSyntax(enum.Enum):
    """How prompts are read: PLAIN, every sign is text; A1111, with weights in brackets."""

    PLAIN = "plain"
    A1111 = "a1111"


class Exactness(enum.Enum):
    """Whether batching may change an image: not at all (CERTIFIED), or in its last bits."""

    UNKNOWN = "unknown"
    CERTIFIED = "certified"
    TOLERANT = "tolerant"


class State(enum.Enum):
    """State of the service. UNKNOWN: a state of a newer service."""

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
    """All parameters except the prompt. Missing or None: the service's default."""

    negative_prompt: str | None
    height: int | None
    width: int | None
    num_inference_steps: int | None
    guidance_scale: float | None
    # 0 to 2^53 - 1; None or -1: random; the answer contains it.
    seed: int | None
    # Picture i uses seed + i.
    num_images: int | None
    # Names from ServiceStatus.schedulers and ServiceStatus.models.
    scheduler: str | None
    model: str | None
    output_format: ImageFormat | None
    # A preview every n steps; 0 or None: none.
    preview_interval: int | None
    loras: tuple[Lora, ...]
    # Initial picture and mask as files; see the proto file for their limits.
    init_image: bytes | None
    mask: bytes | None
    strength: float | None
    prompt_syntax: PromptSyntax | None
    # The text encoder's layer, counted from its end: 1, the last.
    clip_skip: int | None
    # Draw it a second time, so many times as large.
    upscale: float | None
    upscale_strength: float | None


@dataclass(frozen=True, slots=True)
class Image:
    """One encoded image. `data` is empty if the safety checker withheld it."""

    data: bytes
    mime_type: str
    width: int
    height: int
    seed: int
    nsfw_detected: bool = False


@dataclass(frozen=True, slots=True)
class Upscaled:
    """An enlarged picture, and the method that was used."""

    image: Image
    upscaler: str


@dataclass(frozen=True, slots=True)
class Queued:
    """Position in the queue (0 = next) and the predicted wait until the first step.

    `message` is set while the request's model is being loaded: what is being done for that.
    """

    position: int
    estimated_wait_ms: int
    message: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """Steps done, the predicted time until all images are ready, and maybe a small JPEG."""

    step: int
    num_steps: int
    eta_ms: int
    preview: Image | None = None


@dataclass(frozen=True, slots=True)
class FinishedImage:
    """One finished image; `index` is 0 to num_images - 1."""

    index: int
    image: Image


@dataclass(frozen=True, slots=True)
class GenerationParams:
    """A request with all defaults and the random seed filled in."""

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
    strength: float | None = None  # None: not from a picture
    prompt_syntax: PromptSyntax = PromptSyntax.PLAIN
    clip_skip: int = 1
    upscale: float | None = None  # None: no second pass
    upscale_strength: float | None = None


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
    """Something in the request that had no or only partial effect, such as a truncated prompt.

    `excerpt` is the part of the field concerned, `alternatives` are replacements for it.
    """

    field: str
    description: str
    reason: str
    excerpt: str = ""
    alternatives: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GenerationInfo:
    """Everything needed to reproduce the images, and the timings."""

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
    init_image_sha256: str = ""
    mask_sha256: str = ""


@dataclass(frozen=True, slots=True)
class Done:
    """The last event of a successful generation."""

    info: GenerationInfo


Event = Queued | Progress | FinishedImage | Done


@dataclass(frozen=True, slots=True)
class Generation:
    """A finished generation: the images in the order of their seeds, and how they were made."""

    images: tuple[Image, ...]
    info: GenerationInfo


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
