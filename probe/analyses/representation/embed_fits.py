"""The embeddings that `embed` fits, and their stability between seeds."""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Any, Literal

import torch

from probe.analyses.job import Job
from probe.methods.representation import embedding
from probe.methods.representation.embedding import Embedding, FeatureSpace, Initialisation
from probe.methods.representation.embedding_quality import stability

Method = Literal["tsne", "umap", "pca"]

PCA = "PCA"
MAX_STABILITY_IMAGES = 1000
"""Embeddings from several seeds are compared on at most so many images."""


@dataclass(frozen=True)
class EmbeddingFits:
    """Which embeddings are fitted. neighbours: of UMAP. n_components: principal components of the feature space."""

    methods: tuple[str, ...]
    perplexities: tuple[float, ...]
    neighbours: int
    n_components: int

    @property
    def required_neighbours(self) -> int:
        """How many nearest neighbours of each point the methods need."""
        return max([self.neighbours, *(ceil(3 * p) for p in self.perplexities)])

    def fit(
        self,
        space: FeatureSpace,
        *,
        seed: int,
        progress: Callable[..., Any],
        initialisation: Initialisation = "pca",
    ) -> list[tuple[str, Embedding]]:
        """The embeddings by every method, with their names; PCA, which needs no seed, not from a random start."""
        embeddings = []
        for method in dict.fromkeys(self.methods):
            if method == "tsne":
                for p in self.perplexities:
                    points = embedding.tsne(
                        space, perplexity=p, seed=seed, initialisation=initialisation, progress=progress
                    )
                    embeddings.append((f"t-SNE, perplexity {p:g}", points))
            elif method == "umap":
                # numba compiles for ten seconds and more when UMAP first runs: the progress bar stands still.
                label = "UMAP" if initialisation == "random" else "UMAP (compiles at its first start)"
                for _ in progress([0], label, 1):
                    points = embedding.umap(space, neighbours=self.neighbours, seed=seed)
                    embeddings.append(("UMAP", points))
            elif initialisation == "pca":
                embeddings.append((PCA, embedding.pca(space)))
        return embeddings

    def stability(self, space: FeatureSpace, seeds: int, *, seed: int, job: Job) -> dict[str, float]:
        """Similarity of embeddings from `seeds` seeds, by their name; t-SNE starts at random for it."""
        rows = torch.randperm(len(space.points), generator=job.rng)[:MAX_STABILITY_IMAGES].sort().values
        known = min(len(rows) - 1, space.neighbours.shape[1])
        sample = embedding.feature_space(
            space.points[rows], n_components=self.n_components, neighbours=known, seed=seed
        )
        usable = tuple(p for p in self.perplexities if 3 * p <= known)
        fits = EmbeddingFits(self.methods, usable, self.neighbours, self.n_components)
        runs = [
            dict(fits.fit(sample, seed=seed + i, progress=job.progress, initialisation="random"))
            for i in range(seeds)
        ]
        return {name: stability([run[name].coordinates for run in runs]) for name in runs[0]}
