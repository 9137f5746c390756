"""Adversarial images as points of an embedding, joined to their originals."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from probe.analyses.job import Job
from probe.analyses.representation import embed_captions as captions
from probe.analyses.representation.embed_exhibits import EmbeddedImages, RatedEmbedding, colour_by_class
from probe.data.images import Batch
from probe.data.subsample import stratified_sample
from probe.data.thumbnails import downscale, thumbnails
from probe.exhibits.exhibits import Scatter, facts_of
from probe.exhibits.wording import sentences
from probe.methods.adversarial.attack import Attack
from probe.methods.adversarial.criteria import labels_or_predictions
from probe.methods.adversarial.evaluate import evaluate, joined
from probe.methods.representation.embedding import place
from probe.methods.representation.embedding_quality import knn_accuracy
from probe.methods.representation.features import Pool, features
from probe.methods.representation.neighbours import nearest_neighbours

_MAX_POINTS = 400  # each with its thumbnail
_SIDE = 64


@dataclass(frozen=True)
class AttackedImages:
    """m embedded images after an attack.

    positions: (m,) among the embedded images. pixels: (m, c, h, w) attacked, on the CPU. points: (m, d) in the feature
    space. fooled: (m,) whether the class was predicted correctly before and is not now. predicted: (m,) classes.
    invalid: (m,) whether the attack gave no valid image.
    """

    title: str
    eps: float | None
    positions: Tensor
    pixels: Tensor
    points: Tensor
    fooled: Tensor
    predicted: Tensor
    invalid: Tensor


def attack_images(data: EmbeddedImages, attack: Attack, count: int, pool: Pool, job: Job) -> AttackedImages:
    """Attack `count` of the embedded images, equally many of each class, and compute their features."""
    model, seed = data.model, job.seed()
    labels = labels_or_predictions(model, data.images)
    positions = stratified_sample(labels, len(labels), min(count, len(labels)), seed).sort().values
    size = model.batch(gradient=True)
    parts = []
    for rows in job.progress(positions.split(size), "attacking", -(-len(positions) // size)):
        pixels = data.images.select(rows).pixels(model.device)
        parts.append(evaluate(model, pixels, labels[rows].to(model.device), attack, seed=seed, ids=rows))
    evaluation = joined(parts, pixels=True)

    def batches() -> Iterator[Batch]:
        for rows in torch.arange(len(positions)).split(size):
            yield Batch(rows, evaluation.pixels[rows.to(evaluation.pixels.device)], None)

    rows = features(model, batches(), [data.layer], n=len(positions), pool=pool)[data.layer]
    return AttackedImages(
        title=attack.title,
        eps=getattr(attack, "eps", None),
        positions=positions,
        pixels=evaluation.pixels.cpu(),
        points=data.space.project(rows),
        fooled=evaluation.fooled,
        predicted=evaluation.prediction,
        invalid=evaluation.invalid,
    )


def attacked_scatters(
    data: EmbeddedImages, attacked: AttackedImages, rated: Sequence[RatedEmbedding], rng: torch.Generator
) -> list[Scatter]:
    """For each embedding its points, and the attacked images where they would lie, joined to their originals."""
    others = torch.ones(len(data.images), dtype=torch.bool)
    others[attacked.positions] = False
    rest = others.nonzero()[:, 0]
    most = max(0, _MAX_POINTS - 2 * len(attacked.positions))
    rest = rest[torch.randperm(len(rest), generator=rng)[:most].sort().values]
    shown = torch.cat([attacked.positions, rest])
    pictures = np.concatenate(
        [thumbnails(data.images.select(shown), _SIDE), downscale(attacked.pixels, _SIDE)]
    )
    return [_scatter(data, attacked, entry, shown, pictures) for entry in rated]


def _scatter(
    data: EmbeddedImages,
    attacked: AttackedImages,
    rated: RatedEmbedding,
    shown: Tensor,
    pictures: np.ndarray,
) -> Scatter:
    """shown: positions of the embedded images that are drawn, those that were attacked first."""
    m, n = len(attacked.positions), len(shown)
    classes = data.model.classes
    labels = labels_or_predictions(data.model, data.images)
    colouring = colour_by_class(data.model, torch.cat([labels[shown], attacked.predicted]).numpy())
    placed = place(rated.embedding, data.space, attacked.points, k=data.k)
    coordinates = np.concatenate([rated.coordinates[shown.numpy()], placed])
    findings = _findings(data, attacked, rated, placed)
    names = [f"{data.images.ids[i]}: {classes[labels[i]]}" for i in shown.tolist()]
    names += [
        f"{data.images.ids[i]}, attacked: predicted as {classes[c]}"
        for i, c in zip(attacked.positions.tolist(), attacked.predicted.tolist(), strict=True)
    ]
    return Scatter(
        title=f"Attacked images, {rated.name} of {data.layer}",
        caption=sentences(captions.attacked_caption(findings), colouring.note),
        facts=facts_of(findings) | colouring.facts,
        x=coordinates[:, 0],
        y=coordinates[:, 1],
        group=colouring.groups,
        group_names=colouring.names,
        point_names=names,
        thumbnails=pictures,
        links=np.stack([np.arange(m), np.arange(n, n + m)], 1),
        equal=True,
    )


def _findings(
    data: EmbeddedImages, attacked: AttackedImages, rated: RatedEmbedding, placed: np.ndarray
) -> captions.AttackedFindings:
    before = rated.coordinates[attacked.positions.numpy()]
    width = float(np.ptp(rated.coordinates, axis=0).max())
    error = 0.0
    if not rated.embedding.linear:
        # Where an image that did not change would lie if it were placed as the attacked ones are.
        own = data.space.points[attacked.positions]
        again = place(rated.embedding, data.space, own, k=data.k, without=attacked.positions)
        error = float(np.median(np.linalg.norm(again - before, axis=1))) / width
    agreement = None
    if attacked.fooled.any():
        rows = attacked.fooled.nonzero()[:, 0]
        near, _ = nearest_neighbours(rated.embedding.tensor, data.k, torch.from_numpy(placed[rows.numpy()]))
        agreement = knn_accuracy(
            near, labels_or_predictions(data.model, data.images), attacked.predicted[rows]
        )
    return captions.AttackedFindings(
        attack=attacked.title,
        eps=attacked.eps,
        n=len(attacked.positions),
        fooled=int(attacked.fooled.sum()),
        shift=float(np.median(np.linalg.norm(placed - before, axis=1))) / width,
        error=error,
        placement="exact"
        if rated.embedding.linear
        else "t-SNE"
        if rated.embedding.tsne is not None
        else "neighbours",
        k=data.k,
        agreement=agreement,
    )
