"""An adversarial image in feature space, and on the loss surface."""

import numpy as np
import torch
from torch import Tensor

from probe.analyses.adversarial.attack_path_captions import (
    PathFindings,
    SurfaceFindings,
    path_caption,
    surface_caption,
)
from probe.analyses.adversarial.attack_path_pairs import Pairs
from probe.data.images import Images
from probe.exhibits.exhibits import Scatter, Surface, facts_of
from probe.methods.adversarial.criteria import Criterion, predict
from probe.methods.representation.features import penultimate_layer
from probe.model.model import Model

_POINTS = 17  # on the path of an image


def path_scatter(model: Model, images: Images, pairs: Pairs) -> Scatter:
    """The straight path of the first image to its adversarial version, in the features of the penultimate layer.

    Raises UserError as `penultimate_layer` does.
    """
    layer = penultimate_layer(model.layers).address
    before, after = pairs.before[:1], pairs.after[:1]
    source, target = int(pairs.source[0]), int(pairs.target[0])
    features, predictions = [], []
    for batch in images.batches(pairs.batch, model.device):
        features.append(_features(model, batch.pixels, layer))
        predictions.append(predict(model, batch.pixels).argmax(1))
    everything, predicted = torch.cat(features), torch.cat(predictions)
    fraction = torch.linspace(0, 1, _POINTS, device=before.device).view(-1, 1, 1, 1)
    between = before + fraction * (after - before)
    path = torch.cat([_features(model, pixels, layer) for pixels in between.split(pairs.batch)])
    changed = predict(model, between).argmax(1) != source
    of_both = (predicted == source) | (predicted == target)
    only_both = int(of_both.sum()) >= 3
    cloud, classes = (everything[of_both], predicted[of_both]) if only_both else (everything, predicted)
    xy, distance = _plane(cloud, path)
    names = [f"predicted as {model.classes[c]}" for c in (source, target)] + ["path of the image"]
    if source == target or len(cloud) == len(everything):
        names.insert(2, "predicted as another class")
    group = torch.where(classes == source, 0, torch.where(classes == target, 1, 2)).cpu().numpy()
    findings = PathFindings(
        layer=layer,
        classes=(model.classes[source], model.classes[target]),
        changed=int(changed.int().argmax()) / (_POINTS - 1) if bool(changed.any()) else None,
        length=float((path[-1] - path[0]).norm()),
        distance=distance,
        n=len(cloud),
    )
    return Scatter(
        title="Path of one image in feature space",
        caption=path_caption(findings),
        facts=facts_of(findings),
        x=xy[:, 0],
        y=xy[:, 1],
        group=np.r_[group, np.full(_POINTS, len(names) - 1)].astype(np.int64),
        group_names=names,
        point_names=[""] * len(cloud) + [f"{k / (_POINTS - 1):.0%}" for k in range(_POINTS)],
        x_label="along the path",
        y_label="across it",
    )


@torch.no_grad()
def _features(model: Model, pixels: Tensor, layer: str) -> Tensor:
    """(n, values)"""
    return model.features(pixels, layer)[layer].flatten(1)


def _plane(cloud: Tensor, path: Tensor) -> tuple[np.ndarray, float]:
    """Coordinates (n + points, 2) in the plane of the path and of the largest variance across it; mean distance of the
    cloud (n, values) from the line of the path (points, values).
    """
    points, mean = torch.cat([cloud, path]), cloud.mean(0)
    first = path[-1] - path[0]
    first = first / first.norm().clamp_min(1e-12)
    rest = points - mean
    rest = rest - (rest @ first)[:, None] * first
    second = torch.linalg.svd(rest, full_matrices=False).Vh[0]
    second = second * second[second.abs().argmax()].sign()
    xy = torch.stack([(points - mean) @ axis for axis in (first, second)], 1).cpu().numpy()
    return xy.astype(np.float32), float(rest[: len(cloud)].norm(dim=1).mean())


def loss_surface(model: Model, pairs: Pairs, grid: int) -> Surface:
    """The loss of the first image in the plane of its perturbation and of noise of the same norm."""
    before, label = pairs.before[0], int(pairs.source[0])
    perturbation, noise = pairs.after[0] - before, pairs.noisy[0] - before
    x, y = np.linspace(-0.5, 1.5, grid), np.linspace(-1, 1, grid)
    steps = torch.cartesian_prod(torch.from_numpy(y), torch.from_numpy(x)).to(before)
    parts = []
    for batch in steps.split(model.batch()):
        across, along = (column.view(-1, 1, 1, 1) for column in batch.T)
        parts.append(predict(model, (before + along * perturbation + across * noise).clamp(0, 1)))
    logits = torch.cat(parts)
    criterion = Criterion(torch.full((len(steps),), label, device=before.device))
    z = criterion.loss(logits).view(grid, grid).cpu().numpy()
    origin, end = int(np.abs(x).argmin()), int(np.abs(x - 1).argmin())
    on_attack, on_noise = z[int(np.abs(y).argmin())], z[:, origin]
    findings = SurfaceFindings(
        label=model.classes[label],
        attack=(on_attack[origin], on_attack[end]),
        noise=(on_noise.min(), on_noise.max()),
        misclassified=float((logits.argmax(1) != label).float().mean()),
    )
    return Surface(
        title="Loss along the perturbation and along random noise",
        caption=surface_caption(findings),
        facts=facts_of(findings),
        x=x.astype(np.float32),
        y=y.astype(np.float32),
        z=z.astype(np.float32),
        x_label="fraction of the perturbation",
        y_label="fraction of the noise",
        z_label="log-odds against the class",
        path=np.array([[0, 0], [1, 0]], dtype=np.float32),
    )
