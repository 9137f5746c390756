"""What do these images have in common before any network sees them?"""

from math import prod

import numpy as np
import torch
from pydantic import Field

from probe.analyses.analysis import Analysis
from probe.analyses.job import Job
from probe.data.images import Images
from probe.exhibits.exhibits import Chart, Exhibit, ImageGrid, Line, Matrix, Scale, Table
from probe.exhibits.result import Number, Result
from probe.exhibits.wording import counted
from probe.methods.inspection.image_statistics import PixelStatistics, pixel_statistics
from probe.model.model import Model

_COLOURS = ("red", "green", "blue")
_ENOUGH = 5  # images that make a mean image of a class


class Statistics(Analysis):
    """What do these images have in common?"""

    name = "statistics"
    title = "Statistics of the data"
    source = "Field 1987; Ruderman 1994; Krizhevsky et al. 2012, section 4.1"

    classes: int = Field(20, ge=0, le=100, description="classes of which the mean image is shown, at most")

    def run(self, model: Model, images: Images, job: Job) -> Result:
        size = max(1, min(128, 2**22 // prod(images.shape)))
        batches = job.progress(images.batches(size), "statistics", -(-len(images) // size))
        found = pixel_statistics(batches, images.shape)
        names = (
            list(_COLOURS)
            if images.shape[0] == 3
            else ["grey"]
            if images.shape[0] == 1
            else [f"channel {c}" for c in range(images.shape[0])]
        )
        warnings = []
        if images.labels is None and self.classes:
            warnings.append("The images have no labels: mean images of classes are left out.")
        exhibits: list[Exhibit] = [self._colours(found, names)]
        if bool(found.correlation.isnan().any()):
            warnings.append("Some channel never changes: correlations of colours are left out.")
        elif len(names) > 1:
            exhibits.append(self._correlation(found, names))
        exhibits += [self._means(model, images, found), self._distances(found)]
        numbers = {
            f"mean {name}": Number(value=float(mean), format="{:.3f}")
            for name, mean in zip(names, found.mean, strict=True)
        }
        if bool(found.centred.isnan().all()):
            warnings.append(
                "All pixels are alike: neither correlation against distance nor a spectrum can be given."
            )
        else:
            numbers["correlation of adjacent pixels"] = Number(value=float(found.centred[1]), format="{:.3f}")
            if np.isfinite(found.slope):
                exhibits.append(self._spectrum(found))
                numbers["spectral exponent"] = Number(value=found.slope, format="{:.2f}")
        return Result(exhibits=exhibits, numbers=numbers, warnings=warnings)

    def _colours(self, found: PixelStatistics, names: list[str]) -> Table:
        variance, axes = torch.linalg.eigh(found.covariance)
        share = variance.flip(0).clamp(min=0) / variance.clamp(min=0).sum().clamp(min=1e-30)
        rows = [
            [
                name,
                float(found.mean[c]),
                float(found.covariance[c, c].clamp(min=0).sqrt()),
                *found.covariance[c].tolist(),
            ]
            for c, name in enumerate(names)
        ]
        said = ""
        if len(names) == 3 and float(variance.sum()) > 1e-12:
            first = axes[:, -1] * axes[:, -1].sum().sign()
            mixed = ", ".join(f"{v:+.2f} {name}" for v, name in zip(first.tolist(), names, strict=True))
            said = f" {float(share[0]):.0%} of the variance lies along {mixed}, {float(share[1]):.1%} and {float(share[2]):.1%} along the other two axes."
        return Table(
            title="Mean and covariance of colour",
            caption=f"Mean colour {', '.join(f'{m:.3f}' for m in found.mean.tolist())} over {counted(found.count)}.{said}",
            columns=["channel", "mean", "deviation", *(f"with {name}" for name in names)],
            rows=rows,
            formats=dict.fromkeys(["mean", "deviation"], "{:.4f}")
            | {f"with {name}": "{:.5f}" for name in names},
        )

    def _correlation(self, found: PixelStatistics, names: list[str]) -> Matrix:
        values = found.correlation.float().numpy()
        least = float(values[~np.eye(len(names), dtype=bool)].min())
        return Matrix(
            title="Correlation of colours",
            caption=f"The colours of a pixel are correlated by at least {least:.2f}.",
            values=values,
            row_labels=names,
            column_labels=names,
            format="{:.3f}",
            scale=Scale(low=-1, high=1, kind="diverging", label="correlation"),
        )

    def _means(self, model: Model, images: Images, found: PixelStatistics) -> ImageGrid:
        pictures, labels = [found.mean_image], ["all"]
        if images.labels is not None and self.classes:
            present = (images.labels.bincount() >= _ENOUGH).nonzero()[:, 0][: self.classes]
            present = present if len(present) > 1 else present[:0]  # one class: its mean is that of all
            sums = torch.zeros(len(present), *images.shape, dtype=torch.double)
            for batch in images.batches(128):
                assert batch.labels is not None
                for row, c in enumerate(present.tolist()):
                    sums[row] += batch.pixels[batch.labels == c].double().sum(0)
            counts = images.labels.bincount()[present]
            pictures += list(sums / counts[:, None, None, None])
            labels += [model.classes[c] for c in present.tolist()]
        spread = float(torch.stack(pictures[1:]).std(0, correction=0).mean()) if len(pictures) > 2 else None
        return ImageGrid(
            title="Mean images",
            caption=f"The mean of {counted(found.count)}"
            + (
                f" and of {self._which(images, len(pictures) - 1)}; the means of classes differ by {spread:.3f} (standard deviation,"
                " mean over pixels)."
                if spread is not None
                else "."
            ),
            images=[p.clamp(0, 1).permute(1, 2, 0).float().numpy() for p in pictures],
            labels=labels,
        )

    def _which(self, images: Images, shown: int) -> str:
        assert images.labels is not None
        there = int((images.labels.bincount() > 0).sum())
        return "each class" if shown == there else f"{shown} of {there} classes"

    def _distances(self, found: PixelStatistics) -> Chart:
        x = found.distances.numpy()
        lines = [Line(name="Euclidean distance of colours", x=x, y=found.euclidean.numpy())]
        if not bool(found.cosine.isnan().all()):
            lines.append(Line(name="cosine", x=x, y=found.cosine.numpy()))
        said = "All pixels are alike."
        if not bool(found.centred.isnan().all()):
            lines.append(
                Line(name="cosine after the mean is taken away", x=x, y=found.centred.numpy(), dashed=True)
            )
            half = next((int(d) for d, v in zip(x, found.centred, strict=True) if v < 0.5), None)
            said = (
                f"Adjacent pixels are correlated by {float(found.centred[1]):.3f}, those {int(x[-1])} apart by {float(found.centred[-1]):.3f}; "
                + (
                    f"the correlation falls below a half at {half} pixels."
                    if half is not None
                    else "it stays above a half."
                )
            )
        return Chart(
            title="Similarity of pixels against their distance",
            caption=said
            + f" Euclidean distance grows from 0 to {float(found.euclidean[-1]):.3f}. Along rows and columns.",
            lines=lines,
            x_label="distance of two pixels",
            y_label="similarity, or Euclidean distance",
        )

    def _spectrum(self, found: PixelStatistics) -> Chart:
        f, power = found.frequencies.numpy(), found.power.numpy()
        middle = len(f) // 3
        return Chart(
            title="Spectrum",
            caption=f"The power of brightness falls as frequency to the power {-found.slope:.2f}; photographs have about -2, white"
            " noise 0.",
            lines=[
                Line(name="mean power", x=f, y=power),
                Line(
                    name=f"f to the power {-found.slope:.2f}",
                    x=f,
                    y=power[middle] * (f / f[middle]) ** -found.slope,
                    dashed=True,
                ),
            ],
            x_label="spatial frequency, cycles per pixel",
            y_label="power",
            x_log=True,
            y_log=True,
        )
