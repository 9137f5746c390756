"""Where do many-valued points go in the plane? PCA, t-SNE and UMAP over one exact search for neighbours."""

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from probe.errors import UserError
from probe.methods.representation.neighbours import nearest

Progress = Callable[[Iterable[int], str, int], Iterable[int]]

_EVERY, _EARLY, _LATE = 50, 250, 500  # iterations of t-SNE: between two signs of life, exaggerated, plain
_START = 1e-4  # standard deviation of where the points of t-SNE start


@dataclass(frozen=True)
class Space:
    """Features as their principal components: points (n, d) on the CPU, by falling variance.

    explained: the share of the variance that they hold. axes: (features, d). mean: (features,).
    index, distance: (n, k) nearest neighbours of every point, nearest first.
    """

    points: Tensor
    explained: float
    axes: Tensor
    mean: Tensor
    normalised: bool
    index: Tensor
    distance: Tensor

    def project(self, features: Tensor) -> Tensor:
        """Other features (m, values) in the components of this space: (m, d)."""
        return (_scaled(features.cpu(), self.normalised) - self.mean) @ self.axes


def space(features: Tensor, *, dims: int = 50, normalise: bool = False, neighbours: int, seed: int) -> Space:
    """Reduce `features` (n, values) to `dims` principal components and find the `neighbours` nearest of each.

    normalise: bring every row to length 1 first, so that distances mean angles.
    Raises UserError where all rows are alike, or too few for the neighbours.
    """
    from sklearn.decomposition import PCA

    rows = _scaled(features.cpu().float(), normalise)
    # A thousandth of rounding: means over space of equal maps differ in their last bits.
    if float((rows - rows[0]).abs().max()) <= 1e-6 * float(rows.abs().max().clamp(min=1e-12)):
        raise UserError(f"all {len(rows)} images have the same features: there is nothing to map")
    fitted: Any = PCA(min(dims, *rows.shape), random_state=seed)
    fitted.fit(rows.numpy())
    axes, mean = torch.from_numpy(fitted.components_.T.copy()).float(), torch.from_numpy(fitted.mean_).float()
    points = (rows - mean) @ axes
    return Space(
        points,
        float(fitted.explained_variance_ratio_.sum()),
        axes,
        mean,
        normalise,
        *nearest(points, neighbours),
    )


@dataclass(frozen=True)
class Embedding:
    """A map: places (n, 2), and for t-SNE what is needed to place other points in it."""

    places: np.ndarray
    fitted: Any = None

    @property
    def tensor(self) -> Tensor:
        return torch.from_numpy(self.places.copy())


def pca(space: Space) -> Embedding:
    """The first two principal components."""
    places = space.points[:, :2].numpy()
    return Embedding(np.pad(places, ((0, 0), (0, 2 - places.shape[1]))))


def tsne(
    space: Space, *, perplexity: float, seed: int, start: str = "pca", progress: Progress | None = None
) -> Embedding:
    """t-SNE from the neighbours of `space`: 250 iterations exaggerated 12 times, then 500.

    perplexity: effective number of neighbours, up to a third of those that the space knows.
    start: the first two components ("pca"), or "random" by `seed`. Learning rate n / exaggeration.
    Raises UserError for a perplexity that the neighbours cannot carry.

    van der Maaten and Hinton 2008; Linderman et al. 2019; Belkina et al. 2019; Kobak and Berens 2019.
    """
    import openTSNE

    if 3 * perplexity > space.index.shape[1] + 1e-6:
        raise UserError(
            f"perplexity {perplexity:g} needs {3 * perplexity:.0f} neighbours, got {space.index.shape[1]}"
        )
    steps = (_EARLY + _LATE) // _EVERY
    ticks = iter(
        progress(range(steps), f"t-SNE, perplexity {perplexity:g}", steps) if progress else range(steps)
    )

    def tick(iteration: int, error: float, places: np.ndarray) -> bool:
        next(ticks, None)
        return False

    affinities = openTSNE.affinity.PerplexityBasedNN(
        knn_index=_exact(space, min(int(3 * perplexity), space.index.shape[1])),
        perplexity=perplexity,
        n_jobs=torch.get_num_threads(),
    )
    fitted = openTSNE.TSNE(
        early_exaggeration_iter=_EARLY,
        n_iter=_LATE,
        n_jobs=torch.get_num_threads(),
        callbacks=tick,
        callbacks_every_iters=_EVERY,
        random_state=seed,
    ).fit(affinities=affinities, initialization=_start(space, start, seed))
    next(ticks, None)
    return Embedding(np.asarray(fitted, dtype=np.float32).copy(), fitted)


def umap(space: Space, *, neighbours: int = 15, spread: float = 0.1, seed: int) -> Embedding:
    """UMAP from the neighbours of `space`, started from its first two components; seeded, so on one thread.

    neighbours: as many as decide what is local, the point itself among them. spread: least distance of two points.
    The first call in a process compiles for ten seconds and more.

    McInnes et al. 2018.
    """
    # umap imports numba, and in some installations tensorflow: nobody who does not ask for it should wait.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import umap as library

        own = torch.arange(len(space.points))[:, None]
        index = torch.cat([own, space.index[:, : neighbours - 1]], 1).numpy()
        distance = torch.cat([torch.zeros(len(own), 1), space.distance[:, : neighbours - 1]], 1).numpy()
        places = library.UMAP(
            n_neighbors=index.shape[1],
            min_dist=spread,
            init=10 * _start(space, "pca", seed) / _START,
            random_state=seed,
            n_jobs=1,
            precomputed_knn=(index, distance, None),
        ).fit_transform(space.points.numpy())
    return Embedding(np.asarray(places, dtype=np.float32))


def transform(plane: Embedding, points: Tensor) -> np.ndarray:
    """Put other points (m, d) of the same space into a t-SNE map without moving it: (m, 2).

    Each starts at the median of its nearest neighbours in the map and finds its place against them alone.
    Poličar et al. 2021, section 3.2.
    """
    if plane.fitted is None:
        raise ValueError("only a map by t-SNE can take further points")
    known = plane.fitted.affinities.knn_index
    perplexity = min(5.0, known.n_samples / 3)
    found = plane.fitted.transform(points.numpy(), perplexity=perplexity, k=min(25, known.n_samples))
    # openTSNE centres its own copy of the map on the way.
    moved = np.asarray(plane.fitted)[0] - plane.places[0]
    return (np.asarray(found) - moved).astype(np.float32)


def grid(places: np.ndarray, side: int) -> np.ndarray:
    """Which point goes to which cell of a `side` x `side` grid, so that the map is kept as well as it can be.

    places: (n, 2) with n >= side**2, of which the first side**2 are laid out. Returns (side, side) positions.
    Minimises the sum of squared ways (Jonker and Volgenant 1987): 0.4 s for 32 x 32, 4.8 s for 50 x 50.
    """
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    chosen = places[: side * side].astype(float)
    low, high = np.percentile(chosen, [1, 99], axis=0)
    chosen = ((chosen - low) / np.maximum(high - low, 1e-12)).clip(-0.1, 1.1)
    across = (np.arange(side) + 0.5) / side
    # Rows run downwards, the map's second axis upwards.
    cells = np.stack([np.tile(across, side), np.repeat(across[::-1], side)], axis=1)
    _, point = linear_sum_assignment(cdist(cells, chosen, "sqeuclidean"))
    return point.reshape(side, side)


def perplexities(asked: Sequence[int], n: int) -> list[float]:
    """The perplexities that were asked for, or those that suit `n` images: 30, and for few 5, 30, 50 side by side.

    Raises UserError where one is more than n images can carry, (n - 1) / 3.
    """
    most = (n - 1) / 3
    for value in asked:
        if value > most:
            raise UserError(
                f"perplexity {value} needs at least {3 * value + 1} images, got {n}: take more images or a perplexity"
                f" of at most {int(most)}"
            )
    if asked:
        return [float(value) for value in asked]
    return [30.0] if n >= 500 else [float(p) for p in (5, 30, 50) if p <= most] or [max(1.0, most)]


def _scaled(rows: Tensor, normalise: bool) -> Tensor:
    return torch.nn.functional.normalize(rows, dim=1) if normalise else rows


def _start(space: Space, kind: str, seed: int) -> np.ndarray:
    if kind == "random":
        draw = torch.Generator().manual_seed(seed)
        return (torch.randn(len(space.points), 2, generator=draw) * _START).double().numpy()
    places = pca(space).places.astype(float)
    return places / max(places[:, 0].std(), 1e-12) * _START


def _exact(space: Space, k: int) -> Any:
    """The neighbours of `space` in the form in which openTSNE asks for them."""
    from openTSNE import nearest_neighbors

    base: Any = nearest_neighbors.KNNIndex

    class Exact(base):
        def __init__(self) -> None:
            self.n_samples, self.k = len(space.points), k

        def build(self) -> Any:
            return space.index[:, :k].numpy(), space.distance[:, :k].double().numpy()

        def query(self, query: Any, k: Any) -> Any:
            index, distance = nearest(space.points, k, torch.from_numpy(query))
            return index.numpy(), distance.double().numpy()

    return Exact()
