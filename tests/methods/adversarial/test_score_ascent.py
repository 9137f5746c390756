"""Gradient ascent on the score of a class reaches the class, stays in its ball, and leaves an image once it is certain."""

import pytest
import torch

from probe.methods.adversarial.criteria import predict
from probe.methods.adversarial.norms import perturbation_norm
from probe.methods.adversarial.score_ascent import ascend_class_score
from tests.methods.adversarial.victims import reader


def test_an_ascent_reaches_the_class_from_noise() -> None:
    pixels = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    ascent = ascend_class_score(reader(), pixels, 7, steps=200, confidence=0.9)
    assert (ascent.probability[-1] >= 0.9).all()
    assert (predict(reader(), ascent.pixels).argmax(1) == 7).all()
    assert ascent.pixels.min() >= 0
    assert ascent.pixels.max() <= 1
    near = ascend_class_score(reader(), pixels, 7, steps=30, eps=0.2)
    assert (perturbation_norm(near.pixels - pixels, "l2") <= 0.2 + 1e-6).all()


def test_an_ascent_leaves_an_image_where_it_reached_its_confidence() -> None:
    pixels = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor([7, 1, 3, 7, 0, 2])
    together = ascend_class_score(reader(), pixels, targets, steps=60, confidence=0.9)
    for row in range(6):
        alone = ascend_class_score(
            reader(), pixels[row : row + 1], targets[row : row + 1], steps=60, confidence=0.9
        )
        assert torch.allclose(alone.pixels, together.pixels[row : row + 1], atol=1e-4)
        assert float(alone.probability[-1]) == pytest.approx(float(together.probability[-1, row]), abs=1e-3)
