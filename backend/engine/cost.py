"""Predicts the time of a UNet step, a decode and an encode from running measurements."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from backend.engine.request import BatchKey, Request, Stage, Task, predict_evaluations
from backend.params import GenerationParams

Kind = Literal["step", "decode", "encode", "picture"]
Size = tuple[int, int]  # height, width in pixels
Cell = tuple[int, ...]  # a table's key: height, width, and for steps the row count
C = TypeVar("C", bound=Cell)

SMOOTHING = 0.1  # weight of a new measurement
DRIFT = 0.02  # the same, for one calibrated entry relative to the others
OUTLIER = 3.0  # a measurement is clipped to this many times the prediction
FIRST_RUNS = 2  # of an uncalibrated shape count in full; the very first may include compiling
UNMEASURED_STEP_MS_PER_MEGAPIXEL = 2000.0  # per row; used to order requests, never to refuse
UNMEASURED_DECODE_STEPS = 1.6  # cost of a VAE decode in guided SD 1.4 steps, by FLOPs
UNMEASURED_ENCODE_MS = 10.0
UNMEASURED_PICTURE_DECODES = 0.5  # cost of a VAE encode in decodes, by FLOPs of SD 1.4
LEAST_MS = 0.01  # the floor of every measurement: costs are divisors
RECOVERY_STEPS, MOST_PATIENCE = 200, 20_000  # steps between two doublings of a lowered cap


@dataclass
class _Lowered:
    """A row cap that was lowered after running out of memory."""

    cap: int  # before it was lowered
    patience: int = RECOVERY_STEPS  # successful steps before it doubles
    fitted: int = 0  # successful steps since


@dataclass
class CostModel:
    """Predicts milliseconds; `observe` adds measurements. Sizes are in pixels.

    Other load on the machine slows all calibrated steps and decodes alike: `slowdown` tracks that
    quickly. If each row count were tracked separately, unused counts would keep stale costs and
    batches would be mis-sized.

    Attributes:
        caps: per size, most rows worth putting into one UNet call.
        certified: per size, the row counts at which images sharing a UNet call are bitwise
            equal to running alone; None in tolerant mode, where any count is allowed.
        steps, decodes: milliseconds on an otherwise idle machine; multiply by `slowdown`.
        pictures: per size, milliseconds to encode a picture, under the current load.
        encode: milliseconds per request, None before the first measurement.
        row_bytes: per size, working memory per row of a UNet call; empty where the device does
            not report it.
        free_bytes: memory available to a UNet call.
    """

    caps: dict[Size, int] = field(default_factory=dict)
    certified: dict[Size, frozenset[int]] | None = None
    steps: dict[tuple[int, int, int], float] = field(default_factory=dict)
    decodes: dict[Size, float] = field(default_factory=dict)
    encode: float | None = None
    pictures: dict[Size, float] = field(default_factory=dict)
    row_bytes: dict[Size, int] = field(default_factory=dict)
    free_bytes: int = 0
    slowdown: float = 1.0
    _lowered: dict[Size, _Lowered] = field(default_factory=dict)
    _runs: Counter[Cell] = field(default_factory=Counter)  # of shapes that were not calibrated

    def step_ms(self, height: int, width: int, rows: int) -> float:
        """Predicted time of one UNet call of `rows` rows."""
        return self.slowdown * self._undisturbed_step_ms(height, width, rows)

    def decode_ms(self, height: int, width: int) -> float:
        """Predicted time to decode one image."""
        known = self.decodes.get((height, width))
        if known is not None:
            return self.slowdown * known
        if not self.decodes:
            return UNMEASURED_DECODE_STEPS * self.step_ms(height, width, 2)
        near = _nearest(self.decodes, height * width)
        return self.slowdown * self.decodes[near] * height * width / (near[0] * near[1])

    @property
    def encode_ms(self) -> float:
        """Predicted time to encode the prompts of one request."""
        return UNMEASURED_ENCODE_MS if self.encode is None else self.encode

    def encode_picture_ms(self, height: int, width: int) -> float:
        """Predicted time to encode one picture, pixels to latents."""
        known = self.pictures.get((height, width))
        if known is not None:
            return known
        return UNMEASURED_PICTURE_DECODES * self.decode_ms(height, width)

    def is_measured(self, height: int, width: int) -> bool:
        """Whether a step of this size was ever measured."""
        return any(key[:2] == (height, width) for key in self.steps)

    def max_rows(self, height: int, width: int) -> int:
        """Most rows worth putting into one UNet call, limited by memory.

        At least 2 (one guided image): whether that fits, its first step shows. An uncalibrated
        size may use as many pixels per call as the nearest calibrated one; in certified mode it
        runs alone, since no row count is certified for it.
        """
        cap = self.caps.get((height, width))
        if cap is None and self.certified is None and self.caps:
            near = _nearest(self.caps, height * width)
            cap = self.caps[near] * near[0] * near[1] // (height * width)
        return max(2, min(cap or 2, self._fitting_rows(height, width)))

    def allowed_rows(
        self, height: int, width: int, alone: int, num_chunks: int = 1
    ) -> Collection[int] | None:
        """Row counts that don't change a request which alone has `alone` rows; None: any.

        Certificates are for prompts of one chunk.
        """
        if self.certified is None:
            return None
        certified = self.certified.get((height, width), frozenset())
        return certified | {alone} if num_chunks == 1 else {alone}

    def remaining_ms(self, task: Task) -> float:
        """Remaining time of `task` if it ran alone."""
        height, width = task.batch_key[:2]
        if task.stage is Stage.FINISHED:
            return 0.0
        following_ms = 0.0 if task.following is None else self._pass_ms(task.following)
        if task.stage is Stage.DECODING:
            return self.decode_ms(height, width) + following_ms
        steps = task.num_evaluations - task.step_index
        total = steps * self.step_ms(height, width, task.num_rows) + self.decode_ms(height, width)
        is_shared = task.index > 0 and not task.evaluations_before  # the first image's
        if task.needs_source and not is_shared:
            total += self.encode_picture_ms(height, width)
        total += following_ms
        return total + self.encode_ms if task.stage is Stage.WAITING else total

    def _pass_ms(self, params: GenerationParams) -> float:
        """One image's second pass, run alone."""
        height, width = params.height, params.width
        rows = 2 if params.do_classifier_free_guidance else 1
        steps_ms = predict_evaluations(params) * self.step_ms(height, width, rows)
        return steps_ms + self.encode_picture_ms(height, width) + self.decode_ms(height, width)

    def request_ms(self, request: Request) -> float:
        """Remaining time of `request` if its images ran alone, one after another."""
        return sum(self.remaining_ms(task) for task in request.tasks)

    def loaded_ms(self, request: Request) -> float:
        """Remaining model time of `request` when it shares full batches."""
        height, width = request.batch_key[:2]
        rows = max(request.tasks[0].num_rows, self.max_rows(height, width))
        alone = request.tasks[0].num_rows
        full_row_ms = self.step_ms(height, width, rows) / rows
        saved_ms = self.step_ms(height, width, alone) - alone * full_row_ms
        steps = sum(
            task.num_evaluations - task.step_index
            for task in request.tasks
            if task.stage in (Stage.WAITING, Stage.DENOISING)
            and task.batch_key == request.batch_key
        )
        return self.request_ms(request) - steps * max(0.0, saved_ms)

    def adopt(self, calibrated: CostModel) -> None:
        """Replace everything learned so far by a calibration, except `free_bytes`."""
        free_bytes = self.free_bytes
        vars(self).update(vars(calibrated))
        self.free_bytes = free_bytes

    def observe(self, kind: Kind, key: BatchKey | None, rows: int, ms: float) -> None:
        """Add one measurement. `key` is None for an encode; `rows` is used for steps only."""
        ms = max(LEAST_MS, ms)
        if kind == "encode":
            self.encode = _smooth(self.encode, ms)
        elif kind == "picture" and key is not None:
            size = key.height, key.width
            self.pictures[size] = _smooth(self.pictures.get(size), ms)
        elif key is None:
            raise ValueError(f"a {kind} is of a size: give its key")
        elif kind == "decode":
            size = key.height, key.width
            self._learn(self.decodes, size, self.decode_ms(*size), ms)
        else:
            step = key.height, key.width, rows
            self._recover(step[:2])
            self._learn(self.steps, step, self.step_ms(*step), ms)

    def _learn(self, table: dict[C, float], cell: C, predicted_ms: float, ms: float) -> None:
        surprise = min(ms / predicted_ms, OUTLIER) - 1
        if cell in table and cell not in self._runs:
            table[cell] *= 1 + DRIFT * surprise
            self.slowdown *= 1 + SMOOTHING * surprise
            return
        self._runs[cell] += 1
        weight = 1.0 if self._runs[cell] <= FIRST_RUNS else SMOOTHING
        table[cell] = predicted_ms / self.slowdown * (1 + weight * surprise)

    def ran_out_of_memory(self, key: BatchKey, rows: int) -> int:
        """Halve the cap after `rows` rows did not fit; returns the new cap.

        Another process may have used the memory, so after enough successful steps the cap doubles
        again, up to its old value. Each further failure doubles the number of steps to wait.
        """
        size = key.height, key.width
        lowered = self._lowered.get(size)
        if lowered is None:
            self._lowered[size] = _Lowered(self.max_rows(*size))
        else:
            lowered.fitted, lowered.patience = 0, min(2 * lowered.patience, MOST_PATIENCE)
        cap = max(2, rows // 2)
        self.caps[size] = cap
        return cap

    def _recover(self, size: Size) -> None:
        lowered = self._lowered.get(size)
        if lowered is None or self.caps.get(size, 0) >= lowered.cap:
            return
        lowered.fitted += 1
        if lowered.fitted >= lowered.patience:
            lowered.fitted = 0
            self.caps[size] = min(lowered.cap, 2 * self.caps.get(size, 2))

    def _fitting_rows(self, height: int, width: int) -> int:
        if not self.row_bytes:
            return sys.maxsize
        near = _nearest(self.row_bytes, height * width)
        row_bytes = self.row_bytes[near] * height * width // (near[0] * near[1])
        return self.free_bytes // max(1, row_bytes)

    def _undisturbed_step_ms(self, height: int, width: int, rows: int) -> float:
        known = self.steps.get((height, width, rows))
        if known is None:
            known = self._from_other_rows(height, width, rows)
        return self._from_other_sizes(height, width, rows) if known is None else known

    def _from_other_rows(self, height: int, width: int, rows: int) -> float | None:
        known = {r: ms for (h, w, r), ms in self.steps.items() if (h, w) == (height, width)}
        if not known:
            return None
        below = max((r for r in known if r < rows), default=None)
        above = min((r for r in known if r > rows), default=None)
        if below is None or above is None:  # outside the measured range: scale the nearest, per row
            nearest = below if below is not None else above
            assert nearest is not None
            return known[nearest] * max(1.0, rows / nearest)
        weight = (rows - below) / (above - below)
        return known[below] + weight * (known[above] - known[below])

    def _from_other_sizes(self, height: int, width: int, rows: int) -> float:
        pixels = height * width
        if not self.steps:
            return UNMEASURED_STEP_MS_PER_MEGAPIXEL * rows * pixels / 2**20
        near = _nearest({(h, w) for h, w, _ in self.steps}, pixels)
        scale = pixels / (near[0] * near[1])
        return scale * self._undisturbed_step_ms(near[0], near[1], rows)


def _smooth(old: float | None, new: float) -> float:
    if old is None:
        return new
    return old + SMOOTHING * (min(new, OUTLIER * old) - old)


def _nearest(sizes: Collection[Size], pixels: int) -> Size:
    return min(sizes, key=lambda size: (abs(size[0] * size[1] - pixels), size))
