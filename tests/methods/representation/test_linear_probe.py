"""Logistic regression against scikit-learn's, and on classes that a line tells apart."""

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from probe.methods.representation.linear_probe import logistic


def clusters(n: int, features: int, classes: int, *, apart: float) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    labels = torch.arange(n) % classes
    centres = torch.randn(classes, features, generator=rng) * apart
    return centres[labels] + torch.randn(n, features, generator=rng), labels


@pytest.mark.parametrize("penalty", [1e-1, 1e-2])
def test_the_weights_are_those_of_scikit_learn(penalty):
    features, labels = clusters(300, 7, 4, apart=0.7)
    ours = logistic(features, labels, 4, penalty=penalty)
    standard = ((features - features.mean(0)) / features.std(0, correction=0)).numpy().astype(np.float64)
    theirs: Any = LogisticRegression(C=1 / (penalty * len(labels)), tol=1e-10, max_iter=5000)
    theirs.fit(standard, labels.numpy())
    assert ours.weight.T.numpy() == pytest.approx(theirs.coef_, abs=2e-3)
    scores = ours.scores(features).softmax(1).numpy()
    assert scores == pytest.approx(theirs.predict_proba(standard), abs=1e-3)


def test_classes_that_a_line_tells_apart_are_told_apart():
    features, labels = clusters(200, 5, 3, apart=20)
    assert logistic(features, labels, 3).accuracy(features, labels) == 1


def test_a_feature_that_never_changes_has_no_say():
    features, labels = clusters(100, 4, 3, apart=1)
    with_constant = torch.cat([features, torch.full((100, 1), 7.0)], dim=1)
    found = logistic(with_constant, labels, 3)
    assert float(found.weight[-1].abs().max()) == 0
    assert torch.isfinite(found.scores(with_constant + 1)).all()


def test_the_features_scale_does_not_matter():
    features, labels = clusters(150, 6, 3, apart=1)
    one, other = logistic(features, labels, 3), logistic(features * 1000 + 5, labels, 3)
    torch.testing.assert_close(one.scores(features), other.scores(features * 1000 + 5), atol=2e-2, rtol=0)
