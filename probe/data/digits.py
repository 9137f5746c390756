"""The handwritten digits that scikit-learn installs, read without importing scikit-learn, and their fixed split."""

import gzip
import importlib.util
from pathlib import Path

import numpy as np

from probe.errors import UserError

_TEST_FRACTION = 0.25
_SIDE = 8


def read_digits() -> tuple[np.ndarray, np.ndarray]:
    """(1797, 8, 8) grey levels from 0 to 16, and (1797,) labels.

    Importing scikit-learn for this one file takes longer than many analyses of it. Raises UserError if it is missing.
    """
    package = importlib.util.find_spec("sklearn")
    path = Path(package.origin if package and package.origin else "").parent / "datasets/data/digits.csv.gz"
    try:
        with gzip.open(path, "rt", encoding="ascii") as file:
            table = np.array([line.split(",") for line in file], dtype=np.float64)
    except OSError as error:
        raise UserError(
            f"digits cannot be read from scikit-learn ({path}: {error}): install it again"
        ) from None
    return table[:, :-1].reshape(-1, _SIDE, _SIDE), table[:, -1].astype(np.int64)


def split_rows(labels: np.ndarray) -> dict[str, np.ndarray]:
    """The rows of "train" and "test", in order: three quarters and one quarter of each class.

    The same rows as scikit-learn's train_test_split(stratify=labels, random_state=0), by which the pretrained models
    were trained.
    """
    rng = np.random.RandomState(0)
    counts = np.bincount(labels)
    n_test = int(np.ceil(_TEST_FRACTION * len(labels)))
    in_train = _stratified_counts(counts, len(labels) - n_test, rng)
    in_test = _stratified_counts(counts - in_train, n_test, rng)
    rows: dict[str, list[np.ndarray]] = {"train": [], "test": []}
    for label, count in enumerate(counts):
        shuffled = np.flatnonzero(labels == label)[rng.permutation(count)]
        rows["train"].append(shuffled[: in_train[label]])
        rows["test"].append(shuffled[in_train[label] : in_train[label] + in_test[label]])
    return {split: np.sort(np.concatenate(parts)) for split, parts in rows.items()}


def _stratified_counts(counts: np.ndarray, n: int, rng: np.random.RandomState) -> np.ndarray:
    """How many of `n` images are of each class, in proportion to `counts`; ties of the remainders are drawn."""
    exact = counts / counts.sum() * n
    whole = np.floor(exact)
    remainder, missing = exact - whole, int(n - whole.sum())
    for value in np.unique(remainder)[::-1]:
        tied = np.flatnonzero(remainder == value)
        taken = min(len(tied), missing)
        if taken == 0:
            break
        whole[rng.choice(tied, size=taken, replace=False)] += 1
        missing -= taken
    return whole.astype(np.int64)
