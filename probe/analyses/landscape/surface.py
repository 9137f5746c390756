"""What does the loss surface look like around the weights of a network?"""

from pathlib import Path
from typing import Literal

from pydantic import Field

from probe.analyses.analysis import Analysis
from probe.analyses.job import Job
from probe.analyses.landscape import surface_exhibits as show
from probe.analyses.landscape.surface_arithmetic import BatchNorm
from probe.analyses.landscape.surface_captions import warnings_of
from probe.analyses.landscape.surface_directions import DirectionOptions, Kind, make_plane
from probe.analyses.landscape.surface_grid import (
    GridSettings,
    Mode,
    affordable_images,
    compute_grid,
)
from probe.analyses.landscape.surface_plane import RangeText
from probe.analyses.landscape.surface_trajectory import trajectory_chart
from probe.data.images import Images
from probe.errors import UserError
from probe.exhibits.result import Result
from probe.methods.landscape.directions import Normalisation
from probe.model.model import Model
from probe.params import Fraction, Names, UserPath


class SurfaceAnalysis(Analysis):
    """What does the loss surface look like around the weights of a network?"""

    name = "surface"
    title = "Loss surface"
    takes_compare_to = True
    source = "Li et al. 2018, arXiv 1712.09913"
    needs_labels = True
    quick = {"x": "-1:1:9", "y": "-1:1:9", "max_images": 100}

    dimensions: int = Field(2, ge=1, le=2, description="1 for a line, 2 for a plane")
    x: RangeText = Field(
        "",
        description="range of the first coordinate, as low:high:points, for example -1:1:51 (default: -1:1:25)",
    )
    y: RangeText = Field(
        "", description="range of the second coordinate, as low:high:points (default: -1:1:25)"
    )
    normalisation: Normalisation = Field(
        "filter",
        description="normalisation of random directions: per filter, per layer or per weight, or none",
    )
    move_1d: bool = Field(
        False, description="also perturb one-dimensional tensors, that is biases and batch norm parameters"
    )
    directions: Kind = Field(
        "random",
        description="random directions; hessian: the eigenvectors of the Hessian with the largest eigenvalues; "
        "adversarial: the signs of the gradients, in the space of the images. Ignored if towards, trajectory "
        "or direction-file is given",
    )
    towards: Names = Field(
        (), description="one or two models or checkpoints; the surface is the line or plane through them"
    )
    trajectory: UserPath | None = Field(
        None,
        description="folder of checkpoints, such as `probe train --save-epochs` writes; the surface is the plane of their"
        " principal components",
    )
    direction_file: UserPath | None = Field(
        None, description="checkpoint file that contains the directions, as tensors x.WEIGHT and y.WEIGHT"
    )
    eps: Fraction = Field(
        8 / 255, gt=0, le=1, description="change of a pixel at coordinate 1 along adversarial directions"
    )
    batch_norm: Literal["auto", "frozen", "moved", "recalibrated"] = Field(
        "auto",
        description="running statistics of batch norm: frozen, moved along the directions, or recalibrated at every point"
        " (auto: moved between checkpoints, otherwise frozen)",
    )
    mode: Mode = Field(
        "fast",
        description="exact: every point is evaluated on every image in float32; fast: batch norm is folded, bf16 is used "
        "where it is accurate enough, and points and images are skipped as far as the tolerance allows",
    )
    tolerance: Fraction = Field(
        0.02,
        ge=0,
        le=1,
        description="allowed relative error of the loss in fast mode (0: skip nothing)",
    )
    max_images: int | None = Field(
        None,
        ge=2,
        le=100_000,
        description="number of images, sampled evenly over the classes (default: 500, fewer for expensive networks)",
    )
    scale: Literal["auto", "linear", "log"] = Field("auto", description="scale of the loss in the figures")

    def run(self, model: Model, images: Images, job: Job) -> Result:
        seed = job.seed()
        images = images.take(self.max_images or affordable_images(model), seed=seed)
        settings = GridSettings(self.mode, self._statistics, self.tolerance)
        if job.compare_to and self._own_weights:
            raise UserError(
                "towards, trajectory and direction_file apply to a single model: omit --compare-to"
            )
        planes, grids = {}, {}
        for number, other in enumerate([model, *job.compare_to]):
            if other.shape != model.shape or other.classes != model.classes:
                raise UserError(
                    f"{other.name} takes other images or predicts other classes than {model.name}: their surfaces would "
                    "show different losses"
                )
            name = other.name if other.name not in grids else f"{other.name} ({number + 1})"
            planes[name] = make_plane(other, images, self._options(seed))
            grids[name] = compute_grid(
                other, images, planes[name], settings, job, prefix=f"model {number + 1} " if number else ""
            )
        for name, grid in grids.items():
            if not (grid.loss == grid.loss).any():
                raise UserError(f"every loss of {name} on this plane is NaN: choose a smaller range")
        findings = show.findings_of(grids, planes, exact=self.mode == "exact", scale=self.scale)
        plane = planes[model.name]
        exhibits = show.exhibits_of(grids, planes, findings, " ".join(filter(None, plane.notes)), images.name)
        if self.trajectory is not None:
            exhibits.insert(1, trajectory_chart(model, images, plane, self.trajectory, job))
        return Result(
            exhibits=exhibits, numbers=show.numbers_of(findings, grids), warnings=warnings_of(findings)
        )

    @property
    def _own_weights(self) -> bool:
        return bool(self.towards or self.trajectory or self.direction_file)

    @property
    def _statistics(self) -> BatchNorm:
        if self.batch_norm != "auto":
            return self.batch_norm
        return "moved" if self.towards or self.trajectory else "frozen"

    def files(self) -> list[Path]:
        """The checkpoints and files that it reads."""
        named = [Path(spec).expanduser() for spec in self.towards]
        return [p for p in (*named, self.trajectory, self.direction_file) if p is not None and p.exists()]

    def _options(self, seed: int) -> DirectionOptions:
        return DirectionOptions(
            kind=self.directions,
            dimensions=self.dimensions,
            normalisation=self.normalisation,
            move_1d=self.move_1d,
            statistics=self._statistics == "moved",
            x=self.x,
            y=self.y,
            seed=seed,
            eps=self.eps,
            towards=self.towards,
            trajectory=self.trajectory,
            direction_file=self.direction_file,
        )
