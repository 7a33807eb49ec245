"""The state of the service, as it follows from its models, and the refusals that follow from it."""

from __future__ import annotations

from backend.domain import State
from backend.engine.models import Models
from backend.engine.served_model import ServedModel
from backend.errors import Draining, ModelFailed, ModelLoading, Stuck
from backend.params import ModelState


class ServiceState:
    """Whether requests are accepted. The state is that of the default model, as long as all work.

    Attributes:
        is_draining: nothing new is accepted.
        lost: why the device is lost, so that only a new process can generate.
    """

    def __init__(self, models: Models, drain_s: float) -> None:
        self._models = models
        self._drain_s = drain_s
        self.is_draining = False
        self.lost = ""

    @property
    def state(self) -> State:
        default = self._models.default
        if self.lost:
            return State.FAILED
        if self.is_draining:
            return State.DRAINING
        if self._complaint:
            return State.STUCK
        if default.state is ModelState.FAILED:
            return State.FAILED
        return State.READY if default.is_known else State.STARTING

    @property
    def message(self) -> str:
        """One sentence for people."""
        if self.lost:
            return self.lost
        if self.is_draining:
            return "Finishing what runs, taking nothing new."
        return self._complaint or self._models.default.message or "Starting."

    @property
    def _complaint(self) -> str:
        """What is stuck: nothing runs then, since engines wait for each other's turns."""
        return next((model.complaint for model in self._models.all if model.complaint), "")

    def check(self, model: ServedModel) -> None:
        """Check that `model` generates now, or can be loaded for it.

        Raises:
            BackendError: it can't; the text says why.
        """
        if self.lost:
            raise ModelFailed(self.lost)
        if self._complaint:
            raise Stuck(self._complaint)
        if model.engine is not None:
            if model.state is ModelState.FAILED:
                raise ModelFailed(model.message)
            return
        self.check_open()
        model.check_retry()
        if model is self._models.default and self.state is State.STARTING:
            raise ModelLoading(f"The model is still loading. {model.message}")

    def check_open(self) -> None:
        """Raises Draining if nothing new is accepted."""
        if self.is_draining:
            raise Draining("The service is shutting down.", self._drain_s)
