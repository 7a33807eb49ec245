"""The Muon optimizer (orthogonalised momentum) for weight matrices; AdamW for the rest.

After Keller Jordan et al., https://kellerjordan.github.io/posts/muon (2024). On these small
networks it learns more per sample than AdamW. Its extra cost is small for convolutions over large
feature maps; for the UNet, whose maps are small, AdamW learns more per second.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from training import arithmetic

QUINTIC = (3.4445, -4.7750, 2.0315)
"""Coefficients of the Newton-Schulz iteration, from the post above."""
SMALL = 16
"""Matrices with a smaller side are trained with AdamW."""


RIDGE = 1e-6
"""Added to the Gram matrix (of trace 1): the iteration diverges if rounding makes an eigenvalue
negative."""


def orthogonal(matrices: Tensor, iterations: int = 5) -> Tensor:
    """Orthogonalise each matrix (n, rows, columns): singular values become about 1.

    The Newton-Schulz iteration runs on the small Gram matrix, so the long side is multiplied only
    twice.
    """
    a, b, c = QUINTIC
    wide = matrices.shape[1] <= matrices.shape[2]
    x = (matrices if wide else matrices.mT) / (matrices.norm(dim=(1, 2), keepdim=True) + 1e-7)
    identity = torch.eye(x.shape[1], device=x.device)
    gram = x @ x.mT + RIDGE * identity
    product = identity.expand_as(gram)
    for last in reversed(range(iterations)):
        factor = a * identity + b * gram + c * gram @ gram
        product = factor @ product
        if last:
            gram = factor @ gram @ factor
    with arithmetic.fastest(x.device):
        x = (product @ x).to(matrices.dtype)
    result: Tensor = x if wide else x.mT
    return result


class Muon(torch.optim.Optimizer):
    """Muon for matrices; a convolution counts as a matrix (out, in x height x width)."""

    def __init__(self, params: Iterable[nn.Parameter], lr: float, momentum: float = 0.95) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            shapes = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    shapes[parameter.flatten(1).shape].append(parameter)
            for alike in shapes.values():
                self._update(alike, group)

    def _direction(self, parameter: nn.Parameter, momentum: float) -> Tensor:
        assert parameter.grad is not None
        state = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(parameter)
        average: Tensor = state["momentum"].lerp_(parameter.grad, 1 - momentum)
        return parameter.grad.lerp(average, momentum).flatten(1)

    def _update(self, alike: list[nn.Parameter], group: dict[str, float]) -> None:
        """Update parameters of equal shape together."""
        directions = torch.stack([self._direction(p, group["momentum"]) for p in alike])
        scale = 0.2 * max(directions.shape[1:]) ** 0.5  # to match the size of AdamW updates
        for parameter, update in zip(alike, orthogonal(directions), strict=True):
            parameter.add_(update.view_as(parameter), alpha=-group["lr"] * scale)


def optimizers(module: nn.Module, lr: float) -> list[torch.optim.Optimizer]:
    """Muon for the weights of linear layers and convolutions; AdamW for the rest."""
    layers = [part for part in module.modules() if isinstance(part, nn.Linear | nn.Conv2d)]
    large = {id(w) for w in (layer.weight for layer in layers) if min(w.flatten(1).shape) >= SMALL}
    matrices = [parameter for parameter in module.parameters() if id(parameter) in large]
    others = [parameter for parameter in module.parameters() if id(parameter) not in large]
    return [Muon(matrices, lr), torch.optim.AdamW(others, lr, betas=(0.9, 0.98))]


class CombinedOptimizer:
    """Several optimizers with the interface of one."""

    def __init__(self, parts: list[torch.optim.Optimizer]) -> None:
        self.parts = parts

    def step(self) -> None:
        for part in self.parts:
            part.step()

    def zero_grad(self) -> None:
        for part in self.parts:
            part.zero_grad()

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return [group for part in self.parts for group in part.param_groups]

    def state_dict(self) -> list[dict[str, Any]]:
        return [part.state_dict() for part in self.parts]

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
        for part, state in zip(self.parts, states, strict=True):
            part.load_state_dict(state)
