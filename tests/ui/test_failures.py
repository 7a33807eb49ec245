import pytest

import client
from ui.failures import Remedy, explain, unexpected
from ui.recipe import Recipe

RECIPE = Recipe("a cat", width=1024, height=768)
ERRORS: dict[str, tuple[client.Text2ImageError, str, Remedy]] = {
    "invalid": (client.InvalidRequest("bad", "INVALID_ARGUMENT"), "isn't allowed", Remedy.FIX),
    "model gone": (client.NotFound("no", "NOT_FOUND"), "model is gone", Remedy.FIX),
    "queue full": (client.QueueFull("no", "RESOURCE_EXHAUSTED"), "queue is full", Remedy.TRY_AGAIN),
    "memory": (
        client.Exhausted("no", "RESOURCE_EXHAUSTED", client.ErrorDetails("OUT_OF_MEMORY")),
        "1024 × 768",
        Remedy.SMALLER,
    ),
    "quota": (
        client.Exhausted("no", "RESOURCE_EXHAUSTED", client.ErrorDetails("QUOTA")),
        "your limit",
        Remedy.TRY_AGAIN,
    ),
    "wait": (
        client.Exhausted("no", "RESOURCE_EXHAUSTED", client.ErrorDetails("DEADLINE_UNMEETABLE")),
        "too long",
        Remedy.TRY_AGAIN,
    ),
    "down": (client.Unavailable("no", "UNAVAILABLE"), "can't be reached", Remedy.TRY_AGAIN),
    "loading": (
        client.Unavailable("no", "UNAVAILABLE", client.ErrorDetails("MODEL_LOADING")),
        "still loading",
        Remedy.TRY_AGAIN,
    ),
    "draining": (
        client.Unavailable("no", "UNAVAILABLE", client.ErrorDetails("DRAINING")),
        "restarting",
        Remedy.TRY_AGAIN,
    ),
    "late": (client.DeadlineExceeded("no", "DEADLINE_EXCEEDED"), "too long", Remedy.TRY_AGAIN),
    "stopped": (client.Cancelled("no", "CANCELLED"), "stopped this job", Remedy.TRY_AGAIN),
    "no model": (
        client.ModelFailed("broken file", "FAILED_PRECONDITION"),
        "could not be loaded",
        Remedy.NONE,
    ),
    "key": (client.Unauthenticated("no", "UNAUTHENTICATED"), "Not let in", Remedy.SIGN_IN),
    "denied": (client.PermissionDenied("no", "PERMISSION_DENIED"), "may not", Remedy.NONE),
    "old": (client.Incompatible("no", "UNIMPLEMENTED"), "another version", Remedy.NONE),
    "conflict": (client.Conflict("no", "ALREADY_EXISTS"), "Mixed up", Remedy.TRY_AGAIN),
    "internal": (client.ServerError("no", "INTERNAL"), "hit an error", Remedy.TRY_AGAIN),
    "cut short": (client.ServerError("no", "OK"), "broke off", Remedy.TRY_AGAIN),
    "black": (
        client.ServerError("no", "INTERNAL", client.ErrorDetails("NON_FINITE_OUTPUT")),
        "no picture",
        Remedy.TRY_AGAIN,
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_every_error_has_a_title_a_sentence_and_a_remedy(name: str) -> None:
    error, title, remedy = ERRORS[name]
    failure = explain(error, RECIPE)
    assert title in failure.title
    assert failure.remedy is remedy
    assert failure.text
    assert error.code in failure.technical


def test_a_break_in_mid_run_says_where_it_broke() -> None:
    failure = explain(client.Unavailable("no", "UNAVAILABLE"), RECIPE, step=13)
    assert "step 13" in failure.text


def test_bad_fields_are_named_as_the_composer_names_them() -> None:
    violations = (client.Violation("num_inference_steps", "Must be 1 to 150."),)
    details = client.ErrorDetails(violations=violations)
    failure = explain(client.InvalidRequest("no", "INVALID_ARGUMENT", details), RECIPE)
    assert failure.fields == {"steps": "Must be 1 to 150."}


def test_the_request_s_name_is_there_for_the_operator() -> None:
    details = client.ErrorDetails(request_id="abc123")
    failure = explain(client.ServerError("no", "INTERNAL", details), RECIPE)
    assert "abc123" in failure.technical


def test_a_fault_of_the_studio_shows_no_internals() -> None:
    failure = unexpected(RuntimeError("/secret/path"))
    assert "/secret" not in failure.text + failure.technical
