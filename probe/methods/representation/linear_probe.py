"""Linear probes: multinomial logistic regression on the features of a layer."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from probe.data.images import Images
from probe.model.model import Model

_MAX_FEATURES = 1024  # of a layer's output that a probe reads
_MAX_LAYERS = 10


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


def probe_layers(model: Model, train: Images, test: Images) -> dict[str, float]:
    """The test accuracy of a linear probe on the pixels and on up to ten layers, from first to last, by address.

    train, test: labelled, preprocessed for the model. Feature maps are average-pooled to at most 1,024 values.

    Alain & Bengio 2016, arXiv 1610.01644.
    """
    assert train.labels is not None
    assert test.labels is not None
    weighted = [
        layer.address
        for layer in model.layers
        if layer.leaf and layer.parameters and layer.kind not in ("BatchNorm2d", "BatchNorm1d")
    ]
    spread = torch.linspace(0, len(weighted) - 1, min(_MAX_LAYERS, len(weighted))).round().int().tolist()
    addresses = [weighted[i] for i in spread]
    train_features, test_features = (_pooled_features(model, images, addresses) for images in (train, test))
    train_labels, test_labels = train.labels.to(model.device), test.labels.to(model.device)
    accuracies = {}
    for name, features in train_features.items():
        probe = logistic_regression(features.to(model.device), train_labels, len(train.classes or ()))
        accuracies[name] = probe.accuracy(test_features[name].to(model.device), test_labels)
    return accuracies


@torch.no_grad()
def _pooled_features(model: Model, images: Images, addresses: Sequence[str]) -> dict[str, Tensor]:
    parts: dict[str, list[Tensor]] = {name: [] for name in ("pixels", *addresses)}
    for batch in images.batches(model.batch(), model.device):
        parts["pixels"].append(_pool(batch.pixels).cpu())
        for name, values in model.features(batch.pixels, *addresses).items():
            parts[name].append(_pool(values).cpu())
    return {name: torch.cat(values) for name, values in parts.items()}


def _pool(values: Tensor) -> Tensor:
    """(n, features): maps (n, c, h, w) average-pooled over a grid as fine as the limit on features allows."""
    if values.ndim != 4:
        return values.flatten(1)
    side = max(1, int((_MAX_FEATURES / values.shape[1]) ** 0.5))
    size = (min(side, values.shape[2]), min(side, values.shape[3]))
    return functional.adaptive_avg_pool2d(values, size).flatten(1)
