"""Arithmetics in which a loss surface is computed, and how far each differs from the network as it is."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from probe.analyses.landscape.loaded_images import LoadedImages
from probe.analyses.landscape.surface_plane import Plane
from probe.data.images import Images
from probe.errors import UserError
from probe.methods.landscape.loss_surface import InputShifts, LossSurface
from probe.methods.landscape.perturbation import WeightPlane
from probe.model.folding import find_folds, fold
from probe.model.model import Model
from probe.precision import computes_in_bf16

BatchNorm = Literal["frozen", "moved", "recalibrated"]

PRECISION_LIMIT = 0.01  # relative error of the loss above which a faster arithmetic is given up
OUTLIER_LIMIT = 2 * PRECISION_LIMIT
_OUTLIERS = 0.1  # fraction of the checked points that may exceed the first limit, up to the second
_FOLD_LIMIT = 1e-3  # the same for folding alone, in float32
_FOLD_IMAGES = 32
_MARGIN = 2.0  # above the largest loss at which bf16 was not accurate enough


@dataclass(frozen=True)
class Arithmetic:
    """A way to compute the surface: its precision, and the network with the directions in its weights.

    precise_below: points with a lower loss are computed in the precision of the network.
    """

    name: str
    dtype: torch.dtype
    network: nn.Module
    directions: tuple
    folded: int = 0
    precise_below: float = 0.0


def working_copy(model: Model) -> nn.Module:
    """A copy of the model's network, in float32 at least. Raises UserError if it cannot compute in that."""
    network = copy.deepcopy(model.network)
    if torch.finfo(model.dtype).bits >= 32:
        return network
    network.float()
    try:
        with torch.no_grad():
            network(torch.zeros(1, *model.shape, device=model.device))
    except RuntimeError as error:  # of torch, for operands of different types
        raise UserError(
            f"{model.name} converts to half precision internally, but the loss around its weights has to be computed in float32"
        ) from error
    return network


class Losses:
    """The losses of a model over a plane on the same images, in any arithmetic.

    exact: the arithmetic of the network as it is, in float32 at least.
    """

    def __init__(self, model: Model, images: Images, plane: Plane, batch_norm: BatchNorm) -> None:
        self.model, self.plane, self.batch_norm = model, plane, batch_norm
        network = working_copy(model)
        dtype = next((p.dtype for p in network.parameters() if p.is_floating_point()), torch.float32)
        self.exact = Arithmetic(str(dtype).removeprefix("torch."), dtype, network, plane.directions)
        self.loaded = LoadedImages.of(model, images, dtype=dtype)

    def faster(self) -> list[Arithmetic]:
        """Arithmetics that are faster than `exact`, the fastest first."""
        folded = self._folded()
        if self.exact.dtype != torch.float32:
            return [folded] if folded.folded else []
        bf16 = replace(folded, name="bf16", dtype=torch.bfloat16)
        arithmetics = [bf16] if computes_in_bf16(self.model.device) else []
        return [*arithmetics, folded] if folded.folded else arithmetics

    def surface(self, arithmetic: Arithmetic, *, images: int | None = None) -> LossSurface:
        """On the first `images`; on all where that is None."""
        inputs = _first(self.loaded.inputs, images)
        return LossSurface(
            WeightPlane(arithmetic.network, arithmetic.directions, dtype=arithmetic.dtype),
            [batch.to(arithmetic.dtype) for batch in inputs],
            _first(self.loaded.labels, images),
            logits=self.loaded.logits,
            recalibrated=self.batch_norm == "recalibrated",
            shifts=self._shifts(arithmetic.dtype, [len(batch) for batch in inputs]),
        )

    def differences(
        self, arithmetic: Arithmetic, points: Sequence[tuple[float, ...]], *, images: int
    ) -> tuple[list[float], list[float]]:
        """Mean losses at `points` in `exact`, and the relative differences from them; 0 where neither is finite."""
        surfaces = [self.surface(each, images=images) for each in (arithmetic, self.exact)]
        values = [[float(s.at(point).losses.mean()) for point in points] for s in surfaces]
        return values[1], [_relative(*pair) for pair in zip(*values, strict=True)]

    def _folded(self) -> Arithmetic:
        """`exact` with batch norm folded into the layers before it; `exact` itself where that is not possible."""
        exact = self.exact
        if self.batch_norm == "recalibrated":
            return exact
        example = self.loaded.inputs[0][:1]
        folds = find_folds(exact.network, lambda network: network(example))
        network, directions = fold(exact.network, folds, exact.directions)
        count = _count_batch_norms(exact.network) - _count_batch_norms(network)
        if not count:
            return exact
        folded = replace(exact, network=network, directions=tuple(directions), folded=count)
        _, errors = self.differences(folded, self.plane.corners[:2], images=_FOLD_IMAGES)
        return folded if max(errors) <= _FOLD_LIMIT else exact

    def _shifts(self, dtype: torch.dtype, sizes: Sequence[int]) -> InputShifts | None:
        """The directions of a plane in the space of the images, for batches of `sizes` images."""
        if not self.plane.input_shifts:
            return None
        parts = [[p.to(dtype) for p in s[: sum(sizes)].split(list(sizes))] for s in self.plane.input_shifts]
        shape = (1, *self.model.shape)
        low, high = (
            self.model.normalise(torch.full(shape, end, device=self.model.device)).to(dtype)
            for end in (0.0, 1.0)
        )
        return InputShifts(parts, low, high)


def restricted(
    arithmetic: Arithmetic, reference: Sequence[float], differences: Sequence[float]
) -> Arithmetic | None:
    """The arithmetic for the losses at which it is accurate: all, those above a limit, or None if that leaves few.

    reference, differences: losses at some points, and their relative errors. In bf16 the relative error is largest
    where the loss is lowest; a few larger errors elsewhere are chance, and part of what is stated.
    """
    bad = [loss for loss, error in zip(reference, differences, strict=True) if error > PRECISION_LIMIT]
    if not bad:
        return arithmetic
    few = len(bad) <= _OUTLIERS * len(reference) and max(differences) <= OUTLIER_LIMIT
    if few and min(bad) > float(np.median(reference)):
        return arithmetic
    below = _MARGIN * max(bad)
    good = [loss for loss in reference if loss >= below]
    if arithmetic.dtype != torch.bfloat16 or len(good) < len(reference) / 2:
        return None
    return replace(arithmetic, precise_below=below)


def _relative(value: float, reference: float) -> float:
    if not np.isfinite(reference):
        return 0.0 if not np.isfinite(value) else float("inf")
    difference = abs(value - reference)
    return difference / abs(reference) if reference else float("inf") if difference else 0.0


def _count_batch_norms(network: nn.Module) -> int:
    return sum(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules())


def _first(batches: Sequence[Tensor], n: int | None) -> list[Tensor]:
    """The first n rows of the batches; all where n is None."""
    if n is None:
        return list(batches)
    first: list[Tensor] = []
    for batch in batches:
        if n > 0:
            first.append(batch[:n])
        n -= len(batch)
    return first
