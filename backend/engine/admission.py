"""From a request as it came to a job: checked once, its pictures read, its LoRAs merged."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import NamedTuple

from backend.config import Settings
from backend.domain import Queued
from backend.draft import Draft
from backend.engine.jobs import Job, JobRegistry
from backend.engine.models import Models
from backend.engine.request import Request
from backend.engine.served_model import ServedModel
from backend.engine.service_state import ServiceState
from backend.engine.thread import AsyncEngine
from backend.errors import InvalidParams, ModelLoading, QueueFull, UnknownModel, Violation
from backend.params import GenerationParams
from backend.picture_reader import PictureReader


class Caller(NamedTuple):
    """Who asks: an identity, and until when they wait (None: forever)."""

    client: str
    deadline_at_s: float | None


class Admission:
    """Turns requests into jobs, or refuses them. On the event loop."""

    def __init__(
        self,
        settings: Settings,
        models: Models,
        state: ServiceState,
        jobs: JobRegistry,
        pictures: PictureReader,
    ) -> None:
        self._max_queue = settings.max_queue
        self._models = models
        self._state = state
        self._jobs = jobs
        self._pictures = pictures

    def find(self, draft: Draft, caller: Caller) -> ServedModel:
        """The model that the request names.

        Raises:
            InvalidParams: it has other faults; they are told first.
            UnknownModel: there is no such model.
        """
        model, default = self._models.find(draft.model), self._models.default
        if model is not None:
            return model
        if default.is_known:
            _refuse(_resolve(default, draft, caller)[1])
        raise UnknownModel(draft.model, tuple(model.name for model in self._models.all))

    async def bring(
        self, model: ServedModel, draft: Draft, caller: Caller
    ) -> AsyncGenerator[Queued, None]:
        """Have the model loaded, unless the request would be refused anyway."""
        if model.engine is not None and not model.is_leaving:
            return
        self._state.check(model)
        self._check_room(model)
        if model.is_known:
            violations = _resolve(model, draft, caller)[1]
            # LoRAs may have been added since it was unloaded.
            _refuse([one for one in violations if not one.field.startswith("loras")])
        async for message in self._models.bring(model):
            yield Queued(0, 0.0, message)

    async def join_or_start(
        self, model: ServedModel, draft: Draft, caller: Caller
    ) -> tuple[AsyncEngine, Job]:
        """The job with this request's id, or a new one; and the engine that runs it.

        Raises:
            BackendError: it is refused.
        """
        self._state.check(model)
        draft = await self._read_pictures(model, draft, caller)
        engine, params = self._check(model, draft, caller)
        if params.loras and self._find_job(draft, caller, params) is None:
            self._check_room(model)
            await asyncio.to_thread(engine.get_ready, params)  # seconds: others go on meanwhile
            self._state.check(model)
        job = self._find_job(draft, caller, params)
        if job is None:
            self._check_room(model)
            job = self._start(engine, draft, caller, params)
        return engine, job

    def examine(self, params: GenerationParams) -> int:
        """See `LocalBackend.examine`."""
        model = (self._models.find(params.model) or self._models.default).model
        if model is None:
            raise ModelLoading(f"The model is still loading. {self._state.message}")
        _refuse([*model.check(params)])
        return model.num_chunks(params)

    def _find_job(self, draft: Draft, caller: Caller, params: GenerationParams) -> Job | None:
        return self._jobs.find(caller.client, draft.request_id, params)

    async def _read_pictures(self, model: ServedModel, draft: Draft, caller: Caller) -> Draft:
        """`draft` with its initial picture and mask decoded, on another thread."""
        if not (draft.init_image or draft.mask):
            return draft
        if not self._jobs.has(caller.client, draft.request_id):
            self._check_room(model)
        info = model.info
        return await self._pictures.read(draft, info, info.limits)

    def _check(
        self, model: ServedModel, draft: Draft, caller: Caller
    ) -> tuple[AsyncEngine, GenerationParams]:
        """The engine, and the request's parameters, which are valid.

        Raises:
            BackendError: the model can't generate, or not this.
        """
        self._state.check(model)
        if model.engine is None or model.model is None:
            raise ModelLoading(f"{model.name} is being loaded.")
        params, violations = _resolve(model, draft, caller)
        if not {violation.field for violation in violations} & {"scheduler", "num_inference_steps"}:
            violations += model.model.check(params)
        _refuse(violations)
        return model.engine, params

    def _check_room(self, model: ServedModel) -> None:
        """Refuse early what the engine would refuse anyway: it reads its inbox between steps."""
        self._state.check_open()
        if self._models.counts.queued + self._models.num_waiting >= self._max_queue:
            text = f"All {self._max_queue} places in the queue are taken."
            raise QueueFull(text, 1.0 if model.engine is None else model.engine.next_end_s)

    def _start(
        self, engine: AsyncEngine, draft: Draft, caller: Caller, params: GenerationParams
    ) -> Job:
        request = Request(
            draft.request_id,
            caller.client,
            params,
            time.perf_counter(),
            caller.deadline_at_s,
            engine.num_chunks(params),
        )
        job = Job(request, draft.is_named)
        self._jobs.add(job)
        engine.submit(job)
        return job


def _resolve(
    model: ServedModel, draft: Draft, caller: Caller
) -> tuple[GenerationParams, list[Violation]]:
    info = model.info
    params = draft.resolve(info, caller.client)
    return params, [*draft.violations(params), *params.violations(info.limits, info)]


def _refuse(violations: list[Violation]) -> None:
    if violations:
        raise InvalidParams(tuple(violations))
