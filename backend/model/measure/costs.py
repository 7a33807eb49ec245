"""Measures a loaded model, or recalls what an earlier start measured."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable

import torch

from backend.config import Settings
from backend.domain import Exactness
from backend.engine.calibration import Calibration, CalibrationStore, calibrate
from backend.engine.cost import CostModel
from backend.model.devices import machine
from backend.model.measure.subject import ModelSubject
from backend.model.memory import free_bytes
from backend.model.pipeline import LatentDiffusion

logger = logging.getLogger(__name__)

GRACE_S = 2.0  # for the picture that somebody waited for: compiling beside it would double its time
UNDISTURBED = 0.8  # of a core's time at least; a busy machine leaves us less


def cost_model(
    model: LatentDiffusion, settings: Settings, on_progress: Callable[[str], None]
) -> CostModel:
    """What `model` costs at its native size: stored, or measured now and then stored.

    Batches of more than one image wait until their networks are compiled, in the background.
    """
    store = CalibrationStore(settings.data_dir, _make(model))
    calibration = store.load()
    if calibration is None:
        on_progress("Measuring this machine; this is done once")
        calibration, is_trusted = _measure(model)
        if is_trusted:
            _keep(calibration, store)
        else:
            logger.warning("the machine was busy while it was measured: it is done anew next time")
    cost = calibration.cost_model(
        certified=model.exactness is Exactness.CERTIFIED, most_rows=settings.max_batch_rows
    )
    cost.free_bytes = free_bytes(model.runtime.device, settings.gpu_memory_fraction)
    _raise_caps_when_warm(model, cost)
    return cost


def keep_costs(model: LatentDiffusion, settings: Settings, cost: CostModel) -> None:
    """Start the next time from what steps have really taken, unless that start measures anew."""
    store = CalibrationStore(settings.data_dir, _make(model))
    calibration = store.load()
    if calibration is not None:
        _keep(calibration.refreshed(cost), store)


def _measure(model: LatentDiffusion) -> tuple[Calibration, bool]:
    """The calibration, and whether this process had the machine to itself meanwhile."""
    info = model.info
    subject = ModelSubject(model.components, model.runtime)
    started_s, computed_s = time.perf_counter(), cpu_s()
    calibration = calibrate(subject, info.native_height, info.native_width)
    wall_s, busy_s = time.perf_counter() - started_s, cpu_s() - computed_s
    return calibration, model.runtime.device.type != "cpu" or busy_s > UNDISTURBED * wall_s


def cpu_s() -> float:
    """CPU time of this process, and of its ended children: they try networks out first."""
    return sum(os.times()[:4])


def _keep(calibration: Calibration, store: CalibrationStore) -> None:
    try:
        store.save(calibration)
    except OSError as error:
        logger.warning("the calibration can't be kept: %s", error)


def _raise_caps_when_warm(model: LatentDiffusion, cost: CostModel) -> None:
    """Start with one image at a time, and batch once nobody has to wait for a compiler."""
    wanted = {size: cap for size, cap in cost.caps.items() if cap > 2}
    cost.caps.update(dict.fromkeys(wanted, 2))
    subject = ModelSubject(model.components, model.runtime)

    def warm() -> None:
        time.sleep(GRACE_S)
        for (height, width), cap in wanted.items():
            rows = 1
            while rows < 2 * cap and threading.main_thread().is_alive():
                subject.warm(height, width, min(rows, cap))
                cost.caps[height, width] = max(2, min(rows, cap))
                rows *= 2

    if wanted:
        # No daemon: OpenVINO aborts the process that ends while it compiles.
        threading.Thread(target=warm, name="warmer").start()


def _make(model: LatentDiffusion) -> dict[str, str]:
    info = model.info
    return {
        "machine": machine(model.runtime.device),
        "model": info.name,
        "revision": info.revision,
        "torch": torch.__version__,
        "dtype": info.dtype,
        "runtime": model.runtime.description,
        "exactness": model.exactness.value,
    }
