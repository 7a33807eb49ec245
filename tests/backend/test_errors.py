"""Errors travel between processes whole."""

from __future__ import annotations

import pickle

import pytest

from backend.errors import (
    BackendError,
    DeadlineExceeded,
    InvalidParams,
    ModelLoading,
    OutOfMemory,
    QueueFull,
    UnknownModel,
    Violation,
)


@pytest.mark.parametrize(
    "error",
    [
        InvalidParams((Violation("prompt", "Too long.", "TOO_LONG"), Violation("seed", "No."))),
        UnknownModel("other", ("fake", "tiny")),
        QueueFull("All 2 places are taken.", 1.5),
        ModelLoading("Still loading.", 3.0),
        OutOfMemory("None left."),
        DeadlineExceeded("It had passed."),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_survives_pickling(error: BackendError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)
