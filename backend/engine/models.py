"""The models of a backend: which are in memory, and which leave it for others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from backend.engine.cost import CostModel
from backend.engine.served_model import ServedModel
from backend.engine.unfinished_jobs import Counts
from backend.errors import Draining, ModelFailed
from backend.params import ModelState


class Models:
    """Loads models on first use, and unloads the least recently used within a memory budget.

    One is loaded or unloaded at a time. A model in use leaves once its requests have ended; new
    ones wait meanwhile, so that nobody waits forever. One model stays loaded even if it is alone
    larger than the budget. On the event loop.
    """

    def __init__(self, models: Sequence[ServedModel]) -> None:
        self.all = tuple(models)
        self.default = models[0]
        self.num_waiting = 0  # requests whose model is not loaded yet
        self._moving = asyncio.Lock()  # held while a model is being loaded or unloaded
        self._loads: dict[ServedModel, asyncio.Task[None]] = {}

    @property
    def counts(self) -> Counts:
        """Of all engines together."""
        counts = [model.counts for model in self.all]
        return Counts(sum(one.queued for one in counts), sum(one.running for one in counts))

    @property
    def costs(self) -> dict[str, CostModel]:
        """Of the loaded models, by name."""
        return {model.name: model.cost for model in self.all if model.cost is not None}

    def find(self, name: str) -> ServedModel | None:
        """The model of this name; the default for none, and while only loading tells its name."""
        if not name or not self.default.name:
            return self.default
        return next((model for model in self.all if model.name == name), None)

    def load(self, model: ServedModel) -> asyncio.Task[None]:
        """Start loading a model, or join the load that is under way."""
        task = self._loads.get(model)
        if task is None or task.done():
            task = self._loads[model] = asyncio.create_task(self._load(model))
            task.add_done_callback(lambda _: model.notify())
        return task

    async def bring(self, model: ServedModel) -> AsyncGenerator[str, None]:
        """Return once `model` is loaded; yields what is being done for it, as that changes.

        The caller claims the model before it next gives way to others.

        Raises:
            ModelFailed: it can't be loaded.
            Draining: loading was given up.
        """
        if model.engine is not None and not model.is_leaving:
            return
        self.num_waiting += 1
        try:
            if model.is_leaving:
                yield f"{model.name} makes room for another model, and is loaded again after that."
            while model.is_leaving:
                await model.changed()
            with model.claim():
                async with aclosing(self._follow(model)) as messages:
                    async for message in messages:
                        yield message
        finally:
            self.num_waiting -= 1

    async def _follow(self, model: ServedModel) -> AsyncGenerator[str, None]:
        model.check_retry()
        loading, told = self.load(model), ""
        while model.engine is None:
            if loading.cancelled():
                raise Draining("The service is shutting down.")
            if loading.done():
                raise ModelFailed(model.message)
            if model.message != told:
                told = model.message
                yield told  # it may change while the caller handles this
            else:
                await model.changed()

    async def unload_when_idle(self, idle_s: float) -> None:
        """Unload every model that nobody has used for so long; runs until cancelled."""
        text = f"Unloaded after {idle_s:g} s without a request; the next one loads it again."
        while True:
            async with self._moving:
                for model in self._in_memory:
                    if model.idle_s >= idle_s:
                        await self._unload(model, text)
            left_s = [idle_s - model.idle_s for model in self._in_memory]
            await asyncio.sleep(max(0.0, min(left_s, default=idle_s)))

    async def stop(self) -> None:
        """Give up all loads, and unload every model."""
        for task in self._loads.values():
            task.cancel()
        await asyncio.gather(*self._loads.values(), return_exceptions=True)
        async with self._moving:
            for model in self._in_memory:
                await model.unload("Unloaded.")

    @property
    def _in_memory(self) -> list[ServedModel]:
        return [model for model in self.all if model.engine is not None]

    # While `_moving` is held

    async def _load(self, model: ServedModel) -> None:
        if self._moving.locked():
            model.say("Waiting for another model to be loaded.")
        async with self._moving:
            if model.engine is None:
                if self._in_memory:
                    await self._make_room(model, await model.expect_bytes())
                await model.load()
            if model.state is ModelState.LOADED:
                await self._make_room(model, model.num_bytes)  # now that its size is known

    async def _make_room(self, model: ServedModel, num_bytes: int) -> None:
        """Unload others until `model` fits beside the rest."""
        while True:
            others = [other for other in self._in_memory if other is not model]
            budget_bytes = max((other.budget_bytes for other in others), default=0)
            if not budget_bytes or sum(o.num_bytes for o in others) + num_bytes <= budget_bytes:
                return
            oldest = max(others, key=lambda other: (other.idle_s, -other.used_s))
            if oldest.num_claims:
                model.say(f"Waiting for {oldest.name}, which makes room once it is done.")
            await self._unload(oldest, f"Unloaded to make room for {model.name}.")

    async def _unload(self, model: ServedModel, message: str) -> None:
        model.is_leaving = True
        try:
            while model.num_claims:
                await model.changed()
            await model.unload(message)
        finally:
            model.is_leaving = False
            model.notify()
