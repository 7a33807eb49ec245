"""UniPC for GPUs: diffusers' scheduler with its updates computed as weighted sums."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import diffusers
import torch

Update = Callable[[Sequence[torch.Tensor]], torch.Tensor]


class UniPC(diffusers.UniPCMultistepScheduler):  # type: ignore[misc]
    """Same as diffusers' UniPC on a CPU; on other devices with precomputed coefficients.

    diffusers computes an update's coefficients on the latents' device: on a GPU that takes a
    hundred tiny kernels, several synchronizations and a linear solver. But an update is a linear
    combination of its input tensors whose factors depend on the schedule only. So we run diffusers'
    code once on the CPU with unit vectors to get the factors, and compute the sum ourselves.
    """

    model_outputs: list[Any]  # the last `solver_order`, padded with None

    def set_timesteps(self, *args: Any, **kwargs: Any) -> None:
        super().set_timesteps(*args, **kwargs)
        self._factors: dict[tuple[str, int, int], list[float]] = {}  # shared by copies

    def multistep_uni_p_bh_update(
        self, model_output: torch.Tensor, *, sample: torch.Tensor, order: int
    ) -> torch.Tensor:
        """The predictor; see diffusers."""
        update = super().multistep_uni_p_bh_update

        def on(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
            found: torch.Tensor = update(model_output=tensors[0], sample=tensors[0], order=order)
            return found

        return self._sum("predictor", on, order, [sample])

    def multistep_uni_c_bh_update(
        self,
        this_model_output: torch.Tensor,
        *,
        last_sample: torch.Tensor,
        this_sample: torch.Tensor,
        order: int,
    ) -> torch.Tensor:
        """The corrector; see diffusers."""
        update = super().multistep_uni_c_bh_update

        def on(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
            found: torch.Tensor = update(
                this_model_output=tensors[1],
                last_sample=tensors[0],
                this_sample=tensors[0],
                order=order,
            )
            return found

        return self._sum("corrector", on, order, [last_sample, this_model_output])

    def _sum(
        self, name: str, update: Update, order: int, tensors: list[torch.Tensor]
    ) -> torch.Tensor:
        """`update` applied to `tensors` and the last `order` of `model_outputs`."""
        if tensors[0].device.type == "cpu":
            return update(tensors)
        outputs = self.model_outputs[-order:]
        key = name, self.step_index, order
        if key not in self._factors:
            self._factors[key] = self._probe(update, len(tensors), order)
        total: torch.Tensor | None = None
        for tensor, factor in zip([*tensors, *outputs], self._factors[key], strict=True):
            if total is None:
                total = tensor * factor
            elif factor:
                total = torch.add(total, tensor, alpha=factor)
        assert total is not None
        return total

    def _probe(self, update: Update, count: int, order: int) -> list[float]:
        """The factors of `count` tensors and `order` outputs: `update` applied to unit vectors."""
        units = torch.eye(count + order).split(1)
        kept = self.model_outputs
        self.model_outputs = [*kept[:-order], *units[count:]]
        try:
            factors: list[float] = update(units[:count])[0].tolist()
        finally:
            self.model_outputs = kept
        return factors
