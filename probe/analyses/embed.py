"""How does the network order these images? A map of what a layer makes of them, and how far it can be believed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from pydantic import Field, field_validator

from probe.analyses.analysis import Analysis, Job
from probe.data.images import Batch, Images
from probe.errors import UserError, unknown
from probe.exhibits.exhibits import Cell, Exhibit, Pictures, Scatter, Table
from probe.exhibits.result import Number, Result
from probe.methods import embedding, map_quality
from probe.methods.attacks import fgsm
from probe.methods.embedding import Plane, Space
from probe.methods.features import Pool, features, last_features
from probe.methods.neighbours import nearest
from probe.methods.thumbnails import sheet, thumbnails
from probe.params import Fraction, Integers, Names
from probe.subject.subject import Subject

Method = Literal["tsne", "umap", "pca"]

BEWARE = "Sizes of clusters and distances between them mean little."
_SEEDED = 1000  # images on which maps from several seeds are compared
_THUMBNAILS = 400
_BACKGROUND = 600
_GROUPS = 20  # more classes than this cannot be told apart by colour


@dataclass(frozen=True)
class Drawn:
    """A map with its name in exhibits and what is known of its quality."""

    name: str
    plane: Plane
    figures: dict[str, float]


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

    def run(self, subject: Subject, images: Images, job: Job) -> Result:
        later = None
        if self.placed:
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
        layer = subject.layers.parse(self.layer) if self.layer else None
        if layer is not None and layer.channel is not None:
            raise UserError(f"embed maps whole layers: write {layer.layer}, got {self.layer}")
        address = layer.layer if layer else last_features(subject.layers).address
        known = min(n - 1, max([self.neighbours, *(int(np.ceil(3 * p)) for p in perplexities)]))
        seed = int(torch.randint(2**31 - 1, (1,), generator=job.rng))
        size = subject.batch()
        batches = job.progress(images.batches(size, subject.device), "features", -(-n // size))
        rows = features(subject, batches, [address], count=n, pool=self.pool)[address]
        space = embedding.space(rows, dims=self.dims, normalise=self.normalise, neighbours=known, seed=seed)
        near = min(self.neighbours, (n - 1) // 2)
        drawn = [
            Drawn(name, plane, map_quality.figures(space, plane.tensor, images.labels, k=near, rng=job.rng))
            for name, plane in self._maps(space, perplexities, seed, job)
        ]
        alike = self._stability(space, perplexities, seed, job) if self.seeds > 1 else {}
        warnings = [] if images.labels is not None else ["The images have no labels: classes are left out."]
        if images.labels is not None and len(subject.classes) > _GROUPS:
            warnings.append(
                f"{len(subject.classes)} classes are too many to tell apart by colour: points are not coloured."
            )
        exhibits: list[Exhibit] = [self._scatter(subject, images, address, space, one) for one in drawn]
        exhibits += self._pictured(subject, images, address, drawn[0], job)
        if later is not None:
            exhibits += self._placed(subject, images, later, address, space, drawn, job)
        exhibits.append(self._table(images, address, space, drawn, alike))
        numbers = {}
        for one in drawn:
            for name, value in one.figures.items():
                if name in ("neighbours kept", "trustworthiness"):
                    numbers[f"{name}, {one.name}"] = Number(value=value, n=n, format="{:.3f}")
        return Result(exhibits=exhibits, numbers=numbers, warnings=warnings)

    def _maps(
        self, space: Space, perplexities: Sequence[float], seed: int, job: Job, start: str = "pca"
    ) -> list[tuple[str, Plane]]:
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
                for _ in job.progress([0], "UMAP", 1):
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

    def _scatter(self, subject: Subject, images: Images, address: str, space: Space, one: Drawn) -> Scatter:
        groups, names = _groups(subject, images)
        figures = one.figures
        accuracy = figures.get("class of neighbours")
        return Scatter(
            title=f"{one.name} of {address}",
            caption=f"{len(images):,} images by what {address} makes of them: {figures['neighbours kept']:.0%} of the"
            f" {min(self.neighbours, (len(images) - 1) // 2)} nearest neighbours are kept, trustworthiness"
            f" {figures['trustworthiness']:.3f}."
            + (
                f" The class of the neighbours in the map is right for {accuracy:.0%}."
                if accuracy is not None
                else ""
            )
            + f" {BEWARE}",
            x=one.plane.places[:, 0],
            y=one.plane.places[:, 1],
            group=groups,
            group_names=names,
            point_names=list(images.ids),
            equal=True,
        )

    def _pictured(
        self, subject: Subject, images: Images, address: str, one: Drawn, job: Job
    ) -> list[Exhibit]:
        order = torch.randperm(len(images), generator=job.rng)
        some = order[:_THUMBNAILS]
        groups, names = _groups(subject, images)
        found: list[Exhibit] = [
            Scatter(
                title=f"Images at their places, {one.name} of {address}",
                caption=f"{len(some)} of the {len(images):,} images at their places in the map; where they would cover each"
                f" other, one is drawn. {BEWARE}",
                x=one.plane.places[some, 0],
                y=one.plane.places[some, 1],
                group=None if groups is None else groups[some],
                group_names=names,
                point_names=[images.ids[i] for i in some.tolist()],
                thumbnails=thumbnails(images.select(some)),
                equal=True,
            )
        ]
        side = min(self.grid, int(len(images) ** 0.5))
        if side >= 2:
            chosen = order[: side * side]
            cells = embedding.grid(one.plane.places[chosen.numpy()], side)
            pictures = thumbnails(images.select(chosen[torch.from_numpy(cells).flatten()]))
            found.append(
                Pictures(
                    title=f"Picture grid of {address}",
                    caption=f"{side * side} of the {len(images):,} images, each in a cell of its own so that neighbours in the"
                    f" map ({one.name}) stay neighbours.",
                    images=[sheet(pictures, side)],
                    columns=1,
                )
            )
        return found

    def _placed(
        self,
        subject: Subject,
        images: Images,
        later: Images,
        address: str,
        space: Space,
        drawn: list[Drawn],
        job: Job,
    ) -> list[Exhibit]:
        """Images that the map does not know, put into it; and, if asked, where signed gradient steps lead them."""
        chosen = next((one for one in drawn if one.plane.fitted is not None), None)
        if chosen is None:
            raise UserError("only a t-SNE map takes further images: add tsne to methods, or placed = 0")
        radii = [0.0] if self.eps == 0 else [self.eps * k / 4 for k in range(5)]
        layers: list[np.ndarray] = []
        for radius in radii:
            moved = led_off(subject, later, radius)
            rows = features(subject, moved, [address], count=len(later), pool=self.pool)[address]
            layers.append(embedding.place(chosen.plane, space.project(rows)))
        shown = torch.randperm(len(images), generator=job.rng)[:_BACKGROUND].sort().values
        parts = [
            chosen.plane.places[shown],
            layers[0],
            *([np.concatenate(layers[1:-1]), layers[-1]] if self.eps else []),
        ]
        names = [
            "images of the map",
            "placed afterwards",
            *(["on the way", f"moved by {self.eps:.3g}"] if self.eps else []),
        ]
        xy = np.concatenate(parts)
        group = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        finding = ""
        if images.labels is not None and later.labels is not None:
            index, _ = nearest(
                chosen.plane.tensor, min(self.neighbours, len(images)), torch.from_numpy(layers[0])
            )
            right = map_quality.label_accuracy(index, images.labels, later.labels)
            finding = f" The class of the neighbours among which they came to lie is right for {right:.0%}."
        if self.eps:
            way = float(np.median(np.linalg.norm(layers[-1] - layers[0], axis=1)))
            across = float(np.ptp(chosen.plane.places, axis=0).max())
            finding += f" A signed gradient step of {self.eps:.3g} moves them by {way / across:.0%} of the map (median)."
        return [
            Scatter(
                title=f"Images placed in the map, {chosen.name} of {address}",
                caption=f"{len(later)} images that were left out, placed in a map that does not move.{finding}",
                x=xy[:, 0],
                y=xy[:, 1],
                group=group,
                group_names=names,
                point_names=[*(images.ids[i] for i in shown.tolist()), *list(later.ids) * len(radii)],
                equal=True,
            )
        ]

    def _table(
        self, images: Images, address: str, space: Space, drawn: list[Drawn], alike: dict[str, float]
    ) -> Table:
        names = list(drawn[0].figures)
        k = min(self.neighbours, (len(images) - 1) // 2)
        own: list[Cell] = [f"{address}, {space.points.shape[1]} components", 1.0, 1.0, 1.0, 1.0]
        if images.labels is not None:
            own.append(map_quality.label_accuracy(space.index[:, :k], images.labels))
        rows = [[*own, *([None] if alike else [])]]
        for one in drawn:
            last: list[Cell] = [alike.get(one.name)] if alike else []
            rows.append([one.name, *(one.figures[name] for name in names), *last])
        best = max(drawn, key=lambda one: one.figures["neighbours kept"])
        return Table(
            title=f"How far the maps of {address} can be believed",
            caption=f"{best.name} keeps most neighbours, {best.figures['neighbours kept']:.0%} of {k};"
            f" {space.points.shape[1]} components hold {space.explained:.0%} of the variance. Trustworthiness falls with"
            " strangers among neighbours in the map, continuity with neighbours that were torn apart"
            + (f" (both asked of {map_quality.ROWS:,} images)" if len(images) > map_quality.ROWS else "")
            + "; distances: rank correlation"
            + (
                f"; stability: likeness of maps of {min(len(images), _SEEDED):,} images from {self.seeds} seeds (t-SNE from random"
                " places), 1 is the same."
                if alike
                else "."
            ),
            columns=["map", *names, *(["stability"] if alike else [])],
            rows=rows,
            formats=dict.fromkeys([*names, *(["stability"] if alike else [])], "{:.3f}"),
        )  # fmt: skip


def led_off(subject: Subject, images: Images, eps: float) -> Iterator[Batch]:
    """The images, each moved by one signed gradient step of `eps` away from its class, or from its answer."""
    for batch in images.batches(subject.batch(gradient=True), subject.device):
        if eps == 0:
            yield batch
            continue
        labels = subject.logits(batch.pixels).argmax(1) if batch.labels is None else batch.labels
        yield Batch(batch.index, fgsm(subject, batch.pixels, labels, eps=eps), batch.labels)


def _groups(subject: Subject, images: Images) -> tuple[np.ndarray | None, list[str]]:
    if images.labels is None or len(subject.classes) > _GROUPS:
        return None, []
    return images.labels.numpy(), list(subject.classes)
