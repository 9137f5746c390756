"""Captions of the robustness analysis state their findings; no network is needed."""

from dataclasses import replace

import numpy as np
import pytest

from probe.analyses.adversarial.robustness_captions import (
    NO_CORRECT,
    AccuracyFindings,
    BudgetFindings,
    ChecksFindings,
    MinimalFindings,
    QualityFindings,
    ReencodingFindings,
    StrongestFindings,
    accuracy_caption,
    budget_caption,
    checks_caption,
    grey_levels,
    minimal_caption,
    quality_caption,
    reencoding_caption,
    strongest_caption,
)
from probe.analyses.adversarial.robustness_image_captions import (
    AscentFindings,
    ClassFindings,
    ConfusionFindings,
    ExamplesFindings,
    MarginFindings,
    TargetFindings,
    ascent_caption,
    class_caption,
    confusion_caption,
    examples_caption,
    margin_caption,
    target_caption,
)

EPS = 8 / 255


@pytest.mark.parametrize(
    ("eps", "words"), [(8 / 255, "8 grey levels"), (1 / 255, "1 grey level"), (0.01, "2.55 grey levels")]
)
def test_radii_are_also_stated_as_grey_levels(eps: float, words: str) -> None:
    assert grey_levels(eps) == words


def test_the_accuracy_caption_lists_every_attack() -> None:
    findings = AccuracyFindings(
        n=128,
        eps=EPS,
        clean=0.914,
        attacked={"Noise": 0.9, "PGD": 0.031},
        robust=0.0234,
        nested=("PGD",),
    )
    assert accuracy_caption(findings) == (
        "The clean accuracy is 91.4% (128 images). At eps 8/255: Noise 90.0%, PGD 3.1%; at most 2.3% under the strongest attack"
        " on each image. PGD: smaller radii are tried only on the images that are fooled at the larger ones."
        " Bands: 95% confidence intervals."
    )
    assert "At eps 8/255, or at their own eps: Noise" in accuracy_caption(replace(findings, own_eps=True))
    assert "smaller radii" not in accuracy_caption(replace(findings, nested=()))
    assert "(1 image)" in accuracy_caption(replace(findings, n=1))


def test_the_strongest_attack_is_named_with_its_success_rate() -> None:
    findings = StrongestFindings(eps=EPS, strongest="PGD", success=0.97, universal=True)
    caption = strongest_caption(findings)
    assert caption.startswith(
        "At eps 8/255 the strongest is PGD: it fools 97% of the correctly classified images."
    )
    assert "universal" in caption
    nothing = strongest_caption(replace(findings, strongest=None, universal=False))
    assert nothing.startswith(NO_CORRECT)
    assert "universal" not in nothing


@pytest.mark.parametrize(
    ("failed", "words"),
    [
        ((), "None of 8 checks fails on 48 images: there is no sign of gradient masking."),
        (("a",), "1 of 8 checks fails on 48 images (a): the accuracies under attack may be overestimated."),
        (
            ("a", "b"),
            "2 of 8 checks fail on 48 images (a and b): the accuracies under attack may be overestimated.",
        ),
    ],
)
def test_failed_checks_are_named(failed: tuple[str, ...], words: str) -> None:
    assert checks_caption(ChecksFindings(failed=failed, checks=8, n=48)) == words


def test_medians_of_minimal_perturbations_are_stated_where_there_are_any() -> None:
    findings = MinimalFindings(n=48, medians={"A": 1.204, "B": 0.8, "C": np.inf})
    assert minimal_caption(findings) == (
        "Median L2 norm that fools a correctly classified image: A 1.20 and B 0.80. C fools fewer than half of these"
        " images. 48 images; Carlini-Wagner starts from the results of DeepFool."
    )
    assert minimal_caption(replace(findings, medians={"A": np.inf, "B": np.inf})).startswith(
        "A and B fool fewer than half of these images."
    )
    assert minimal_caption(replace(findings, medians={})) == NO_CORRECT


@pytest.mark.parametrize(
    ("fooled", "words"),
    [
        (30, "Of 30 images fooled by PGD at eps 8/255 (8 grey levels) 97% are still fooled as 8-bit PNG"),
        (1, "Of 1 image fooled by PGD at eps 8/255 (8 grey levels) 97% is still fooled as 8-bit PNG"),
        (0, "PGD fools no image at eps 8/255, so there is nothing to compress."),
    ],
)
def test_what_compression_leaves_of_the_attack(fooled: int, words: str) -> None:
    caption = reencoding_caption(
        ReencodingFindings(attack="PGD", fooled=fooled, eps=EPS, png=0.97, jpeg=0.6, clean_jpeg=0.905)
    )
    assert caption.startswith(words)
    assert ("90.5% at quality 75" in caption) == (fooled > 0)


def test_correlations_with_the_minimal_radius_have_no_negative_zero() -> None:
    findings = MarginFindings(
        n=40, median=0.0123, smallest=0.00345, with_margin=-0.001, with_confidence=0.501
    )
    assert margin_caption(findings) == (
        "Half of the 40 images that can be fooled need eps 0.012 (3.14 grey levels) or less; the least robust one needs"
        " 0.0034. The rank correlation of the minimal eps with the margin is 0.00, with the confidence 0.50."
    )


@pytest.mark.parametrize(
    ("fooled", "n", "words"),
    [
        (6, 6, "All 6 images shown are fooled"),
        (2, 2, "Both images shown are fooled"),
        (1, 1, "The image shown is fooled"),
        (0, 1, "The image shown is not fooled"),
        (1, 6, "1 of the 6 images shown is fooled"),
        (5, 6, "5 of the 6 images shown are fooled"),
    ],
)
def test_how_many_of_the_images_shown_are_fooled(fooled: int, n: int, words: str) -> None:
    caption = examples_caption(ExamplesFindings(fooled=fooled, n=n, eps=0.02))
    assert (
        caption == f"{words} at eps 0.02 (5.1 grey levels) or less; beside each is its adversarial version,"
        " below it the predicted class, its confidence and the minimal eps."
    )


@pytest.mark.parametrize(
    ("clean", "attacked", "words"),
    [
        ((1.0, 0.8), (0.1, 0.4), "cat loses most, from 100% to 10%, and dog least, from 80% to 40%."),
        ((1.0, 0.8), (0.0, 0.0), "every class loses all of its accuracy."),
        ((1.0, 0.8), (1.0, 0.8), "every class keeps all of its accuracy."),
        ((1.0, 0.8), (0.5, 0.4), "every class keeps 50% of its accuracy."),
        ((0.0, 0.8), (0.0, 0.0), "dog loses all of its accuracy."),
    ],
)
def test_which_class_loses_most_of_its_accuracy(
    clean: tuple[float, ...], attacked: tuple[float, ...], words: str
) -> None:
    findings = ClassFindings(attack="PGD", eps=EPS, names=("cat", "dog"), clean=clean, attacked=attacked)
    assert class_caption(findings) == f"Under PGD at eps 8/255 {words}"


def test_no_class_can_lose_accuracy_where_none_has_any() -> None:
    findings = ClassFindings(attack="PGD", eps=EPS, names=("cat",), clean=(0.0,), attacked=(0.0,))
    assert class_caption(findings) == "No image is classified correctly, so no class can lose accuracy."


def test_the_most_frequent_change_of_the_prediction() -> None:
    findings = ConfusionFindings(
        attack="PGD",
        eps=EPS,
        fooled=40,
        pair=("cat", "dog"),
        count=7,
        ties=0,
        attractor="dog",
        proportion=0.25,
    )
    assert confusion_caption(findings) == (
        "At eps 8/255 the most frequent change by PGD is from cat to dog: 7 of 40 images."
        " 25% of the fooled images are classified as dog."
    )
    assert "7 of 40 images, as often as 1 other pair." in confusion_caption(replace(findings, ties=1))
    assert (
        confusion_caption(replace(findings, count=1))
        == "At eps 8/255 PGD fools 40 images, no two from the same class into the same class."
    )
    assert (
        confusion_caption(replace(findings, count=1, fooled=1))
        == "At eps 8/255 PGD fools 1 image: cat becomes dog."
    )


def test_the_easiest_pair_and_the_hardest_target() -> None:
    findings = TargetFindings(
        steps=10, eps=EPS, attempts=90, proportion=0.7, easiest=("cat", "dog", 1.0), hardest=("owl", 0.125)
    )
    assert target_caption(findings) == (
        "PGD of 10 steps at eps 8/255 reaches the target class in 70% of 90 attempts. Easiest: cat to dog (100%)."
        " Hardest to reach: owl (12% on average)."
    )
    assert target_caption(replace(findings, steps=1, attempts=1, easiest=None, hardest=None)) == (
        "PGD of 1 step at eps 8/255 reaches the target class in 70% of 1 attempt."
    )


def test_ascents_are_counted_by_their_confidence() -> None:
    findings = AscentFindings(start="cat", reached=3, n=10, confidence=0.95, from_image=1.94, from_noise=2.31)
    assert ascent_caption(findings).startswith(
        "3 of 10 ascents reach a confidence of 95%. Median L2 norm of the change: 1.9 from the image of cat, 2.3 from"
        " noise."
    )


def test_the_caption_of_the_budget_states_what_was_spent_and_what_is_missing() -> None:
    findings = BudgetFindings(
        minutes=3, passes=10_100, spent=9_480, images=24, gradient_cost=3, omitted=("targeted attacks",)
    )
    assert budget_caption(findings) == (
        "24 images were attacked with 9,480 forward passes (a gradient counts as 3); 3 minutes on two cores are 10,100 of"
        " this network. Not measured because the budget does not suffice: targeted attacks."
    )


def test_checks_that_were_not_run_are_no_sign_of_anything() -> None:
    caption = checks_caption(ChecksFindings(failed=(), checks=9, n=48, skipped=("a", "b")))
    assert caption.startswith("None of 7 checks fails on 48 images. The budget does not suffice for a and b")
    assert "no sign" not in caption


def test_the_caption_of_the_gradient_says_whether_it_predicts_the_loss() -> None:
    sound = QualityFindings(n=47, length=1 / 510, ratio=0.98, outside=0.0, fell=0.0, predicts=True)
    assert quality_caption(sound) == (
        "A step of 0.002 (0.5 grey levels) along the gradient raises the loss by 0.98 times what the gradient predicts"
        " (median of 47 images); for 0% the two differ by more than a factor of 4."
    )
    rugged = QualityFindings(n=47, length=1 / 510, ratio=0.0, outside=0.9, fell=0.4, predicts=False)
    assert quality_caption(rugged).endswith("attacks that follow it fail.")
