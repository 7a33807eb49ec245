"""OpenAI's image request, translated to ours."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from backend.transport.http import strict_json
from backend.transport.http.problem import Problem, bad_fields
from proto import text2image_pb2 as pb

# Taken under our own names, as extra_body of the SDK sends them.
OURS = ("negative_prompt", "num_inference_steps", "guidance_scale", "seed", "scheduler", "loras")
# Hints that mean nothing to these models; documented as such.
WITHOUT_EFFECT = ("quality", "style", "moderation", "user", "safety_identifier")
TRANSLATED = (
    "prompt",
    "model",
    "n",
    "size",
    "output_format",
    "response_format",
    "background",
    "stream",
    "partial_images",
)
FORMATS = ("png", "jpeg", "webp")
MAX_PARTIAL_IMAGES = 3
DEFAULT_STEPS = 50  # of the contract

_PARAM = {
    "num_images": "n",
    "height": "size",
    "width": "size",
    "preview_interval": "partial_images",
}
_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")

Violation = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class OpenAIRequest:
    """What to generate, and how to hand it over."""

    message: pb.GenerateImageRequest
    stream: bool
    partial_images: int


def translate(body: dict[str, Any], request_id: str) -> OpenAIRequest:
    """Translate a request body, refusing what can't be honoured.

    Raises:
        Problem: INVALID_ARGUMENT with every bad field, under OpenAI's names.
    """
    given = {name: value for name, value in body.items() if value is not None}
    found = list(_violations(given))
    fields = {name: given[name] for name in OURS if name in given} | _translated(given)
    if request_id:
        fields["request_id"] = request_id
    try:
        message = strict_json.from_dict(fields, pb.GenerateImageRequest)
    except Problem as problem:
        if not problem.violations:
            raise
        found += [(param_of(v.field), v.description, v.reason) for v in problem.violations]
    if found:
        raise bad_fields(found)
    partial_images = given.get("partial_images", 0)
    if partial_images:
        message.preview_interval = _preview_interval(message, partial_images)
    return OpenAIRequest(message, given.get("stream", False), partial_images)


def param_of(field: str) -> str:
    """OpenAI's name of our field."""
    return _PARAM.get(field, field)


def _translated(given: dict[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = {n: given[n] for n in ("prompt", "model") if n in given}
    if "n" in given:
        fields["num_images"] = given["n"]
    if given.get("output_format") in FORMATS:
        fields["output_format"] = f"IMAGE_FORMAT_{given['output_format'].upper()}"
    if size := _SIZE.fullmatch(str(given.get("size", ""))):
        fields["width"], fields["height"] = int(size[1]), int(size[2])
    return fields


def _violations(given: dict[str, Any]) -> list[Violation]:
    known = (*OURS, *WITHOUT_EFFECT, *TRANSLATED)
    found = [
        (name[:64], f"Unknown parameter. Known: {', '.join(known)}.", "UNKNOWN_FIELD")
        for name in given
        if name not in known
    ]
    size = given.get("size", "auto")
    if size != "auto" and not _SIZE.fullmatch(str(size)):
        found.append(("size", "Must be auto or WIDTHxHEIGHT.", "WRONG_TYPE"))
    for name, choices in (
        ("output_format", FORMATS),
        ("response_format", ("b64_json",)),
        ("background", ("auto", "opaque")),
    ):
        if given.get(name, choices[0]) not in choices:
            found.append((name, f"Must be {' or '.join(choices)}.", "UNSUPPORTED"))
    return found + _stream_violations(given)


def _stream_violations(given: dict[str, Any]) -> list[Violation]:
    found = []
    stream, partial_images = given.get("stream", False), given.get("partial_images", 0)
    if not isinstance(stream, bool):
        found.append(("stream", "Must be true or false.", "WRONG_TYPE"))
    if type(partial_images) is not int or not 0 <= partial_images <= MAX_PARTIAL_IMAGES:
        text = f"Must be 0 to {MAX_PARTIAL_IMAGES}."
        found.append(("partial_images", text, "OUT_OF_RANGE"))
    elif partial_images and not stream:
        found.append(("partial_images", "Needs stream=true.", "UNSUPPORTED"))
    if stream is True and given.get("n", 1) != 1:
        found.append(("n", "Must be 1 with stream=true.", "UNSUPPORTED"))
    return found


def _preview_interval(message: pb.GenerateImageRequest, partial_images: int) -> int:
    """Spread the previews evenly over the steps; the last step is the picture itself."""
    unset = not message.HasField("num_inference_steps")
    steps = DEFAULT_STEPS if unset else message.num_inference_steps
    return max(1, steps // (partial_images + 1))
