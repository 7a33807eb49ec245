"""Exit codes, error messages on stderr, and JSON on stdout."""

from __future__ import annotations

import dataclasses
import enum
import json
import sys
from typing import Any

from text2image import errors


class ExitCode(enum.IntEnum):
    """Stable exit codes for scripts; `python client.py --help` lists them."""

    OK = 0
    FAILED = 1
    INVALID = 2
    UNAVAILABLE = 3
    EXHAUSTED = 4
    WITHHELD = 5
    TIMEOUT = 6
    INTERRUPTED = 130
    TERMINATED = 143


EXIT_CODES_HELP = """\
exit codes:
  0    done
  1    the service or writing a file failed
  2    wrong usage, or the service refused the request as invalid
  3    no service answers, or it is still loading or shutting down
  4    the queue is full, a quota or the memory is used up
  5    the safety checker withheld one picture or more
  6    the timeout passed
  130  interrupted (Ctrl-C); 143 terminated (SIGTERM): cancelled on the service too
"""


class UsageError(Exception):
    """The arguments are invalid."""


_EXIT_CODES: tuple[tuple[type[errors.Text2ImageError], ExitCode], ...] = (
    (errors.InvalidRequest, ExitCode.INVALID),
    (errors.NotFound, ExitCode.INVALID),
    (errors.Conflict, ExitCode.INVALID),
    (errors.Unavailable, ExitCode.UNAVAILABLE),
    (errors.Exhausted, ExitCode.EXHAUSTED),
    (errors.DeadlineExceeded, ExitCode.TIMEOUT),
)


def exit_code(error: errors.Text2ImageError) -> ExitCode:
    for kind, code in _EXIT_CODES:
        if isinstance(error, kind):
            return code
    return ExitCode.FAILED


def explain(error: errors.Text2ImageError) -> str:
    """A short message about what happened and what to do."""
    lines = [error.message]
    if error.violations:
        lines = [f"{found.field}: {found.description}" for found in error.violations]
    elif error.retry_after_s is not None:
        lines.append(f"Try again in {error.retry_after_s:.3g} s.")
    elif isinstance(error, errors.Unavailable) and "refused" in error.message:
        lines.append("Start it with 'make backend', or name its --address.")
    elif isinstance(error, errors.ServerError) and error.request_id not in error.message:
        lines.append(f"Request {error.request_id}.")
    return "\n  ".join(printable(line) for line in lines)


def fail(error: errors.Text2ImageError, as_json: bool, **more: Any) -> ExitCode:
    """Print the error on stderr, and as JSON on stdout if requested; return the exit code."""
    complain(explain(error))
    if as_json:
        print_json({"error": _error_to_json(error), **more})
    return exit_code(error)


def complain(text: str) -> None:
    """Print one line on stderr."""
    print(f"client.py: {text}", file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """Print JSON on stdout, in ASCII so that any terminal or pipe can show it."""
    print(json.dumps(to_json(value), indent=2), flush=True)


def _error_to_json(error: errors.Text2ImageError) -> dict[str, Any]:
    """All details of the error."""
    return {
        "code": error.code,
        "message": error.message,
        "reason": error.reason,
        "violations": to_json(error.violations),
        "retry_after_s": error.retry_after_s,
        "request_id": error.request_id,
    }


def to_json(value: Any) -> Any:
    """Convert dataclasses to objects and enums to values; leave out bytes."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        pairs = ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
        return {name: to_json(part) for name, part in pairs if not isinstance(part, bytes)}
    if isinstance(value, dict):
        return {name: to_json(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(part) for part in value]
    return value.value if isinstance(value, enum.Enum) else value


def printable(text: str) -> str:
    """One line without control characters, so that a service can't control the terminal."""
    return "".join(char if char.isprintable() else " " for char in text).strip()


def seconds(value: float) -> str:
    """A readable duration: 0.4 s, 12 s, 2 min 05 s, 3 h 20 min."""
    if value < 10:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
