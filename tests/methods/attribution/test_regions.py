"""Methods over regions: exact on linear models, complete, and the global generators are as before."""

import random
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import Tensor

from probe.methods.attribution.gradient_shap import GradientShap
from probe.methods.attribution.references import REFERENCES
from probe.methods.attribution.regions import (
    FeatureAblation,
    KernelShap,
    Lime,
    ShapleySampling,
    region_grid,
    seeded,
)
from tests.methods.attribution.networks import LABELS, images, linear, model_of, small_convnet

SIDE, REGIONS = 5, 2


def in_regions(values: Tensor) -> Tensor:
    """The sum of (n, c, h, w) over each of 2 x 2 regions of 5 x 5 pixels, at each of their pixels."""
    sums = values.sum(1).unfold(1, SIDE, SIDE).unfold(2, SIDE, SIDE).sum((3, 4))
    return sums.repeat_interleave(SIDE, 1).repeat_interleave(SIDE, 2)


def test_on_a_linear_model_each_gives_what_the_regions_contribute():
    model, weights = linear()
    fill = torch.tensor(model.card.input.mean, dtype=torch.float64).view(1, 2, 1, 1)
    wanted = in_regions(weights[LABELS] * (images() - fill))
    for method in (FeatureAblation(regions=2), ShapleySampling(regions=2, samples=2)):
        torch.testing.assert_close(method(model, images(), LABELS), wanted)
    for method in (KernelShap(regions=2, samples=40), Lime(regions=2, samples=80, alpha=0)):
        torch.testing.assert_close(method(model, images(), LABELS), wanted, rtol=1e-3, atol=1e-3)


def test_shapley_values_sum_to_the_difference_of_scores():
    model = model_of(small_convnet())
    grey = torch.full_like(images(), 0.4)
    with torch.no_grad():
        scores = model.logits(images()) - model.logits(grey)
    difference = scores.gather(1, LABELS[:, None])[:, 0]
    for method, tolerance in (
        (ShapleySampling(regions=2, fill=0.4), 1e-6),
        (KernelShap(regions=2, fill=0.4), 1e-3),
    ):
        maps = method(model, images(), LABELS)
        torch.testing.assert_close(maps[:, ::SIDE, ::SIDE].sum((1, 2)), difference, rtol=0, atol=tolerance)


@pytest.mark.parametrize("method", [Lime(samples=20), KernelShap(samples=20), ShapleySampling(samples=1)])
def test_the_seed_decides_and_the_global_generators_are_as_before(method):
    model = model_of(small_convnet())
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    first = method(model, images(1), LABELS[:1], seed=3)
    assert random.getstate() == before[0]
    assert np.random.get_state()[1].tolist() == before[1]
    assert torch.equal(torch.get_rng_state(), before[2])
    torch.rand(5)
    np.random.rand(5)
    assert torch.equal(first, method(model, images(1), LABELS[:1], seed=3))
    assert not torch.equal(first, method(model, images(1), LABELS[:1], seed=4))


def test_regions_are_square_where_the_image_is_not():
    grid = region_grid(40, 60, 4)
    assert grid.max() == 4 * 6 - 1
    assert all(int((grid == region).sum()) == 100 for region in range(24))
    assert region_grid(5, 5, 64).flatten().tolist() == list(range(25))


def test_gradient_shap_of_a_linear_model_is_its_difference_from_the_mean_of_the_references():
    model, weights = linear()
    method = GradientShap(samples=REFERENCES)
    references = method.references(images(), 0)
    assert len(references) == REFERENCES
    wanted = weights[LABELS] * (images() - references.mean(0))
    torch.testing.assert_close(method(model, images(), LABELS), wanted)
    own = method.with_references(images())
    torch.testing.assert_close(own(model, images(), LABELS), weights[LABELS] * (images() - images().mean(0)))


def test_gradient_shap_tends_to_the_difference_from_the_mean_score_of_the_references():
    model = model_of(small_convnet())
    method = GradientShap(samples=512)
    with torch.no_grad():
        scores = model.logits(images()) - model.logits(method.references(images(), 0)).mean(0)
    difference = scores.gather(1, LABELS[:, None])[:, 0]
    torch.testing.assert_close(
        method(model, images(), LABELS).sum((1, 2, 3)), difference, rtol=0.05, atol=0.02
    )


def test_threads_that_draw_at_once_draw_what_each_draws_alone():
    def draws(seed: int) -> list[float]:
        drawn = []
        with seeded(seed):
            for _ in range(5):
                drawn += [random.random(), float(np.random.rand()), float(torch.rand(()))]
                time.sleep(0.001)
        return drawn

    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    alone = [draws(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(draws, range(4))) == alone
    assert before == (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())
