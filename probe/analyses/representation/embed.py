"""How does the network order these images? A map of what a layer makes of them, and how far it can be believed."""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import torch
from pydantic import Field, field_validator

from probe.analyses.analysis import Analysis
from probe.analyses.class_labels import why_not
from probe.analyses.job import Job
from probe.analyses.representation import embed_exhibits as parts
from probe.data.images import Images
from probe.errors import UserError, unknown
from probe.exhibits.exhibits import Exhibit
from probe.exhibits.result import Number, Result
from probe.methods.representation import embedding
from probe.methods.representation import embedding_quality as map_quality
from probe.methods.representation.embedding import Embedding, Space
from probe.methods.representation.features import Pool, features, penultimate_layer
from probe.model.model import Model
from probe.params import Fraction, Integers, Names

Method = Literal["tsne", "umap", "pca"]

_SEEDED = 1000  # images on which maps from several seeds are compared


class Embed(Analysis):
    """How does the network order these images?"""

    name = "embed"
    title = "Maps of a layer's features"
    source = (
        "van der Maaten and Hinton 2008; McInnes et al. 2018; Venna and Kaski 2006; Kobak and Berens 2019"
    )
    needs_images = 4
    quick = {"methods": ("tsne", "pca"), "neighbours": 5, "seeds": 2, "grid": 5}

    layer: str = Field(
        "", description="layer whose features are mapped (default: the last before the classifier)"
    )
    methods: Names = Field(("tsne", "umap", "pca"), description="tsne, umap, pca")
    perplexity: Integers = Field(
        (), description="of t-SNE, several side by side (default: 30; 5, 30, 50 below 500 images)"
    )
    neighbours: int = Field(
        15, ge=2, le=200, description="neighbours that UMAP and the figures of quality look at"
    )
    pool: Pool = Field(
        "mean", description="what becomes of maps: mean or max over space, or none: all their values"
    )
    normalise: bool = Field(False, description="bring every image's features to length 1")
    dims: int = Field(
        50, ge=2, le=500, description="principal components that are kept before neighbours are looked for"
    )
    seeds: int = Field(
        3, ge=1, le=10, description="maps from different seeds whose likeness is measured (1: not at all)"
    )
    grid: int = Field(20, ge=0, le=50, description="pictures in a row of the picture grid (0: none)")
    placed: int = Field(
        0, ge=0, le=1000, description="images left out of the map and placed in it afterwards"
    )
    eps: Fraction = Field(
        0, ge=0, le=1, description="how far the placed images are led off by signed gradient steps"
    )

    @field_validator("methods")
    @classmethod
    def _known(cls, methods: tuple[str, ...]) -> tuple[str, ...]:
        for method in methods:
            if method not in get_args(Method):
                raise unknown("method", method, get_args(Method))
        return methods

    def run(self, model: Model, images: Images, job: Job) -> Result:
        later = None
        if self.placed:
            if "tsne" not in self.methods:
                raise UserError("only a t-SNE map takes further images: add tsne to methods, or placed = 0")
            if len(images) - self.placed < self.needs_images:
                raise UserError(
                    f"placed must leave at least {self.needs_images} of the {len(images)} images for the map, got {self.placed}"
                )
            order = torch.randperm(len(images), generator=job.rng)
            later, images = (
                images.select(order[: self.placed]),
                images.select(order[self.placed :].sort().values),
            )
        n = len(images)
        perplexities = embedding.perplexities(self.perplexity, n) if "tsne" in self.methods else []
        if n <= self.neighbours:
            raise UserError(
                f"{self.neighbours} neighbours need at least {self.neighbours + 1} images, got {n}: take more images or"
                f" --neighbours {max(2, n - 1)}"
            )
        layer = model.layers.parse(self.layer) if self.layer else None
        if layer is not None and layer.channel is not None:
            raise UserError(f"embed maps whole layers: write {layer.layer}, got {self.layer}")
        address = layer.layer if layer else penultimate_layer(model.layers).address
        known = min(n - 1, max([self.neighbours, *(int(np.ceil(3 * p)) for p in perplexities)]))
        seed = job.seed(2**31 - 1)
        size = model.batch()
        batches = job.progress(images.batches(size, model.device), "features", -(-n // size))
        rows = features(model, batches, [address], count=n, pool=self.pool)[address]
        space = embedding.space(rows, dims=self.dims, normalise=self.normalise, neighbours=known, seed=seed)
        mapped = parts.Mapped(model, images, address, space, near=min(self.neighbours, (n - 1) // 2))
        drawn = [
            parts.Drawn(
                name,
                plane,
                map_quality.quality(space, plane.tensor, mapped.labels, k=mapped.near, rng=job.rng),
            )
            for name, plane in self._maps(space, perplexities, seed, job)
        ]
        alike = self._stability(space, perplexities, seed, job) if self.seeds > 1 else {}
        warnings = [f"{why}: figures of classes are left out."] if (why := why_not(images)) else []
        if images.labels is not None and len(model.classes) > parts.GROUPS:
            warnings.append(
                f"{len(model.classes)} classes are too many to tell apart by colour: points are not coloured."
            )
        exhibits: list[Exhibit] = [parts.points(mapped, one) for one in drawn]
        exhibits += parts.pictured(mapped, max(drawn, key=_kept), grid=self.grid, job=job)
        if later is not None:
            exhibits.append(self._placed(mapped, later, drawn, job))
        exhibits.append(parts.believed(mapped, drawn, alike, self.seeds, min(n, _SEEDED)))
        numbers = {}
        for one in drawn:
            for name, value in one.figures.items():
                if name in ("neighbours kept", "trustworthiness"):
                    numbers[f"{name}, {one.name}"] = Number(value=value, n=n, format="{:.3f}")
        return Result(exhibits=exhibits, numbers=numbers, warnings=warnings)

    def _maps(
        self, space: Space, perplexities: Sequence[float], seed: int, job: Job, start: str = "pca"
    ) -> list[tuple[str, Embedding]]:
        maps = []
        for method in dict.fromkeys(self.methods):
            if method == "tsne":
                maps += [
                    (
                        f"t-SNE, perplexity {p:g}",
                        embedding.tsne(space, perplexity=p, seed=seed, start=start, progress=job.progress),
                    )
                    for p in perplexities
                ]
            elif method == "umap":
                # numba compiles for ten seconds and more when UMAP first runs: nothing moves meanwhile.
                said = "UMAP" if start == "random" else "UMAP (compiles at its first start)"
                for _ in job.progress([0], said, 1):
                    maps.append(("UMAP", embedding.umap(space, neighbours=self.neighbours, seed=seed)))
            elif start == "pca":
                maps.append(("PCA", embedding.pca(space)))
        return maps

    def _stability(
        self, space: Space, perplexities: Sequence[float], seed: int, job: Job
    ) -> dict[str, float]:
        """How alike maps from different seeds are, by the name of the map; t-SNE starts at random for it."""
        part = torch.randperm(len(space.points), generator=job.rng)[:_SEEDED].sort().values
        known = min(len(part) - 1, space.index.shape[1])
        some = embedding.space(space.points[part], dims=self.dims, neighbours=known, seed=seed)
        usable = [p for p in perplexities if 3 * p <= known]
        runs = [dict(self._maps(some, usable, seed + k, job, start="random")) for k in range(self.seeds)]
        return {name: map_quality.stability([run[name].places for run in runs]) for name in runs[0]}

    def _placed(self, mapped: parts.Mapped, later: Images, drawn: list[parts.Drawn], job: Job) -> Exhibit:
        """Images that the map does not know, put into it; and, if asked, where signed gradient steps lead them."""
        chosen = max((one for one in drawn if one.plane.fitted is not None), key=_kept)
        places: list[np.ndarray] = []
        for radius in [0.0] if self.eps == 0 else [self.eps * k / 4 for k in range(5)]:
            moved = parts.led_off(mapped.model, later, radius)
            rows = features(mapped.model, moved, [mapped.layer], count=len(later), pool=self.pool)
            places.append(embedding.transform(chosen.plane, mapped.space.project(rows[mapped.layer])))
        return parts.placed(mapped, later, chosen, places, self.eps, job)


def _kept(drawn: parts.Drawn) -> float:
    return drawn.figures["neighbours kept"]
