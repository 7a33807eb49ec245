"""Errors in OpenAI's format: type, code, param, and whether to retry."""

from __future__ import annotations

import grpc
from google.rpc import error_details_pb2

from backend.transport.http.openai.request import param_of
from backend.transport.http.problem import Json, Problem, connect_code

# Our reasons: OpenAI's codes, where it has one.
FIELD_CODES = {
    "REQUIRED": "missing_required_parameter",
    "TOO_LONG": "string_above_max_length",
    "WRONG_TYPE": "invalid_type",
}
CODES = {
    "QUEUE_FULL": "rate_limit_exceeded",
    "QUOTA": "rate_limit_exceeded",
    "NSFW_DETECTED": "moderation_blocked",
}
HTTP_CODES = {404: "unknown_url", 405: "method_not_allowed", 415: "unsupported_content_type"}
# OpenAI's SDKs retry these, and everything from 500.
RETRIED = (408, 409, 429)
# The longest Retry-After the SDKs obey; they ignore a longer one and retry soon.
LONGEST_WAIT_S = 120


def body(problem: Problem) -> Json:
    """OpenAI's error object, with our more specific `reason` added."""
    violations = problem.violations
    named = "; ".join(f"{param_of(v.field)}: {v.description}" for v in violations)
    reason = violations[0].reason if violations else problem.reason
    error: Json = {
        "message": named or problem.message,
        "type": _type(problem.http_status),
        "param": _param(problem),
        "code": _code(problem),
    }
    if reason:
        error["reason"] = reason
    return {"error": error}


def headers(problem: Problem) -> dict[str, str]:
    """The problem's headers, with `x-should-retry: false` if an SDK would retry in vain."""
    found = problem.headers
    status = problem.http_status
    if (status in RETRIED or status >= 500) and not _may_pass(problem, found):
        found["X-Should-Retry"] = "false"
    return found


def _may_pass(problem: Problem, found: dict[str, str]) -> bool:
    if wait := found.get("Retry-After"):
        return int(wait) <= LONGEST_WAIT_S
    if problem.code is grpc.StatusCode.INTERNAL:
        return problem.reason is None  # unknown cause: a retry may help
    return problem.code is grpc.StatusCode.UNAVAILABLE


def _type(http_status: int) -> str:
    if http_status == 429:
        return "rate_limit_error"
    return "invalid_request_error" if http_status < 500 else "server_error"


def _is_unknown_model(problem: Problem) -> bool:
    resources = (d for d in problem.details if isinstance(d, error_details_pb2.ResourceInfo))
    return any(resource.resource_type == "model" for resource in resources)


def _param(problem: Problem) -> str | None:
    if problem.violations:
        return param_of(problem.violations[0].field)
    return "model" if _is_unknown_model(problem) else None


def _code(problem: Problem) -> str:
    if _is_unknown_model(problem):
        return "model_not_found"
    if problem.code is grpc.StatusCode.UNAUTHENTICATED:
        return "invalid_api_key"
    if problem.code in (grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNIMPLEMENTED):
        return HTTP_CODES.get(problem.http_status, connect_code(problem.code))
    if problem.violations:
        return FIELD_CODES.get(problem.violations[0].reason, "invalid_value")
    if problem.reason:
        return CODES.get(problem.reason, problem.reason.lower())
    return connect_code(problem.code)
