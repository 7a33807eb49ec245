"""Polls the backend's status on one thread, so that pages never wait for the network."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, replace

import client
from ui.recipe import UNKNOWN, Abilities

WATCHED_PERIOD_S = 1.0
UNWATCHED_PERIOD_S = 10.0
WATCHED_FOR_S = 6.0
HISTORY_S = 600.0
TIMEOUT_S = 2.0
FRESH_S = 2.0
PATIENCE_S = 0.35
STANDARD_STEPS = 50  # the service's default for models that have none of their own


@dataclass(frozen=True, slots=True)
class Sample:
    """The service's status at one time (seconds since 1970); `status` is None if it was down."""

    at: float
    status: client.ServiceStatus | None
    error: client.Text2ImageError | None = None
    down_since: float | None = None
    drawn: client.Abilities | None = None  # abilities of the first model
    figures: tuple[client.Figure, ...] = ()  # what was measured of it

    @property
    def abilities(self) -> Abilities | None:
        return None if self.status is None else abilities_of(self.status, self.drawn)


class Monitor:
    """Keeps the latest status and a history of ten minutes."""

    def __init__(self, service: client.Text2ImageClient) -> None:
        self._service = service
        self._latest: Sample | None = None
        self._abilities = UNKNOWN
        self._history: deque[Sample] = deque()
        self._changed = threading.Condition()
        self._watched_until = 0.0
        self._revision: str | None = None
        self._drawn: client.Abilities | None = None
        self._figures: tuple[client.Figure, ...] = ()
        self._closed = False
        self._thread = threading.Thread(target=self._watch, name="monitor", daemon=True)
        self._thread.start()

    @property
    def abilities(self) -> Abilities:
        """What the form may offer, from the last answer of the service."""
        return self._abilities

    def look(self, max_age_s: float = FRESH_S, patience_s: float = PATIENCE_S) -> Sample | None:
        """The latest sample; if it is old, waits briefly for a newer one.

        None only before the first sample.
        """
        deadline = time.monotonic() + patience_s
        with self._changed:
            self._watched_until = time.monotonic() + WATCHED_FOR_S
            if self._is_older_than(max_age_s):
                self._changed.notify_all()  # wakes the watcher
            while self._is_older_than(max_age_s) and time.monotonic() < deadline:
                self._changed.wait(deadline - time.monotonic())
            return self._latest

    def history(self) -> list[Sample]:
        """The samples of the last ten minutes, oldest first."""
        with self._changed:
            return list(self._history)

    def close(self) -> None:
        """Stop watching."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(TIMEOUT_S + 1)

    def _is_older_than(self, seconds: float) -> bool:
        return self._latest is None or time.time() - self._latest.at > seconds

    def _watch(self) -> None:
        while not self._closed:
            sample = self._ask()
            with self._changed:
                self._keep(sample)
                self._changed.notify_all()
            self._pause()

    def _pause(self) -> None:
        """Wait until the next poll: short while pages are open, longer otherwise."""
        asked = time.monotonic()
        with self._changed:
            while not self._closed:
                watched = self._watched_until > time.monotonic()
                period = WATCHED_PERIOD_S if watched else UNWATCHED_PERIOD_S
                left = asked + period - time.monotonic()
                if left <= 0:
                    return
                self._changed.wait(left)

    def _ask(self) -> Sample:
        try:
            return Sample(time.time(), self._status(), drawn=self._drawn, figures=self._figures)
        except client.Text2ImageError as error:
            before = self._latest
            known = before.down_since if before is not None else None
            return Sample(time.time(), None, error, known or time.time())
        except ValueError as error:  # the channel was closed
            return Sample(time.time(), None, client.Unavailable(str(error), "UNAVAILABLE"))

    def _status(self) -> client.ServiceStatus:
        """Poll the status; the models' abilities and figures are requested once per revision."""
        is_new = self._revision is None
        status = self._service.status(timeout=TIMEOUT_S, include_abilities=is_new)
        model = status.models[0] if status.models else None
        if model is None:
            self._revision = self._drawn = None
        elif is_new:
            self._revision, self._drawn = model.revision, model.abilities
            self._figures = model.figures
        elif model.revision != self._revision:
            self._revision = None
            return self._status()
        return status

    def _keep(self, sample: Sample) -> None:
        self._latest = sample
        if sample.abilities is not None:
            self._abilities = sample.abilities
        self._history.append(sample)
        while self._history[0].at < sample.at - HISTORY_S:
            self._history.popleft()


def abilities_of(status: client.ServiceStatus, drawn: client.Abilities | None = None) -> Abilities:
    """What the form may offer, from the service's status."""
    if not status.limits.max_size:  # a service that is still starting may not know yet
        return UNKNOWN
    common = _of_limits(status.limits)
    if not status.models:
        return replace(common, schedulers=status.schedulers)
    common = replace(common, models=tuple(found.name for found in status.models))
    first, *rest = status.models
    return replace(
        _of_model(common, first),
        schedulers=status.schedulers,
        adapters=status.adapters,
        embeddings=status.embeddings,
        model=drawn,
        others=tuple((other.name, _of_model(_limited(common, other), other)) for other in rest),
    )


def _of_limits(limits: client.Limits) -> Abilities:
    return Abilities(
        min_size=limits.min_size,
        max_size=limits.max_size,
        size_multiple=max(1, limits.size_multiple),
        max_pixels=limits.max_pixels,
        max_steps=limits.max_num_inference_steps,
        max_images=limits.max_num_images,
        max_prompt_characters=limits.max_prompt_characters,
        max_negative_characters=limits.max_negative_prompt_characters,
        max_guidance=limits.max_guidance_scale,
        max_seed=limits.max_seed,
    )


def _limited(common: Abilities, model: client.ModelStatus) -> Abilities:
    """With the model's own limits. Of a model never loaded, the native size is not known."""
    known = model.native_width > 0
    limited = common if model.limits is None else _of_limits(model.limits)
    return replace(limited, models=common.models, is_known=known)


def _of_model(common: Abilities, model: client.ModelStatus) -> Abilities:
    steps = model.default_num_inference_steps
    return replace(
        common,
        native_width=model.native_width or 512,
        native_height=model.native_height or 512,
        schedulers=model.schedulers,
        default_scheduler=model.default_scheduler,
        adapters=model.adapters,
        embeddings=model.embeddings,
        num_text_layers=max(1, model.num_text_layers),
        default_steps=0 if steps == STANDARD_STEPS else steps,
        default_guidance=model.default_guidance_scale,
    )
