"""How maps of features are shown: points, images at their places, a grid, images placed later, and figures."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from probe.analyses.class_labels import why_not
from probe.analyses.job import Job
from probe.data.images import Batch, Images
from probe.data.thumbnails import thumbnails, tile
from probe.exhibits.exhibits import Cell, Exhibit, ImageGrid, Scatter, Table
from probe.methods.adversarial.gradient_attacks import FGSM
from probe.methods.representation import embedding
from probe.methods.representation import embedding_quality as map_quality
from probe.methods.representation.embedding import Embedding, Space
from probe.methods.representation.neighbours import nearest
from probe.model.model import Model

GROUPS = 20
"""More classes than this cannot be told apart by colour."""

_BEWARE = " Sizes of clusters and distances between them mean little."
_THUMBNAILS = 400
_BACKGROUND = 600


@dataclass(frozen=True)
class Mapped:
    """What is mapped: images by what `layer` makes of them, in `space`. near: neighbours that quality looks at."""

    model: Model
    images: Images
    layer: str
    space: Space
    near: int

    @property
    def labels(self) -> Tensor | None:
        """The classes, where they say something of neighbours."""
        return None if why_not(self.images) else self.images.labels

    def groups(self) -> tuple[np.ndarray | None, list[str]]:
        """The group of each image and their names; none where classes are unknown or too many for colours."""
        classes = self.model.classes
        if self.images.labels is None or len(classes) > GROUPS:
            return None, []
        return self.images.labels.numpy(), list(classes)


@dataclass(frozen=True)
class Drawn:
    """A map with its name in exhibits and what is known of its quality."""

    name: str
    plane: Embedding
    figures: dict[str, float]


def points(mapped: Mapped, drawn: Drawn) -> Scatter:
    """Every image as a point, coloured by its class."""
    groups, names = mapped.groups()
    figures = drawn.figures
    said = (
        f"{len(mapped.images):,} images by what {mapped.layer} makes of them: {figures['neighbours kept']:.0%} of the"
        f" {mapped.near} nearest neighbours are kept, trustworthiness {figures['trustworthiness']:.3f}."
    )
    if "class of neighbours" in figures:
        said += f" The class of the neighbours in the map is right for {figures['class of neighbours']:.1%}."
    if drawn.name == "PCA":
        spread = mapped.space.points.var(0)
        share = mapped.space.explained * float(spread[:2].sum() / spread.sum())
        said += f" The two axes hold {share:.0%} of the variance."
    else:
        said += _BEWARE
    return Scatter(
        title=f"{drawn.name} of {mapped.layer}",
        caption=said,
        x=drawn.plane.places[:, 0],
        y=drawn.plane.places[:, 1],
        group=groups,
        group_names=names,
        point_names=list(mapped.images.ids),
        equal=True,
    )


def pictured(mapped: Mapped, drawn: Drawn, *, grid: int, job: Job) -> list[Exhibit]:
    """Images at their places in a map, and the same map as a grid of pictures, `grid` of them in a row."""
    images = mapped.images
    order = torch.randperm(len(images), generator=job.rng)
    some = order[:_THUMBNAILS]
    groups, names = mapped.groups()
    which = f"{len(some)} of the {len(images):,}" if len(some) < len(images) else f"The {len(images)}"
    found: list[Exhibit] = [
        Scatter(
            title=f"Images at their places, {drawn.name} of {mapped.layer}",
            caption=f"{which} images at their places in the map: a small picture where it covers no other, else a dot."
            + (_BEWARE if drawn.name != "PCA" else ""),
            x=drawn.plane.places[some, 0],
            y=drawn.plane.places[some, 1],
            group=None if groups is None else groups[some],
            group_names=names,
            point_names=[images.ids[i] for i in some.tolist()],
            thumbnails=thumbnails(images.select(some)),
            equal=True,
        )
    ]
    side = min(grid, int(len(images) ** 0.5))
    if side >= 2:
        chosen = order[: side * side]
        cells = embedding.grid(drawn.plane.places[chosen.numpy()], side)
        pictures = thumbnails(images.select(chosen[torch.from_numpy(cells).flatten()]))
        which = f"{side * side} of the {len(images):,}" if side * side < len(images) else f"The {len(images)}"
        found.append(
            ImageGrid(
                title=f"Picture grid of {mapped.layer}",
                caption=f"{which} images, each in a cell of its own so that neighbours in the map ({drawn.name}) stay"
                " neighbours.",
                images=[tile(pictures, side)],
                columns=1,
            )
        )
    return found


def placed(
    mapped: Mapped, later: Images, drawn: Drawn, places: list[np.ndarray], eps: float, job: Job
) -> Scatter:
    """Images that the map does not know, put into it; places: (n, 2) at each radius from 0 to `eps`."""
    images = mapped.images
    shown = torch.randperm(len(images), generator=job.rng)[:_BACKGROUND].sort().values
    sets = [
        drawn.plane.places[shown],
        places[0],
        *([np.concatenate(places[1:-1]), places[-1]] if eps else []),
    ]
    names = [
        "images of the map",
        "placed afterwards",
        *(["on the way", f"moved by {eps:.3g}"] if eps else []),
    ]
    xy = np.concatenate(sets)
    finding = ""
    if mapped.labels is not None and later.labels is not None:
        index, _ = nearest(drawn.plane.tensor, mapped.near, torch.from_numpy(places[0]))
        right = map_quality.knn_accuracy(index, mapped.labels, later.labels)
        finding = f" The class of the neighbours among which they came to lie is right for {right:.0%}."
    if eps:
        way = float(np.median(np.linalg.norm(places[-1] - places[0], axis=1)))
        across = float(np.ptp(drawn.plane.places, axis=0).max())
        finding += (
            f" A signed gradient step of {eps:.3g} moves them by {way / across:.0%} of the map (median)."
        )
    count = f"{len(later):,} images that were" if len(later) > 1 else "One image that was"
    return Scatter(
        title=f"Images placed in the map, {drawn.name} of {mapped.layer}",
        caption=f"{count} left out, placed in a map that does not move.{finding}",
        x=xy[:, 0],
        y=xy[:, 1],
        group=np.repeat(np.arange(len(sets)), [len(part) for part in sets]),
        group_names=names,
        point_names=[*(images.ids[i] for i in shown.tolist()), *list(later.ids) * len(places)],
        equal=True,
    )


def believed(mapped: Mapped, drawn: list[Drawn], alike: dict[str, float], seeds: int, seeded: int) -> Table:
    """The figures of quality of every map, under those of the space itself."""
    space, k, n = mapped.space, mapped.near, len(mapped.images)
    names = list(drawn[0].figures)
    own: list[Cell] = [f"{mapped.layer}, {space.points.shape[1]} components", 1.0, 1.0, 1.0, 1.0]
    if mapped.labels is not None:
        own.append(map_quality.knn_accuracy(space.index[:, :k], mapped.labels))
    rows = [[*own, *([None] if alike else [])]]
    for one in drawn:
        last: list[Cell] = [alike.get(one.name)] if alike else []
        rows.append([one.name, *(one.figures[name] for name in names), *last])
    best = max(drawn, key=lambda one: one.figures["neighbours kept"])
    said = (
        f"{best.name} keeps {'most' if len(drawn) > 1 else 'its'} neighbours, {best.figures['neighbours kept']:.0%} of {k};"
        f" {space.points.shape[1]} components hold {space.explained:.0%} of the variance. Trustworthiness falls with"
        " strangers among neighbours in the map, continuity with neighbours that were torn apart"
    )
    said += f" (both asked of {map_quality.ROWS:,} images)" if n > map_quality.ROWS else ""
    said += "; distances: rank correlation"
    if alike:
        random = " (t-SNE from random places)" if any(name.startswith("t-SNE") for name in alike) else ""
        said += (
            f"; stability: likeness of maps of {seeded:,} images from {seeds} seeds{random}, 1 is the same"
        )
    return Table(
        title=f"How far the maps of {mapped.layer} can be believed",
        caption=f"{said}.",
        columns=["map", *names, *(["stability"] if alike else [])],
        rows=rows,
        formats=dict.fromkeys([*names, *(["stability"] if alike else [])], "{:.3f}"),
    )


def led_off(model: Model, images: Images, eps: float) -> Iterator[Batch]:
    """The images, each moved by one signed gradient step of `eps` away from its class, or from its answer."""
    for batch in images.batches(model.batch(gradient=True), model.device):
        if eps == 0:
            yield batch
            continue
        labels = model.logits(batch.pixels).argmax(1) if batch.labels is None else batch.labels
        yield Batch(batch.positions, FGSM(eps=eps)(model, batch.pixels, labels).pixels, batch.labels)
