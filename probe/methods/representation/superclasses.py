"""Groups of classes that a classifier tells apart by similar weights."""

import numpy as np
import torch
from torch import nn

from probe.model.model import Model


def class_weights(model: Model) -> torch.Tensor | None:
    """The weights of the last layer by class, (classes, inputs); None where it has not one output for each class."""
    weighted = [layer for layer in model.layers if layer.leaf and layer.parameters]
    module = model.module(weighted[-1].address) if weighted else None
    if not isinstance(module, nn.Linear | nn.Conv2d) or weighted[-1].shape[0] != len(model.classes):
        return None
    return module.weight.detach().flatten(1).float().cpu()


def superclasses(weights: torch.Tensor, count: int) -> tuple[np.ndarray, list[int]]:
    """Group classes by the directions of their weights (classes, inputs) into at most `count` groups (Ward 1963).

    Returns the group of each class, (classes,), the largest group first, and the central class of each group: that
    whose weights are nearest to the mean of the group.
    """
    from sklearn.cluster import AgglomerativeClustering

    rows = torch.nn.functional.normalize(weights - weights.mean(0), dim=1).double().numpy()
    if len(rows) <= count:
        return np.arange(len(rows)), list(range(len(rows)))
    clusters = AgglomerativeClustering(n_clusters=count, linkage="ward").fit_predict(rows)
    by_size = np.argsort(-np.bincount(clusters), kind="stable")
    groups = np.argsort(by_size)[clusters]
    central = []
    for group in range(count):
        members = np.flatnonzero(groups == group)
        distances = np.linalg.norm(rows[members] - rows[members].mean(0), axis=1)
        central.append(int(members[distances.argmin()]))
    return groups, central
