"""Where in a network can the classes of a task be told apart by a line?"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from probe.data.images import Images
from probe.methods.representation.linear_probe import logistic_regression
from probe.model.model import Model

_VALUES = 1024  # of a layer's output that a linear probe reads
_PROBED = 10  # layers


def linear_probes(model: Model, train: Images, test: Images) -> dict[str, float]:
    """Test accuracy of a linear classifier on the pixels and on layers from first to last; Alain & Bengio 2016.

    Maps are averaged over a grid as fine as 1,024 values allow.
    """
    assert train.labels is not None
    assert test.labels is not None
    weighted = [
        one.address
        for one in model.layers
        if one.leaf and one.parameters and one.kind not in ("BatchNorm2d", "BatchNorm1d")
    ]
    spread = torch.linspace(0, len(weighted) - 1, min(_PROBED, len(weighted))).round().int().tolist()
    chosen = [weighted[i] for i in spread]
    learnt, tested = (_grids(model, images, chosen) for images in (train, test))
    classes = len(train.classes or ())
    truth = {True: train.labels.to(model.device), False: test.labels.to(model.device)}
    return {
        name: logistic_regression(learnt[name].to(model.device), truth[True], classes).accuracy(
            tested[name].to(model.device), truth[False]
        )
        for name in learnt
    }


@torch.no_grad()
def _grids(model: Model, images: Images, addresses: Sequence[str]) -> dict[str, Tensor]:
    parts: dict[str, list[Tensor]] = {name: [] for name in ("pixels", *addresses)}
    for batch in images.batches(model.batch(), model.device):
        parts["pixels"].append(_grid(batch.pixels).cpu())
        for name, values in model.features(batch.pixels, *addresses).items():
            parts[name].append(_grid(values).cpu())
    return {name: torch.cat(found) for name, found in parts.items()}


def _grid(values: Tensor) -> Tensor:
    if values.ndim != 4:
        return values.flatten(1)
    side = max(1, int((_VALUES / values.shape[1]) ** 0.5))
    size = (min(side, values.shape[2]), min(side, values.shape[3]))
    return functional.adaptive_avg_pool2d(values, size).flatten(1)
