"""Explains errors to people: a title, a sentence, and what to do next."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

import client
from ui.recipe import Recipe

# Names in the proto file -> names in the form.
FIELDS = {"num_inference_steps": "steps", "guidance_scale": "guidance", "num_images": "count"}


BY_ITSELF = "The picture starts by itself when the server is back, from the same prompt and seed."


class Remedy(enum.Enum):
    """A one-click remedy."""

    TRY_AGAIN = "try again"
    SMALLER = "try a smaller size"
    FIX = "fix the settings"
    SIGN_IN = "sign in"
    NONE = "nothing"


@dataclass(frozen=True, slots=True)
class Failure:
    """How a job failed. `technical` is for the operator, `fields` for the form."""

    title: str
    text: str
    remedy: Remedy
    code: str
    technical: str = ""
    retry_after_s: float | None = None
    fields: Mapping[str, str] = field(default_factory=dict)


def explain(error: client.Text2ImageError, recipe: Recipe, step: int = 0) -> Failure:
    """Explain `error`, which ended a job with this recipe after `step` steps."""
    title, text, remedy = _say(error, recipe, step)
    return Failure(
        title=title,
        text=text,
        remedy=remedy,
        code=error.reason or error.code,
        technical=_technical(error),
        retry_after_s=error.retry_after_s,
        fields={FIELDS.get(v.field, v.field): v.description for v in error.violations},
    )


def unexpected(error: Exception) -> Failure:
    """An internal error of the studio."""
    return Failure(
        title="Something went wrong here",
        text="The studio itself made a mistake. Your prompt is kept.",
        remedy=Remedy.TRY_AGAIN,
        code="STUDIO",
        technical=type(error).__name__,
    )


def _say(error: client.Text2ImageError, recipe: Recipe, step: int) -> tuple[str, str, Remedy]:
    match error:
        case client.InvalidRequest():
            return "One setting isn't allowed", _violations(error), Remedy.FIX
        case client.NotFound():
            text = "The image server no longer offers this model. Choose another one."
            return "This model is gone", text, Remedy.FIX
        case client.QueueFull():
            text = "Many people are making pictures right now. Your prompt is kept."
            return "The queue is full", text, Remedy.TRY_AGAIN
        case client.Exhausted():
            return _exhausted(error, recipe)
        case client.Unavailable():
            return _unavailable(error, step)
        case client.DeadlineExceeded():
            text = "The picture was not ready in time. Fewer steps or a smaller size are quicker."
            return "This took too long", text, Remedy.TRY_AGAIN
        case client.Cancelled():
            text = "It was stopped over there, not by you."
            return "The image server stopped this job", text, Remedy.TRY_AGAIN
        case client.ModelFailed():
            return "The model could not be loaded", error.message, Remedy.NONE
        case client.Unauthenticated():
            text = "The image server doesn't know this studio: its API key is missing or wrong."
            return "Not let in", text, Remedy.SIGN_IN
        case client.PermissionDenied():
            return "You may not do this", "The image server refuses this request.", Remedy.NONE
        case client.Incompatible():
            text = "What answers at its address does not speak this studio's language. Update both."
            return "The image server is of another version", text, Remedy.NONE
        case client.Conflict():
            text = "Another request had the same name. Trying again gives it a new one."
            return "Mixed up with another request", text, Remedy.TRY_AGAIN
        case _:
            return _server_error(error, step)


def _exhausted(error: client.Text2ImageError, recipe: Recipe) -> tuple[str, str, Remedy]:
    if error.reason == "OUT_OF_MEMORY":
        title = f"Not enough memory for {recipe.width} × {recipe.height}"
        return title, "A smaller picture needs far less.", Remedy.SMALLER
    if error.reason == "QUOTA":
        text = "You have as many requests waiting as you may. Let one finish, then try again."
        return "You reached your limit", text, Remedy.TRY_AGAIN
    if error.reason == "DEADLINE_UNMEETABLE":
        text = "The wait is longer than the studio may wait. Try again a little later."
        return "The queue is too long", text, Remedy.TRY_AGAIN
    return "The image server has no room", "Try again a little later.", Remedy.TRY_AGAIN


def _unavailable(error: client.Text2ImageError, step: int) -> tuple[str, str, Remedy]:
    if error.reason == "MODEL_LOADING":
        text = "The model is taking very long to load. Your prompt is kept."
        return "The model is still loading", text, Remedy.TRY_AGAIN
    if error.reason == "DRAINING":
        text = "The image server is about to restart. Your prompt is kept."
        return "The image server is restarting", text, Remedy.TRY_AGAIN
    if step:
        text = f"The connection broke after step {step}. {BY_ITSELF}"
        return "The image server went away", text, Remedy.TRY_AGAIN
    return "The image server can't be reached", BY_ITSELF, Remedy.TRY_AGAIN


def _server_error(error: client.Text2ImageError, step: int) -> tuple[str, str, Remedy]:
    if error.reason == "NON_FINITE_OUTPUT":
        text = "The numbers ran away while it was computed. Another seed or guidance may help."
        return "The model made no picture", text, Remedy.TRY_AGAIN
    if error.code == "OK":
        text = f"It ended after step {step} without a result. Trying again uses the same seed."
        return "The image server broke off", text, Remedy.TRY_AGAIN
    text = "It wasn't your prompt: something broke over there."
    return "The image server hit an error", text, Remedy.TRY_AGAIN


def _violations(error: client.Text2ImageError) -> str:
    if not error.violations:
        return error.message
    return " ".join(violation.description for violation in error.violations)


def _technical(error: client.Text2ImageError) -> str:
    parts = [error.code, error.reason, error.message]
    if error.request_id:
        parts.append(f"request {error.request_id}")
    return " · ".join(part for part in parts if part)
