"""Evaluate a loss surface on its grid: arithmetic, number of images, refinement, chunks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np
import torch

from probe.analyses.job import Job, joined
from probe.analyses.landscape.loaded_images import macs_per_image
from probe.analyses.landscape.surface_arithmetic import (
    OUTLIER_LIMIT,
    Arithmetic,
    BatchNorm,
    Losses,
    restricted,
)
from probe.analyses.landscape.surface_plane import Plane
from probe.data.images import Images
from probe.methods.landscape.loss_surface import estimate
from probe.methods.landscape.refinement import refine
from probe.model.model import Model

Array = np.ndarray
Mode = Literal["fast", "exact"]

_CHECK_IMAGES = 256
_RANDOM_CHECKS = 48  # points of the grid: with a probability of 91% their largest error holds for 95% of it
_RANDOM_CHECK_IMAGES = 128  # of each: an error on fewer images is a larger one
_CHUNK_MACS = 2e11  # of a chunk of points: a few seconds on one core
_CHUNK_POINTS = 8  # so that several workers are busy on a small surface too
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
    precise_below: the loss below which points were computed in float32 instead, 0 for none. folded: batch norms that were
    folded. precision_error: the largest relative difference from float32 with batch norm at the points where it was
    checked. checked: true relative errors of interpolation at randomly chosen points.
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
        self.plane, self.settings, self.job, self.prefix = plane, settings, job, prefix
        self.losses = Losses(model, images, plane, settings.batch_norm)
        self.images = len(images)
        self.points_per_chunk = int(
            np.clip(_CHUNK_MACS // (macs_per_image(model) * self.images), 1, _CHUNK_POINTS)
        )
        self.rng = np.random.default_rng(job.seed())
        columns = len(plane.x)
        drawn = self.rng.permutation(columns * len(plane.y))[:_RANDOM_CHECKS].tolist()
        self.random_points = [plane.coordinates(*divmod(i, columns)) for i in drawn]

    def compute(self) -> SurfaceGrid:
        if self.settings.mode == "exact":
            return self._surface(self.losses.exact, "")
        weak = [*self.plane.corners, *self._near_origin()]
        for number, arithmetic in enumerate(self.losses.faster()):
            reference, differences = self._check(arithmetic, weak, f"check {number}")
            if restricted(arithmetic, reference, differences) is None:
                continue
            drawn = self._check(
                arithmetic, self.random_points, f"check {number} at random", images=_RANDOM_CHECK_IMAGES
            )
            reference, differences = reference + drawn[0], differences + drawn[1]
            accepted = restricted(arithmetic, reference, differences)
            if accepted is None:
                continue
            grid = self._surface(accepted, f"{number} " if number else "")
            _, extremes = self._check(accepted, self._extremes(grid), f"extremes {number}")
            errors = [
                e for e, loss in zip(differences, reference, strict=True) if not loss < accepted.precise_below
            ]
            if max(extremes, default=0.0) <= OUTLIER_LIMIT:
                return _with_precision(grid, [*errors, *extremes])
        return self._surface(self.losses.exact, "exact ")

    def _near_origin(self) -> list[tuple[float, ...]]:
        """Points on the way from the origin to the last corner, where the loss is low and its relative error largest."""
        return [tuple(fraction * c for c in self.plane.corners[-1]) for fraction in (0.1, 0.2, 0.4)]

    def _check(
        self,
        arithmetic: Arithmetic,
        points: Sequence[tuple[float, ...]],
        stage: str,
        *,
        images: int = _CHECK_IMAGES,
    ) -> tuple[list[float], list[float]]:
        """`Losses.differences` on the first images, as a chunk."""

        def compute(which: Sequence[tuple[float, ...]], rng: torch.Generator) -> dict[str, Array]:
            reference, differences = self.losses.differences(arithmetic, which, images=images)
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
        fast, below = self.settings.mode == "fast", arithmetic.precise_below
        surfaces = [self.losses.surface(arithmetic)]
        if below:
            surfaces.append(self.losses.surface(replace(arithmetic, dtype=self.losses.exact.dtype)))

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
            count = max(
                1, -(-len(points) // self.points_per_chunk)
            )  # of chunks alike in size, for workers alike
            ends = [len(points) * i // count for i in range(count + 1)]
            chunks = [points[begin:end] for begin, end in pairwise(ends)]
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
            images=self.images,
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
