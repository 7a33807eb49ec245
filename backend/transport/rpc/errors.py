"""Maps our errors to gRPC's rich error model."""

from __future__ import annotations

from typing import NamedTuple

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from backend import errors

DOMAIN = "text2image"
PUSHBACK = "grpc-retry-pushback-ms"
# Clients drop an answer with more than 8 KB of metadata. The message is sent twice:
# percent-encoded (up to three times its size), and in the base64-encoded details.
MAX_MESSAGE_BYTES = 800
MAX_VIOLATIONS_BYTES = 2800

Metadata = tuple[tuple[str, str], ...]


class Refusal(NamedTuple):
    """A status with its details, and additional trailing metadata."""

    status: status_pb2.Status
    metadata: Metadata

    @property
    def code(self) -> str:
        """The code's name, such as INVALID_ARGUMENT."""
        return next(code.name for code in grpc.StatusCode if code.value[0] == self.status.code)


def refusal(error: errors.BackendError, request_id: str) -> Refusal:
    """The status for `error`. For an unexpected error it contains only the request's id."""
    match error:
        case errors.InvalidParams():
            return _refuse(grpc.StatusCode.INVALID_ARGUMENT, str(error), _bad_request(error))
        case errors.UnknownModel():
            resource = error_details_pb2.ResourceInfo(
                resource_type="model",
                resource_name=_shorten(error.model, 200),
                description=_shorten(str(error), MAX_MESSAGE_BYTES),
            )
            return _refuse(grpc.StatusCode.NOT_FOUND, str(error), resource)
        case errors.RequestConflict():
            return _refuse(grpc.StatusCode.ALREADY_EXISTS, str(error))
        case errors.Unauthenticated():
            return _refuse(grpc.StatusCode.UNAUTHENTICATED, str(error))
        case errors.NotAllowed():
            return _refuse(grpc.StatusCode.PERMISSION_DENIED, str(error))
        case errors.DeadlineExceeded():
            return _refuse(grpc.StatusCode.DEADLINE_EXCEEDED, str(error))
        case errors.Exhausted():
            code = grpc.StatusCode.RESOURCE_EXHAUSTED
            return _retryable(code, error, error.reason, error.retry_after_s)
        case errors.Unavailable():
            code = grpc.StatusCode.UNAVAILABLE
            return _retryable(code, error, error.reason, error.retry_after_s)
        case errors.ModelFailed():
            info = _error_info("MODEL_FAILED")
            return _refuse(grpc.StatusCode.FAILED_PRECONDITION, str(error), info)
        case errors.NonFiniteOutput():
            info = _error_info("NON_FINITE_OUTPUT")
            return _refuse(grpc.StatusCode.INTERNAL, str(error), info)
    return internal(request_id)


def internal(request_id: str) -> Refusal:
    """An unexpected error: its text is only in our log, under this request id."""
    info = error_details_pb2.RequestInfo(request_id=request_id)
    return _refuse(grpc.StatusCode.INTERNAL, f"internal error (request {request_id})", info)


def malformed() -> Refusal:
    """The bytes are not a valid message; the parser's text is not sent."""
    return _refuse(grpc.StatusCode.INVALID_ARGUMENT, "malformed request message")


def too_many_fields() -> Refusal:
    """The message has too many fields and was not parsed."""
    text = "The message has more fields than any request has."
    return _refuse(grpc.StatusCode.INVALID_ARGUMENT, text)


def _retryable(
    code: grpc.StatusCode, error: Exception, reason: str, retry_after_s: float | None
) -> Refusal:
    if retry_after_s is None:
        return _refuse(code, str(error), _error_info(reason))
    delay = duration_pb2.Duration()
    delay.FromMilliseconds(round(retry_after_s * 1000))
    retry = error_details_pb2.RetryInfo(retry_delay=delay)
    pushback = ((PUSHBACK, str(round(retry_after_s * 1000))),)
    return _refuse(code, str(error), _error_info(reason), retry, metadata=pushback)


def _refuse(
    code: grpc.StatusCode, message: str, *details: Message, metadata: Metadata = ()
) -> Refusal:
    packed = []
    for detail in details:
        any_detail = any_pb2.Any()
        any_detail.Pack(detail)
        packed.append(any_detail)
    number: int = code.value[0]
    short = _shorten(message, MAX_MESSAGE_BYTES)
    status = status_pb2.Status(code=number, message=short, details=packed)
    return Refusal(status, metadata)


def _error_info(reason: str) -> error_details_pb2.ErrorInfo:
    return error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN)


def _bad_request(error: errors.InvalidParams) -> error_details_pb2.BadRequest:
    request = error_details_pb2.BadRequest()
    for violation in error.violations:
        told = error_details_pb2.BadRequest.FieldViolation(
            field=violation.field,
            description=_shorten(violation.description, MAX_MESSAGE_BYTES),
            reason=violation.reason,
        )
        if request.ByteSize() + told.ByteSize() > MAX_VIOLATIONS_BYTES:
            break
        request.field_violations.append(told)
    return request


def _shorten(text: str, num_bytes: int) -> str:
    return text.encode(errors="replace")[:num_bytes].decode(errors="ignore")
