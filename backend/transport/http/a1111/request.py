"""What A1111's txt2img and img2img requests share, converted to ours."""

from __future__ import annotations

import re
from typing import Annotated, Any, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
)

from backend.transport.http.a1111.hires import SecondPass
from backend.transport.http.a1111.options import CHECKPOINT, CLIP_SKIP, FORMAT, FORMATS
from backend.transport.http.a1111.problem import unreadable
from backend.transport.http.a1111.samplers import scheduler_of
from backend.transport.http.problem import bad_fields
from proto import text2image_pb2 as pb

NUMBER = re.compile(r"-?[0-9]{1,19}(\.[0-9]{1,19})?")
MAX_PREVIEW_INTERVAL = 10  # steps, A1111's default
MAX_SCRIPTS, MAX_NAME = 16, 64  # told of
NUM_PREVIEWS = 5  # minimum, if there are as many steps


def _unset(value: object) -> object:
    """Accept numbers as text, and null or "" for empty fields, which programs send."""
    if value == "":
        return None
    if isinstance(value, bool) or (isinstance(value, str) and not NUMBER.fullmatch(value)):
        raise ValueError("must be a number")
    return value


def _schema(kind: str) -> WithJsonSchema:
    text = {"type": "string", "pattern": f"^({NUMBER.pattern})?$"}
    return WithJsonSchema({"anyOf": [{"type": kind}, text, {"type": "null"}]})


Int64 = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Positive = Annotated[int, Field(ge=1, lt=2**31)]
Count = Annotated[Positive | None, BeforeValidator(_unset), _schema("integer")]
Int = Annotated[Int64 | None, BeforeValidator(_unset), _schema("integer")]
Float = Annotated[float | None, BeforeValidator(_unset), _schema("number")]
Text = str | None
T = TypeVar("T", bound="Generation")


class Generation(BaseModel):
    """The supported ones of A1111's fifty fields; all others are silently ignored."""

    model_config = ConfigDict(extra="ignore")

    prompt: Text = None
    negative_prompt: Text = None
    seed: Int = None
    steps: Int = None
    cfg_scale: Float = None
    width: Int = None
    height: Int = None
    sampler_name: Text = None
    sampler_index: Text = None
    scheduler: Text = None
    batch_size: Count = None
    n_iter: Count = None
    send_images: bool | None = None
    override_settings: dict[str, Any] | None = None
    script_name: Text = None
    alwayson_scripts: Any = None

    @property
    def num_rounds(self) -> int:
        return self.n_iter or 1

    @property
    def warnings(self) -> list[str]:
        """What is done otherwise than asked, for people."""
        scripts = self.alwayson_scripts if isinstance(self.alwayson_scripts, dict) else {}
        names = [self.script_name] if self.script_name else []
        names += list(scripts)[:MAX_SCRIPTS]
        text = "there are no scripts here, it had no effect."
        return [f"{name[:MAX_NAME]}: {text}" for name in names]

    def upscaler_warnings(self, status: pb.GetStatusResponse) -> list[str]:
        """As `warnings`, where it depends on what the service has."""
        return []

    def second_pass(
        self, message: pb.GenerateImageRequest, status: pb.GetStatusResponse
    ) -> SecondPass | None:
        """What follows each picture by requests of its own.

        Raises:
            Problem: its result would be too large.
        """
        return None

    def check_count(self, status: pb.GetStatusResponse) -> None:
        """Raises Problem: more images than allowed in one answer."""
        most = status.limits.max_num_images
        if self.num_rounds > 1 and self.num_rounds * (self.batch_size or 1) > most:
            text = f"n_iter x batch_size must be at most {most}."
            raise bad_fields([("n_iter", text, "OUT_OF_RANGE")])

    def message(
        self, status: pb.GetStatusResponse, options: dict[str, Any]
    ) -> pb.GenerateImageRequest:
        """One round as our protobuf message. `options`: the session's, overridden by the request's.

        Raises:
            Problem: 404; no such sampler.
        """
        sampler = self.sampler_name or self.sampler_index or ""
        steps = _bounded(self.steps)
        return pb.GenerateImageRequest(
            prompt=self.prompt or "",
            negative_prompt=self.negative_prompt or "",
            model=options.get(CHECKPOINT, ""),
            scheduler=scheduler_of(sampler, self.scheduler or "", status.schedulers),
            num_inference_steps=steps,
            guidance_scale=self.cfg_scale,
            width=_whole(self.width, status.limits.size_multiple),
            height=_whole(self.height, status.limits.size_multiple),
            seed=self.seed,
            num_images=self.batch_size,
            output_format=FORMATS[options.get(FORMAT, "png")],
            preview_interval=_preview_interval(steps),
            prompt_syntax=pb.PROMPT_SYNTAX_A1111,
            clip_skip=options.get(CLIP_SKIP),
        )


def read_request(body: Any, kind: type[T]) -> T:
    """Check a request body.

    Raises:
        Problem: with every field of the wrong type.
    """
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        raise unreadable(error) from None


def _preview_interval(steps: int | None) -> int:
    if steps is None:
        return MAX_PREVIEW_INTERVAL
    return max(1, min(steps // NUM_PREVIEWS, MAX_PREVIEW_INTERVAL))


def _whole(pixels: int | None, multiple: int) -> int | None:
    """Round down to the next possible size, like A1111 does."""
    side = _bounded(pixels)
    return side if side is None or multiple < 1 or side < multiple else side - side % multiple


def _bounded(number: int | None) -> int | None:
    """Clip to 32 bits; the service then refuses the number with a message."""
    return None if number is None else max(-(2**31), min(number, 2**31 - 1))
