"""The client's exceptions, and their mapping from gRPC errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

PUSHBACK = "grpc-retry-pushback-ms"

Detail = TypeVar("Detail", bound=Message)


@dataclass(frozen=True, slots=True)
class Violation:
    """One bad field: its name in the proto file, a sentence, and an UPPER_SNAKE reason."""

    field: str
    description: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ErrorDetails:
    """Details that the service sent with code and message; empty by default."""

    reason: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    violations: tuple[Violation, ...] = ()
    resource: str = ""
    retry_after_s: float | None = None
    request_id: str = ""


class Text2ImageError(Exception):
    """Base class of all errors that the client raises.

    `code` is the name of the gRPC status, for example "INVALID_ARGUMENT".
    """

    def __init__(self, message: str, code: str, details: ErrorDetails | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.details = details or ErrorDetails()

    @property
    def reason(self) -> str:
        """An UPPER_SNAKE word such as QUEUE_FULL or MODEL_LOADING; may be empty."""
        return self.details.reason

    @property
    def retry_after_s(self) -> float | None:
        """Seconds after which to retry; None if the service named none."""
        return self.details.retry_after_s

    @property
    def violations(self) -> tuple[Violation, ...]:
        """All bad fields of the request."""
        return self.details.violations

    @property
    def request_id(self) -> str:
        """The id to search for in the service's log; may be empty."""
        return self.details.request_id


class InvalidRequest(Text2ImageError):
    """The request has bad fields: see `violations`."""


class NotFound(Text2ImageError):
    """There is no such model: see `details.resource`."""


class Conflict(Text2ImageError):
    """The request_id was already used with other parameters."""


class Exhausted(Text2ImageError):
    """A resource is exhausted: see `reason` (QUOTA, DEADLINE_UNMEETABLE, OUT_OF_MEMORY, ...)."""


class QueueFull(Exhausted):
    """The queue is full: see `retry_after_s`."""


class Unavailable(Text2ImageError):
    """Temporarily unavailable: `reason` is for example MODEL_LOADING; "" if nobody answers."""


class ModelFailed(Text2ImageError):
    """The service is up, but its model could not be loaded."""


class Unauthenticated(Text2ImageError):
    """Credentials are missing or unknown."""


class PermissionDenied(Text2ImageError):
    """The credentials are known but do not permit this call."""


class Cancelled(Text2ImageError):
    """The generation was cancelled."""


class DeadlineExceeded(Text2ImageError):
    """The timeout passed; the service stopped working on the request."""


class Incompatible(Text2ImageError):
    """A server answers at this address, but not with this API."""


class ServerError(Text2ImageError):
    """The service failed; give `request_id` to its operator."""


_BY_CODE: Mapping[grpc.StatusCode, type[Text2ImageError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequest,
    grpc.StatusCode.OUT_OF_RANGE: InvalidRequest,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.ALREADY_EXISTS: Conflict,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Exhausted,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.FAILED_PRECONDITION: ModelFailed,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
    grpc.StatusCode.CANCELLED: Cancelled,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.UNIMPLEMENTED: Incompatible,
}


@contextmanager
def map_rpc_errors(address: str, request_id: str = "") -> Iterator[None]:
    """Translate every `grpc.RpcError` raised inside to one of our exceptions."""
    try:
        yield
    except grpc.RpcError as error:
        raise from_rpc_error(error, address, request_id) from error


def from_rpc_error(error: grpc.RpcError, address: str, request_id: str = "") -> Text2ImageError:
    """Our exception for `error`.

    `address` is named if the peer can't be reached; `request_id` is the caller's, used if the
    service names none.
    """
    call: Any = error  # gRPC raises the call itself; its types don't say so
    code: grpc.StatusCode = call.code()
    details = _read_details(call)
    if not details.request_id:
        details = replace(details, request_id=request_id)
    kind = _BY_CODE.get(code, ServerError)
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and details.reason == "QUEUE_FULL":
        kind = QueueFull
    message = _say(call.details() or code.name, kind, details, address)
    return kind(message, code.name, details)


def _say(message: str, kind: type[Text2ImageError], details: ErrorDetails, address: str) -> str:
    if kind is Unavailable and not details.reason:
        return f"The service at {address} can't be reached: {message}"
    if kind is Incompatible:
        return f"What answers at {address} is no text-to-image service of this version: {message}"
    return message


def _read_details(call: grpc.Call) -> ErrorDetails:
    details = ErrorDetails(retry_after_s=_pushback_s(call))
    try:
        status: status_pb2.Status | None = rpc_status.from_call(call)
        for packed in status.details if status else ():
            details = _add(details, packed)
    except (ValueError, DecodeError):
        return details  # unreadable details must not hide the error itself
    return details


def _pushback_s(call: grpc.Call) -> float | None:
    for key, value in call.trailing_metadata() or ():
        if key == PUSHBACK and str(value).isdecimal():
            return int(value) / 1000
    return None


def _add(details: ErrorDetails, packed: Any) -> ErrorDetails:
    match packed.TypeName():
        case "google.rpc.ErrorInfo":
            error_info = _unpack(packed, error_details_pb2.ErrorInfo())
            metadata = dict(error_info.metadata)
            return replace(details, reason=error_info.reason, metadata=metadata)
        case "google.rpc.BadRequest":
            bad_request = _unpack(packed, error_details_pb2.BadRequest())
            violations = tuple(
                Violation(found.field, found.description, found.reason)
                for found in bad_request.field_violations
            )
            return replace(details, violations=violations)
        case "google.rpc.RetryInfo":
            delay = _unpack(packed, error_details_pb2.RetryInfo()).retry_delay
            return replace(details, retry_after_s=delay.seconds + delay.nanos / 1e9)
        case "google.rpc.RequestInfo":
            request_info = _unpack(packed, error_details_pb2.RequestInfo())
            return replace(details, request_id=request_info.request_id)
        case "google.rpc.ResourceInfo":
            resource_info = _unpack(packed, error_details_pb2.ResourceInfo())
            return replace(details, resource=resource_info.resource_name)
    return details


def _unpack(packed: Any, detail: Detail) -> Detail:
    packed.Unpack(detail)
    return detail
