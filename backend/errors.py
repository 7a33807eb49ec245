"""Everything that can go wrong in the backend, as one tree.

The transports map these to status codes in one place; nothing here knows about gRPC or HTTP.
"""

from dataclasses import dataclass


class BackendError(Exception):
    """Base of every error that the backend raises on purpose."""


class ConfigError(BackendError):
    """A setting, file or address that the service can't start with."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One bad field of a request: its name on the wire, a sentence, and an UPPER_SNAKE reason."""

    field: str
    description: str
    reason: str = "INVALID"


MAX_VIOLATIONS = 16


class InvalidParams(BackendError):
    """A request with one or more bad fields: all of them, up to `MAX_VIOLATIONS`."""

    def __init__(self, violations: tuple[Violation, ...]) -> None:
        violations = violations[:MAX_VIOLATIONS]
        super().__init__("; ".join(f"{v.field}: {v.description}" for v in violations))
        self.violations = violations


class UnknownModel(BackendError):
    """The request names a model that is not served."""

    def __init__(self, model: str, served: tuple[str, ...]) -> None:
        super().__init__(f"No such model. Served: {', '.join(served) or 'none'}.")
        self.model = model


class RequestConflict(BackendError):
    """The request_id is taken by a request with other parameters."""


class Unauthenticated(BackendError):
    """No credentials, or unknown ones."""


class NotAllowed(BackendError):
    """Known credentials that may not do this."""


class Exhausted(BackendError):
    """Something is used up; `reason` says what, `retry_after_s` when to try again (None: don't)."""

    reason = "EXHAUSTED"

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class QueueFull(Exhausted):
    """Every place in the queue is taken."""

    reason = "QUEUE_FULL"


class QuotaSpent(Exhausted):
    """This client has as many requests in the queue as it may have."""

    reason = "QUOTA"


class DeadlineUnmeetable(Exhausted):
    """The predicted wait is longer than the caller's deadline."""

    reason = "DEADLINE_UNMEETABLE"


class LockedOut(Exhausted):
    """Too many wrong keys came from the caller's address."""

    reason = "LOCKED_OUT"


class DeadlineExceeded(BackendError):
    """The caller's deadline had passed before anything was begun."""


class OutOfMemory(Exhausted):
    """The model ran out of memory even with the smallest batch."""

    reason = "OUT_OF_MEMORY"


class Unavailable(BackendError):
    """Not now; `retry_after_s` says when to try again."""

    reason = "UNAVAILABLE"

    def __init__(self, message: str, retry_after_s: float = 2.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ModelLoading(Unavailable):
    """The model is still being loaded."""

    reason = "MODEL_LOADING"


class Draining(Unavailable):
    """The service finishes what runs and takes nothing new."""

    reason = "DRAINING"


class Stuck(Unavailable):
    """A piece of work takes far longer than it should; nobody knows whether it will end."""

    reason = "STUCK"


class ModelFailed(BackendError):
    """The model could not be loaded; the process stays up and says why."""


class NonFiniteOutput(BackendError):
    """The model produced NaN or infinity; a black picture is never passed off as a result."""


class DeviceLost(BackendError):
    """The device answers every call with an error: only a new process can compute again."""


class GenerationFailed(BackendError):
    """Anything unexpected while generating. Its text is logged, never sent."""
