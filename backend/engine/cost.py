"""What a step, a decode and an encode cost: measured, kept up to date, predicted in between."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from backend.engine.request import BatchKey, Request, Stage, Task

Kind = Literal["step", "decode", "encode"]
Size = tuple[int, int]  # height, width in pixels
Cell = tuple[int, ...]  # of a table: height, width, and for steps rows
C = TypeVar("C", bound=Cell)

SMOOTHING = 0.1  # weight of a new measurement
DRIFT = 0.02  # the same, for what one row count costs beside the others
OUTLIER = 3.0  # a measurement counts at most this many times the value so far
FIRST_RUNS = 2  # of a shape nobody calibrated count in full; the very first may have compiled it
UNMEASURED_STEP_MS_PER_MEGAPIXEL = 2000.0  # per row: only for order, never to refuse anything
UNMEASURED_DECODE_STEPS = 1.6  # VAE decode in guided steps of SD 1.4, by FLOPs
UNMEASURED_ENCODE_MS = 10.0
RECOVERY_STEPS, MOST_PATIENCE = 200, 20_000  # steps between two doublings of a lowered cap


@dataclass
class _Lowered:
    """A cap that memory has lowered."""

    cap: int  # what it was
    patience: int = RECOVERY_STEPS  # steps that must fit before it doubles
    fitted: int = 0


@dataclass
class CostModel:
    """Predicts milliseconds; `observe` feeds it. Sizes are in pixels.

    Other load on the machine slows all calibrated steps and decodes alike: `slowdown` tracks that
    quickly. If each row count were tracked separately, unused counts would keep stale costs and
    batches would be mis-sized.

    Attributes:
        caps: most rows of a UNet call that pay, per size; a size without one runs alone.
        certified: per size, the row counts at which images may share a UNet call and none
            changes by a bit; None where that is not promised (tolerant).
        row_bytes: memory that every row of a UNet call takes, per size; empty where a device
            does not count it.
        free_bytes: memory that a UNet call may take.
        steps, decodes: on a machine that does nothing else; times `slowdown` as it is now.
    """

    caps: dict[Size, int] = field(default_factory=dict)
    certified: dict[Size, frozenset[int]] | None = None
    steps: dict[tuple[int, int, int], float] = field(default_factory=dict)
    decodes: dict[Size, float] = field(default_factory=dict)
    encode: float | None = None
    row_bytes: dict[Size, int] = field(default_factory=dict)
    free_bytes: int = 0
    slowdown: float = 1.0
    _lowered: dict[Size, _Lowered] = field(default_factory=dict)
    _runs: Counter[Cell] = field(default_factory=Counter)  # of what was first met at run time

    def step_ms(self, height: int, width: int, rows: int) -> float:
        """One UNet call of `rows` rows."""
        return self.slowdown * self._undisturbed_step_ms(height, width, rows)

    def decode_ms(self, height: int, width: int) -> float:
        """One image, latents to pixels."""
        known = self.decodes.get((height, width))
        if known is not None:
            return self.slowdown * known
        if not self.decodes:
            return UNMEASURED_DECODE_STEPS * self.step_ms(height, width, 2)
        near = _nearest(self.decodes, height * width)
        return self.slowdown * self.decodes[near] * height * width / (near[0] * near[1])

    @property
    def encode_ms(self) -> float:
        """The prompts of one request."""
        return UNMEASURED_ENCODE_MS if self.encode is None else self.encode

    def is_measured(self, height: int, width: int) -> bool:
        """Whether predictions for this size rest on a measurement of this size."""
        return any(key[:2] == (height, width) for key in self.steps)

    def max_rows(self, height: int, width: int) -> int:
        """Rows above which a UNet call gets no cheaper per row, or does not fit into memory.

        At least 2, one image: whether that fits, its first step shows. A size that was never
        measured gets as many pixels as the nearest that was; where exactness is promised it runs
        alone, since nothing is certified for it.
        """
        cap = self.caps.get((height, width))
        if cap is None and self.certified is None and self.caps:
            near = _nearest(self.caps, height * width)
            cap = self.caps[near] * near[0] * near[1] // (height * width)
        return max(2, min(cap or 2, self._fitting_rows(height, width)))

    def allowed_rows(self, height: int, width: int, alone: int) -> Collection[int] | None:
        """Row counts that leave a request of `alone` rows as it is alone; None: any."""
        if self.certified is None:
            return None
        return self.certified.get((height, width), frozenset()) | {alone}

    def remaining_ms(self, task: Task) -> float:
        """What `task` still needs, run alone."""
        height, width, _ = task.request.batch_key
        if task.stage is Stage.FINISHED:
            return 0.0
        if task.stage is Stage.DECODING:
            return self.decode_ms(height, width)
        steps = task.num_evaluations - task.step_index
        total = steps * self.step_ms(height, width, task.num_rows) + self.decode_ms(height, width)
        return total + self.encode_ms if task.stage is Stage.WAITING else total

    def request_ms(self, request: Request) -> float:
        """What the unfinished images of `request` still need, run alone, one after another."""
        return sum(self.remaining_ms(task) for task in request.tasks)

    def loaded_ms(self, request: Request) -> float:
        """What `request` still needs of the model's time when it shares full batches."""
        height, width, _ = request.batch_key
        rows = max(request.tasks[0].num_rows, self.max_rows(height, width))
        alone = request.tasks[0].num_rows
        full_row_ms = self.step_ms(height, width, rows) / rows
        saved_ms = self.step_ms(height, width, alone) - alone * full_row_ms
        steps = sum(
            task.num_evaluations - task.step_index
            for task in request.tasks
            if task.stage in (Stage.WAITING, Stage.DENOISING)
        )
        return self.request_ms(request) - steps * max(0.0, saved_ms)

    def adopt(self, calibrated: CostModel) -> None:
        """Take over a calibration's figures; what was learned without it is forgotten."""
        free_bytes = self.free_bytes
        vars(self).update(vars(calibrated))
        self.free_bytes = free_bytes

    def observe(self, kind: Kind, key: BatchKey | None, rows: int, ms: float) -> None:
        """Take in one measurement; `key` is None for an encode, `rows` counts for a step alone."""
        if kind == "encode":
            self.encode = _smooth(self.encode, ms)
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

        It doubles again, up to what it was, whenever enough steps have fitted: perhaps a neighbour
        had the memory. Each time that was too early, twice as many are awaited.
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
        if known is not None:
            return known
        return self._from_other_rows(height, width, rows) or self._from_other_sizes(
            height, width, rows
        )

    def _from_other_rows(self, height: int, width: int, rows: int) -> float | None:
        known = {r: ms for (h, w, r), ms in self.steps.items() if (h, w) == (height, width)}
        if not known:
            return None
        below = max((r for r in known if r < rows), default=None)
        above = min((r for r in known if r > rows), default=None)
        if below is None or above is None:  # outside: as the nearest, per row
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
