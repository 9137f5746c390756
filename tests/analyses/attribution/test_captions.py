"""The words of the captions of attribution, backprop, compare and attribution-tests, without any network."""

from dataclasses import replace

import numpy as np
import pytest

from probe.analyses.attribution.attribution_exhibits import (
    BoxFindings,
    ContrastFindings,
    MapFindings,
    PredictionFindings,
    boxes_caption,
    contrast_caption,
    maps_caption,
    predictions_caption,
)
from probe.analyses.attribution.attribution_tests_exhibits import (
    CurveFindings,
    RandomisationFindings,
    VerdictFindings,
    curve_caption,
    randomisation_caption,
    verdict_caption,
)
from probe.analyses.attribution.attribution_tests_run import TestPlan
from probe.analyses.attribution.attribution_tests_verdict import Verdict
from probe.analyses.attribution.backprop_exhibits import RuleFindings, backprop_caption
from probe.analyses.attribution.compare_exhibits import (
    CompareFindings,
    ConfidenceFindings,
    ModelFindings,
    Predictions,
    compare_caption,
    confidence_caption,
)
from probe.analyses.attribution.compare_exhibits import predictions_caption as models_caption
from probe.analyses.attribution.randomisation_captions import randomisation_verdict
from probe.methods.attribution.sanity_checks import NOT_TESTED, RandomisationResult


def result(last: float, half: float, spread: float = 0.05, n: int = 8) -> RandomisationResult:
    noise = np.linspace(-spread, spread, n) if n > 1 else np.zeros(1)
    return RandomisationResult(last + noise, half + noise, images=n)


PASSES = result(0.2, 0.1)


def test_the_verdict_names_the_test_that_is_failed_with_its_figure() -> None:
    half = randomisation_verdict("Guided backprop", result(0.6, 0.83))
    assert half.startswith("Guided backprop fails the randomisation test (8 images): ")
    assert (
        "a rank correlation of 0.83 (0.80 to 0.86) with the original ones when half of the layers are" in half
    )
    assert "structure of the image" in half
    last = randomisation_verdict("Deconvnet", result(0.7, 0.1))
    assert "a rank correlation of 0.70 (0.67 to 0.73) with the original ones when the last layer is" in last
    assert "do not explain the prediction" in last
    passes = randomisation_verdict("Grad-CAM", PASSES)
    assert passes.startswith("Grad-CAM passes the randomisation test (8 images): ")
    assert (
        "is 0.20 (0.17 to 0.23) when the last layer is randomised and 0.10 (0.07 to 0.13) when half" in passes
    )


@pytest.mark.parametrize(("last", "spread", "n"), [(0.3, 0.6, 3), (0.9, 0.0, 1), (0.52, 0.2, 16)])
def test_an_undecided_verdict_gives_the_number_of_images(last: float, spread: float, n: int) -> None:
    text = randomisation_verdict("Grad-CAM", result(last, 0.1, spread, n))
    assert text.startswith("Grad-CAM neither passes nor fails the randomisation test: ")
    assert ("1 image is too few" if n == 1 else f"{n} images are too few") in text
    assert "exceeds 0.5" in text
    assert "inf" not in text


def test_constant_maps_cannot_be_tested() -> None:
    text = randomisation_verdict("Gradient", RandomisationResult(np.zeros(0), np.zeros(0), images=4, blank=4))
    assert text == "Gradient cannot be tested on these images: its maps are blank, the same value everywhere."


def test_the_caption_of_maps_gives_what_was_computed() -> None:
    findings = MapFindings(
        title="Integrated gradients",
        notation="integrated-gradients(steps=16)",
        signed=True,
        randomisation=PASSES,
        completeness_error=0.0123,
    )
    text = maps_caption(findings)
    assert "Computed as integrated-gradients(steps=16)." in text
    assert "1.23% (median)" in text
    assert "Red pixels raise the score, blue pixels lower it." in text
    assert "full colour at the 99% quantile of its own magnitudes" in text
    assert "blurred" not in text
    plain = maps_caption(replace(findings, notation="gradient", signed=False, completeness_error=None))
    assert plain.startswith(randomisation_verdict("Integrated gradients", PASSES))
    assert "Red" not in plain
    coarse = maps_caption(
        replace(findings, tested="integrated-gradients(steps=8)", blur=1.0, overlay_blur=5.675)
    )
    assert "Tested as integrated-gradients(steps=8)." in coarse
    assert "Maps are blurred by 1 pixel. Overlays are smoothed by 5.7 pixels" in coarse


def test_blank_maps_are_said_beside_the_verdict_they_were_left_out_of() -> None:
    noise = np.linspace(-0.05, 0.05, 12)
    some = RandomisationResult(0.2 + noise, 0.1 + noise[:9], images=16, blank=4, blank_half=3)
    text = randomisation_verdict("Grad-CAM", some)
    assert text.startswith("Grad-CAM passes the randomisation test (16 images)")
    assert text.endswith(
        "Blank maps are excluded: 4 of 16 with the trained network and 3 of 12 with half of the layers randomised."
    )
    dead = randomisation_verdict(
        "Grad-CAM", RandomisationResult(0.2 + noise, noise[:2], images=12, blank_half=10)
    )
    assert dead.startswith(
        "Grad-CAM has no verdict of the randomisation test (12 images): most of its maps are blank"
    )
    assert (
        randomisation_verdict("Lime", NOT_TESTED) == "Lime is not tested here: the budget does not allow it."
    )


def test_a_contrast_gives_its_cosine_without_a_sign_at_zero() -> None:
    assert "a mean cosine similarity of 0.00." in contrast_caption(
        ContrastFindings(title="Occlusion", cosine=-1e-9)
    )


def test_the_caption_of_boxes_tells_what_is_known() -> None:
    known = BoxFindings(threshold=0.2, n=3, without_box=0, mean_iou=0.417)
    assert "above 20% of the map's maximum" in boxes_caption(known)
    assert "with the true box, green, is 0.42." in boxes_caption(known)
    unknown = boxes_caption(BoxFindings(threshold=0.2, n=3, without_box=1, mean_iou=None))
    assert "The true boxes are not known for these images." in unknown
    assert "1 of 3 maps has no positive pixel and no box." in unknown


def test_the_caption_of_predictions_counts_them() -> None:
    findings = PredictionFindings(n=3, correct=2, mean_confidence=0.914)
    assert (
        predictions_caption(findings) == "2 of 3 images are classified correctly. The mean confidence is 91%."
    )
    single = predictions_caption(replace(findings, n=1, correct=1))
    assert single.startswith("1 of 1 image is classified correctly.")
    assert predictions_caption(replace(findings, correct=None)).startswith("The true classes are not known.")


def test_the_caption_of_backprop_compares_its_rules() -> None:
    gradient = RuleFindings(title="Gradient", randomisation=PASSES, limits=(0.123,), other_image=0.2)
    deconvnet = RuleFindings(
        title="Deconvnet", randomisation=result(0.7, 0.1), limits=(2.5,), cosine=-0.001, other_image=0.999
    )
    text = backprop_caption([gradient, deconvnet])
    assert "Deconvnet does not depend on the image" in text
    assert "a rank correlation of 1.00." in text
    assert "Gradient does not depend" not in text
    assert "Cosine similarity to the gradient: 0.00 (Deconvnet)." in text
    assert "full colour at the 99% quantile of its own magnitudes" in text
    assert "Blank" not in text
    assert "Blank pictures are zero everywhere." in backprop_caption([replace(gradient, limits=(0.1, 0.0))])
    assert "Cosine" not in backprop_caption([gradient])


def test_the_caption_of_a_comparison_never_calls_maps_once_as_large() -> None:
    other = ModelFindings(name="twin", similarity=np.array([0.5, 0.7]), ratio=1.0001)
    findings = CompareFindings(
        title="Gradient", first="net", others=[other], randomisation=[("net", PASSES), ("twin", PASSES)]
    )
    text = compare_caption(findings)
    assert (
        "Maps of net have a mean rank correlation of 0.60 (-0.67 to 1.00) with those of twin (2 images)."
        in text
    )
    assert "In magnitude those of twin are on average equally large." in text
    assert "On twin: Gradient passes" in text
    assert "3 times as large" in compare_caption(replace(findings, others=[replace(other, ratio=3.01)]))
    blank = replace(other, similarity=np.array([0.5, 0.7, np.nan]))
    text = compare_caption(replace(findings, others=[blank]))
    assert "Pairs with a blank map are excluded: 1 of 3 with twin." in text


def test_the_caption_of_predictions_of_models_gives_accuracies_and_agreement() -> None:
    both = Predictions(names=("a", "b"), n=100, correct=(90, 80), agree=(85,))
    text = models_caption(both)
    assert "Accuracy on 100 images: a 90.0% (82.6% to 94.5%) and b 80.0%" in text
    assert "Predictions that equal those of a: b 85.0%" in text
    unknown = models_caption(replace(both, correct=None))
    assert unknown.startswith("The true classes of 100 images are not known. Predictions that equal")


def test_the_caption_of_confidences_lists_every_model() -> None:
    text = confidence_caption(ConfidenceFindings(names=["a", "b", "c"], means=[0.9, 0.5, 0.25]))
    assert text == "a gives the class that it predicts a mean probability of 90%, b 50% and c 25%."


PLAN = TestPlan(test_images=4, stages=3, curve_points=5, radius=0.02, seed=0)


def test_the_caption_of_verdicts_tells_who_passes_and_who_fails_what() -> None:
    verdicts = {
        "Gradient": Verdict(),
        "Deconvnet": Verdict(failed=("randomisation",), undecided=("pointing",)),
        "Grad-CAM": Verdict(undecided=("pointing",)),
    }
    findings = VerdictFindings(model="net", verdicts=verdicts, n=6, plan=PLAN, masks=True)
    text = verdict_caption(findings)
    assert text.startswith("On net Gradient passes every test. Deconvnet (randomisation) fails.")
    assert "Undecided, with too few images: pointing (Deconvnet and Grad-CAM)." in text
    assert "dilated by 3% of the side" in text
    none = verdict_caption(
        replace(findings, verdicts={"Deconvnet": Verdict(failed=("randomisation",))}, masks=False)
    )
    assert none.startswith("On net no method passes every test.")
    assert "pointing" not in none


def test_the_caption_of_randomisation_names_the_methods_that_change_least() -> None:
    findings = RandomisationFindings(last=("Deconvnet", 0.8), half=("Guided backprop", 0.71), test_images=1)
    text = randomisation_caption(findings)
    assert "the maps of Deconvnet change least (similarity 0.80)" in text
    assert "those of Guided backprop (similarity 0.71)" in text
    assert "mean over 1 image." in text
    same = randomisation_caption(replace(findings, half=("Deconvnet", 0.6)))
    assert same.startswith("The maps of Deconvnet change least: their similarity is 0.80 with the last layer")
    assert "and 0.60 with half of the layers." in same
    constant = randomisation_caption(RandomisationFindings(last=None, half=None, test_images=4))
    assert constant.startswith("The maps of all methods are blank. Similarity is")


@pytest.mark.parametrize(("kind", "verb"), [("insertion", "inserted into"), ("deletion", "deleted from")])
def test_the_caption_of_a_curve_compares_the_best_with_a_random_order(kind: str, verb: str) -> None:
    text = curve_caption(CurveFindings(kind=kind, best="Occlusion", auc=0.61, random_auc=0.4, n=1))
    assert verb in text
    assert (
        "Occlusion is best with an area under the curve (AUC) of 0.61, against 0.40 for a random order."
        in text
    )
    assert text.endswith("One image.")
