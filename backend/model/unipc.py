"""UniPC for GPUs: diffusers' own, with its updates as sums of a few tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import diffusers
import torch

Update = Callable[[Sequence[torch.Tensor]], torch.Tensor]


class UniPC(diffusers.UniPCMultistepScheduler):  # type: ignore[misc]
    """On a CPU nothing differs.

    diffusers computes an update's coefficients where the latents are: on a GPU with a hundred
    kernels of one number each, half a dozen waits, and a linear solver. But an update is linear in
    the tensors that go in, and which they depend on is the schedule alone. So diffusers' own code
    is asked once, on the CPU, what it makes of unit vectors; the sum is then ours.
    """

    model_outputs: list[Any]  # the last `solver_order`, None while there are fewer

    def set_timesteps(self, *args: Any, **kwargs: Any) -> None:
        """See diffusers."""
        super().set_timesteps(*args, **kwargs)
        self._factors: dict[tuple[str, int, int], list[float]] = {}  # copies share them

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
        """`update` of `tensors` and of the last `order` of `model_outputs`."""
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
        """The factor of each of `count` tensors and `order` outputs: what unit vectors become."""
        units = torch.eye(count + order).split(1)
        kept = self.model_outputs
        self.model_outputs = [*kept[:-order], *units[count:]]
        try:
            factors: list[float] = update(units[:count])[0].tolist()
        finally:
            self.model_outputs = kept
        return factors
