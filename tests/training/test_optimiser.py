"""The optimiser, its default learning rate and its schedules."""

import math

import pytest
from torch import nn

from probe.training.config import TrainingConfig
from probe.training.optimiser import lr_factor, make_optimiser, peak_lr


@pytest.mark.parametrize("schedule", ["one-cycle", "cosine", "step", "constant"])
def test_the_learning_rate_reaches_its_peak_once_and_never_exceeds_it(schedule):
    factors = [lr_factor(schedule, step / 1000) for step in range(1001)]
    assert max(factors) == 1
    assert min(factors) >= 0
    after_peak = factors[factors.index(1.0) :]
    assert after_peak == sorted(after_peak, reverse=True)


def test_one_cycle_warms_up_for_a_quarter_and_ends_at_a_ten_thousandth():
    assert lr_factor("one-cycle", 0) == pytest.approx(1 / 25)
    assert lr_factor("one-cycle", 0.25) == 1
    assert lr_factor("one-cycle", 1) == pytest.approx(1e-4)
    assert [lr_factor("step", progress) for progress in (0.49, 0.5, 0.75)] == [1, 0.1, 0.01]


def test_the_default_learning_rate_grows_with_the_batch_size_and_with_batch_norm():
    plain, normalised = nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    assert peak_lr(TrainingConfig(batch_size=256), normalised) == pytest.approx(0.2)
    assert peak_lr(TrainingConfig(batch_size=128), plain) == pytest.approx(0.02)
    assert peak_lr(TrainingConfig(batch_size=512, optimiser="adam"), plain) == pytest.approx(
        1e-3 * math.sqrt(4)
    )
    assert peak_lr(TrainingConfig(lr=0.3), normalised) == 0.3


def test_synchronised_batch_norm_has_the_default_learning_rate_of_batch_norm():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    alone = peak_lr(TrainingConfig(), network)
    assert peak_lr(TrainingConfig(), nn.SyncBatchNorm.convert_sync_batchnorm(network)) == alone == 0.1


def test_frozen_weights_are_not_given_to_the_optimiser():
    network = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    network[0].requires_grad_(False)
    groups = make_optimiser(TrainingConfig(), network).param_groups
    assert [id(p) for p in groups[0]["params"]] == [id(p) for p in network[1].parameters()]
