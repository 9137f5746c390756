"""Two-dimensional embeddings of features: PCA, t-SNE and UMAP from one exact search for neighbours."""

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from probe.errors import UserError
from probe.methods.representation.neighbours import nearest_neighbours

Progress = Callable[[Iterable[int], str, int], Iterable[int]]
Initialisation = Literal["pca", "random"]

_EXAGGERATED_STEPS, _PLAIN_STEPS = 250, 500  # iterations of t-SNE
_REPORT_EVERY = 50  # iterations
_INITIAL_STD = 1e-4  # standard deviation of the points at the start of t-SNE


@dataclass(frozen=True)
class FeatureSpace:
    """Features of n images as principal components, with their nearest neighbours, on the CPU.

    points: (n, d), by falling variance. explained_variance: the fraction that the d components hold.
    components: (features, d). mean: (features,). normalised: whether features were first scaled to length 1.
    neighbours, distances: (n, k) positions of the nearest neighbours of each point and how far they are, nearest
    first.
    """

    points: Tensor
    explained_variance: float
    components: Tensor
    mean: Tensor
    normalised: bool
    neighbours: Tensor
    distances: Tensor

    def project(self, features: Tensor) -> Tensor:
        """Other features (m, features) in the components of this space: (m, d)."""
        return (_scaled(features.cpu(), self.normalised) - self.mean) @ self.components


def feature_space(
    features: Tensor, *, n_components: int = 50, normalise: bool = False, neighbours: int, seed: int
) -> FeatureSpace:
    """Reduce `features` (n, features) to principal components and find the nearest neighbours of each row.

    normalise: scale every row to length 1 first, so that distances measure angles.
    Raises UserError where all rows are equal, or too few for the neighbours.
    """
    from sklearn.decomposition import PCA

    rows = _scaled(features.cpu().float(), normalise)
    # A tolerance for rounding: means over space of equal maps differ in their last bits.
    if float((rows - rows[0]).abs().max()) <= 1e-6 * float(rows.abs().max().clamp(min=1e-12)):
        raise UserError(f"all {len(rows)} images have the same features: there is nothing to embed")
    fitted: Any = PCA(min(n_components, *rows.shape), random_state=seed)
    fitted.fit(rows.numpy())
    components = torch.from_numpy(fitted.components_.T.copy()).float()
    mean = torch.from_numpy(fitted.mean_).float()
    points = (rows - mean) @ components
    positions, distances = nearest_neighbours(points, neighbours)
    return FeatureSpace(
        points=points,
        explained_variance=float(fitted.explained_variance_ratio_.sum()),
        components=components,
        mean=mean,
        normalised=normalise,
        neighbours=positions,
        distances=distances,
    )


@dataclass(frozen=True)
class Embedding:
    """coordinates: (n, 2) float32. tsne: the fitted openTSNE embedding, which `transform` needs; None for others.

    linear: whether the coordinates are the first two components of the space.
    """

    coordinates: np.ndarray
    tsne: Any = None
    linear: bool = False

    @property
    def tensor(self) -> Tensor:
        """A copy of the coordinates as a tensor."""
        return torch.from_numpy(self.coordinates.copy())


def pca(space: FeatureSpace) -> Embedding:
    """The first two principal components."""
    return Embedding(_first_two(space.points), linear=True)


def tsne(
    space: FeatureSpace,
    *,
    perplexity: float,
    seed: int,
    initialisation: Initialisation = "pca",
    progress: Progress | None = None,
) -> Embedding:
    """t-SNE from the neighbours of `space`: 250 iterations with exaggeration 12, then 500 without.

    perplexity: effective number of neighbours, at most a third of those that `space` holds.
    initialisation: the first two principal components, or random by `seed`. Learning rate n / exaggeration.
    Raises UserError for a perplexity that needs more neighbours than `space` holds.

    van der Maaten and Hinton 2008; Linderman et al. 2019; Belkina et al. 2019; Kobak and Berens 2019.
    """
    import openTSNE

    available = space.neighbours.shape[1]
    if 3 * perplexity > available + 1e-6:
        raise UserError(f"perplexity {perplexity:g} needs {3 * perplexity:.0f} neighbours, got {available}")
    reports = (_EXAGGERATED_STEPS + _PLAIN_STEPS) // _REPORT_EVERY
    steps = range(reports)
    ticks = iter(progress(steps, f"t-SNE, perplexity {perplexity:g}", reports) if progress else steps)

    def callback(iteration: int, error: float, coordinates: np.ndarray) -> bool:
        next(ticks, None)
        return False

    affinities = openTSNE.affinity.PerplexityBasedNN(
        knn_index=_knn_index(space, min(int(3 * perplexity), available)),
        perplexity=perplexity,
        n_jobs=torch.get_num_threads(),
    )
    fitted = openTSNE.TSNE(
        early_exaggeration_iter=_EXAGGERATED_STEPS,
        n_iter=_PLAIN_STEPS,
        n_jobs=torch.get_num_threads(),
        callbacks=callback,
        callbacks_every_iters=_REPORT_EVERY,
        random_state=seed,
    ).fit(affinities=affinities, initialization=_initial_coordinates(space, initialisation, seed))
    next(ticks, None)
    return Embedding(np.asarray(fitted, dtype=np.float32).copy(), fitted)


def umap(space: FeatureSpace, *, neighbours: int = 15, min_dist: float = 0.1, seed: int) -> Embedding:
    """UMAP from the neighbours of `space`, initialised with its first two components; one thread, as it is seeded.

    neighbours: size of the local neighbourhood, the point itself included. min_dist: least distance of two points.
    The first call in a process compiles for ten seconds and more.

    McInnes et al. 2018.
    """
    # umap imports numba, and in some installations tensorflow: only those who use it should wait for that.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import umap as umap_learn

        own = torch.arange(len(space.points))[:, None]
        positions = torch.cat([own, space.neighbours[:, : neighbours - 1]], 1).numpy()
        distances = torch.cat([torch.zeros(len(own), 1), space.distances[:, : neighbours - 1]], 1).numpy()
        coordinates = umap_learn.UMAP(
            n_neighbors=positions.shape[1],
            min_dist=min_dist,
            init=10 * _initial_coordinates(space, "pca", seed) / _INITIAL_STD,
            random_state=seed,
            n_jobs=1,
            precomputed_knn=(positions, distances, None),
        ).fit_transform(space.points.numpy())
    return Embedding(np.asarray(coordinates, dtype=np.float32))


def transform(embedding: Embedding, points: Tensor) -> np.ndarray:
    """Embed other points (m, d) of the same space into a fixed t-SNE embedding: (m, 2).

    Each starts at the median of its nearest neighbours and is optimised against the fixed points alone.
    Raises ValueError for an embedding that is not by t-SNE.

    Poličar et al. 2021, section 3.2.
    """
    if embedding.tsne is None:
        raise ValueError("only a t-SNE embedding can take further points")
    index = embedding.tsne.affinities.knn_index
    perplexity = min(5.0, index.n_samples / 3)
    coordinates = embedding.tsne.transform(points.numpy(), perplexity=perplexity, k=min(25, index.n_samples))
    # openTSNE centres its own copy of the embedding on the way.
    shift = np.asarray(embedding.tsne)[0] - embedding.coordinates[0]
    return (np.asarray(coordinates) - shift).astype(np.float32)


def place(
    embedding: Embedding, space: FeatureSpace, points: Tensor, *, k: int = 15, without: Tensor | None = None
) -> np.ndarray:
    """Coordinates (m, 2) of other points (m, d) of `space` in a fixed embedding of it.

    Exact for PCA, by `transform` for t-SNE, else the mean of the coordinates of the `k` nearest points of the space,
    weighted by the inverse of their distance: a point of the space lies where it is. without: (m,) for each point one
    of the space that is not its neighbour, as if it had not been embedded; of no effect on PCA and t-SNE.
    """
    if embedding.linear:
        return _first_two(points)
    if embedding.tsne is not None:
        return transform(embedding, points)
    positions, distances = nearest_neighbours(space.points, k + (without is not None), points)
    weights = 1 / distances.double().clamp(min=1e-6 * float(space.distances.mean().clamp(min=1e-12)))
    if without is not None:
        weights[positions == without[:, None]] = 0
    weights /= weights.sum(1, keepdim=True)
    coordinates = embedding.tensor.double()[positions]
    return (weights[:, :, None] * coordinates).sum(1).float().numpy()


def _first_two(points: Tensor) -> np.ndarray:
    coordinates = points[:, :2].numpy()
    return np.pad(coordinates, ((0, 0), (0, 2 - coordinates.shape[1])))


def assign_to_grid(coordinates: np.ndarray, side: int) -> np.ndarray:
    """Assign the first side**2 points of an embedding to the cells of a grid, so that neighbours remain neighbours.

    coordinates: (n, 2) with n >= side**2. Returns (side, side) positions of the points, the first row uppermost.
    Minimises the sum of squared displacements (Jonker and Volgenant 1987): 0.4 s for 32 x 32, 4.8 s for 50 x 50.
    """
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    points = coordinates[: side * side].astype(float)
    low, high = np.percentile(points, [1, 99], axis=0)
    points = ((points - low) / np.maximum(high - low, 1e-12)).clip(-0.1, 1.1)
    centres = (np.arange(side) + 0.5) / side
    # Rows run downwards, the second axis of the embedding upwards.
    cells = np.stack([np.tile(centres, side), np.repeat(centres[::-1], side)], axis=1)
    _, positions = linear_sum_assignment(cdist(cells, points, "sqeuclidean"))
    return positions.reshape(side, side)


def choose_perplexities(requested: Sequence[int], n: int) -> list[float]:
    """The requested perplexities; by default 30, and those of 5, 30, 50 that `n` images allow below 500 images.

    Raises UserError where one is larger than n images allow, (n - 1) / 3.
    """
    largest = (n - 1) / 3
    for value in requested:
        if value > largest:
            raise UserError(
                f"perplexity {value} needs at least {3 * value + 1} images, got {n}: take more images or a perplexity"
                f" of at most {int(largest)}"
            )
    if requested:
        return [float(value) for value in requested]
    return [30.0] if n >= 500 else [float(p) for p in (5, 30, 50) if p <= largest] or [max(1.0, largest)]


def _scaled(rows: Tensor, normalise: bool) -> Tensor:
    return torch.nn.functional.normalize(rows, dim=1) if normalise else rows


def _initial_coordinates(space: FeatureSpace, initialisation: Initialisation, seed: int) -> np.ndarray:
    if initialisation == "random":
        rng = torch.Generator().manual_seed(seed)
        return (torch.randn(len(space.points), 2, generator=rng) * _INITIAL_STD).double().numpy()
    coordinates = pca(space).coordinates.astype(float)
    return coordinates / max(coordinates[:, 0].std(), 1e-12) * _INITIAL_STD


def _knn_index(space: FeatureSpace, k: int) -> Any:
    """The exact neighbours of `space` behind the interface of openTSNE's nearest-neighbour indices."""
    from openTSNE import nearest_neighbors

    base: Any = nearest_neighbors.KNNIndex

    class ExactIndex(base):
        def __init__(self) -> None:
            self.n_samples, self.k = len(space.points), k

        def build(self) -> Any:
            return space.neighbours[:, :k].numpy(), space.distances[:, :k].double().numpy()

        def query(self, query: Any, k: Any) -> Any:
            positions, distances = nearest_neighbours(space.points, k, torch.from_numpy(query))
            return positions.numpy(), distances.double().numpy()

    return ExactIndex()
