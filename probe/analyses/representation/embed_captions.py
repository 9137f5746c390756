"""Captions of `embed`."""

from dataclasses import dataclass
from typing import Literal

from probe.exhibits.wording import counted, format_eps, sentences

_NOT_METRIC = "Sizes of clusters and distances between them mean little."


@dataclass(frozen=True, kw_only=True)
class EmbeddingFindings:
    """One embedding of the features of `n` images in `layer`, and its quality over `k` neighbours.

    knn_accuracy: None where classes cannot be compared. explained_variance: of the two axes, for PCA only.
    """

    layer: str
    n: int
    k: int
    neighbourhood_overlap: float
    trustworthiness: float
    knn_accuracy: float | None = None
    explained_variance: float | None = None


def embedding_caption(f: EmbeddingFindings) -> str:
    return sentences(
        f"{counted(f.n)} by their features in {f.layer}: {f.neighbourhood_overlap:.1%} of the {f.k} nearest neighbours"
        f" are preserved, the trustworthiness is {f.trustworthiness:.3f}.",
        f.knn_accuracy is not None
        and f"The class of the neighbours in the embedding is correct for {f.knn_accuracy:.1%} of the images.",
        _NOT_METRIC
        if f.explained_variance is None
        else f"The two axes hold {f.explained_variance:.1%} of the variance.",
    )


@dataclass(frozen=True)
class ColourFindings:
    """How many colours stand for the `classes_present` classes of the images.

    frequent_fraction: of the images, in the most frequent classes, which have a colour each; None where a colour is
    a group of similar classes.
    """

    colours: int
    classes_present: int
    frequent_fraction: float | None = None


def colour_note(f: ColourFindings) -> str:
    """What the colours mean where there are too many classes for a colour each."""
    if f.frequent_fraction is None:
        return (
            f"Colours are {f.colours} groups of the {f.classes_present:,} classes, by the similarity of their weights in the "
            "classifier, each named after its central class, with the number of the others."
        )
    return (
        f"The {f.colours} most frequent of {f.classes_present:,} classes have a colour each; they have "
        f"{f.frequent_fraction:.0%} of the images."
    )


def thumbnail_caption(*, all_images: bool, metric: bool) -> str:
    """metric: whether distances in the embedding mean something."""
    return sentences(
        f"{'The images' if all_images else 'Images drawn at random'} at their coordinates in the embedding, as a"
        " thumbnail where it covers no other one and as a dot elsewhere.",
        not metric and _NOT_METRIC,
    )


def grid_caption(name: str, *, all_images: bool) -> str:
    """name: of the embedding."""
    which = "The images" if all_images else "Images drawn at random"
    return f"{which}, each in its own cell, such that neighbours in the embedding ({name}) remain neighbours."


@dataclass(frozen=True, kw_only=True)
class HoldoutFindings:
    """`n` images that the embedding was not fitted to.

    knn_accuracy: how often the class of their neighbours in the embedding is theirs; None where classes cannot be
    compared. eps: radius of the signed gradient step. shift: how far it moves them, median, as a fraction of the
    embedding's width; None without a step.
    """

    n: int
    knn_accuracy: float | None = None
    eps: float = 0
    shift: float | None = None


def holdout_caption(f: HoldoutFindings) -> str:
    held_out = f"{f.n:,} held-out images" if f.n > 1 else "A held-out image"
    return sentences(
        f"{held_out}, placed in the fixed embedding.",
        f.knn_accuracy is not None
        and f"The class of their neighbours in the embedding is correct for {f.knn_accuracy:.1%}.",
        f.shift is not None
        and f"A signed gradient step of eps {format_eps(f.eps)} moves them by {f.shift:.1%} of the width of the"
        " embedding (median).",
    )


@dataclass(frozen=True, kw_only=True)
class AttackedFindings:
    """`n` images of an embedding after an attack, of which `fooled` are misclassified by it.

    eps: radius; None for attacks without one. shift: how far they move in the embedding, median, as a fraction of its
    width. error: the same for images that are placed again unchanged. placement: the coordinates are exact (PCA), or
    found by t-SNE with all other points fixed, or by the `k` nearest neighbours in feature space. agreement: fraction
    of the misclassified images whose neighbours in the embedding have the predicted class; None without any.
    """

    attack: str
    eps: float | None
    n: int
    fooled: int
    shift: float
    error: float
    placement: Literal["exact", "t-SNE", "neighbours"]
    k: int
    agreement: float | None = None


def attacked_caption(f: AttackedFindings) -> str:
    return sentences(
        f"{counted(f.n)} before and after an attack ({f.attack}"
        + (f", eps {format_eps(f.eps)}), " if f.eps is not None else "), ")
        + f"each joined by a line to its attacked version, whose colour is the predicted class: {f.fooled} are misclassified.",
        f.agreement is not None and f"{f.agreement:.0%} of these lie among images of the predicted class.",
        f"The attack moves an image by {f.shift:.1%} of the width of the embedding (median).",
        f.placement == "exact" and "Attacked images are projected onto the two components, which is exact.",
        f.placement == "t-SNE"
        and "t-SNE has no map for new images: attacked ones are placed by optimisation with all other points fixed, which"
        f" moves unchanged images by {f.error:.1%}.",
        f.placement == "neighbours"
        and f"Attacked images are placed at the weighted mean of their {f.k} nearest neighbours in feature space, not by"
        f" UMAP, which moves unchanged images by {f.error:.1%}.",
    )


@dataclass(frozen=True, kw_only=True)
class QualityFindings:
    """The embedding that preserves the most neighbours, among `embeddings`, of features in `components` dimensions.

    ranked_sample: whether trustworthiness and continuity are measured on a sample of the images. seeds: of the
    stability, 0 where it is not measured; seeded_sample: whether it is measured on a sample; random_tsne: whether
    t-SNE starts at random for it.
    """

    best: str
    neighbourhood_overlap: float
    embeddings: int
    k: int
    components: int
    explained_variance: float
    ranked_sample: bool = False
    seeds: int = 0
    seeded_sample: bool = False
    random_tsne: bool = False


def quality_caption(f: QualityFindings) -> str:
    most = "the most" if f.embeddings > 1 else "its"
    start = " (t-SNE from a random initialisation)" if f.random_tsne else ""
    return sentences(
        f"{f.best} preserves {most} neighbours, {f.neighbourhood_overlap:.1%} of the {f.k} nearest;"
        f" {counted(f.components, 'component')} hold {f.explained_variance:.1%} of the variance.",
        "Trustworthiness falls with false neighbours in the embedding, continuity with lost ones"
        + (" (both measured on a random sample)." if f.ranked_sample else "."),
        "Distances are compared by rank correlation.",
        f.seeds > 0
        and f"Stability is the similarity of embeddings{' of a random sample' if f.seeded_sample else ''} from {f.seeds}"
        f" seeds{start}.",
        "Every measure is 1 for a perfect embedding.",
    )
