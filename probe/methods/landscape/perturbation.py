"""Move the weights of a network in place to w + a d1 + b d2, by fused operations."""

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from probe.methods.landscape.directions import Direction, Weights, movable_weights


class WeightPlane:
    """A copy of a network whose weights move in a plane (or on a line, in a space) through its own.

    directions: as many as there are coordinates; weights that none of them holds stay. The caller's network is
    untouched. Every point is computed from the origin, so that none depends on those before it.
    """

    def __init__(
        self,
        network: nn.Module,
        directions: Sequence[Direction],
        *,
        dtype: torch.dtype | None = None,
        into: nn.Module | None = None,
    ) -> None:
        """dtype: the precision of the copy, batch norm excepted; the origin and the directions keep theirs. into: a copy
        of the network that exists already, to move that one."""
        self.network = copy.deepcopy(network) if into is None else into
        origin = movable_weights(network, statistics=True)
        moving = [name for name in origin if any(name in direction for direction in directions)]
        self._origin = [origin[name].clone() for name in moving]
        self._directions = [
            [d[name] if name in d else torch.zeros_like(origin[name]) for name in moving] for d in directions
        ]
        if dtype is not None:
            set_precision(self.network, dtype)
        targets = movable_weights(self.network, statistics=True)
        self._targets = [targets[name] for name in moving]

    @property
    def dimensions(self) -> int:
        return len(self._directions)

    @torch.no_grad()
    def move_to(self, *coordinates: float) -> None:
        """Set the weights to the point with these coordinates, one for each direction."""
        if not self._targets:
            return
        moved = self._origin
        for coordinate, direction in zip(coordinates, self._directions, strict=True):
            moved = torch._foreach_add(moved, direction, alpha=coordinate)
        torch._foreach_copy_(self._targets, moved)

    def weights(self) -> Weights:
        """The present weights, by name."""
        return movable_weights(self.network, statistics=True)


def set_precision(network: nn.Module, dtype: torch.dtype) -> None:
    """Convert the network in place to `dtype`; batch norm, whose statistics need it, to float32 at least."""
    network.to(dtype)
    if torch.finfo(dtype).bits < 32:
        for module in network.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.float()


def moved_weights(
    weights: Mapping[str, Tensor], directions: Sequence[Direction], coordinates: Sequence[float]
) -> Weights:
    """w + a d1 + b d2 as new tensors; for a single point, such as one that is stored."""
    moved = {name: w.clone() for name, w in weights.items()}
    for coordinate, direction in zip(coordinates, directions, strict=True):
        for name, d in direction.items():
            moved[name] += coordinate * d
    return moved
