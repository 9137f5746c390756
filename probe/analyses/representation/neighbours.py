"""Which images does the network find alike, and which are alike in their pixels?"""

import torch
from pydantic import Field
from torch import Tensor

from probe.analyses.analysis import Analysis
from probe.analyses.class_labels import why_not
from probe.analyses.job import Job
from probe.data.images import Images
from probe.data.thumbnails import thumbnails
from probe.errors import UserError
from probe.exhibits.exhibits import Chart, Exhibit, ImageGrid, Line
from probe.exhibits.result import Number, Result
from probe.methods.representation.features import Pool, features, penultimate_layer, stages
from probe.methods.representation.neighbours import chance, nearest, same_class
from probe.model.model import Model
from probe.params import Names

PIXELS = "pixels"
_SIDE = 64  # pixels: larger images are compared at this size


def spaces(model: Model, images: Images, addresses: list[str], *, pool: Pool, job: Job) -> dict[str, Tensor]:
    """The images as points: {"pixels": (n, values), address: (n, values)}, on the model's device."""
    size = model.batch()
    batches = job.progress(images.batches(size, model.device), "features", -(-len(images) // size))
    found = features(model, batches, addresses, count=len(images), pool=pool)
    small = torch.from_numpy(thumbnails(images, _SIDE)).flatten(1).to(model.device)
    return {PIXELS: small, **found}


class Neighbours(Analysis):
    """Which images are nearest in feature space, and which in pixel space?"""

    name = "neighbours"
    title = "Nearest neighbours in features and in pixels"
    source = "Krizhevsky et al. 2012, section 6.1"
    needs_images = 2

    layers: Names = Field(
        (), description="layers to compare (default: one at each size of map, and the last features)"
    )
    count: int = Field(5, ge=1, le=20, description="neighbours of an image")
    examples: int = Field(8, ge=1, le=40, description="images to show with their neighbours")
    pool: Pool = Field(
        "mean", description="what becomes of maps: mean or max over space, or none: all their values"
    )
    cosine: bool = Field(False, description="compare the directions of features, not their differences")

    def run(self, model: Model, images: Images, job: Job) -> Result:
        if len(images) <= self.count:
            raise UserError(
                f"{self.count} neighbours need at least {self.count + 1} images, got {len(images)}: take more images or --count {len(images) - 1}"
            )
        addresses = self._addresses(model)
        found = spaces(model, images, addresses, pool=self.pool, job=job)
        last = addresses[-1]
        if not self.layers:  # the mean of the last maps often is the next layer's answer: once is enough
            addresses = [a for a in addresses if a == last or not _same(found[a], found[last])]
            found = {name: found[name] for name in (PIXELS, *addresses)}
        index: dict[str, Tensor] = {}
        for name, points in found.items():
            scaled = (
                torch.nn.functional.normalize(points, dim=1) if self.cosine and name != PIXELS else points
            )
            index[name] = nearest(scaled, self.count)[0].cpu()
        exhibits: list[Exhibit] = []
        numbers: dict[str, Number] = {}
        warnings: list[str] = []
        flat = [name for name, points in found.items() if float((points - points[0]).abs().max()) == 0]
        if flat:
            warnings.append(f"All images are the same in {', '.join(flat)}: neighbours there are arbitrary.")
        if why := why_not(images):
            warnings.append(f"{why}: shares of equal class are left out.")
        elif images.labels is not None:
            shares = {name: same_class(rows, images.labels) for name, rows in index.items()}
            ends = {name: _interval(share) for name, share in shares.items()}
            for name in (PIXELS, *addresses):
                low, high = ends[name]
                mean = float(shares[name].mean())
                numbers[f"neighbours of equal class, {name}"] = Number(
                    value=mean, low=low, high=high, n=len(images), format="{:.1%}"
                )
            exhibits.append(self._chart(images, shares, ends, addresses, chance(images.labels)))
        exhibits.append(self._pictures(model, images, index, last, job))
        return Result(exhibits=exhibits, numbers=numbers, warnings=warnings)

    def _addresses(self, model: Model) -> list[str]:
        if not self.layers:
            addresses = [layer.address for layer in stages(model.layers)] if model.layers.maps else []
            last = penultimate_layer(model.layers).address
            return [*(a for a in addresses if a != last), last]
        parsed = [model.layers.parse(text) for text in self.layers]
        for text, address in zip(self.layers, parsed, strict=True):
            if address.channel is not None:
                raise UserError(f"neighbours compares whole layers: write {address.layer}, got {text}")
        return list(dict.fromkeys(address.layer for address in parsed))

    def _chart(
        self,
        images: Images,
        shares: dict[str, Tensor],
        ends: dict[str, tuple[float, float]],
        addresses: list[str],
        random: float,
    ) -> Chart:
        names = [PIXELS, *addresses]
        y = torch.tensor([float(shares[name].mean()) for name in names]).numpy()
        x = torch.arange(len(names)).numpy().astype(float)
        last = addresses[-1]
        return Chart(
            title="Neighbours of equal class, layer by layer",
            caption=f"Of the {self.count} nearest neighbours of an image, {y[-1]:.1%} are of its own class in {last} and"
            f" {y[0]:.1%} in pixels; by chance it would be {random:.0%}. {len(images):,} images, with 95 % intervals.",
            lines=[
                Line(
                    name="nearest neighbours",
                    x=x,
                    y=y,
                    low=torch.tensor([ends[name][0] for name in names]).numpy(),
                    high=torch.tensor([ends[name][1] for name in names]).numpy(),
                )
            ],
            x_label="where neighbours are looked for",
            y_label="neighbours of equal class",
            kind="bar",
            ticks=names,
            y_range=(0, 1),
        )

    def _pictures(
        self, model: Model, images: Images, index: dict[str, Tensor], last: str, job: Job
    ) -> ImageGrid:
        chosen = torch.randperm(len(images), generator=job.rng)[: self.examples].sort().values
        rows = [[i, *index[last][i].tolist(), *index[PIXELS][i].tolist()] for i in chosen.tolist()]
        flat = [i for row in rows for i in row]
        pictures = list(thumbnails(images.select(flat), 96))
        labels = [] if images.labels is None else [model.classes[int(images.labels[i])] for i in flat]
        said = ""
        if images.labels is not None and not why_not(images):
            equal = [
                same_class(index[name][chosen], images.labels, images.labels[chosen]).mean()
                for name in (last, PIXELS)
            ]
            said += f"; of their neighbours {float(equal[0]):.0%} are of equal class in {last}, {float(equal[1]):.0%} in pixels"
        near = f"its {self.count} nearest in" if self.count > 1 else "the nearest in"
        return ImageGrid(
            title="Images with their nearest neighbours",
            caption=f"{_images(len(rows), len(images))}{said}. First column: the image; then {near} {last}"
            f" ({'by angle' if self.cosine else 'Euclidean'}), then {near} pixels{', nearest first' if self.count > 1 else ''}.",
            images=pictures,
            labels=labels,
            columns=1 + 2 * self.count,
            column_headers=[
                "image",
                *(f"{last} {k + 1}" for k in range(self.count)),
                *(f"pixels {k + 1}" for k in range(self.count)),
            ],
        )


def _images(shown: int, count: int) -> str:
    if shown == count:
        return f"The {count} images"
    return f"{shown} of the {count:,} images, drawn at random" if shown > 1 else "An image drawn at random"


def _same(points: Tensor, others: Tensor) -> bool:
    return points.shape == others.shape and torch.allclose(points, others, rtol=1e-4, atol=1e-6)


def _interval(shares: Tensor) -> tuple[float, float]:
    """95 % interval of a mean over images."""
    mean, half = float(shares.mean()), 1.96 * float(shares.std(correction=1)) / len(shares) ** 0.5
    return max(0.0, mean - half), min(1.0, mean + half)
