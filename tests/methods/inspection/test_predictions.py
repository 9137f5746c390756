"""Predictions are read off the logits, and calibration is measured as in the papers."""

import numpy as np
import pytest
import torch
from torch import nn

from probe.data.images import Images
from probe.errors import UserError
from probe.methods.inspection.predictions import (
    are_probabilities,
    confusion_matrix,
    predict_images,
    reliability,
)
from tests.conftest import model_of


@pytest.mark.parametrize(("confidence", "accuracy"), [(0.8, 0.6), (0.3, 0.9), (1.0, 0.5), (0.5, 0.5)])
def test_the_error_of_a_constant_confidence_is_its_distance_from_the_accuracy(
    confidence: float, accuracy: float
):
    correct = np.arange(100) < 100 * accuracy
    bins = reliability(np.full(100, confidence), correct, 15)
    assert bins.calibration_error == pytest.approx(abs(confidence - accuracy), abs=1e-12)
    assert np.flatnonzero(bins.count).tolist() == [int(np.ceil(confidence * 15)) - 1]
    assert np.nanmax(bins.confidence) == pytest.approx(confidence)
    assert np.nanmax(bins.accuracy) == pytest.approx(accuracy)


def test_the_calibration_error_is_equation_3_of_guo_written_out_slowly():
    rng = np.random.default_rng(0)
    confidence = np.concatenate([rng.random(500), [0.0, 0.1, 0.2, 1.0]])
    correct = rng.random(504) < confidence**2
    error = 0.0
    for m in range(1, 11):
        members = [
            i for i in range(504) if (m - 1) / 10 < confidence[i] <= m / 10 or (m == 1 and confidence[i] == 0)
        ]
        accuracy, mean = np.mean([correct[i] for i in members]), np.mean([confidence[i] for i in members])
        error += len(members) / 504 * abs(accuracy - mean)
    assert reliability(confidence, correct, 10).calibration_error == pytest.approx(error, abs=1e-12)
    assert error > 0.05


def test_the_confusion_matrix_counts_every_pair():
    labels, predicted = np.array([0, 0, 1, 2, 2, 2]), np.array([0, 1, 1, 2, 0, 0])
    assert confusion_matrix(labels, predicted, 3).tolist() == [[1, 1, 0], [0, 1, 0], [2, 0, 1]]


def test_probabilities_are_distinguished_from_logits():
    logits = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    assert are_probabilities(logits.softmax(1))
    assert not are_probabilities(logits)
    assert not are_probabilities(logits.sigmoid())
    assert not are_probabilities(logits.log_softmax(1))


def brightest_pixel(scale: float = 1.0) -> nn.Module:
    """The logits are the pixels themselves, times `scale`: the brightest of seven pixels is the predicted class."""
    dense = nn.Linear(7, 7, bias=False)
    dense.weight.data = torch.eye(7) * 0.5 * scale
    return nn.Sequential(nn.Flatten(), dense)


def images(n: int = 50) -> Images:
    draw = torch.Generator().manual_seed(0)
    return Images.from_tensor(torch.rand(n, 1, 1, 7, generator=draw), torch.arange(n) % 7)


def test_the_five_most_probable_classes_come_in_order_with_their_probabilities():
    model = model_of(brightest_pixel(4.0), (1, 1, 7), 7)
    predictions = predict_images(model, images())
    pixels = images().pixels()[:, 0, 0]
    probabilities = (4 * (pixels - 0.5)).softmax(1)
    order = probabilities.argsort(1, descending=True)[:, :5]
    assert predictions.top_classes.tolist() == order.tolist()
    np.testing.assert_allclose(
        predictions.top_probabilities, probabilities.gather(1, order).numpy(), atol=1e-6
    )
    assert predictions.correct.tolist() == (order[:, 0].numpy() == np.arange(50) % 7).tolist()
    assert predictions.correct_top_k.tolist() == [i % 7 in order[i].tolist() for i in range(50)]
    assert not predictions.softmax_outputs


def test_without_labels_no_prediction_is_correct_or_wrong():
    unlabelled = Images.from_tensor(images().pixels())
    with pytest.raises(ValueError, match="no labels"):
        _ = predict_images(model_of(brightest_pixel(), (1, 1, 7), 7), unlabelled).correct


def test_classes_keep_their_order_where_the_softmax_has_rounded_them_all_to_zero():
    predictions = predict_images(model_of(brightest_pixel(1e5), (1, 1, 7), 7), images())
    assert (
        predictions.top_classes.tolist()
        == images().pixels()[:, 0, 0].argsort(1, descending=True)[:, :5].tolist()
    )


def test_the_outputs_of_a_network_that_ends_in_a_softmax_are_its_probabilities():
    plain = predict_images(model_of(brightest_pixel(4.0), (1, 1, 7), 7), images())
    soft = predict_images(
        model_of(nn.Sequential(brightest_pixel(4.0), nn.Softmax(1)), (1, 1, 7), 7), images()
    )
    assert soft.softmax_outputs
    np.testing.assert_allclose(soft.top_probabilities, plain.top_probabilities, atol=1e-6)


def test_logits_that_are_not_finite_are_refused():
    broken = brightest_pixel(float("nan"))
    with pytest.raises(UserError, match="NaN"):
        predict_images(model_of(broken, (1, 1, 7), 7), images())
