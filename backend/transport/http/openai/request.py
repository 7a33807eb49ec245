"""OpenAI's image request, translated to ours."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from backend.params import DEFAULT_NUM_INFERENCE_STEPS, ImageFormat
from backend.transport.http.openai.aliases import Aliases
from backend.transport.http.problem import Problem, bad_fields
from proto import text2image_pb2 as pb

# OpenAI's names of our fields, where they differ.
PARAMS = {
    "num_images": "n",
    "height": "size",
    "width": "size",
    "preview_interval": "partial_images",
    "init_image": "image",
}
# Other servers' names of our parameters, which their clients send.
SYNONYMS = {
    "steps": "num_inference_steps",
    "cfg_scale": "guidance_scale",
    "cfg": "guidance_scale",
}
FORMATS = {
    "png": pb.IMAGE_FORMAT_PNG,
    "jpeg": pb.IMAGE_FORMAT_JPEG,
    "webp": pb.IMAGE_FORMAT_WEBP,
}
LOSSY = {"jpeg": ImageFormat.JPEG, "webp": ImageFormat.WEBP}
DALL_E = "dall-e-"  # also what OpenAI takes where no model is named
SYNTAXES = {
    None: pb.PROMPT_SYNTAX_UNSPECIFIED,
    "plain": pb.PROMPT_SYNTAX_PLAIN,
    "a1111": pb.PROMPT_SYNTAX_A1111,
}
REASONS = {
    "missing": "REQUIRED",
    "literal_error": "UNSUPPORTED",
    "unsupported": "UNSUPPORTED",
    "greater_than": "OUT_OF_RANGE",
    "greater_than_equal": "OUT_OF_RANGE",
    "less_than": "OUT_OF_RANGE",
    "less_than_equal": "OUT_OF_RANGE",
}
IGNORED = Field(None, description="Taken, without effect.")
WITHOUT_EFFECT = ("quality", "style", "moderation", "user", "safety_identifier")
# Limits of the header that lists ignored parameters.
MAX_NAMES = 16
MAX_NAME_CHARACTERS = 64

Int32 = Annotated[int, Field(strict=True, ge=-(2**31), lt=2**31)]
Float = Annotated[float, Field(strict=True)]
Strength = Annotated[float, Field(strict=True, gt=0, le=1)]
Int64 = Annotated[int, Field(strict=True, ge=-(2**63), lt=2**63)]
SYNONYM = "The same as `{}`, which counts where both are given."


class Lora(BaseModel):
    """A low-rank adapter and its weight."""

    model_config = ConfigDict(extra="forbid")

    name: str
    scale: Float | None = None


class ImagesRequest(BaseModel):
    """OpenAI's parameters, plus our own, which SDKs send with `extra_body`.

    All others are ignored and listed in the answer's header `X-Ignored-Parameters`.
    """

    model_config = ConfigDict(extra="allow")

    prompt: str
    model: str | None = None
    n: Int32 | None = None
    size: Annotated[str, Field(pattern=r"^(|auto|[0-9]{1,5}x[0-9]{1,5})$")] | None = None
    output_format: Literal["png", "jpeg", "webp"] | None = None
    output_compression: Annotated[int, Field(strict=True, ge=0, le=100)] | None = Field(
        None, description="Quality of JPEG and WEBP."
    )
    response_format: Literal["b64_json", "url"] | None = None
    background: Literal["auto", "opaque", "transparent"] | None = Field(
        None, description="The picture is opaque in any case."
    )
    stream: Annotated[bool, Field(strict=True)] | None = None
    partial_images: Annotated[int, Field(strict=True, ge=0, le=3)] | None = None

    negative_prompt: str | None = None
    num_inference_steps: Int32 | None = None
    guidance_scale: Float | None = None
    seed: Int64 | None = None
    scheduler: str | None = None
    loras: list[Lora] | None = None
    prompt_syntax: Literal["plain", "a1111"] | None = None
    clip_skip: Int32 | None = None

    steps: Int32 | None = Field(None, description=SYNONYM.format("num_inference_steps"))
    cfg_scale: Float | None = Field(None, description=SYNONYM.format("guidance_scale"))
    cfg: Float | None = Field(None, description=SYNONYM.format("guidance_scale"))
    width: Int32 | None = Field(None, description="With `height`, another way to say `size`.")
    height: Int32 | None = None

    quality: Any = IGNORED
    style: Any = IGNORED
    moderation: Any = IGNORED
    user: Any = IGNORED
    safety_identifier: Any = IGNORED

    @model_validator(mode="after")
    def _check_stream(self) -> ImagesRequest:
        if self.partial_images and not self.stream:
            raise _unsupported("partial_images", "Needs stream=true.")
        return self

    def message(self, request_id: str, aliases: Aliases) -> pb.GenerateImageRequest:
        """The request as our protobuf message."""
        message = pb.GenerateImageRequest(
            prompt=self.prompt,
            request_id=request_id,
            negative_prompt=self.negative_prompt,
            scheduler=self.scheduler,
            num_images=self.n,
            num_inference_steps=self._called("num_inference_steps"),
            guidance_scale=self._called("guidance_scale"),
            seed=self.seed,
            loras=[pb.Lora(**lora.model_dump(exclude_none=True)) for lora in self.loras or ()],
            preview_interval=self._preview_interval(),
            prompt_syntax=SYNTAXES[self.prompt_syntax],
            clip_skip=self.clip_skip,
        )
        if self.model and not aliases.covers(self.model):
            message.model = self.model
        if self.output_format is not None:
            message.output_format = FORMATS["png" if self.lossy else self.output_format]
        if self._has_size:
            width, height = (self.size or "").split("x")
            message.width, message.height = int(width), int(height)
        else:
            for name in ("width", "height"):
                if (pixels := getattr(self, name)) is not None:
                    setattr(message, name, pixels)
        return message

    @property
    def lossy(self) -> tuple[ImageFormat, int] | None:
        """Format and quality (1 to 100) to convert PNGs to; None: no conversion is needed."""
        if self.output_compression is None or self.output_format not in LOSSY:
            return None
        return LOSSY[self.output_format], max(1, self.output_compression)

    @property
    def wants_urls(self) -> bool:
        """Whether URLs are requested; a stream always contains the images themselves."""
        return self.response_format == "url" and not self.stream

    @property
    def may_expect_urls(self) -> bool:
        """Whether OpenAI would answer with URLs: its DALL-E models do, where no format is given."""
        is_dall_e = not self.model or self.model.startswith(DALL_E)
        return self.response_format is None and is_dall_e and not self.stream

    def ignored(self) -> list[str]:
        """Names of given parameters that have no effect."""
        names = [*(self.model_extra or {})]
        names += [name for name in WITHOUT_EFFECT if self._has(name)]
        names += [theirs for theirs in SYNONYMS if self._is_overruled(theirs)]
        if self._has_size:
            names += [name for name in ("width", "height") if self._has(name)]
        if self.background == "transparent":
            names.append("background")
        if self._has("output_compression") and self.lossy is None:
            names.append("output_compression")
        if self.stream and self.response_format == "url":
            names.append("response_format")
        return names

    @property
    def event_kind(self) -> str:
        """How the names of a stream's events begin."""
        return "image_generation"

    @property
    def _has_size(self) -> bool:
        return self.size not in (None, "", "auto")

    def _has(self, name: str) -> bool:
        return getattr(self, name) is not None

    def _called(self, ours: str) -> Any:
        names = (ours, *(theirs for theirs, meant in SYNONYMS.items() if meant == ours))
        return next((getattr(self, name) for name in names if self._has(name)), None)

    def _is_overruled(self, theirs: str) -> bool:
        return self._has(theirs) and getattr(self, theirs) != self._called(SYNONYMS[theirs])

    def _preview_interval(self) -> int | None:
        """Spread the previews evenly over the steps; the last step needs none."""
        if not self.partial_images:
            return None
        steps = self._called("num_inference_steps") or DEFAULT_NUM_INFERENCE_STEPS
        return max(1, steps // (self.partial_images + 1))


Asked = TypeVar("Asked", bound=ImagesRequest)


def read_request(body: dict[str, Any], kind: type[Asked]) -> Asked:
    """Check a request body.

    Raises:
        Problem: INVALID_ARGUMENT with every bad field.
    """
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        raise _problem(error) from None


def param_of(field: str) -> str:
    """OpenAI's name of our field."""
    return PARAMS.get(field, field)


def header_of(names: list[str]) -> dict[str, str]:
    """The header that lists ignored parameters, if there are any."""
    if not names:
        return {}
    told = [
        re.sub(r"[^\x21-\x2b\x2d-\x7e]", "?", name[:MAX_NAME_CHARACTERS]) or "?"
        for name in names[:MAX_NAMES]
    ]
    more = [f"and {len(names) - MAX_NAMES} more"] if len(names) > MAX_NAMES else []
    return {"X-Ignored-Parameters": ", ".join((*told, *more))}


def _unsupported(param: str, text: str) -> PydanticCustomError:
    return PydanticCustomError("unsupported", "{text}", {"param": param, "text": text})


def _problem(error: ValidationError) -> Problem:
    """A problem with every error of pydantic, under the parameter concerned."""
    found = []
    for detail in error.errors(include_url=False, include_input=False):
        name = detail.get("ctx", {}).get("param") or ".".join(map(str, detail["loc"]))
        reason = REASONS.get(detail["type"], "WRONG_TYPE")
        found.append((name[:64], f"{detail['msg'].removesuffix('.')}.", reason))
    return bad_fields(found)
