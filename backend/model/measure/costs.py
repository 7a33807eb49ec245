"""A model's costs on this machine: loaded at the start, measured in idle time."""

from __future__ import annotations

import logging
from functools import partial

import torch

from backend.config import Settings
from backend.disk_cache import DiskCache
from backend.domain import Exactness
from backend.engine.calibration import Calibration, calibrate
from backend.engine.cost import CostModel
from backend.engine.loading import EngineStopped, IdleTime
from backend.model.devices import machine
from backend.model.measure.subject import ModelSubject
from backend.model.memory import free_bytes
from backend.model.pipeline import LatentDiffusion

logger = logging.getLogger(__name__)

FORMAT = "3"  # increase when costs are measured differently
GRACE_S = 2.0  # delay before measuring, since someone may be waiting for the first image


class Costs:
    """The `CostModel` of one model, its calibration, and the cache of it on disk.

    Images are generated one at a time until the first calibration, and on later starts until the
    networks of larger batches are compiled.
    """

    def __init__(self, model: LatentDiffusion, settings: Settings) -> None:
        self._model = model
        self._most_rows = settings.max_batch_rows
        self._cache = DiskCache(settings.data_dir, "calibration", _make(model), Calibration)
        self._calibration = self._cache.load()
        self.model = CostModel(certified={} if self._is_certified else None)
        if self._calibration is not None:
            self.model = self._cost_model(self._calibration)
            self._batch_up_to(2)
        self.model.free_bytes = free_bytes(model.runtime.device, settings.gpu_memory_fraction)

    @property
    def _is_certified(self) -> bool:
        return self._model.exactness is Exactness.CERTIFIED

    def calibrate(self, idle: IdleTime) -> None:
        """Measure in `idle` time; if an earlier start did, compile the batch sizes it found."""
        try:
            idle.sleep(GRACE_S)
            subject = ModelSubject(self._model.components, self._model.runtime, idle)
            if self._calibration is None:
                self._measure(subject, idle)
            else:
                self._compile(subject, self._calibration)
        except EngineStopped:
            return
        except Exception:
            logger.warning("the calibration failed: images are drawn one at a time", exc_info=True)

    def keep(self) -> None:
        """Save the calibration with the times learned from real requests."""
        if self._calibration is not None:
            self._cache.save(self._calibration.refreshed(self.model))

    def _measure(self, subject: ModelSubject, idle: IdleTime) -> None:
        info = self._model.info
        agreed = calibrate(
            subject,
            info.native_height,
            info.native_width,
            pause=idle.sleep,
            use=lambda found: idle.run(partial(self.model.adopt, self._cost_model(found))),
        )
        if agreed is None:
            logger.warning("the machine was too busy to be measured: it is done again next time")
            return
        self._calibration = agreed
        self._cache.save(agreed)

    def _compile(self, subject: ModelSubject, calibration: Calibration) -> None:
        """Compile larger and larger batch sizes, and allow each as soon as it is ready."""
        for size in calibration.sizes:
            rows = 2
            while rows < size.cap:
                rows = min(2 * rows, size.cap)
                subject.warm(size.height, size.width, rows)
                self._batch_up_to(rows)

    def _batch_up_to(self, rows: int) -> None:
        assert self._calibration is not None
        for size, cap in self._cost_model(self._calibration).caps.items():
            self.model.caps[size] = min(cap, rows)

    def _cost_model(self, calibration: Calibration) -> CostModel:
        return calibration.cost_model(certified=self._is_certified, most_rows=self._most_rows)


def _make(model: LatentDiffusion) -> dict[str, str]:
    info = model.info
    return {
        "format": FORMAT,
        "machine": machine(model.runtime.device),
        "model": info.name,
        "revision": info.revision,
        "torch": torch.__version__,
        "dtype": info.dtype,
        "runtime": model.runtime.description,
        "exactness": model.exactness.value,
    }
