"""Captions of a transfer in words, without a network."""

from dataclasses import replace

import pytest
from torch import nn, zeros

from probe.data.images import Images
from probe.training.transfer.exhibits import (
    ProbeFindings,
    StrategyFindings,
    curves_caption,
    probes_caption,
    saved_caption,
    strategies_caption,
    strategy_findings,
)
from probe.training.transfer.progress import BestNetwork, StrategyResult, TransferResult

BEST = BestNetwork("frozen", 0.95, {}, (0.5,), (0.5,))
FINDINGS = StrategyFindings(
    best_name="head on stored features",
    best=0.95,
    scratch=0.25,
    gap=70.0,
    significant=True,
    train_images=40,
    test_images=450,
    backbone="lenet5-mnist",
)


def test_the_caption_of_the_strategies_gives_the_best_one_and_the_gap_to_training_from_scratch():
    assert strategies_caption(FINDINGS) == (
        "With 40 training images, the best strategy (head on stored features) has a test accuracy of 95.0% on 450 images; "
        "training from scratch has 25.0%, 70.0 percentage points less. "
        "The backbone is lenet5-mnist. Error bars: 95% intervals."
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"best": 0.6, "scratch": 0.5, "gap": 10.0, "significant": False},
            "10.0 percentage points less; the difference is not significant.",
        ),
        (
            {"best": 0.5, "scratch": 0.5, "gap": 0.0},
            "the same as training from scratch: pretraining gains nothing here.",
        ),
        (
            {"best": 0.4, "scratch": 0.5, "gap": -10.0},
            "training from scratch has 50.0%: pretraining does not help here.",
        ),
    ],
    ids=["not significant", "equal", "worse"],
)
def test_the_caption_of_the_strategies_states_the_direction_of_the_gap(changes, words):
    assert words in strategies_caption(replace(FINDINGS, **changes))


@pytest.mark.parametrize(
    ("scratch", "gap", "significant"), [(0.25, 70.0, True), (0.9, 5.0, False), (1.0, -5.0, False)]
)
def test_the_gap_is_between_the_best_strategy_and_training_from_scratch(scratch, gap, significant):
    images = Images.from_tensor(zeros(20, 1, 2, 2))
    strategies = [
        StrategyResult(name, accuracy, 1.0, 10)
        for name, accuracy in (("stored", 0.3), ("frozen", 0.95), ("tuned", 0.6), ("scratch", scratch))
    ]
    findings = strategy_findings(TransferResult(strategies, {}, BEST, nn.Identity(), images, images), "net")
    assert (findings.best_name, findings.gap, findings.significant) == ("frozen", gap, significant)


def test_the_caption_of_the_saved_network_says_where_a_better_one_could_not_be_saved():
    assert saved_caption("from scratch", 0.9, 450, "from scratch").startswith(
        "The saved network is the most accurate one (from scratch), with an accuracy of 90.0% on 450 test images. It was chosen on"
    )
    assert "cannot include the hidden layer of the best one (stored)" in saved_caption(
        "frozen", 0.8, 450, "stored"
    )


def test_the_caption_of_the_curves_lists_the_first_epochs():
    caption = curves_caption({"head, frozen backbone": 0.3, "from scratch": 0.1})
    assert caption.startswith(
        "Test accuracy after the first epoch: 30% (head, frozen backbone) and 10% (from scratch)."
    )


def test_the_caption_of_the_probes_names_the_best_layer():
    caption = probes_caption(ProbeFindings("lenet5-mnist", "conv3", 0.9, 0.8, 0.85))
    assert caption == (
        "A linear classifier on the features of conv3 of lenet5-mnist has the highest test accuracy, 90.0%. "
        "On the pixels it has 80.0%, on the last layer 85.0%."
    )
