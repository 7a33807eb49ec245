"""OpenAI's image request, translated to ours."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from backend.params import DEFAULT_NUM_INFERENCE_STEPS
from backend.transport.http.problem import Problem, bad_fields
from proto import text2image_pb2 as pb

# OpenAI's names of our fields, where they differ.
PARAMS = {
    "num_images": "n",
    "height": "size",
    "width": "size",
    "preview_interval": "partial_images",
}
FORMATS = {
    "png": pb.IMAGE_FORMAT_PNG,
    "jpeg": pb.IMAGE_FORMAT_JPEG,
    "webp": pb.IMAGE_FORMAT_WEBP,
}
REASONS = {
    "extra_forbidden": "UNKNOWN_FIELD",
    "missing": "REQUIRED",
    "literal_error": "UNSUPPORTED",
    "unsupported": "UNSUPPORTED",
    "greater_than_equal": "OUT_OF_RANGE",
    "less_than": "OUT_OF_RANGE",
    "less_than_equal": "OUT_OF_RANGE",
}
IGNORED = Field(None, description="Taken, without effect.")

Int32 = Annotated[int, Field(strict=True, ge=-(2**31), lt=2**31)]
Int64 = Annotated[int, Field(strict=True, ge=-(2**63), lt=2**63)]


class Lora(BaseModel):
    """A low-rank adapter and its weight."""

    model_config = ConfigDict(extra="forbid")

    name: str
    scale: float | None = None


class ImagesRequest(BaseModel):
    """What OpenAI's SDKs send, with our own parameters beside, as their `extra_body` sends them."""

    model_config = ConfigDict(extra="forbid")

    prompt: str
    model: str | None = None
    n: Int32 | None = None
    size: Annotated[str, Field(pattern=r"^(auto|[0-9]{1,5}x[0-9]{1,5})$")] | None = None
    output_format: Literal["png", "jpeg", "webp"] | None = None
    response_format: Literal["b64_json"] | None = None
    background: Literal["auto", "opaque"] | None = None
    stream: Annotated[bool, Field(strict=True)] | None = None
    partial_images: Annotated[int, Field(strict=True, ge=0, le=3)] | None = None

    negative_prompt: str | None = None
    num_inference_steps: Int32 | None = None
    guidance_scale: float | None = None
    seed: Int64 | None = None
    scheduler: str | None = None
    loras: list[Lora] | None = None

    quality: Any = IGNORED
    style: Any = IGNORED
    moderation: Any = IGNORED
    user: Any = IGNORED
    safety_identifier: Any = IGNORED

    @model_validator(mode="after")
    def _check_stream(self) -> ImagesRequest:
        if self.partial_images and not self.stream:
            raise _unsupported("partial_images", "Needs stream=true.")
        if self.stream and self.n not in (None, 1):
            raise _unsupported("n", "Must be 1 with stream=true.")
        return self

    def message(self, request_id: str) -> pb.GenerateImageRequest:
        """The same in the contract's words."""
        names = ("prompt", "model", "negative_prompt", "scheduler")
        message = pb.GenerateImageRequest(
            request_id=request_id,
            num_images=self.n,
            num_inference_steps=self.num_inference_steps,
            guidance_scale=self.guidance_scale,
            seed=self.seed,
            loras=[pb.Lora(**lora.model_dump(exclude_none=True)) for lora in self.loras or ()],
            preview_interval=self._preview_interval(),
            **{name: getattr(self, name) for name in names},
        )
        if self.output_format is not None:
            message.output_format = FORMATS[self.output_format]
        if self.size is not None and self.size != "auto":
            width, height = self.size.split("x")
            message.width, message.height = int(width), int(height)
        return message

    def _preview_interval(self) -> int | None:
        """Spread the previews evenly over the steps; the last step is the picture itself."""
        if not self.partial_images:
            return None
        steps = self.num_inference_steps or DEFAULT_NUM_INFERENCE_STEPS
        return max(1, steps // (self.partial_images + 1))


def read_request(body: dict[str, Any]) -> ImagesRequest:
    """Check a request body.

    Raises:
        Problem: INVALID_ARGUMENT with every bad field.
    """
    try:
        return ImagesRequest.model_validate(body)
    except ValidationError as error:
        raise _problem(error) from None


def param_of(field: str) -> str:
    """OpenAI's name of our field."""
    return PARAMS.get(field, field)


def _unsupported(param: str, text: str) -> PydanticCustomError:
    return PydanticCustomError("unsupported", "{text}", {"param": param, "text": text})


def _problem(error: ValidationError) -> Problem:
    """Every error under the parameter that it is about, said as pydantic says it."""
    found = []
    for detail in error.errors(include_url=False, include_input=False):
        name = detail.get("ctx", {}).get("param") or ".".join(map(str, detail["loc"]))
        reason = REASONS.get(detail["type"], "WRONG_TYPE")
        text = f"{detail['msg'].removesuffix('.')}."
        if reason == "UNKNOWN_FIELD":
            text = f"Unknown parameter. Known: {', '.join(ImagesRequest.model_fields)}."
        found.append((name[:64], text, reason))
    return bad_fields(found)
