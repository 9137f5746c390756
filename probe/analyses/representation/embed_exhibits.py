"""Exhibits of `embed`: points, thumbnails, an image grid, held-out images and a table of quality."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from probe.analyses.representation import embed_captions as captions
from probe.analyses.representation.embed_fits import PCA
from probe.data.images import Batch, Images
from probe.data.thumbnails import thumbnails, tile
from probe.exhibits.exhibits import Cell, Exhibit, ImageGrid, Scatter, Table, facts_of
from probe.exhibits.wording import format_eps, sentences
from probe.methods.adversarial.gradient_attacks import FGSM
from probe.methods.representation.embedding import Embedding, FeatureSpace, assign_to_grid
from probe.methods.representation.embedding_quality import EmbeddingQuality, knn_accuracy
from probe.methods.representation.neighbours import nearest_neighbours
from probe.methods.representation.superclasses import class_weights, superclasses
from probe.model.model import Model

MAX_COLOURS = 20
"""More classes than this cannot be distinguished by colour."""

_MAX_GROUPS = 10
_MAX_THUMBNAILS = 400
_THUMBNAIL_SIDE = 64
_GRID_SIDE = 1000  # pixels of the side of an image grid
_NEIGHBOURS = 8  # of each thumbnail, in feature space
_MAX_BACKGROUND = 600


@dataclass(frozen=True)
class EmbeddedImages:
    """Images as points of a feature space. k: neighbours over which the quality of embeddings is measured."""

    model: Model
    images: Images
    layer: str
    space: FeatureSpace
    k: int

    @property
    def labels(self) -> Tensor | None:
        """The classes; None where images cannot be compared by class."""
        return None if self.images.no_class_comparison else self.images.labels

    @cached_property
    def colouring(self) -> "Colouring":
        """Which images have the same colour."""
        if self.images.labels is None:
            return Colouring(None, [])
        return colour_by_class(self.model, self.images.labels.numpy())


@dataclass(frozen=True)
class Colouring:
    """groups: (n,) colour of each image, None where there are none. names: of the colours.

    note: a sentence for captions, empty where each class has a colour; facts: its numbers.
    """

    groups: np.ndarray | None
    names: list[str]
    note: str = ""
    facts: dict[str, float] = field(default_factory=dict)


def colour_by_class(model: Model, labels: np.ndarray) -> Colouring:
    """A colour for each class; with too many classes, for the most frequent ones or for groups of similar classes.

    The most frequent classes where `_MAX_GROUPS` of them have at least half of the images; else groups of the classes
    that occur, by the weights of the classifier.
    """
    classes = model.classes
    if len(classes) <= MAX_COLOURS:
        return Colouring(labels, list(classes))
    counts = np.bincount(labels, minlength=len(classes))
    frequent = np.argsort(-counts, kind="stable")[:_MAX_GROUPS]
    frequent = frequent[counts[frequent] > 0]
    weights = class_weights(model)
    covered = int(counts[frequent].sum())
    if 2 * covered >= len(labels) or weights is None:
        rank = np.full(len(classes), len(frequent))
        rank[frequent] = np.arange(len(frequent))
        others = [] if covered == len(labels) else ["other classes"]
        findings = captions.ColourFindings(len(frequent), int((counts > 0).sum()), covered / len(labels))
        return Colouring(
            rank[labels],
            [*(classes[c] for c in frequent), *others],
            captions.colour_note(findings),
            facts_of(findings),
        )
    present = np.flatnonzero(counts)
    groups, central = superclasses(weights[present], _MAX_GROUPS)
    of_class = np.zeros(len(classes), dtype=int)
    of_class[present] = groups
    sizes = np.bincount(groups)
    names = [
        f"{classes[present[c]]} +{size - 1}" if size > 1 else classes[present[c]]
        for c, size in zip(central, sizes.tolist(), strict=True)
    ]
    findings = captions.ColourFindings(len(names), len(present))
    return Colouring(of_class[labels], names, captions.colour_note(findings), facts_of(findings))


@dataclass(frozen=True)
class RatedEmbedding:
    """An embedding with its name in exhibits and its quality."""

    name: str
    embedding: Embedding
    quality: EmbeddingQuality

    @property
    def coordinates(self) -> np.ndarray:
        return self.embedding.coordinates


def variance_of_plane(space: FeatureSpace) -> float:
    """Fraction of the variance of the features along the first two components."""
    variance = space.points.var(0)
    return space.explained_variance * float(variance[:2].sum() / variance.sum())


def point_scatter(data: EmbeddedImages, rated: RatedEmbedding) -> Scatter:
    """Every image as a point, coloured by its class."""
    quality = rated.quality
    findings = captions.EmbeddingFindings(
        layer=data.layer,
        n=len(data.images),
        k=data.k,
        neighbourhood_overlap=quality.neighbourhood_overlap,
        trustworthiness=quality.trustworthiness,
        knn_accuracy=quality.knn_accuracy,
        explained_variance=variance_of_plane(data.space) if rated.name == PCA else None,
    )
    return Scatter(
        title=f"{rated.name} of {data.layer}",
        caption=sentences(captions.embedding_caption(findings), data.colouring.note),
        facts=facts_of(findings) | data.colouring.facts,
        x=rated.coordinates[:, 0],
        y=rated.coordinates[:, 1],
        group=data.colouring.groups,
        group_names=data.colouring.names,
        point_names=list(data.images.ids),
        equal=True,
    )


def image_exhibits(
    data: EmbeddedImages, rated: RatedEmbedding, *, grid: int, rng: torch.Generator
) -> list[Exhibit]:
    """Images at their coordinates, and as a grid with `grid` of them in a row; both drawn with `rng`."""
    order = torch.randperm(len(data.images), generator=rng)
    exhibits: list[Exhibit] = [_thumbnail_scatter(data, rated, order[:_MAX_THUMBNAILS])]
    side = min(grid, int(len(order) ** 0.5))
    if side >= 2:
        exhibits.append(_image_grid(data, rated, order[: side * side], side))
    return exhibits


def _thumbnail_scatter(data: EmbeddedImages, rated: RatedEmbedding, positions: Tensor) -> Scatter:
    images, groups = data.images, data.colouring.groups
    return Scatter(
        title=f"Thumbnails, {rated.name} of {data.layer}",
        caption=captions.thumbnail_caption(
            all_images=len(positions) == len(images), metric=rated.name == PCA
        ),
        x=rated.coordinates[positions, 0],
        y=rated.coordinates[positions, 1],
        group=None if groups is None else groups[positions],
        group_names=data.colouring.names,
        point_names=[images.ids[i] for i in positions.tolist()],
        thumbnails=thumbnails(images.select(positions), _THUMBNAIL_SIDE),
        neighbours=nearest_neighbours(data.space.points[positions], min(_NEIGHBOURS, len(positions) - 1))[
            0
        ].numpy(),
        equal=True,
    )


def _image_grid(data: EmbeddedImages, rated: RatedEmbedding, positions: Tensor, side: int) -> ImageGrid:
    cells = torch.from_numpy(assign_to_grid(rated.coordinates[positions.numpy()], side)).flatten()
    return ImageGrid(
        title=f"Image grid of {data.layer}",
        caption=captions.grid_caption(rated.name, all_images=len(positions) == len(data.images)),
        images=[tile(thumbnails(data.images.select(positions[cells]), _GRID_SIDE // side), side)],
        columns=1,
    )


def _holdout_findings(
    data: EmbeddedImages, rated: RatedEmbedding, holdout: Images, path: Sequence[np.ndarray], eps: float
) -> captions.HoldoutFindings:
    accuracy = shift = None
    if data.labels is not None and holdout.labels is not None:
        neighbours, _ = nearest_neighbours(rated.embedding.tensor, data.k, torch.from_numpy(path[0]))
        accuracy = knn_accuracy(neighbours, data.labels, holdout.labels)
    if eps:
        distance = float(np.median(np.linalg.norm(path[-1] - path[0], axis=1)))
        shift = distance / float(np.ptp(rated.coordinates, axis=0).max())
    return captions.HoldoutFindings(n=len(holdout), knn_accuracy=accuracy, eps=eps, shift=shift)


def holdout_scatter(
    data: EmbeddedImages,
    rated: RatedEmbedding,
    holdout: Images,
    path: Sequence[np.ndarray],
    eps: float,
    rng: torch.Generator,
) -> Scatter:
    """Held-out images among those of the embedding, and after signed gradient steps.

    path: coordinates (m, 2) of the held-out images at radii from 0 to `eps`.
    """
    findings = _holdout_findings(data, rated, holdout, path, eps)
    background = torch.randperm(len(data.images), generator=rng)[:_MAX_BACKGROUND].sort().values
    groups = {"fitted": rated.coordinates[background], "held out": path[0]}
    if eps:
        groups["smaller steps"] = np.concatenate(path[1:-1])
        groups[f"step of eps {format_eps(eps)}"] = path[-1]
    coordinates = np.concatenate(list(groups.values()))
    return Scatter(
        title=f"Held-out images, {rated.name} of {data.layer}",
        caption=captions.holdout_caption(findings),
        facts=facts_of(findings),
        x=coordinates[:, 0],
        y=coordinates[:, 1],
        group=np.repeat(np.arange(len(groups)), [len(group) for group in groups.values()]),
        group_names=list(groups),
        point_names=[*(data.images.ids[i] for i in background.tolist()), *list(holdout.ids) * len(path)],
        equal=True,
    )


def quality_table(
    data: EmbeddedImages,
    rated: Sequence[RatedEmbedding],
    stability: Mapping[str, float],
    findings: captions.QualityFindings,
) -> Table:
    """The quality of each embedding below that of the feature space itself. stability: by name of the embedding."""
    columns = ["neighbourhood overlap", "trustworthiness", "continuity", "distance correlation"]
    space = data.space
    rows: list[list[Cell]] = [[f"{data.layer}, {findings.components} components", 1.0, 1.0, 1.0, 1.0]]
    for entry in rated:
        q = entry.quality
        rows.append(
            [entry.name, q.neighbourhood_overlap, q.trustworthiness, q.continuity, q.distance_correlation]
        )
    if data.labels is not None:
        columns.append("kNN accuracy")
        accuracies = [knn_accuracy(space.neighbours[:, : data.k], data.labels)]
        accuracies += [entry.quality.knn_accuracy for entry in rated]
        rows = [[*row, accuracy] for row, accuracy in zip(rows, accuracies, strict=True)]
    if stability:
        columns.append("stability")
        stabilities = [None, *(stability.get(entry.name) for entry in rated)]
        rows = [[*row, value] for row, value in zip(rows, stabilities, strict=True)]
    return Table(
        title=f"Quality of the embeddings of {data.layer}",
        caption=captions.quality_caption(findings),
        facts=facts_of(findings),
        columns=["embedding", *columns],
        rows=rows,
        formats=dict.fromkeys(columns, "{:.3f}"),
    )


def fgsm_batches(model: Model, images: Images, eps: float) -> Iterator[Batch]:
    """The images after one signed gradient step of `eps` away from their class, or from the predicted one."""
    for batch in images.batches(model.batch(gradient=True), model.device):
        if eps == 0:
            yield batch
            continue
        labels = model.logits(batch.pixels).argmax(1) if batch.labels is None else batch.labels
        yield Batch(batch.positions, FGSM(eps=eps)(model, batch.pixels, labels).pixels, batch.labels)
