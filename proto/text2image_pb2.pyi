from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PromptSyntax(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PROMPT_SYNTAX_UNSPECIFIED: _ClassVar[PromptSyntax]
    PROMPT_SYNTAX_PLAIN: _ClassVar[PromptSyntax]
    PROMPT_SYNTAX_A1111: _ClassVar[PromptSyntax]

class ImageFormat(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    IMAGE_FORMAT_UNSPECIFIED: _ClassVar[ImageFormat]
    IMAGE_FORMAT_PNG: _ClassVar[ImageFormat]
    IMAGE_FORMAT_JPEG: _ClassVar[ImageFormat]
    IMAGE_FORMAT_WEBP: _ClassVar[ImageFormat]

class Exactness(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EXACTNESS_UNSPECIFIED: _ClassVar[Exactness]
    EXACTNESS_CERTIFIED: _ClassVar[Exactness]
    EXACTNESS_TOLERANT: _ClassVar[Exactness]
PROMPT_SYNTAX_UNSPECIFIED: PromptSyntax
PROMPT_SYNTAX_PLAIN: PromptSyntax
PROMPT_SYNTAX_A1111: PromptSyntax
IMAGE_FORMAT_UNSPECIFIED: ImageFormat
IMAGE_FORMAT_PNG: ImageFormat
IMAGE_FORMAT_JPEG: ImageFormat
IMAGE_FORMAT_WEBP: ImageFormat
EXACTNESS_UNSPECIFIED: Exactness
EXACTNESS_CERTIFIED: Exactness
EXACTNESS_TOLERANT: Exactness

class GenerateImageRequest(_message.Message):
    __slots__ = ("prompt", "height", "width", "guidance_scale", "num_inference_steps", "negative_prompt", "seed", "num_images", "scheduler", "model", "output_format", "request_id", "preview_interval", "loras", "prompt_syntax", "clip_skip", "init_image", "strength", "mask", "upscale", "upscale_strength")
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    GUIDANCE_SCALE_FIELD_NUMBER: _ClassVar[int]
    NUM_INFERENCE_STEPS_FIELD_NUMBER: _ClassVar[int]
    NEGATIVE_PROMPT_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    NUM_IMAGES_FIELD_NUMBER: _ClassVar[int]
    SCHEDULER_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FORMAT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    PREVIEW_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    LORAS_FIELD_NUMBER: _ClassVar[int]
    PROMPT_SYNTAX_FIELD_NUMBER: _ClassVar[int]
    CLIP_SKIP_FIELD_NUMBER: _ClassVar[int]
    INIT_IMAGE_FIELD_NUMBER: _ClassVar[int]
    STRENGTH_FIELD_NUMBER: _ClassVar[int]
    MASK_FIELD_NUMBER: _ClassVar[int]
    UPSCALE_FIELD_NUMBER: _ClassVar[int]
    UPSCALE_STRENGTH_FIELD_NUMBER: _ClassVar[int]
    prompt: str
    height: int
    width: int
    guidance_scale: float
    num_inference_steps: int
    negative_prompt: str
    seed: int
    num_images: int
    scheduler: str
    model: str
    output_format: ImageFormat
    request_id: str
    preview_interval: int
    loras: _containers.RepeatedCompositeFieldContainer[Lora]
    prompt_syntax: PromptSyntax
    clip_skip: int
    init_image: bytes
    strength: float
    mask: bytes
    upscale: float
    upscale_strength: float
    def __init__(self, prompt: _Optional[str] = ..., height: _Optional[int] = ..., width: _Optional[int] = ..., guidance_scale: _Optional[float] = ..., num_inference_steps: _Optional[int] = ..., negative_prompt: _Optional[str] = ..., seed: _Optional[int] = ..., num_images: _Optional[int] = ..., scheduler: _Optional[str] = ..., model: _Optional[str] = ..., output_format: _Optional[_Union[ImageFormat, str]] = ..., request_id: _Optional[str] = ..., preview_interval: _Optional[int] = ..., loras: _Optional[_Iterable[_Union[Lora, _Mapping]]] = ..., prompt_syntax: _Optional[_Union[PromptSyntax, str]] = ..., clip_skip: _Optional[int] = ..., init_image: _Optional[bytes] = ..., strength: _Optional[float] = ..., mask: _Optional[bytes] = ..., upscale: _Optional[float] = ..., upscale_strength: _Optional[float] = ...) -> None: ...

class UpscaleRequest(_message.Message):
    __slots__ = ("image", "scale", "output_format", "upscaler")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    SCALE_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FORMAT_FIELD_NUMBER: _ClassVar[int]
    UPSCALER_FIELD_NUMBER: _ClassVar[int]
    image: bytes
    scale: float
    output_format: ImageFormat
    upscaler: str
    def __init__(self, image: _Optional[bytes] = ..., scale: _Optional[float] = ..., output_format: _Optional[_Union[ImageFormat, str]] = ..., upscaler: _Optional[str] = ...) -> None: ...

class UpscaleResponse(_message.Message):
    __slots__ = ("image", "upscaler")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    UPSCALER_FIELD_NUMBER: _ClassVar[int]
    image: Image
    upscaler: str
    def __init__(self, image: _Optional[_Union[Image, _Mapping]] = ..., upscaler: _Optional[str] = ...) -> None: ...

class Lora(_message.Message):
    __slots__ = ("name", "scale")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SCALE_FIELD_NUMBER: _ClassVar[int]
    name: str
    scale: float
    def __init__(self, name: _Optional[str] = ..., scale: _Optional[float] = ...) -> None: ...

class Image(_message.Message):
    __slots__ = ("data", "mime_type", "width", "height", "seed", "nsfw_detected")
    DATA_FIELD_NUMBER: _ClassVar[int]
    MIME_TYPE_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    NSFW_DETECTED_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    mime_type: str
    width: int
    height: int
    seed: int
    nsfw_detected: bool
    def __init__(self, data: _Optional[bytes] = ..., mime_type: _Optional[str] = ..., width: _Optional[int] = ..., height: _Optional[int] = ..., seed: _Optional[int] = ..., nsfw_detected: _Optional[bool] = ...) -> None: ...

class GenerateImageResponse(_message.Message):
    __slots__ = ("images", "info")
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    INFO_FIELD_NUMBER: _ClassVar[int]
    images: _containers.RepeatedCompositeFieldContainer[Image]
    info: GenerationInfo
    def __init__(self, images: _Optional[_Iterable[_Union[Image, _Mapping]]] = ..., info: _Optional[_Union[GenerationInfo, _Mapping]] = ...) -> None: ...

class GenerateImageEvent(_message.Message):
    __slots__ = ("request_id", "queued", "progress", "image", "done")
    class Queued(_message.Message):
        __slots__ = ("position", "estimated_wait_ms", "message")
        POSITION_FIELD_NUMBER: _ClassVar[int]
        ESTIMATED_WAIT_MS_FIELD_NUMBER: _ClassVar[int]
        MESSAGE_FIELD_NUMBER: _ClassVar[int]
        position: int
        estimated_wait_ms: int
        message: str
        def __init__(self, position: _Optional[int] = ..., estimated_wait_ms: _Optional[int] = ..., message: _Optional[str] = ...) -> None: ...
    class Progress(_message.Message):
        __slots__ = ("step", "num_steps", "eta_ms", "preview")
        STEP_FIELD_NUMBER: _ClassVar[int]
        NUM_STEPS_FIELD_NUMBER: _ClassVar[int]
        ETA_MS_FIELD_NUMBER: _ClassVar[int]
        PREVIEW_FIELD_NUMBER: _ClassVar[int]
        step: int
        num_steps: int
        eta_ms: int
        preview: Image
        def __init__(self, step: _Optional[int] = ..., num_steps: _Optional[int] = ..., eta_ms: _Optional[int] = ..., preview: _Optional[_Union[Image, _Mapping]] = ...) -> None: ...
    class FinishedImage(_message.Message):
        __slots__ = ("index", "image")
        INDEX_FIELD_NUMBER: _ClassVar[int]
        IMAGE_FIELD_NUMBER: _ClassVar[int]
        index: int
        image: Image
        def __init__(self, index: _Optional[int] = ..., image: _Optional[_Union[Image, _Mapping]] = ...) -> None: ...
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    QUEUED_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    queued: GenerateImageEvent.Queued
    progress: GenerateImageEvent.Progress
    image: GenerateImageEvent.FinishedImage
    done: GenerationInfo
    def __init__(self, request_id: _Optional[str] = ..., queued: _Optional[_Union[GenerateImageEvent.Queued, _Mapping]] = ..., progress: _Optional[_Union[GenerateImageEvent.Progress, _Mapping]] = ..., image: _Optional[_Union[GenerateImageEvent.FinishedImage, _Mapping]] = ..., done: _Optional[_Union[GenerationInfo, _Mapping]] = ...) -> None: ...

class GenerationInfo(_message.Message):
    __slots__ = ("request_id", "request", "model", "model_revision", "device", "dtype", "runtime", "exactness", "timings", "warnings", "init_image_sha256", "mask_sha256")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MODEL_REVISION_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_FIELD_NUMBER: _ClassVar[int]
    EXACTNESS_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    INIT_IMAGE_SHA256_FIELD_NUMBER: _ClassVar[int]
    MASK_SHA256_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    request: GenerateImageRequest
    model: str
    model_revision: str
    device: str
    dtype: str
    runtime: str
    exactness: Exactness
    timings: Timings
    warnings: _containers.RepeatedCompositeFieldContainer[GenerationWarning]
    init_image_sha256: str
    mask_sha256: str
    def __init__(self, request_id: _Optional[str] = ..., request: _Optional[_Union[GenerateImageRequest, _Mapping]] = ..., model: _Optional[str] = ..., model_revision: _Optional[str] = ..., device: _Optional[str] = ..., dtype: _Optional[str] = ..., runtime: _Optional[str] = ..., exactness: _Optional[_Union[Exactness, str]] = ..., timings: _Optional[_Union[Timings, _Mapping]] = ..., warnings: _Optional[_Iterable[_Union[GenerationWarning, _Mapping]]] = ..., init_image_sha256: _Optional[str] = ..., mask_sha256: _Optional[str] = ...) -> None: ...

class GenerationWarning(_message.Message):
    __slots__ = ("field", "description", "reason", "excerpt", "alternatives")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    EXCERPT_FIELD_NUMBER: _ClassVar[int]
    ALTERNATIVES_FIELD_NUMBER: _ClassVar[int]
    field: str
    description: str
    reason: str
    excerpt: str
    alternatives: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, field: _Optional[str] = ..., description: _Optional[str] = ..., reason: _Optional[str] = ..., excerpt: _Optional[str] = ..., alternatives: _Optional[_Iterable[str]] = ...) -> None: ...

class Timings(_message.Message):
    __slots__ = ("queued_ms", "encode_ms", "denoise_ms", "decode_ms", "total_ms")
    QUEUED_MS_FIELD_NUMBER: _ClassVar[int]
    ENCODE_MS_FIELD_NUMBER: _ClassVar[int]
    DENOISE_MS_FIELD_NUMBER: _ClassVar[int]
    DECODE_MS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_MS_FIELD_NUMBER: _ClassVar[int]
    queued_ms: float
    encode_ms: float
    denoise_ms: float
    decode_ms: float
    total_ms: float
    def __init__(self, queued_ms: _Optional[float] = ..., encode_ms: _Optional[float] = ..., denoise_ms: _Optional[float] = ..., decode_ms: _Optional[float] = ..., total_ms: _Optional[float] = ...) -> None: ...

class CheckPromptRequest(_message.Message):
    __slots__ = ("prompt", "model", "prompt_syntax")
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PROMPT_SYNTAX_FIELD_NUMBER: _ClassVar[int]
    prompt: str
    model: str
    prompt_syntax: PromptSyntax
    def __init__(self, prompt: _Optional[str] = ..., model: _Optional[str] = ..., prompt_syntax: _Optional[_Union[PromptSyntax, str]] = ...) -> None: ...

class CheckPromptResponse(_message.Message):
    __slots__ = ("warnings",)
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    warnings: _containers.RepeatedCompositeFieldContainer[GenerationWarning]
    def __init__(self, warnings: _Optional[_Iterable[_Union[GenerationWarning, _Mapping]]] = ...) -> None: ...

class GetStatusRequest(_message.Message):
    __slots__ = ("include_abilities",)
    INCLUDE_ABILITIES_FIELD_NUMBER: _ClassVar[int]
    include_abilities: bool
    def __init__(self, include_abilities: _Optional[bool] = ...) -> None: ...

class Abilities(_message.Message):
    __slots__ = ("about", "languages", "reads_emoji", "token_limit", "sizes", "things", "colours", "backgrounds", "landscapes", "looks", "counts", "compositions", "examples")
    class Size(_message.Message):
        __slots__ = ("width", "height")
        WIDTH_FIELD_NUMBER: _ClassVar[int]
        HEIGHT_FIELD_NUMBER: _ClassVar[int]
        width: int
        height: int
        def __init__(self, width: _Optional[int] = ..., height: _Optional[int] = ...) -> None: ...
    class Thing(_message.Message):
        __slots__ = ("name", "group", "emoji", "synonyms")
        NAME_FIELD_NUMBER: _ClassVar[int]
        GROUP_FIELD_NUMBER: _ClassVar[int]
        EMOJI_FIELD_NUMBER: _ClassVar[int]
        SYNONYMS_FIELD_NUMBER: _ClassVar[int]
        name: str
        group: str
        emoji: str
        synonyms: _containers.RepeatedScalarFieldContainer[str]
        def __init__(self, name: _Optional[str] = ..., group: _Optional[str] = ..., emoji: _Optional[str] = ..., synonyms: _Optional[_Iterable[str]] = ...) -> None: ...
    class Words(_message.Message):
        __slots__ = ("name", "words")
        NAME_FIELD_NUMBER: _ClassVar[int]
        WORDS_FIELD_NUMBER: _ClassVar[int]
        name: str
        words: _containers.RepeatedScalarFieldContainer[str]
        def __init__(self, name: _Optional[str] = ..., words: _Optional[_Iterable[str]] = ...) -> None: ...
    class Example(_message.Message):
        __slots__ = ("prompt", "seed", "thumbnail")
        PROMPT_FIELD_NUMBER: _ClassVar[int]
        SEED_FIELD_NUMBER: _ClassVar[int]
        THUMBNAIL_FIELD_NUMBER: _ClassVar[int]
        prompt: str
        seed: int
        thumbnail: bytes
        def __init__(self, prompt: _Optional[str] = ..., seed: _Optional[int] = ..., thumbnail: _Optional[bytes] = ...) -> None: ...
    ABOUT_FIELD_NUMBER: _ClassVar[int]
    LANGUAGES_FIELD_NUMBER: _ClassVar[int]
    READS_EMOJI_FIELD_NUMBER: _ClassVar[int]
    TOKEN_LIMIT_FIELD_NUMBER: _ClassVar[int]
    SIZES_FIELD_NUMBER: _ClassVar[int]
    THINGS_FIELD_NUMBER: _ClassVar[int]
    COLOURS_FIELD_NUMBER: _ClassVar[int]
    BACKGROUNDS_FIELD_NUMBER: _ClassVar[int]
    LANDSCAPES_FIELD_NUMBER: _ClassVar[int]
    LOOKS_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    COMPOSITIONS_FIELD_NUMBER: _ClassVar[int]
    EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    about: str
    languages: _containers.RepeatedScalarFieldContainer[str]
    reads_emoji: bool
    token_limit: int
    sizes: _containers.RepeatedCompositeFieldContainer[Abilities.Size]
    things: _containers.RepeatedCompositeFieldContainer[Abilities.Thing]
    colours: _containers.RepeatedCompositeFieldContainer[Abilities.Words]
    backgrounds: _containers.RepeatedCompositeFieldContainer[Abilities.Words]
    landscapes: _containers.RepeatedCompositeFieldContainer[Abilities.Words]
    looks: _containers.RepeatedCompositeFieldContainer[Abilities.Words]
    counts: _containers.RepeatedCompositeFieldContainer[Abilities.Words]
    compositions: _containers.RepeatedCompositeFieldContainer[Abilities.Words]
    examples: _containers.RepeatedCompositeFieldContainer[Abilities.Example]
    def __init__(self, about: _Optional[str] = ..., languages: _Optional[_Iterable[str]] = ..., reads_emoji: _Optional[bool] = ..., token_limit: _Optional[int] = ..., sizes: _Optional[_Iterable[_Union[Abilities.Size, _Mapping]]] = ..., things: _Optional[_Iterable[_Union[Abilities.Thing, _Mapping]]] = ..., colours: _Optional[_Iterable[_Union[Abilities.Words, _Mapping]]] = ..., backgrounds: _Optional[_Iterable[_Union[Abilities.Words, _Mapping]]] = ..., landscapes: _Optional[_Iterable[_Union[Abilities.Words, _Mapping]]] = ..., looks: _Optional[_Iterable[_Union[Abilities.Words, _Mapping]]] = ..., counts: _Optional[_Iterable[_Union[Abilities.Words, _Mapping]]] = ..., compositions: _Optional[_Iterable[_Union[Abilities.Words, _Mapping]]] = ..., examples: _Optional[_Iterable[_Union[Abilities.Example, _Mapping]]] = ...) -> None: ...

class GetStatusResponse(_message.Message):
    __slots__ = ("state", "message", "version", "uptime_s", "models", "queue", "counters", "latency", "resources", "limits", "schedulers", "loras", "embeddings", "adapters", "upscalers", "histograms", "last_hour", "replicas")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[GetStatusResponse.State]
        STATE_STARTING: _ClassVar[GetStatusResponse.State]
        STATE_READY: _ClassVar[GetStatusResponse.State]
        STATE_DRAINING: _ClassVar[GetStatusResponse.State]
        STATE_FAILED: _ClassVar[GetStatusResponse.State]
        STATE_STUCK: _ClassVar[GetStatusResponse.State]
    STATE_UNSPECIFIED: GetStatusResponse.State
    STATE_STARTING: GetStatusResponse.State
    STATE_READY: GetStatusResponse.State
    STATE_DRAINING: GetStatusResponse.State
    STATE_FAILED: GetStatusResponse.State
    STATE_STUCK: GetStatusResponse.State
    class ModelState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        MODEL_STATE_UNSPECIFIED: _ClassVar[GetStatusResponse.ModelState]
        MODEL_STATE_AVAILABLE: _ClassVar[GetStatusResponse.ModelState]
        MODEL_STATE_LOADING: _ClassVar[GetStatusResponse.ModelState]
        MODEL_STATE_LOADED: _ClassVar[GetStatusResponse.ModelState]
        MODEL_STATE_FAILED: _ClassVar[GetStatusResponse.ModelState]
    MODEL_STATE_UNSPECIFIED: GetStatusResponse.ModelState
    MODEL_STATE_AVAILABLE: GetStatusResponse.ModelState
    MODEL_STATE_LOADING: GetStatusResponse.ModelState
    MODEL_STATE_LOADED: GetStatusResponse.ModelState
    MODEL_STATE_FAILED: GetStatusResponse.ModelState
    class Replica(_message.Message):
        __slots__ = ("name", "state", "message", "host", "device", "running", "process_memory_bytes")
        NAME_FIELD_NUMBER: _ClassVar[int]
        STATE_FIELD_NUMBER: _ClassVar[int]
        MESSAGE_FIELD_NUMBER: _ClassVar[int]
        HOST_FIELD_NUMBER: _ClassVar[int]
        DEVICE_FIELD_NUMBER: _ClassVar[int]
        RUNNING_FIELD_NUMBER: _ClassVar[int]
        PROCESS_MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
        name: str
        state: GetStatusResponse.State
        message: str
        host: str
        device: str
        running: int
        process_memory_bytes: int
        def __init__(self, name: _Optional[str] = ..., state: _Optional[_Union[GetStatusResponse.State, str]] = ..., message: _Optional[str] = ..., host: _Optional[str] = ..., device: _Optional[str] = ..., running: _Optional[int] = ..., process_memory_bytes: _Optional[int] = ...) -> None: ...
    class Adapter(_message.Message):
        __slots__ = ("name", "trigger_words")
        NAME_FIELD_NUMBER: _ClassVar[int]
        TRIGGER_WORDS_FIELD_NUMBER: _ClassVar[int]
        name: str
        trigger_words: _containers.RepeatedScalarFieldContainer[str]
        def __init__(self, name: _Optional[str] = ..., trigger_words: _Optional[_Iterable[str]] = ...) -> None: ...
    class Model(_message.Message):
        __slots__ = ("name", "source", "revision", "loaded", "num_parameters", "native_height", "native_width", "default_scheduler", "device", "dtype", "runtime", "runtime_reason", "abilities", "num_text_layers", "license", "figures", "state", "message", "limits", "schedulers", "adapters", "embeddings", "default_num_inference_steps", "default_guidance_scale", "default_loras")
        class Figure(_message.Message):
            __slots__ = ("name", "value")
            NAME_FIELD_NUMBER: _ClassVar[int]
            VALUE_FIELD_NUMBER: _ClassVar[int]
            name: str
            value: str
            def __init__(self, name: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
        NAME_FIELD_NUMBER: _ClassVar[int]
        SOURCE_FIELD_NUMBER: _ClassVar[int]
        REVISION_FIELD_NUMBER: _ClassVar[int]
        LOADED_FIELD_NUMBER: _ClassVar[int]
        NUM_PARAMETERS_FIELD_NUMBER: _ClassVar[int]
        NATIVE_HEIGHT_FIELD_NUMBER: _ClassVar[int]
        NATIVE_WIDTH_FIELD_NUMBER: _ClassVar[int]
        DEFAULT_SCHEDULER_FIELD_NUMBER: _ClassVar[int]
        DEVICE_FIELD_NUMBER: _ClassVar[int]
        DTYPE_FIELD_NUMBER: _ClassVar[int]
        RUNTIME_FIELD_NUMBER: _ClassVar[int]
        RUNTIME_REASON_FIELD_NUMBER: _ClassVar[int]
        ABILITIES_FIELD_NUMBER: _ClassVar[int]
        NUM_TEXT_LAYERS_FIELD_NUMBER: _ClassVar[int]
        LICENSE_FIELD_NUMBER: _ClassVar[int]
        FIGURES_FIELD_NUMBER: _ClassVar[int]
        STATE_FIELD_NUMBER: _ClassVar[int]
        MESSAGE_FIELD_NUMBER: _ClassVar[int]
        LIMITS_FIELD_NUMBER: _ClassVar[int]
        SCHEDULERS_FIELD_NUMBER: _ClassVar[int]
        ADAPTERS_FIELD_NUMBER: _ClassVar[int]
        EMBEDDINGS_FIELD_NUMBER: _ClassVar[int]
        DEFAULT_NUM_INFERENCE_STEPS_FIELD_NUMBER: _ClassVar[int]
        DEFAULT_GUIDANCE_SCALE_FIELD_NUMBER: _ClassVar[int]
        DEFAULT_LORAS_FIELD_NUMBER: _ClassVar[int]
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
        abilities: Abilities
        num_text_layers: int
        license: str
        figures: _containers.RepeatedCompositeFieldContainer[GetStatusResponse.Model.Figure]
        state: GetStatusResponse.ModelState
        message: str
        limits: GetStatusResponse.Limits
        schedulers: _containers.RepeatedScalarFieldContainer[str]
        adapters: _containers.RepeatedCompositeFieldContainer[GetStatusResponse.Adapter]
        embeddings: _containers.RepeatedScalarFieldContainer[str]
        default_num_inference_steps: int
        default_guidance_scale: float
        default_loras: _containers.RepeatedCompositeFieldContainer[Lora]
        def __init__(self, name: _Optional[str] = ..., source: _Optional[str] = ..., revision: _Optional[str] = ..., loaded: _Optional[bool] = ..., num_parameters: _Optional[int] = ..., native_height: _Optional[int] = ..., native_width: _Optional[int] = ..., default_scheduler: _Optional[str] = ..., device: _Optional[str] = ..., dtype: _Optional[str] = ..., runtime: _Optional[str] = ..., runtime_reason: _Optional[str] = ..., abilities: _Optional[_Union[Abilities, _Mapping]] = ..., num_text_layers: _Optional[int] = ..., license: _Optional[str] = ..., figures: _Optional[_Iterable[_Union[GetStatusResponse.Model.Figure, _Mapping]]] = ..., state: _Optional[_Union[GetStatusResponse.ModelState, str]] = ..., message: _Optional[str] = ..., limits: _Optional[_Union[GetStatusResponse.Limits, _Mapping]] = ..., schedulers: _Optional[_Iterable[str]] = ..., adapters: _Optional[_Iterable[_Union[GetStatusResponse.Adapter, _Mapping]]] = ..., embeddings: _Optional[_Iterable[str]] = ..., default_num_inference_steps: _Optional[int] = ..., default_guidance_scale: _Optional[float] = ..., default_loras: _Optional[_Iterable[_Union[Lora, _Mapping]]] = ...) -> None: ...
    class Queue(_message.Message):
        __slots__ = ("queued", "running", "capacity")
        QUEUED_FIELD_NUMBER: _ClassVar[int]
        RUNNING_FIELD_NUMBER: _ClassVar[int]
        CAPACITY_FIELD_NUMBER: _ClassVar[int]
        queued: int
        running: int
        capacity: int
        def __init__(self, queued: _Optional[int] = ..., running: _Optional[int] = ..., capacity: _Optional[int] = ...) -> None: ...
    class Counters(_message.Message):
        __slots__ = ("received", "completed", "failed", "cancelled", "rejected", "images")
        RECEIVED_FIELD_NUMBER: _ClassVar[int]
        COMPLETED_FIELD_NUMBER: _ClassVar[int]
        FAILED_FIELD_NUMBER: _ClassVar[int]
        CANCELLED_FIELD_NUMBER: _ClassVar[int]
        REJECTED_FIELD_NUMBER: _ClassVar[int]
        IMAGES_FIELD_NUMBER: _ClassVar[int]
        received: int
        completed: int
        failed: int
        cancelled: int
        rejected: int
        images: int
        def __init__(self, received: _Optional[int] = ..., completed: _Optional[int] = ..., failed: _Optional[int] = ..., cancelled: _Optional[int] = ..., rejected: _Optional[int] = ..., images: _Optional[int] = ...) -> None: ...
    class Histogram(_message.Message):
        __slots__ = ("name", "bounds", "counts", "sum")
        NAME_FIELD_NUMBER: _ClassVar[int]
        BOUNDS_FIELD_NUMBER: _ClassVar[int]
        COUNTS_FIELD_NUMBER: _ClassVar[int]
        SUM_FIELD_NUMBER: _ClassVar[int]
        name: str
        bounds: _containers.RepeatedScalarFieldContainer[float]
        counts: _containers.RepeatedScalarFieldContainer[int]
        sum: float
        def __init__(self, name: _Optional[str] = ..., bounds: _Optional[_Iterable[float]] = ..., counts: _Optional[_Iterable[int]] = ..., sum: _Optional[float] = ...) -> None: ...
    class Latency(_message.Message):
        __slots__ = ("p50_ms", "p95_ms", "p99_ms", "images_per_minute")
        P50_MS_FIELD_NUMBER: _ClassVar[int]
        P95_MS_FIELD_NUMBER: _ClassVar[int]
        P99_MS_FIELD_NUMBER: _ClassVar[int]
        IMAGES_PER_MINUTE_FIELD_NUMBER: _ClassVar[int]
        p50_ms: float
        p95_ms: float
        p99_ms: float
        images_per_minute: float
        def __init__(self, p50_ms: _Optional[float] = ..., p95_ms: _Optional[float] = ..., p99_ms: _Optional[float] = ..., images_per_minute: _Optional[float] = ...) -> None: ...
    class Resources(_message.Message):
        __slots__ = ("cpu_percent", "process_memory_bytes", "system_memory_bytes", "system_memory_used_bytes", "gpus")
        CPU_PERCENT_FIELD_NUMBER: _ClassVar[int]
        PROCESS_MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
        SYSTEM_MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
        SYSTEM_MEMORY_USED_BYTES_FIELD_NUMBER: _ClassVar[int]
        GPUS_FIELD_NUMBER: _ClassVar[int]
        cpu_percent: float
        process_memory_bytes: int
        system_memory_bytes: int
        system_memory_used_bytes: int
        gpus: _containers.RepeatedCompositeFieldContainer[GetStatusResponse.Gpu]
        def __init__(self, cpu_percent: _Optional[float] = ..., process_memory_bytes: _Optional[int] = ..., system_memory_bytes: _Optional[int] = ..., system_memory_used_bytes: _Optional[int] = ..., gpus: _Optional[_Iterable[_Union[GetStatusResponse.Gpu, _Mapping]]] = ...) -> None: ...
    class Gpu(_message.Message):
        __slots__ = ("name", "memory_bytes", "memory_used_bytes", "utilization_percent", "temperature_celsius")
        NAME_FIELD_NUMBER: _ClassVar[int]
        MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
        MEMORY_USED_BYTES_FIELD_NUMBER: _ClassVar[int]
        UTILIZATION_PERCENT_FIELD_NUMBER: _ClassVar[int]
        TEMPERATURE_CELSIUS_FIELD_NUMBER: _ClassVar[int]
        name: str
        memory_bytes: int
        memory_used_bytes: int
        utilization_percent: float
        temperature_celsius: float
        def __init__(self, name: _Optional[str] = ..., memory_bytes: _Optional[int] = ..., memory_used_bytes: _Optional[int] = ..., utilization_percent: _Optional[float] = ..., temperature_celsius: _Optional[float] = ...) -> None: ...
    class Limits(_message.Message):
        __slots__ = ("min_size", "max_size", "size_multiple", "max_pixels", "max_num_inference_steps", "max_num_images", "max_prompt_characters", "max_picture_bytes", "max_picture_pixels", "max_negative_prompt_characters", "max_guidance_scale", "max_seed")
        MIN_SIZE_FIELD_NUMBER: _ClassVar[int]
        MAX_SIZE_FIELD_NUMBER: _ClassVar[int]
        SIZE_MULTIPLE_FIELD_NUMBER: _ClassVar[int]
        MAX_PIXELS_FIELD_NUMBER: _ClassVar[int]
        MAX_NUM_INFERENCE_STEPS_FIELD_NUMBER: _ClassVar[int]
        MAX_NUM_IMAGES_FIELD_NUMBER: _ClassVar[int]
        MAX_PROMPT_CHARACTERS_FIELD_NUMBER: _ClassVar[int]
        MAX_PICTURE_BYTES_FIELD_NUMBER: _ClassVar[int]
        MAX_PICTURE_PIXELS_FIELD_NUMBER: _ClassVar[int]
        MAX_NEGATIVE_PROMPT_CHARACTERS_FIELD_NUMBER: _ClassVar[int]
        MAX_GUIDANCE_SCALE_FIELD_NUMBER: _ClassVar[int]
        MAX_SEED_FIELD_NUMBER: _ClassVar[int]
        min_size: int
        max_size: int
        size_multiple: int
        max_pixels: int
        max_num_inference_steps: int
        max_num_images: int
        max_prompt_characters: int
        max_picture_bytes: int
        max_picture_pixels: int
        max_negative_prompt_characters: int
        max_guidance_scale: float
        max_seed: int
        def __init__(self, min_size: _Optional[int] = ..., max_size: _Optional[int] = ..., size_multiple: _Optional[int] = ..., max_pixels: _Optional[int] = ..., max_num_inference_steps: _Optional[int] = ..., max_num_images: _Optional[int] = ..., max_prompt_characters: _Optional[int] = ..., max_picture_bytes: _Optional[int] = ..., max_picture_pixels: _Optional[int] = ..., max_negative_prompt_characters: _Optional[int] = ..., max_guidance_scale: _Optional[float] = ..., max_seed: _Optional[int] = ...) -> None: ...
    STATE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    UPTIME_S_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    QUEUE_FIELD_NUMBER: _ClassVar[int]
    COUNTERS_FIELD_NUMBER: _ClassVar[int]
    LATENCY_FIELD_NUMBER: _ClassVar[int]
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    SCHEDULERS_FIELD_NUMBER: _ClassVar[int]
    LORAS_FIELD_NUMBER: _ClassVar[int]
    EMBEDDINGS_FIELD_NUMBER: _ClassVar[int]
    ADAPTERS_FIELD_NUMBER: _ClassVar[int]
    UPSCALERS_FIELD_NUMBER: _ClassVar[int]
    HISTOGRAMS_FIELD_NUMBER: _ClassVar[int]
    LAST_HOUR_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    state: GetStatusResponse.State
    message: str
    version: str
    uptime_s: float
    models: _containers.RepeatedCompositeFieldContainer[GetStatusResponse.Model]
    queue: GetStatusResponse.Queue
    counters: GetStatusResponse.Counters
    latency: GetStatusResponse.Latency
    resources: GetStatusResponse.Resources
    limits: GetStatusResponse.Limits
    schedulers: _containers.RepeatedScalarFieldContainer[str]
    loras: _containers.RepeatedScalarFieldContainer[str]
    embeddings: _containers.RepeatedScalarFieldContainer[str]
    adapters: _containers.RepeatedCompositeFieldContainer[GetStatusResponse.Adapter]
    upscalers: _containers.RepeatedScalarFieldContainer[str]
    histograms: _containers.RepeatedCompositeFieldContainer[GetStatusResponse.Histogram]
    last_hour: _containers.RepeatedCompositeFieldContainer[GetStatusResponse.Histogram]
    replicas: _containers.RepeatedCompositeFieldContainer[GetStatusResponse.Replica]
    def __init__(self, state: _Optional[_Union[GetStatusResponse.State, str]] = ..., message: _Optional[str] = ..., version: _Optional[str] = ..., uptime_s: _Optional[float] = ..., models: _Optional[_Iterable[_Union[GetStatusResponse.Model, _Mapping]]] = ..., queue: _Optional[_Union[GetStatusResponse.Queue, _Mapping]] = ..., counters: _Optional[_Union[GetStatusResponse.Counters, _Mapping]] = ..., latency: _Optional[_Union[GetStatusResponse.Latency, _Mapping]] = ..., resources: _Optional[_Union[GetStatusResponse.Resources, _Mapping]] = ..., limits: _Optional[_Union[GetStatusResponse.Limits, _Mapping]] = ..., schedulers: _Optional[_Iterable[str]] = ..., loras: _Optional[_Iterable[str]] = ..., embeddings: _Optional[_Iterable[str]] = ..., adapters: _Optional[_Iterable[_Union[GetStatusResponse.Adapter, _Mapping]]] = ..., upscalers: _Optional[_Iterable[str]] = ..., histograms: _Optional[_Iterable[_Union[GetStatusResponse.Histogram, _Mapping]]] = ..., last_hour: _Optional[_Iterable[_Union[GetStatusResponse.Histogram, _Mapping]]] = ..., replicas: _Optional[_Iterable[_Union[GetStatusResponse.Replica, _Mapping]]] = ...) -> None: ...
