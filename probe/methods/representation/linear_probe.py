"""How well does a linear classifier tell classes apart by given features?"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Linear:
    """weight: (features, classes). bias: (classes,). centre, scale: what features are standardised by."""

    weight: Tensor
    bias: Tensor
    centre: Tensor
    scale: Tensor

    def scores(self, features: Tensor) -> Tensor:
        """(n, features) -> (n, classes) logits."""
        return (features - self.centre) / self.scale @ self.weight + self.bias

    def accuracy(self, features: Tensor, labels: Tensor) -> float:
        """The share of (n, features) whose highest score is that of their label."""
        return float((self.scores(features).argmax(1) == labels).float().mean())


def logistic(
    features: Tensor, labels: Tensor, classes: int, *, penalty: float = 1e-3, steps: int = 200
) -> Linear:
    """Multinomial logistic regression on standardised features: mean cross-entropy + penalty / 2 |weight|^2.

    features: (n, f). labels: (n,) in 0 to classes - 1. A feature that never changes gets no say.
    The problem is convex, so the answer does not depend on where it starts: L-BFGS from zero, to convergence or
    `steps`. The gradient of each step is that of all images.
    """
    values = features.detach().float()
    centre, scale = values.mean(0), values.std(0, correction=0)
    scale = torch.where(scale > 1e-6 * scale.max().clamp(min=1e-30), scale, torch.inf)
    standard = (values - centre) / scale
    weight = torch.zeros(values.shape[1], classes, device=values.device, requires_grad=True)
    bias = torch.zeros(classes, device=values.device, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [weight, bias],
        max_iter=steps,
        tolerance_grad=1e-6,
        tolerance_change=1e-10,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        with torch.enable_grad():
            loss = functional.cross_entropy(standard @ weight + bias, labels)
            loss = loss + penalty / 2 * weight.square().sum()
            weight.grad, bias.grad = torch.autograd.grad(loss, [weight, bias])
        return loss

    optimiser.step(closure)
    return Linear(weight.detach(), bias.detach(), centre, scale)
