"""How are the images arranged in feature space? Two-dimensional embeddings, and how well they preserve neighbours."""

from collections.abc import Sequence
from typing import Annotated, get_args

import numpy as np
import torch
from pydantic import BeforeValidator, Field, field_validator

from probe.analyses.adversarial.warnings import invalid_warning
from probe.analyses.analysis import Analysis
from probe.analyses.job import Job
from probe.analyses.representation import embed_exhibits as show
from probe.analyses.representation.chunked_features import chunked_features
from probe.analyses.representation.embed_attacked import attack_images, attacked_scatters
from probe.analyses.representation.embed_captions import QualityFindings
from probe.analyses.representation.embed_exhibits import EmbeddedImages, RatedEmbedding
from probe.analyses.representation.embed_fits import MAX_STABILITY_IMAGES, EmbeddingFits, Method
from probe.data.images import Images
from probe.errors import UserError, unknown
from probe.exhibits.exhibits import Exhibit
from probe.exhibits.result import Number, Result
from probe.exhibits.wording import snake_case
from probe.methods.adversarial.registry import ATTACKS
from probe.methods.representation import embedding
from probe.methods.representation.embedding_quality import MAX_RANKED_POINTS, embedding_quality
from probe.methods.representation.features import Pool, features, penultimate_layer
from probe.model.model import Model
from probe.params import Fraction, Integers, Names

_EPS = 8 / 255  # of an attack where none is given
_PATH_STEPS = 4  # radii between 0 and eps


class Embed(Analysis):
    """How are the images arranged in feature space?"""

    name = "embed"
    title = "Embeddings of a layer's features"
    source = (
        "van der Maaten and Hinton 2008; McInnes et al. 2018; Venna and Kaski 2006; Kobak and Berens 2019"
    )
    needs_images = 4
    quick = {"methods": ("tsne", "pca"), "neighbours": 5, "seeds": 2, "grid": 5}

    max_images: int = Field(
        2000,
        ge=0,
        description="maximum number of images to embed; if there are more, a sample is taken (0: all; 10,000 images take "
        "minutes and about 0.5 GB of additional memory)",
    )
    layer: str = Field(
        "", description="layer whose features are embedded (default: the last one before the classifier)"
    )
    methods: Names = Field(("tsne", "umap", "pca"), description="embeddings to compute: tsne, umap, pca")
    perplexity: Integers = Field(
        (),
        description="perplexity of t-SNE, one or several values (default: 30, or 5, 30 and 50 for fewer than 500 images)",
    )
    neighbours: int = Field(
        15, ge=2, le=200, description="number of neighbours, for UMAP and for the quality measures"
    )
    pool: Pool = Field(
        "mean",
        description="how feature maps are turned into vectors: mean or max over space, or none to keep all values",
    )
    normalise: bool = Field(False, description="scale the features of each image to unit length")
    pca_components: int = Field(
        50, ge=2, le=500, description="number of principal components in which neighbours are searched"
    )
    seeds: int = Field(
        2,
        ge=1,
        le=10,
        description="number of seeds over which the stability of the embeddings is measured (1: stability is not "
        "measured)",
    )
    grid: int = Field(
        20, ge=0, le=50, description="number of images along each side of the image grid (0: no grid)"
    )
    holdout: int = Field(
        0,
        ge=0,
        le=1000,
        description="number of images that are held out and placed in the finished embedding",
    )
    eps: Fraction = Field(
        0,
        ge=0,
        le=1,
        description="radius of `attack` (0: 8/255), and length of the largest signed gradient step on held-out images (0:"
        " no step)",
    )
    attacked: int = Field(
        0,
        ge=0,
        le=190,
        description="number of images that are attacked and placed in the finished embedding, each joined to its original"
        " by a line",
    )
    attack: Annotated[str, BeforeValidator(ATTACKS.text)] = Field(
        "pgd", description="attack on these images: any of " + ", ".join(ATTACKS.catalogue)
    )

    @field_validator("methods")
    @classmethod
    def _known(cls, methods: tuple[str, ...]) -> tuple[str, ...]:
        for method in methods:
            if method not in get_args(Method):
                raise unknown("method", method, get_args(Method))
        return methods

    def run(self, model: Model, images: Images, job: Job) -> Result:
        given = len(images)
        if self.max_images and self.max_images + self.holdout < given:
            images = images.take(self.max_images + self.holdout, seed=job.seed())
        images, holdout = self._split(images, job)
        n = len(images)
        perplexities = embedding.choose_perplexities(self.perplexity, n) if "tsne" in self.methods else []
        if n <= self.neighbours:
            raise UserError(
                f"{self.neighbours} neighbours need at least {self.neighbours + 1} images, got {n}: take more images or"
                f" --neighbours {max(2, n - 1)}"
            )
        address = self._address(model)
        fits = EmbeddingFits(self.methods, tuple(perplexities), self.neighbours, self.pca_components)
        seed = job.seed(2**31 - 1)
        rows = chunked_features(model, images, [address], job, pool=self.pool)[address]
        space = embedding.feature_space(
            rows,
            n_components=self.pca_components,
            normalise=self.normalise,
            neighbours=min(n - 1, fits.required_neighbours),
            seed=seed,
        )
        data = EmbeddedImages(model, images, address, space, k=min(self.neighbours, (n - 1) // 2))
        rated = [
            RatedEmbedding(
                name,
                points,
                embedding_quality(space, points.tensor, data.labels, k=data.k, rng=job.rng),
            )
            for name, points in fits.fit(space, seed=seed, progress=job.progress)
        ]
        stabilities = fits.stability(space, self.seeds, seed=seed, job=job) if self.seeds > 1 else {}
        best = max(rated, key=_overlap)
        exhibits: list[Exhibit] = [show.point_scatter(data, entry) for entry in rated]
        exhibits += show.image_exhibits(data, best, grid=self.grid, rng=job.rng)
        warnings = _warnings(images, given - self.holdout)
        if not self.attacked and self.attack != Embed.model_fields["attack"].default:
            warnings.append("No image was attacked: --attacked sets how many are.")
        if self.attacked:
            attack = ATTACKS.parse(self.attack).with_defaults(eps=self.eps or _EPS)
            attacked = attack_images(data, attack, self.attacked, self.pool, job)
            exhibits += attacked_scatters(data, attacked, rated, job.rng)
            warnings += invalid_warning(attacked.invalid)
        if holdout is not None:
            exhibits.append(self._holdout_scatter(data, holdout, rated, job))
        quality = QualityFindings(
            best=best.name,
            neighbourhood_overlap=best.quality.neighbourhood_overlap,
            embeddings=len(rated),
            k=data.k,
            components=space.points.shape[1],
            explained_variance=space.explained_variance,
            ranked_sample=n > MAX_RANKED_POINTS,
            seeds=self.seeds if stabilities else 0,
            seeded_sample=n > MAX_STABILITY_IMAGES,
            random_tsne=any(name.startswith("t-SNE") for name in stabilities),
        )
        exhibits.append(show.quality_table(data, rated, stabilities, quality))
        return Result(
            exhibits=exhibits,
            numbers=_numbers(rated, n),
            warnings=warnings,
        )

    def _split(self, images: Images, job: Job) -> tuple[Images, Images | None]:
        """The images to embed and those that are held out. Raises UserError where one or the other cannot be."""
        if not self.holdout:
            return images, None
        if "tsne" not in self.methods:
            raise UserError(
                "only a t-SNE embedding can take further images: add tsne to methods, or holdout = 0"
            )
        if len(images) - self.holdout < self.needs_images:
            raise UserError(
                f"holdout must leave at least {self.needs_images} of the {len(images)} images to embed, got {self.holdout}"
            )
        order = torch.randperm(len(images), generator=job.rng)
        return images.select(order[self.holdout :].sort().values), images.select(order[: self.holdout])

    def _address(self, model: Model) -> str:
        if not self.layer:
            return penultimate_layer(model.layers).address
        address = model.layers.parse(self.layer)
        if address.channel is not None:
            raise UserError(f"embed takes a whole layer: write {address.layer}, got {self.layer}")
        return address.layer

    def _holdout_scatter(
        self, data: EmbeddedImages, holdout: Images, rated: list[RatedEmbedding], job: Job
    ) -> Exhibit:
        """Held-out images in the fixed embedding, also after signed gradient steps up to `eps`."""
        tsne = max((entry for entry in rated if entry.embedding.tsne is not None), key=_overlap)
        radii = [self.eps * i / _PATH_STEPS for i in range(_PATH_STEPS + 1)] if self.eps else [0.0]
        path: list[np.ndarray] = []
        for radius in radii:
            batches = show.fgsm_batches(data.model, holdout, radius)
            rows = features(data.model, batches, [data.layer], n=len(holdout), pool=self.pool)[data.layer]
            path.append(embedding.transform(tsne.embedding, data.space.project(rows)))
        return show.holdout_scatter(data, tsne, holdout, path, self.eps, job.rng)


def _overlap(rated: RatedEmbedding) -> float:
    return rated.quality.neighbourhood_overlap


def _warnings(images: Images, given: int) -> list[str]:
    """images: that are embedded, of `given`."""
    warnings = []
    if len(images) < given:
        warnings.append(
            f"{len(images):,} of {given:,} images are embedded, the same number of each class: increase max_images to embed more."
        )
    if problem := images.no_class_comparison:
        warnings.append(f"{problem}: the kNN accuracy is omitted.")
    return warnings


def _numbers(rated: Sequence[RatedEmbedding], n: int) -> dict[str, Number]:
    numbers = {}
    for entry in rated:
        for measure, value in (
            ("neighbourhood overlap", entry.quality.neighbourhood_overlap),
            ("trustworthiness", entry.quality.trustworthiness),
        ):
            label = f"{measure}, {entry.name}"
            numbers[snake_case(label)] = Number(value=value, label=label, n=n, format="{:.3f}")
    return numbers
