"""Answers a unary generation with the image itself for `Accept: image/png`."""

from __future__ import annotations

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from starlette.requests import Request
from starlette.responses import Response

from backend.transport.http.problem import Problem, bad_fields
from proto import text2image_pb2 as pb

FORMATS = {
    "image/png": pb.IMAGE_FORMAT_PNG,
    "image/jpeg": pb.IMAGE_FORMAT_JPEG,
    "image/webp": pb.IMAGE_FORMAT_WEBP,
}
ANY_PICTURE = "image/*"


def negotiate(method: MethodDescriptor, message: Message, request: Request) -> bool:
    """Whether the caller accepts an image; sets the format in `message` if it is unset.

    Raises:
        Problem: 406 if output_format contradicts it, 400 for more than one image.
    """
    if not isinstance(message, pb.GenerateImageRequest) or method.server_streaming:
        return False
    accepted = _accepted(request)
    if not accepted:
        return False
    if message.num_images > 1:
        text = "An image/* answer holds one picture: ask for one, or accept application/json."
        raise bad_fields([("num_images", text, "OUT_OF_RANGE")])
    _settle_format(message, accepted)
    return True


def response(answer: Message) -> Response:
    """The image, with seed and request id in headers; all else is in the file's metadata.

    Raises:
        Problem: PERMISSION_DENIED if the safety checker withheld it.
    """
    assert isinstance(answer, pb.GenerateImageResponse)
    image = answer.images[0]
    if image.nsfw_detected:
        raise withheld()
    headers = {"X-Request-Id": answer.info.request_id, "X-Seed": str(image.seed)}
    return Response(image.data, media_type=image.mime_type, headers=headers)


def withheld(http_status: int | None = None) -> Problem:
    """The problem for an image that the safety checker withheld."""
    reason = error_details_pb2.ErrorInfo(reason="NSFW_DETECTED", domain="text2image")
    text = "The safety checker withheld the picture; another seed may pass."
    return Problem(grpc.StatusCode.PERMISSION_DENIED, text, [reason], http_status=http_status)


def _accepted(request: Request) -> list[str]:
    """The image types in Accept, if an image type comes first."""
    ranges = [
        part.partition(";")[0].strip() for part in request.headers.get("accept", "").split(",")
    ]
    if ranges[0] not in (*FORMATS, ANY_PICTURE):
        return []
    return [kind for kind in ranges if kind in (*FORMATS, ANY_PICTURE)]


def _settle_format(message: pb.GenerateImageRequest, accepted: list[str]) -> None:
    if ANY_PICTURE in accepted:
        return
    formats = [FORMATS[kind] for kind in accepted]
    if message.output_format == pb.IMAGE_FORMAT_UNSPECIFIED:
        message.output_format = formats[0]
    elif message.output_format not in formats:
        text = f"output_format is not among what Accept names: {', '.join(accepted)}."
        raise Problem(grpc.StatusCode.INVALID_ARGUMENT, text, http_status=406)
