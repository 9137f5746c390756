"""Multinomial logistic regression on features: a linear probe."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class LinearClassifier:
    """weight: (features, classes). bias: (classes,). mean, scale: (features,) by which features are standardised."""

    weight: Tensor
    bias: Tensor
    mean: Tensor
    scale: Tensor

    def logits(self, features: Tensor) -> Tensor:
        """(n, features) -> (n, classes)."""
        return (features - self.mean) / self.scale @ self.weight + self.bias

    def accuracy(self, features: Tensor, labels: Tensor) -> float:
        """Fraction of (n, features) whose highest logit is that of their label."""
        return float((self.logits(features).argmax(1) == labels).float().mean())


def logistic_regression(
    features: Tensor, labels: Tensor, classes: int, *, l2: float = 1e-3, max_steps: int = 200
) -> LinearClassifier:
    """Fit multinomial logistic regression on standardised features: mean cross-entropy + l2 / 2 |weight|^2.

    features: (n, f). labels: (n,) in 0 to classes - 1. A constant feature gets zero weights.
    The problem is convex, so the result does not depend on the start: L-BFGS from zero, on the gradient over all
    images, to convergence or `max_steps`.
    """
    values = features.detach().float()
    mean, scale = values.mean(0), values.std(0, correction=0)
    scale = torch.where(scale > 1e-6 * scale.max().clamp(min=1e-30), scale, torch.inf)
    standardised = (values - mean) / scale
    weight = torch.zeros(values.shape[1], classes, device=values.device, requires_grad=True)
    bias = torch.zeros(classes, device=values.device, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [weight, bias],
        max_iter=max_steps,
        tolerance_grad=1e-6,
        tolerance_change=1e-10,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        with torch.enable_grad():
            loss = functional.cross_entropy(standardised @ weight + bias, labels)
            loss = loss + l2 / 2 * weight.square().sum()
            weight.grad, bias.grad = torch.autograd.grad(loss, [weight, bias])
        return loss

    optimiser.step(closure)
    return LinearClassifier(weight.detach(), bias.detach(), mean, scale)
