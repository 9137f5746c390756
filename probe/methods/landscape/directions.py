"""Directions in weight space: random with filter normalisation, to another checkpoint, and principal components."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

Weights = dict[str, Tensor]
"""Parameters, and where they move too the running statistics of batch norm, by their names in the network."""

Direction = dict[str, Tensor]
"""A tensor for each weight that moves; weights without one stay."""

Normalisation = Literal["filter", "layer", "weight", "none"]

_EPS = 1e-10  # of Li et al.: keeps filters of norm 0 from dividing by it


def movable_weights(network: nn.Module, *, statistics: bool = False) -> Weights:
    """The parameters of `network`, shared ones once; statistics: the running means and variances of batch norm too.

    The tensors share their memory with those of the network.
    """
    weights = {name: p.detach() for name, p in network.named_parameters() if p.is_floating_point()}
    if statistics:
        for name, module in network.named_modules():
            for buffer in ("running_mean", "running_var"):
                value = getattr(module, buffer, None)
                if isinstance(module, nn.modules.batchnorm._BatchNorm) and value is not None:
                    weights[f"{name}.{buffer}" if name else buffer] = value
    return weights


def random_direction(
    weights: Mapping[str, Tensor],
    rng: torch.Generator,
    *,
    normalisation: Normalisation = "filter",
    move_1d: bool = False,
) -> Direction:
    """A Gaussian direction, normalised to the scale of the weights (`normalise`).

    rng: a generator on the CPU, from which every tensor is drawn in float32. Li et al. 2018, section 4.
    """
    gaussian = {
        name: torch.randn(w.shape, generator=rng).to(w.device, w.dtype) for name, w in weights.items()
    }
    return normalise(gaussian, weights, normalisation, move_1d=move_1d)


def normalise(
    direction: Mapping[str, Tensor],
    weights: Mapping[str, Tensor],
    normalisation: Normalisation,
    *,
    move_1d: bool = False,
) -> Direction:
    """Scale a direction to the weights that it is added to.

    "filter": each index of dimension 0 (the filter of a convolution, the row of a dense layer) gets the norm of its
    weights; "layer": each tensor does; "weight": each value is multiplied by its weight; "none": as it is.
    move_1d: tensors of one dimension (biases, batch norm) move too: where there is a normalisation their direction is
    a copy of the weights, as in the code of the paper; otherwise they stay, and the direction has no entry for them.
    Filters of norm 0 get a direction of 0. Li et al. 2018, section 4.
    """
    normalised: Direction = {}
    for name, d in direction.items():
        w = weights[name]
        if d.ndim <= 1:
            if move_1d:
                normalised[name] = d.clone() if normalisation == "none" else w.clone()
        elif normalisation == "filter":
            normalised[name] = d * _broadcast(_row_norms(w) / (_row_norms(d) + _EPS), d)
        elif normalisation == "layer":
            normalised[name] = d * (w.norm() / (d.norm() + _EPS))
        elif normalisation == "weight":
            normalised[name] = d * w
        else:
            normalised[name] = d.clone()
    return normalised


def count_zero_filters(weights: Mapping[str, Tensor]) -> int:
    """The filters whose weights are all zero: filter normalisation leaves them where they are."""
    return sum(int((_row_norms(w) == 0).sum()) for w in weights.values() if w.ndim > 1)


def difference(
    weights: Mapping[str, Tensor], target: Mapping[str, Tensor], *, move_1d: bool = True
) -> Direction:
    """The direction that leads from `weights` at 0 to `target` at 1. move_1d: as in `normalise`."""
    return {
        name: (target[name].to(w.device, w.dtype) - w)
        for name, w in weights.items()
        if move_1d or w.ndim > 1
    }  # fmt: skip


@dataclass(frozen=True)
class PrincipalComponents:
    """The plane of a training trajectory, of which the origin is the last point.

    directions: two, orthogonal and of norm 1. coordinates: (points, 2) of the trajectory in the plane. variance: (2,)
    fractions of the squared distances from the last point that each keeps. off_plane: (points,) distances from the
    plane.
    """

    directions: tuple[Direction, Direction]
    coordinates: Tensor
    variance: tuple[float, float]
    off_plane: Tensor


def principal_components(
    trajectory: Sequence[Mapping[str, Tensor]], *, move_1d: bool = True
) -> PrincipalComponents:
    """The two principal components of the differences of each checkpoint from the last one.

    trajectory: weights after each epoch, at least two that differ. Computed in float64 from the Gram matrix of the
    differences, so that memory is that of the checkpoints. Li et al. 2018, section 7.2; like there, the differences
    are not centred on their mean. Raises ValueError for fewer than two points and for points that are all equal.
    """
    if len(trajectory) < 2:
        raise ValueError(f"a trajectory has at least two points, got {len(trajectory)}")
    last = trajectory[-1]
    steps = [difference(last, weights, move_1d=move_1d) for weights in trajectory[:-1]]
    gram = torch.tensor([[_inner(a, b) for b in steps] for a in steps], dtype=torch.float64)
    values, vectors = torch.linalg.eigh(gram)
    total = float(values.clamp_min(0).sum())
    if not total > 0:
        raise ValueError("all points of the trajectory are equal")
    directions, coordinates, variance = [], [], []
    for k in (1, 2):
        value = float(values[-k]) if k <= len(values) else 0.0
        if value <= 1e-12 * total:  # the trajectory is a straight line: any second direction would do
            directions.append({name: torch.zeros_like(w) for name, w in steps[0].items()})
            coordinates.append(torch.zeros(len(steps), dtype=torch.float64))
            variance.append(0.0)
            continue
        mix = vectors[:, -k] * vectors[:, -k][vectors[:, -k].abs().argmax()].sign()
        direction = {
            name: torch.stack([c * step[name].double() for c, step in zip(mix, steps, strict=True)]).sum(0)
            / value**0.5
            for name in steps[0]
        }
        directions.append({name: d.to(last[name].dtype) for name, d in direction.items()})
        coordinates.append(gram @ mix / value**0.5)
        variance.append(value / total)
    xy = torch.cat([torch.stack(coordinates, 1), torch.zeros(1, 2, dtype=torch.float64)])
    squared = torch.cat([gram.diagonal(), torch.zeros(1, dtype=torch.float64)])
    return PrincipalComponents(
        (directions[0], directions[1]),
        xy,
        (variance[0], variance[1]),
        (squared - xy.square().sum(1)).clamp_min(0).sqrt(),
    )


def norm(direction: Mapping[str, Tensor]) -> float:
    """The Euclidean norm over all its tensors."""
    return _inner(direction, direction) ** 0.5


def cosine(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> float:
    """The cosine of the angle between two directions; 0 where one of them is zero."""
    norms = norm(first) * norm(second)
    return _inner(first, second) / norms if norms else 0.0


def _inner(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> float:
    return sum(
        float((first[name].double() * second[name].double()).sum()) for name in first if name in second
    )


def _row_norms(values: Tensor) -> Tensor:
    return values.flatten(1).norm(dim=1)


def _broadcast(factors: Tensor, like: Tensor) -> Tensor:
    return factors.view(-1, *([1] * (like.ndim - 1)))
