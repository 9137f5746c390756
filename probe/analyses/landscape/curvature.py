"""How curved is the loss around the weights: the eigenvalues of its Hessian?"""

from dataclasses import dataclass

import numpy as np
import torch
from pydantic import Field

from probe.analyses.analysis import Analysis
from probe.analyses.job import Job
from probe.analyses.landscape import curvature_exhibits as show
from probe.analyses.landscape.curvature_exhibits import CurvatureFindings
from probe.analyses.landscape.loaded_images import LoadedImages, macs_per_image
from probe.analyses.landscape.surface_arithmetic import working_copy
from probe.analyses.landscape.surface_plane import Range, RangeText
from probe.data.images import Images
from probe.errors import UserError
from probe.exhibits.exhibits import Exhibit
from probe.exhibits.result import Result
from probe.methods.landscape.directions import Direction, movable_weights, random_direction
from probe.methods.landscape.hessian import Hessian
from probe.methods.landscape.hutchinson import trace
from probe.methods.landscape.lanczos import Ritz, lanczos, random_start
from probe.methods.landscape.perturbation import WeightPlane
from probe.model.model import Model
from probe.params import Fraction

_PRODUCT = 12  # the cost of a Hessian-vector product, in forward passes, measured
_BUDGET = 6e12  # multiply-accumulates of one part of the default, about two minutes on one core
_RATIO_STEPS = 12  # of Lanczos, that a point of the plane takes on average


class Curvature(Analysis):
    """How curved is the loss around the weights of a network?"""

    name = "curvature"
    title = "Curvature of the loss"
    source = "Li et al. 2018, section 6, arXiv 1712.09913; Ghorbani et al. 2019, arXiv 1901.10159"
    needs_labels = True
    quick = {"max_images": 20, "steps": 12, "runs": 2, "plane_points": 3, "plane_images": 10}

    top: int = Field(5, ge=1, le=50, description="number of eigenvalues reported at each end of the spectrum")
    steps: int = Field(
        40,
        ge=4,
        le=500,
        description="number of Lanczos steps per run, each of which takes one Hessian-vector product",
    )
    runs: int = Field(
        4,
        ge=2,
        le=100,
        description="number of Lanczos runs from random vectors, for the spectral density and the trace",
    )
    max_images: int | None = Field(
        None,
        ge=2,
        le=100_000,
        description="number of images on which the Hessian is computed (default: 200, fewer for expensive networks)",
    )
    plane_points: int = Field(
        7,
        ge=0,
        le=101,
        description="number of points along each side of the map of curvature ratios (0: no map)",
    )
    plane_images: int | None = Field(
        None,
        ge=2,
        le=100_000,
        description="number of images per point of the map (default: 200, fewer for expensive networks)",
    )
    plane_range: RangeText = Field(
        "", description="range of both axes of the map, as low:high:points (default: -1:1:7)"
    )
    tolerance: Fraction = Field(
        0.02,
        gt=0,
        lt=1,
        description="relative error of the extreme eigenvalues at which Lanczos stops, for points of the map",
    )

    def run(self, model: Model, images: Images, job: Job) -> Result:
        seed = job.seed()
        n = self.max_images or _affordable(model, products=self.steps * self.runs)
        chosen = images.take(n, seed=seed)
        runs = self._spectra(model, chosen, job)
        if any(np.isnan(run.values).any() for run in runs):
            raise UserError(
                f"the Hessian of {model.name} has entries that are NaN or infinite on these images"
            )
        weights = sum(w.numel() for w in movable_weights(model.network).values())
        findings = CurvatureFindings.of(runs, self.top, weights, len(chosen), trace(runs, weights))
        exhibits: list[Exhibit] = [
            show.eigenvalue_chart(runs, findings),
            show.density_chart(runs, findings),
        ]
        numbers, warnings = show.numbers(findings), show.warnings(findings)
        if axis := self._axis():
            points = self.plane_images or _affordable(model, products=_RATIO_STEPS * axis.points**2)
            ratios = self._ratios(model, images.take(points, seed=seed), axis, job, seed)
            plane = show.RatioFindings.of(ratios.ratio, axis.points, min(points, len(images)), self.tolerance)
            exhibits.append(show.ratio_surface(ratios.ratio, axis.coordinates(), plane))
            numbers |= show.ratio_numbers(plane)
            warnings += show.ratio_warnings(plane)
        return Result(exhibits=exhibits, numbers=numbers, warnings=warnings)

    def _axis(self) -> Range | None:
        if self.plane_range:
            return Range.parse(self.plane_range)
        return Range(-1, 1, self.plane_points) if self.plane_points >= 2 else None

    def _spectra(self, model: Model, images: Images, job: Job) -> list[Ritz]:
        """A Lanczos run from each of several vectors of random signs."""
        network = working_copy(model)
        hessian = _hessian(model, network, images)

        def compute(_: int, rng: torch.Generator) -> dict[str, np.ndarray]:
            start = random_start(hessian.size, rng, device=model.device).to(hessian.dtype)
            ritz = lanczos(hessian.matvec, start, self.steps)
            return {"values": ritz.values, "residuals": ritz.residuals, "weights": ritz.weights}

        chunks = job.chunks("spectrum", range(self.runs), compute)
        return [Ritz(chunk["values"], chunk["residuals"], chunk["weights"]) for chunk in chunks]

    def _ratios(self, model: Model, images: Images, axis: Range, job: Job, seed: int) -> "Ratios":
        """The smallest and largest eigenvalue at every point of the plane of two filter-normalised directions."""
        network = working_copy(model)
        rng = torch.Generator().manual_seed(seed)
        weights = movable_weights(network)
        directions: list[Direction] = [random_direction(weights, rng) for _ in range(2)]
        hessian = _hessian(model, network, images)
        plane = WeightPlane(network, directions, into=hessian.network)
        start = random_start(hessian.size, torch.Generator().manual_seed(seed), device=model.device).to(
            hessian.dtype
        )
        coordinates = axis.coordinates().tolist()

        def compute(row: float, rng: torch.Generator) -> dict[str, np.ndarray]:
            ends = []
            for column in coordinates:
                plane.move_to(column, row)
                values = lanczos(hessian.matvec, start, self.steps, tolerance=self.tolerance).values
                ends.append([values[-1], values[0]])
            return {"ends": np.array([ends])}

        rows = [chunk["ends"] for chunk in job.chunks("plane", coordinates, compute)]
        ends = np.concatenate(rows)
        return Ratios(ends[..., 0], ends[..., 1])


@dataclass(frozen=True)
class Ratios:
    """Smallest and largest eigenvalues of the Hessian over a plane, (rows, columns)."""

    smallest: np.ndarray
    largest: np.ndarray

    @property
    def ratio(self) -> np.ndarray:
        """|smallest / largest|: near 0 where the loss is nearly convex; 0 where no eigenvalue is negative."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(self.smallest < 0, np.abs(self.smallest / self.largest), self.smallest * 0)


def _hessian(model: Model, network: torch.nn.Module, images: Images) -> Hessian:
    dtype = next((p.dtype for p in network.parameters() if p.is_floating_point()), torch.float32)
    loaded = LoadedImages.of(model, images, dtype=dtype, gradient=True)
    return Hessian(network, loaded.inputs, loaded.labels, logits=loaded.logits)


def _affordable(model: Model, *, products: int) -> int:
    """Images for which so many Hessian-vector products fit the default budget: 20 to 200."""
    return int(np.clip(_BUDGET // (products * _PRODUCT * macs_per_image(model)), 20, 200))
