"""The order of the images that are attacked, their chunks, and what is kept of them."""

import numpy as np
import torch

from probe.analyses.adversarial.robustness_data import (
    Adversarials,
    LabelledImages,
    in_turn,
    measure_curves,
)
from probe.analyses.adversarial.robustness_plan import Spending
from probe.analyses.adversarial.robustness_targets import target_matrix
from probe.exhibits.exhibits import Matrix
from probe.methods.adversarial.budget import Budget
from probe.methods.adversarial.gradient_attacks import FGSM
from probe.methods.adversarial.suite_searches import TargetedSuccess
from probe.runs.job import RunJob
from tests.methods.adversarial.victims import digit_images, digits, reader


def test_every_class_has_an_image_before_one_has_a_second() -> None:
    assert in_turn(torch.tensor([0, 0, 0, 1, 1, 2])).tolist() == [0, 3, 5, 1, 4, 2]
    assert in_turn(torch.tensor([4, 4, 4])).tolist() == [0, 1, 2]


def test_parts_of_the_images_are_equal_at_least_two_and_no_larger_than_a_batch() -> None:
    data = LabelledImages(reader(), digit_images(40), digits()[1][:40], batch=16)
    for rows, sizes in ((40, [14, 13, 13]), (16, [8, 8]), (8, [4, 4]), (7, [7]), (1, [1])):
        parts = data.split(torch.arange(rows))
        assert [len(part) for part in parts] == sizes
        assert torch.cat(list(parts)).tolist() == list(range(rows))
    assert len(data.split(torch.arange(40), passes=10**9)) == 10, "parts of four images at least"


def test_of_several_versions_of_an_image_the_last_is_held() -> None:
    held = Adversarials(np.array([5, 2, 5]), np.arange(3.0)[:, None, None, None])
    rows, pixels = held.of(np.array([2, 9, 5]))
    assert rows.tolist() == [2, 5]
    assert pixels.ravel().tolist() == [1, 2]


def test_targeted_success_stands_in_the_row_of_the_class_and_the_column_of_the_target() -> None:
    budget = Budget((FGSM(eps=0.3),), (0.3,), seed=0)
    towards_3 = TargetedSuccess(success=np.array([True, False, True]), labels=np.array([5, 5, 7]))
    towards_5 = TargetedSuccess(success=np.array([False]), labels=np.array([7]))
    towards_7 = TargetedSuccess(success=np.array([True]), labels=np.array([5]))
    names = tuple("abcdefgh")
    (matrix,) = target_matrix([towards_3, towards_5, towards_7], [3, 5, 7], names, budget)
    assert isinstance(matrix, Matrix)
    assert matrix.row_labels == matrix.column_labels == ["d", "f", "h"]
    expected = [[np.nan, np.nan, np.nan], [0.5, np.nan, 1], [1, 0, np.nan]]
    np.testing.assert_array_equal(matrix.values, np.array(expected, np.float32))
    assert target_matrix([], [3, 5], names, budget) == []


def test_the_adversarial_images_that_are_kept_are_those_of_the_least_robust() -> None:
    data = LabelledImages(reader(), digit_images(24), digits()[1][:24], batch=24)
    budget = Budget((FGSM(eps=0.3),), (0.3,), seed=0, search_rounds=4)
    curves, kept = measure_curves(RunJob(0), data, budget, Spending(10**6), keep=3, limit=16)
    assert len(curves.labels) == 16
    radii = np.where(curves.correct, curves.min_eps, np.inf)
    for chunk, rows in zip(np.split(np.arange(16), 2), np.split(kept.rows, 2), strict=True):
        assert rows.tolist() == chunk[np.argsort(radii[chunk], kind="stable")[:3]].tolist()
    originals = data.images.pixels().numpy()[kept.rows]
    assert (np.abs(kept.pixels - originals).max((1, 2, 3)) <= radii[kept.rows] + 1e-5).all()
