"""Are answers read off and calibration measured as the papers say?"""

import numpy as np
import pytest
import torch
from torch import nn

from probe.data.images import Images
from probe.errors import UserError
from probe.methods.inspection.predictions import answers, are_probabilities, confusion, reliability
from tests.conftest import model_of


@pytest.mark.parametrize(("sure", "right"), [(0.8, 0.6), (0.3, 0.9), (1.0, 0.5), (0.5, 0.5)])
def test_the_error_of_a_constant_predictor_is_how_far_it_is_off(sure: float, right: float):
    hits = np.arange(100) < 100 * right
    found = reliability(np.full(100, sure), hits, 15)
    assert found.error == pytest.approx(abs(sure - right), abs=1e-12)
    assert np.flatnonzero(found.count).tolist() == [int(np.ceil(sure * 15)) - 1]
    assert np.nanmax(found.sure) == pytest.approx(sure)


def test_the_calibration_error_is_equation_3_of_guo_written_out_slowly():
    draw = np.random.default_rng(0)
    sure = np.concatenate([draw.random(500), [0.0, 0.1, 0.2, 1.0]])
    right = draw.random(504) < sure**2
    error = 0.0
    for m in range(1, 11):
        members = [i for i in range(504) if (m - 1) / 10 < sure[i] <= m / 10 or (m == 1 and sure[i] == 0)]
        accuracy, confidence = np.mean([right[i] for i in members]), np.mean([sure[i] for i in members])
        error += len(members) / 504 * abs(accuracy - confidence)
    assert reliability(sure, right, 10).error == pytest.approx(error, abs=1e-12)
    assert error > 0.05


def test_confusion_counts_every_pair():
    labels, said = np.array([0, 0, 1, 2, 2, 2]), np.array([0, 1, 1, 2, 0, 0])
    assert confusion(labels, said, 3).tolist() == [[1, 1, 0], [0, 1, 0], [2, 0, 1]]


def test_probabilities_are_told_from_logits():
    logits = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    assert are_probabilities(logits.softmax(1))
    assert not are_probabilities(logits)
    assert not are_probabilities(logits.sigmoid())
    assert not are_probabilities(logits.log_softmax(1))


def reading(scale: float = 1.0) -> nn.Module:
    """The logits are the pixels themselves, times `scale`: the brightest of seven pixels is the answer."""
    dense = nn.Linear(7, 7, bias=False)
    dense.weight.data = torch.eye(7) * 0.5 * scale
    return nn.Sequential(nn.Flatten(), dense)


def images(n: int = 50) -> Images:
    draw = torch.Generator().manual_seed(0)
    return Images.from_tensor(torch.rand(n, 1, 1, 7, generator=draw), torch.arange(n) % 7)


def test_the_first_five_classes_come_in_order_with_their_probabilities():
    model = model_of(reading(4.0), (1, 1, 7), 7)
    found = answers(model, images())
    pixels = images().pixels()[:, 0, 0]
    share = (4 * (pixels - 0.5)).softmax(1)
    order = share.argsort(1, descending=True)[:, :5]
    assert found.said.tolist() == order.tolist()
    np.testing.assert_allclose(found.sure, share.gather(1, order).numpy(), atol=1e-6)
    assert found.labels is not None
    assert found.right.tolist() == (found.said[:, 0] == np.arange(50) % 7).tolist()
    assert found.among.tolist() == [i % 7 in order[i].tolist() for i in range(50)]
    assert not found.already


def test_classes_keep_their_order_where_the_softmax_has_rounded_them_all_to_zero():
    found = answers(model_of(reading(1e5), (1, 1, 7), 7), images())
    assert found.said.tolist() == images().pixels()[:, 0, 0].argsort(1, descending=True)[:, :5].tolist()


def test_a_network_that_ends_in_a_softmax_is_taken_at_its_word():
    plain = answers(model_of(reading(4.0), (1, 1, 7), 7), images())
    soft = answers(model_of(nn.Sequential(reading(4.0), nn.Softmax(1)), (1, 1, 7), 7), images())
    assert soft.already
    np.testing.assert_allclose(soft.sure, plain.sure, atol=1e-6)


def test_answers_that_are_no_numbers_are_refused():
    broken = reading(float("nan"))
    with pytest.raises(UserError, match="NaN"):
        answers(model_of(broken, (1, 1, 7), 7), images())
