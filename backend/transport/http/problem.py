"""Errors of the HTTP server, as gRPC codes, Connect errors and HTTP statuses."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable
from itertools import islice
from typing import Any

import grpc
from google.protobuf import json_format
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from backend.errors import MAX_VIOLATIONS, BackendError
from backend.transport.rpc.errors import refusal

Json = dict[str, Any]

# https://connectrpc.com/docs/protocol#error-codes
HTTP_STATUS = {
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}


class Problem(Exception):
    """An error to be sent to the client.

    `http_status` is only given where HTTP has a more specific status than the gRPC code's.
    """

    def __init__(
        self,
        code: grpc.StatusCode,
        message: str,
        details: Iterable[Message] = (),
        *,
        http_status: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = tuple(details)
        self.http_status = http_status or HTTP_STATUS.get(code, 500)
        self._headers = headers or {}

    @property
    def headers(self) -> dict[str, str]:
        """Response headers for this error, such as `Retry-After`."""
        headers = dict(self._headers)
        if (delay := self._retry_delay_s()) is not None:
            headers["Retry-After"] = str(max(1, math.ceil(delay)))
        if self.code is grpc.StatusCode.UNAUTHENTICATED:
            headers["WWW-Authenticate"] = "Bearer"
        return headers

    @property
    def reason(self) -> str | None:
        """ErrorInfo's reason, for example QUEUE_FULL."""
        return next(
            (d.reason for d in self.details if isinstance(d, error_details_pb2.ErrorInfo)), None
        )

    @property
    def violations(self) -> list[error_details_pb2.BadRequest.FieldViolation]:
        """All bad fields."""
        bad = (d for d in self.details if isinstance(d, error_details_pb2.BadRequest))
        return [violation for detail in bad for violation in detail.field_violations]

    def _retry_delay_s(self) -> float | None:
        for detail in self.details:
            if isinstance(detail, error_details_pb2.RetryInfo):
                return float(detail.retry_delay.ToTimedelta().total_seconds())
        return None


def bad_fields(violations: Iterable[tuple[str, str, str]]) -> Problem:
    """INVALID_ARGUMENT with every (field, description, reason), up to `MAX_VIOLATIONS`."""
    detail = error_details_pb2.BadRequest()
    for field, description, reason in islice(violations, MAX_VIOLATIONS):
        detail.field_violations.add(field=field, description=description, reason=reason)
    message = "; ".join(f"{v.field}: {v.description}" for v in detail.field_violations)
    return Problem(grpc.StatusCode.INVALID_ARGUMENT, message, [detail])


def malformed(message: str) -> Problem:
    """INVALID_ARGUMENT for a request that can't be parsed."""
    return Problem(grpc.StatusCode.INVALID_ARGUMENT, message)


def from_rpc_error(error: grpc.aio.AioRpcError) -> Problem:
    """The gRPC server's error, without connection errors' texts, which contain addresses."""
    status = rpc_status.from_call(error)  # type: ignore[arg-type]  # its stubs know sync calls only
    if status is not None:
        return Problem(error.code(), status.message, [_unpack(d) for d in status.details])
    if error.code() is grpc.StatusCode.UNAVAILABLE:
        return Problem(error.code(), "The backend can't be reached right now; try again.")
    return Problem(error.code(), error.details() or error.code().name)


def from_error(error: BackendError) -> Problem:
    """A backend error, mapped like the gRPC server does."""
    status = refusal(error, "").status
    code = next(code for code in grpc.StatusCode if code.value[0] == status.code)
    return Problem(code, status.message, [_unpack(detail) for detail in status.details])


def connect_code(code: grpc.StatusCode) -> str:
    """The Connect protocol's name of a gRPC code: equal except for "canceled" with one l."""
    return "canceled" if code is grpc.StatusCode.CANCELLED else code.name.lower()


def connect_error(problem: Problem) -> Json:
    """https://connectrpc.com/docs/protocol#error-end-stream"""
    error: Json = {"code": connect_code(problem.code), "message": problem.message}
    if problem.details:
        error["details"] = [_connect_detail(detail) for detail in problem.details]
    return error


def _connect_detail(detail: Message) -> Json:
    if isinstance(detail, AnyMessage):  # of an unknown type
        value = base64.b64encode(detail.value).decode().rstrip("=")
        return {"type": detail.type_url.rpartition("/")[2], "value": value}
    value = base64.b64encode(detail.SerializeToString()).decode().rstrip("=")
    debug = json_format.MessageToDict(detail)
    return {"type": detail.DESCRIPTOR.full_name, "value": value, "debug": debug}


_KNOWN_DETAILS: tuple[type[Message], ...] = (
    error_details_pb2.BadRequest,
    error_details_pb2.ErrorInfo,
    error_details_pb2.RetryInfo,
    error_details_pb2.ResourceInfo,
    error_details_pb2.RequestInfo,
)


def _unpack(packed: AnyMessage) -> Message:
    for known in _KNOWN_DETAILS:
        detail = known()
        if packed.Unpack(detail):
            return detail
    return packed
