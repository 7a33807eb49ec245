"""The backend's exceptions. The transports map them to status codes."""

from dataclasses import dataclass


class BackendError(Exception):
    """Base class of all errors that the backend raises on purpose."""


class ConfigError(BackendError):
    """A setting, file or address prevents the service from starting."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One bad field of a request. `field` is its name on the wire, `reason` is UPPER_SNAKE."""

    field: str
    description: str
    reason: str = "INVALID"


MAX_VIOLATIONS = 16


class InvalidParams(BackendError):
    """The request has bad fields; lists up to `MAX_VIOLATIONS` of them."""

    def __init__(self, violations: tuple[Violation, ...]) -> None:
        violations = violations[:MAX_VIOLATIONS]
        super().__init__("; ".join(f"{v.field}: {v.description}" for v in violations))
        self.violations = violations

    def __reduce__(self) -> tuple[object, ...]:  # an exception's own would pass on the text
        return type(self), (self.violations,)


class UnknownModel(BackendError):
    """The request names a model that is not served."""

    def __init__(self, model: str, served: tuple[str, ...]) -> None:
        super().__init__(f"No such model. Served: {', '.join(served) or 'none'}.")
        self.model = model
        self.served = served

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.model, self.served)


class RequestConflict(BackendError):
    """The request_id was already used with other parameters."""


class Unauthenticated(BackendError):
    """Credentials are missing or unknown."""


class NotAllowed(BackendError):
    """The credentials are known but do not permit this call."""


class Exhausted(BackendError):
    """A resource is exhausted. `retry_after_s`: when to try again; None: retrying won't help."""

    reason = "EXHAUSTED"

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class QueueFull(Exhausted):
    """The queue is full."""

    reason = "QUEUE_FULL"


class QuotaSpent(Exhausted):
    """This client has used up its quota."""

    reason = "QUOTA"


class DeadlineUnmeetable(Exhausted):
    """The predicted wait is longer than the caller's deadline."""

    reason = "DEADLINE_UNMEETABLE"


class LockedOut(Exhausted):
    """Too many wrong API keys from the caller's address."""

    reason = "LOCKED_OUT"


class DeadlineExceeded(BackendError):
    """The caller's deadline passed before the work started."""


class OutOfMemory(Exhausted):
    """The model ran out of memory even with the smallest batch."""

    reason = "OUT_OF_MEMORY"


class Unavailable(BackendError):
    """Temporarily unavailable; `retry_after_s` says when to try again."""

    reason = "UNAVAILABLE"

    def __init__(self, message: str, retry_after_s: float = 2.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ModelLoading(Unavailable):
    """The model is still being loaded."""

    reason = "MODEL_LOADING"


class Draining(Unavailable):
    """The service is shutting down: it finishes running requests and refuses new ones."""

    reason = "DRAINING"


class Stuck(Unavailable):
    """The engine takes far longer than predicted and may never return."""

    reason = "STUCK"


class ModelFailed(BackendError):
    """The model could not be loaded; the process stays up and reports the reason."""


class NonFiniteOutput(BackendError):
    """The model produced NaN or infinity, which would decode to a black image."""


class DeviceLost(BackendError):
    """The device fails every call; only a new process can use it again."""


class GenerationFailed(BackendError):
    """An unexpected error while generating; the cause is logged and not sent to clients."""
