"""Logistic regression against scikit-learn's and on linearly separable classes; probes of a trained network."""

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from probe.data.sources import open_images
from probe.methods.representation.linear_probe import logistic_regression, probe_layers
from probe.model.loading import load


def clusters(n: int, features: int, classes: int, *, distance: float) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    labels = torch.arange(n) % classes
    centres = torch.randn(classes, features, generator=rng) * distance
    return centres[labels] + torch.randn(n, features, generator=rng), labels


@pytest.mark.parametrize("l2", [1e-1, 1e-2])
def test_the_weights_are_those_of_scikit_learn(l2):
    features, labels = clusters(300, 7, 4, distance=0.7)
    ours = logistic_regression(features, labels, 4, l2=l2)
    standard = ((features - features.mean(0)) / features.std(0, correction=0)).numpy().astype(np.float64)
    theirs: Any = LogisticRegression(C=1 / (l2 * len(labels)), tol=1e-10, max_iter=5000)
    theirs.fit(standard, labels.numpy())
    assert ours.weight.T.numpy() == pytest.approx(theirs.coef_, abs=2e-3)
    probabilities = ours.logits(features).softmax(1).numpy()
    assert probabilities == pytest.approx(theirs.predict_proba(standard), abs=1e-3)


def test_linearly_separable_classes_are_separated():
    features, labels = clusters(200, 5, 3, distance=20)
    assert logistic_regression(features, labels, 3).accuracy(features, labels) == 1


def test_a_constant_feature_gets_zero_weight():
    features, labels = clusters(100, 4, 3, distance=1)
    with_constant = torch.cat([features, torch.full((100, 1), 7.0)], dim=1)
    probe = logistic_regression(with_constant, labels, 3)
    assert float(probe.weight[-1].abs().max()) == 0
    assert torch.isfinite(probe.logits(with_constant + 1)).all()


def test_the_scale_of_the_features_does_not_matter():
    features, labels = clusters(150, 6, 3, distance=1)
    plain, scaled = (
        logistic_regression(features, labels, 3),
        logistic_regression(features * 1000 + 5, labels, 3),
    )
    torch.testing.assert_close(plain.logits(features), scaled.logits(features * 1000 + 5), atol=2e-2, rtol=0)


def test_a_trained_layer_separates_the_classes_better_than_the_pixels():
    model = load("lenet5-mnist", device="cpu")
    train, test = (open_images(f"digits:{split}") for split in ("train", "test"))
    rule = "resize 32, centre crop 32"
    accuracy = probe_layers(
        model, train.take(40).preprocessed(model.shape, rule), test.preprocessed(model.shape, rule)
    )
    assert list(accuracy) == ["pixels", "conv1", "conv2", "conv3", "dense1", "dense2"]
    assert accuracy["conv3"] > accuracy["pixels"] + 0.02
