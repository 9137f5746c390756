"""Confidence under transforms in closed form, and extremes over parts of a data set."""

import pytest
import torch
from torch import Tensor, nn

from probe.data.images import Images
from probe.methods.synthesis.evaluation import (
    N_TRANSFORMS,
    Extremes,
    confidence_under_transforms,
    dataset_extremes,
)
from probe.methods.synthesis.objectives import LOGITS
from probe.methods.synthesis.transforms import RandomAffine
from probe.model.model import Model
from tests.conftest import model_of


class Reads(nn.Module):
    """Class 0 where the pixel at row and column 8 is white, class 1 where it is black."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([x[:, 0, 8, 8], -x[:, 0, 8, 8]], 1) * 1e4


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_without_any_transform_it_is_the_plain_confidence(convnet: Model, noise_images: Images) -> None:
    pixels, classes = noise_images.pixels()[:6], torch.arange(6)
    confidence = confidence_under_transforms(convnet, pixels, classes, RandomAffine(0, 0, 0), rng())
    expected = convnet.logits(pixels).softmax(1)[torch.arange(6), classes]
    torch.testing.assert_close(confidence, expected, atol=1e-4, rtol=1e-4)


def test_under_shifts_it_is_the_proportion_of_those_that_keep_the_class() -> None:
    """White up to column 9, whose edge at 10 is 1.5 pixels from the centre of column 8; shifts are uniform up to 4."""
    image = torch.zeros(1, 1, 16, 16)
    image[..., :10] = 1
    pixels = image.expand(100, -1, -1, -1)
    model = model_of(Reads(), (1, 16, 16), 2)
    assert (model.logits(pixels).argmax(1) == 0).all()
    for target, expected in ((0, 5.5 / 8), (1, 2.5 / 8)):
        classes = torch.full((100,), target)
        confidence = confidence_under_transforms(model, pixels, classes, RandomAffine(4, 0, 0), rng())
        assert len(confidence.unique()) > 5, "every image has transforms of its own"
        error = (expected * (1 - expected) / (100 * N_TRANSFORMS)) ** 0.5
        assert float(confidence.mean()) == pytest.approx(expected, abs=4 * error)


def test_extremes_of_parts_are_those_of_the_whole_whatever_their_order(
    convnet: Model, noise_images: Images
) -> None:
    logits = convnet.logits(noise_images.pixels())
    batches = list(noise_images.batches(8))
    for order in (batches, batches[::-1]):
        first, rest = (dataset_extremes(convnet, part, LOGITS) for part in (order[:2], order[2:]))
        extremes = first.joined(rest)
        assert isinstance(extremes, Extremes)
        torch.testing.assert_close(extremes.values, torch.stack([logits.amin(0), logits.amax(0)]))
        assert extremes.positions.tolist() == [logits.argmin(0).tolist(), logits.argmax(0).tolist()]
        torch.testing.assert_close(extremes.spread, logits.amax(0) - logits.amin(0))
    with pytest.raises(ValueError, match="no images"):
        dataset_extremes(convnet, [], LOGITS)
