"""Do the words on the masking checks name what was measured and what a failure implies?"""

import pytest

from probe.analyses.adversarial.masking_report import IMPLICATIONS, format_measured, masking_warnings
from probe.methods.adversarial.masking import (
    BLACK_BOX,
    CHECKS,
    CONVERGED,
    DETERMINISTIC,
    GRADIENT,
    ITERATIVE,
    LARGE_RADIUS,
    LOGITS,
    LOSSES,
    QUALITY,
    Check,
)


@pytest.mark.parametrize(
    ("name", "measured", "words"),
    [
        (
            DETERMINISTIC,
            {"difference": 0.123, "largest_logit": 9.876},
            "forward passes over the same images differ by 0.12, the largest logit is 9.88",
        ),
        (
            LOGITS,
            {"smallest_sum": 1, "largest_sum": 1.0004},
            "the outputs of an image sum to between 1 and 1",
        ),
        (
            GRADIENT,
            {"zero": 1, "invalid": 0, "zero_values": 0.984},
            "the gradient is zero for 100% of the images, NaN for 0%; 98% of all values are zero",
        ),
        (
            QUALITY,
            {"length": 0.00196, "ratio": -0.02, "outside": 0.9, "fell": 0.5},
            "a step of 0.002 along the gradient raises the loss by -0.02 times the predicted rise (median), by less than"
            " 1/4 or more than 4 times for 90% of the images; the loss falls for 50%",
        ),
        (
            ITERATIVE,
            {"single_step": 0.4, "iterative": 0.5, "steps": 20},
            "accuracy 40% after one step, 50% after 20",
        ),
        (
            LARGE_RADIUS,
            {"accuracy": 0.97, "eps": 0.5, "chance_level": 0.1, "noise": 0.8},
            "accuracy 97% at eps 0.5 of the 80% of the images that noise of that size does not fool, chance level 10%",
        ),
        (
            BLACK_BOX,
            {"fooled": 0.3, "queries": 200},
            "30% are fooled by 200 queries of the square attack but not by PGD",
        ),
        (
            CONVERGED,
            {"accuracy": 0.6, "longer": 0.4, "steps": 5, "more_steps": 15},
            "accuracy 60% after 5 steps, 40% after 15 more",
        ),
        (
            LOSSES,
            {"cross_entropy": 0.9, "log_odds": 0.1},
            "accuracy 90% after one step on the cross-entropy, 10% on the log-odds",
        ),
    ],
)
def test_a_failed_check_is_reported_with_its_figures_and_its_implication(
    name: str, measured: dict[str, float], words: str
) -> None:
    check = Check(name, "WARN", measured)
    assert format_measured(check) == words
    assert masking_warnings([check]) == [f"Check failed: {name} ({words}); {IMPLICATIONS[name]}."]


@pytest.mark.parametrize(
    ("name", "implication"),
    [
        (DETERMINISTIC, "attack the mean over many passes"),
        (LOGITS, "attack the layer before the softmax"),
        (GRADIENT, "their failure is not robustness"),
        (QUALITY, "the loss is rugged"),
        (ITERATIVE, "the accuracy under iterative attacks is overestimated"),
        (LARGE_RADIUS, "the attack does not work"),
        (BLACK_BOX, "the gradients are masked"),
        (CONVERGED, "the attack needs more steps"),
        (LOSSES, "the cross-entropy saturates in float32"),
    ],
)
def test_every_check_has_its_implication(name: str, implication: str) -> None:
    assert implication in IMPLICATIONS[name]
    assert set(IMPLICATIONS) == set(CHECKS)


def test_only_failed_checks_are_warned_of() -> None:
    passed = Check(LOSSES, "PASS", {"cross_entropy": 0.1, "log_odds": 0.1})
    assert masking_warnings([passed, Check(CONVERGED, "not applicable", {})]) == []


def test_a_check_that_is_not_applicable_says_why() -> None:
    assert format_measured(Check(CONVERGED, "not applicable", {})) == "no image is classified correctly"
    assert (
        format_measured(Check(LARGE_RADIUS, "not applicable", {"eps": 0.6}))
        == "eps 0.6 is a large radius already"
    )


def test_a_check_that_was_not_run_says_what_it_needs_and_is_warned_of() -> None:
    check = Check(BLACK_BOX, "NOT RUN", {"needed": 96_000.0, "left": 1200.0})
    assert format_measured(check) == "would take 96,000 forward passes, 1,200 are left of the budget"
    (warning,) = masking_warnings([check])
    assert "black-box attack is weaker" in warning
    assert "is not known" in warning
