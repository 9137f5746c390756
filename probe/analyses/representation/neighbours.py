"""Which images are nearest neighbours in feature space, and which in pixel space?"""

import torch
from pydantic import Field
from torch import Tensor

from probe.analyses.analysis import Analysis
from probe.analyses.job import Job
from probe.analyses.representation import neighbours_exhibits as show
from probe.analyses.representation.chunked_features import chunked_features
from probe.analyses.representation.neighbours_exhibits import PIXELS, NeighbourFindings, SameClass
from probe.data.images import Images
from probe.data.thumbnails import thumbnails
from probe.errors import UserError
from probe.exhibits.exhibits import Exhibit
from probe.exhibits.result import Number, Result
from probe.exhibits.wording import snake_case
from probe.methods.representation.features import Pool, penultimate_layer, stages
from probe.methods.representation.neighbours import chance_level, nearest_neighbours, same_class_fraction
from probe.model.model import Model
from probe.params import Names

_MAX_SIDE = 64  # pixels: larger images are compared at this size


class Neighbours(Analysis):
    """Which images are nearest neighbours in feature space, and which in pixel space?"""

    name = "neighbours"
    title = "Nearest neighbours in features and in pixels"
    source = "Krizhevsky et al. 2012, section 6.1"
    needs_images = 2

    layers: Names = Field(
        (),
        description="layers to compare (default: one per size of feature map, and the penultimate layer)",
    )
    k: int = Field(5, ge=1, le=20, description="number of neighbours per image")
    examples: int = Field(8, ge=1, le=40, description="number of images shown with their neighbours")
    pool: Pool = Field(
        "mean",
        description="how feature maps are turned into vectors: mean or max over space, or none to keep all values",
    )
    cosine: bool = Field(
        False, description="use the cosine distance between features instead of the Euclidean distance"
    )

    def run(self, model: Model, images: Images, job: Job) -> Result:
        n = len(images)
        if n <= self.k:
            raise UserError(
                f"{self.k} neighbours need at least {self.k + 1} images, got {n}: take more images or --k {n - 1}"
            )
        addresses = self._addresses(model)
        points = self._points(model, images, addresses, job)
        last = addresses[-1]
        neighbours: dict[str, Tensor] = {}
        for name, values in points.items():
            cosine = self.cosine and name != PIXELS
            scaled = torch.nn.functional.normalize(values, dim=1) if cosine else values
            neighbours[name] = nearest_neighbours(scaled, self.k)[0].cpu()
        warnings: list[str] = []
        constant = [name for name, values in points.items() if float((values - values[0]).abs().max()) == 0]
        if constant:
            warnings.append(
                f"All images are equal in {', '.join(constant)}: their neighbours there are arbitrary."
            )
        fractions: dict[str, SameClass] = {}
        expected = None
        if problem := images.no_class_comparison:
            warnings.append(f"{problem}: the fractions of neighbours of the same class are omitted.")
        elif images.labels is not None:
            expected = chance_level(images.labels)
            for name, positions in neighbours.items():
                fractions[name] = SameClass.of(same_class_fraction(positions, images.labels))
        examples = torch.randperm(n, generator=job.rng)[: self.examples].sort().values
        findings = NeighbourFindings(
            n=n,
            k=self.k,
            layer=last,
            examples=len(examples),
            cosine=self.cosine,
            in_layer=fractions[last].mean if fractions else None,
            in_pixels=fractions[PIXELS].mean if fractions else None,
            chance_level=expected,
        )
        exhibits: list[Exhibit] = [show.same_class_chart(fractions, findings)] if fractions else []
        exhibits.append(show.neighbour_grid(images, model.classes, examples, neighbours, findings))
        return Result(exhibits=exhibits, numbers=_numbers(fractions, n), warnings=warnings)

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

    def _points(self, model: Model, images: Images, addresses: list[str], job: Job) -> dict[str, Tensor]:
        """The images as (n, values) in pixels and in each layer, on the model's device.

        By default, layers whose pooled features equal those of the last layer are left out.
        """
        values = chunked_features(model, images, addresses, job, pool=self.pool)
        last = addresses[-1]
        if not self.layers:
            values = {a: v for a, v in values.items() if a == last or not _equal(v, values[last])}
        pixels = torch.from_numpy(thumbnails(images, _MAX_SIDE)).flatten(1).to(model.device)
        return {PIXELS: pixels, **values}


def _equal(points: Tensor, others: Tensor) -> bool:
    return points.shape == others.shape and torch.allclose(points, others, rtol=1e-4, atol=1e-6)


def _numbers(fractions: dict[str, SameClass], n: int) -> dict[str, Number]:
    return {
        f"same_class_{snake_case(name)}": Number(
            value=fraction.mean,
            label=f"neighbours of the same class, {name}",
            low=fraction.low,
            high=fraction.high,
            n=n,
            format="{:.1%}",
        )
        for name, fraction in fractions.items()
    }
