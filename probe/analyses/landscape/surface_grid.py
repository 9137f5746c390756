"""Evaluate a loss surface on its grid: precision, folding, number of images, refinement, chunks."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from probe.analyses.job import Job, joined
from probe.analyses.landscape.loaded_images import LoadedImages, macs_per_image
from probe.analyses.landscape.surface_plane import Plane
from probe.data.images import Images
from probe.errors import UserError
from probe.methods.landscape.loss_surface import InputShifts, LossSurface, estimate
from probe.methods.landscape.perturbation import WeightPlane
from probe.methods.landscape.refinement import refine
from probe.model.folding import find_folds, fold
from probe.model.model import Model
from probe.training.precision import computes_in_bf16

Array = np.ndarray
Mode = Literal["fast", "exact"]
BatchNorm = Literal["frozen", "moved", "recalibrated"]

PRECISION_LIMIT = 0.01  # relative error of the loss above which a faster arithmetic is given up
_OUTLIERS = 0.1  # fraction of the checked points that may exceed it
_OUTLIER_LIMIT = 2 * PRECISION_LIMIT
_FOLD_LIMIT = 1e-3  # the same for folding alone, in float32
_CHECK_IMAGES = 256
_RANDOM_CHECKS = 48  # points of the grid: with a probability of 91% their largest error holds for 95% of it
_RANDOM_CHECK_IMAGES = 128  # of each: an error on fewer images is a larger one
_MARGIN = 2.0  # above the largest loss at which bf16 was not accurate enough
_CHUNK_MACS = 4e11  # of a chunk of points: a few seconds on one core
_CHUNK_POINTS = 16  # so that several workers are busy on a small surface too
_SURFACE_MACS = 2e12  # of the points that are computed by default
_TYPICAL_POINTS = 220


@dataclass(frozen=True)
class GridSettings:
    """How a surface is computed. tolerance: relative, of fast mode."""

    mode: Mode
    batch_norm: BatchNorm
    tolerance: float


@dataclass(frozen=True)
class SurfaceGrid:
    """A loss surface: loss, accuracy, error, spread, used and computed are (rows, columns).

    error: half the relative width of the 95% limits of the loss on these images, from leaving out images or points and
    from the arithmetic.
    spread: half the width of the 95% interval of the loss for other images. used: images evaluated; 0 where the point
    is interpolated. centre, centre_spread, centre_accuracy: of the network itself. arithmetic: as captions name it;
    precise_below: the loss below which points were computed in float32 instead, 0 for none. folded: batch norms that were folded. precision_error: the largest relative difference from float32 with batch norm
    at the points where it was checked. checked: true relative errors of interpolation at randomly chosen points.
    """

    loss: Array
    accuracy: Array
    error: Array
    spread: Array
    used: Array
    computed: Array
    images: int
    centre: float
    centre_spread: float
    centre_accuracy: float
    arithmetic: str
    precise_below: float
    folded: int
    precision_error: float
    precision_checks: int
    checked: Array

    @property
    def computed_fraction(self) -> float:
        return float(self.computed.mean())


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
            f"{model.name} converts to half precision by itself: its loss around its weights needs float32"
        ) from error
    return network


def affordable_images(model: Model) -> int:
    """The number of images for which a surface takes about half a minute on two cores: 100 to 500."""
    return int(np.clip(_SURFACE_MACS // (macs_per_image(model) * _TYPICAL_POINTS), 100, 500))


def compute_grid(
    model: Model, images: Images, plane: Plane, settings: GridSettings, job: Job, *, prefix: str = ""
) -> SurfaceGrid:
    """The loss surface of `model` over `plane` on `images`, in chunks of points.

    prefix: of the names of chunks, where several surfaces belong to one run.
    """
    return _Grid(model, images, plane, settings, job, prefix).compute()


class _Grid:
    """One surface in the making. Every stage depends on the results of earlier stages alone, so that a run that was
    interrupted continues with the same points."""

    def __init__(
        self, model: Model, images: Images, plane: Plane, settings: GridSettings, job: Job, prefix: str
    ) -> None:
        self.model, self.images, self.plane, self.job = model, images, plane, job
        self.settings, self.prefix = settings, prefix
        self.network = working_copy(model)
        self.points_per_chunk = int(
            np.clip(_CHUNK_MACS // (macs_per_image(model) * len(images)), 1, _CHUNK_POINTS)
        )
        self.rng = np.random.default_rng(job.seed())
        columns = len(plane.x)
        drawn = self.rng.permutation(columns * len(plane.y))[:_RANDOM_CHECKS].tolist()
        self.random_points = [plane.coordinates(*divmod(i, columns)) for i in drawn]
        self.loaded = LoadedImages.of(model, images, dtype=next(self._dtypes()))
        self.inputs, self.labels = self.loaded.inputs, self.loaded.labels

    def _dtypes(self):
        yield from (p.dtype for p in self.network.parameters() if p.is_floating_point())
        yield torch.float32

    def compute(self) -> SurfaceGrid:
        dtype = next(self._dtypes())
        exact = Arithmetic(_name(dtype), dtype, self.network, self.plane.directions)
        if self.settings.mode == "exact":
            return self._surface(exact, "")
        weak = [*self.plane.corners, *self._near_origin()]
        for number, arithmetic in enumerate(self._faster(exact)):
            reference, differences = self._check(arithmetic, exact, weak, f"check {number}")
            if _restricted(arithmetic, reference, differences) is None:
                continue
            drawn = self._check(
                arithmetic,
                exact,
                self.random_points,
                f"check {number} at random",
                images=_RANDOM_CHECK_IMAGES,
            )
            reference, differences = reference + drawn[0], differences + drawn[1]
            accepted = _restricted(arithmetic, reference, differences)
            if accepted is None:
                continue
            grid = self._surface(accepted, f"{number} " if number else "")
            _, extremes = self._check(accepted, exact, self._extremes(grid), f"extremes {number}")
            errors = [
                e for e, loss in zip(differences, reference, strict=True) if not loss < accepted.precise_below
            ]
            if max(extremes, default=0.0) <= _OUTLIER_LIMIT:
                return _with_precision(grid, [*errors, *extremes])
        return self._surface(exact, "exact ")

    def _near_origin(self) -> list[tuple[float, ...]]:
        """Points on the way from the origin to the last corner, where the loss is low and its relative error largest."""
        return [tuple(fraction * c for c in self.plane.corners[-1]) for fraction in (0.1, 0.2, 0.4)]

    def _faster(self, exact: Arithmetic) -> list[Arithmetic]:
        """Faster arithmetics, the fastest first, each with its directions."""
        folded = self._folded(exact)
        if exact.dtype != torch.float32:
            return [folded] if folded.folded else []
        bf16 = replace(folded, name="bf16", dtype=torch.bfloat16)
        arithmetics = [bf16] if computes_in_bf16(self.model.device) else []
        return [*arithmetics, folded] if folded.folded else arithmetics

    def _folded(self, exact: Arithmetic) -> Arithmetic:
        if self.settings.batch_norm == "recalibrated":
            return exact
        few = self.inputs[0][:32]
        folds = find_folds(self.network, lambda network: network(few[:1]))
        network, directions = fold(self.network, folds, exact.directions)
        count = sum(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in self.network.modules()) - sum(
            isinstance(m, nn.modules.batchnorm._BatchNorm) for m in network.modules()
        )
        folded = Arithmetic(exact.name, exact.dtype, network, tuple(directions), count)
        if not count:
            return exact
        _, errors = self._differences(folded, exact, self.plane.corners[:2], [few], [self.labels[0][:32]])
        return folded if max(errors) <= _FOLD_LIMIT else exact

    def _surface_of(
        self, arithmetic: Arithmetic, inputs: Sequence[Tensor], labels: Sequence[Tensor]
    ) -> LossSurface:
        plane = WeightPlane(arithmetic.network, arithmetic.directions, dtype=arithmetic.dtype)
        return LossSurface(
            plane,
            [batch.to(arithmetic.dtype) for batch in inputs],
            labels,
            logits=self.loaded.logits,
            recalibrated=self.settings.batch_norm == "recalibrated",
            shifts=self._shifts(arithmetic.dtype, [len(batch) for batch in inputs]),
        )

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

    def _differences(
        self,
        arithmetic: Arithmetic,
        exact: Arithmetic,
        points: Sequence[tuple[float, ...]],
        inputs: Sequence[Tensor],
        labels: Sequence[Tensor],
    ) -> tuple[list[float], list[float]]:
        """The mean losses at `points` in `exact`, and the relative differences from them; 0 where neither is finite."""
        surfaces = [self._surface_of(each, inputs, labels) for each in (arithmetic, exact)]
        values = [[float(s.at(point).losses.mean()) for point in points] for s in surfaces]
        return values[1], [_relative(*pair) for pair in zip(*values, strict=True)]

    def _check(
        self,
        arithmetic: Arithmetic,
        exact: Arithmetic,
        points: Sequence[tuple[float, ...]],
        stage: str,
        *,
        images: int = _CHECK_IMAGES,
    ) -> tuple[list[float], list[float]]:
        """`_differences` on the first images, as a chunk."""
        inputs, labels = _first(self.inputs, images), _first(self.labels, images)

        def compute(which: Sequence[tuple[float, ...]], rng: torch.Generator) -> dict[str, Array]:
            reference, differences = self._differences(arithmetic, exact, which, inputs, labels)
            return {"reference": np.array(reference), "difference": np.array(differences)}

        (chunk,) = self.job.chunks(self.prefix + stage, [points], compute)
        return chunk["reference"].tolist(), chunk["difference"].tolist()

    def _extremes(self, grid: SurfaceGrid) -> list[tuple[float, ...]]:
        """The points of the lowest and of the highest finite loss that were computed in the faster arithmetic."""
        fast = grid.computed & np.isfinite(grid.loss) & ~(grid.loss < grid.precise_below)
        usable = np.where(fast, grid.loss, np.nan)
        if np.isnan(usable).all():
            return []
        flat = [int(np.nanargmin(usable)), int(np.nanargmax(usable))]
        return [self.plane.coordinates(*divmod(i, usable.shape[1])) for i in dict.fromkeys(flat)]

    def _surface(self, arithmetic: Arithmetic, stage: str) -> SurfaceGrid:
        n, fast = len(self.images), self.settings.mode == "fast"
        below = arithmetic.precise_below
        surfaces = [self._surface_of(arithmetic, self.inputs, self.labels)]
        if below:
            precise = replace(arithmetic, dtype=next(self._dtypes()))
            surfaces.append(self._surface_of(precise, self.inputs, self.labels))

        def evaluate_centre(which: int, rng: torch.Generator) -> dict[str, Array]:
            point = surfaces[which].at([0.0] * len(self.plane.directions))
            return {"losses": point.losses, "accuracy": np.array([point.correct.mean()])}

        centres = self.job.chunks(f"{self.prefix}{stage}centre", range(len(surfaces)), evaluate_centre)
        anchors = [centre["losses"] for centre in centres]
        own = next(
            (v for v in (estimate(a, a) for a in anchors) if not v.loss < below),
            estimate(anchors[-1], anchors[-1]),
        )
        shape = (len(self.plane.y), len(self.plane.x))
        columns = {name: np.full(shape, np.nan) for name in ("loss", "accuracy", "error", "spread")}
        columns["used"] = np.zeros(shape, dtype=np.int64)
        half = self.settings.tolerance / 2
        enough = [_enough(anchor, half) if fast and half else None for anchor in anchors]

        def compute(points: Sequence[tuple[int, int]], rng: torch.Generator) -> dict[str, Array]:
            rows = []
            for row, column in points:
                for surface, anchor, stop in zip(surfaces, anchors, enough, strict=True):
                    point = surface.at(self.plane.coordinates(row, column), enough=stop)
                    value = estimate(point.losses, anchor)
                    if not value.loss < below:
                        break
                rows.append([value.loss, point.correct.mean(), value.error, value.spread, value.used])
            table = np.array(rows, dtype=np.float64)
            return dict(zip(columns, table.T, strict=True))

        def evaluate(points: list[tuple[int, int]], name: str) -> Array:
            size = self.points_per_chunk
            chunks = [points[i : i + size] for i in range(0, len(points), size)]
            results = joined(self.job.chunks(f"{self.prefix}{stage}{name}", chunks, compute))
            where = tuple(np.array(points).T)
            for column, values in columns.items():
                values[where] = results[column]
            return results["loss"]

        with np.errstate(over="ignore", invalid="ignore"):
            if fast and self.settings.tolerance and not self.plane.is_line:
                refined = refine(shape, evaluate, tolerance=self.settings.tolerance, rng=self.rng)
                loss, computed = refined.values, refined.computed
                interpolated, checked = np.expm1(refined.error), np.expm1(refined.checked)
            else:
                evaluate([(i, j) for i in range(shape[0]) for j in range(shape[1])], "grid")
                loss, computed = columns["loss"], np.ones(shape, dtype=bool)
                interpolated, checked = np.zeros(shape), np.zeros(0)
            sampled = np.where(computed, columns["error"] / np.abs(columns["loss"]), 0.0)
        return SurfaceGrid(
            loss=loss,
            accuracy=_fill(columns["accuracy"], computed),
            error=interpolated + np.nan_to_num(sampled, nan=0.0, posinf=0.0),
            spread=_fill(columns["spread"], computed),
            used=columns["used"],
            computed=computed,
            images=n,
            centre=own.loss,
            centre_spread=own.spread,
            centre_accuracy=float(centres[-1]["accuracy"][0]),
            arithmetic=arithmetic.name,
            precise_below=below,
            folded=arithmetic.folded,
            precision_error=0.0,
            precision_checks=0,
            checked=checked,
        )


def _enough(anchor: Array, tolerance: float) -> Callable[[Array], bool]:
    def enough(losses: Array) -> bool:
        value = estimate(losses, anchor)
        return not np.isfinite(value.loss) or value.error <= tolerance * abs(value.loss)

    return enough


def _restricted(
    arithmetic: Arithmetic, reference: Sequence[float], differences: Sequence[float]
) -> Arithmetic | None:
    """The arithmetic for the losses at which it is accurate: all, those above a limit, or None if that leaves few.

    reference, differences: losses at some points, and their relative errors. In bf16 the relative error is largest
    where the loss is lowest; a few larger errors elsewhere are chance, and part of what is stated.
    """
    bad = [loss for loss, error in zip(reference, differences, strict=True) if error > PRECISION_LIMIT]
    if not bad:
        return arithmetic
    few = len(bad) <= _OUTLIERS * len(reference) and max(differences) <= _OUTLIER_LIMIT
    if few and min(bad) > float(np.median(reference)):
        return arithmetic
    below = _MARGIN * max(bad)
    good = [loss for loss in reference if loss >= below]
    if arithmetic.dtype != torch.bfloat16 or len(good) < len(reference) / 2:
        return None
    return replace(arithmetic, precise_below=below)


def _with_precision(grid: SurfaceGrid, errors: Sequence[float]) -> SurfaceGrid:
    """The surface with its differences from float32 at the points of the checks, the largest as part of every error.

    Points that were computed in float32 because their loss is low have none.
    """
    largest = max(errors, default=0.0)
    precise = grid.computed & (grid.loss < grid.precise_below)
    return replace(
        grid,
        error=grid.error + np.where(precise, 0.0, largest),
        precision_error=largest,
        precision_checks=len(errors),
    )


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _relative(value: float, reference: float) -> float:
    if not np.isfinite(reference):
        return 0.0 if not np.isfinite(value) else float("inf")
    difference = abs(value - reference)
    return difference / abs(reference) if reference else float("inf") if difference else 0.0


def _first(batches: Sequence[Tensor], n: int) -> list[Tensor]:
    """The first n rows of the batches."""
    first: list[Tensor] = []
    for batch in batches:
        if n > 0:
            first.append(batch[:n])
        n -= len(batch)
    return first


def _fill(values: Array, computed: Array) -> Array:
    """`values` with those that were not computed interpolated linearly from their neighbours."""
    if computed.all():
        return values
    from scipy.interpolate import LinearNDInterpolator

    points = np.argwhere(computed)
    missing = np.argwhere(~computed)
    filled = values.copy()
    filled[~computed] = LinearNDInterpolator(points, values[computed])(missing)
    return filled
