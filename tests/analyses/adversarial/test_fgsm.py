"""The fgsm analysis shows what the attack did, and warns where it could do nothing."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from probe.analyses.adversarial.fgsm_exhibits import (
    ExampleFindings,
    FgsmFindings,
    accuracy_caption,
    example_caption,
    select_examples,
)
from probe.data.images import Images
from probe.errors import UserError
from probe.exhibits.exhibits import Chart, ImageGrid
from probe.methods.adversarial.criteria import Criterion, predict
from probe.methods.adversarial.gradient_attacks import FGSM, ray
from probe.methods.adversarial.min_radius import min_radius_on_ray
from probe.methods.adversarial.single_step import radii_of_the_fall
from probe.model.model import Model
from probe.runs.execute import run
from tests.methods.adversarial.victims import DEFECTS, defective, digit_images, digits, reader

CLASSES = tuple(str(i) for i in range(10))


def test_the_numbers_are_those_of_the_attack() -> None:
    pixels, labels = (t[:120] for t in digits())
    result = run("fgsm", reader(), digit_images(120), eps=0.2, eps_steps=4)
    chart, grid = result.exhibits
    assert isinstance(chart, Chart)
    assert isinstance(grid, ImageGrid)
    line = chart.lines[0]
    assert len(line.x) == 5
    assert (line.x[0], line.x[-1]) == (0, 0.2)
    assert (np.diff(line.x) > 0).all()
    for eps, accuracy in zip(line.x, line.y, strict=True):
        attacked = FGSM(eps=float(eps))(reader(), pixels, labels).pixels
        assert accuracy == pytest.approx(
            float((predict(reader(), attacked).argmax(1) == labels).float().mean()), abs=1e-6
        )
    assert line.low is not None
    assert line.high is not None
    assert ((line.low < line.y) & (line.y < line.high) | (line.y == 0)).all()
    criterion = Criterion(labels)
    correct = predict(reader(), pixels).argmax(1) == labels
    min_eps = min_radius_on_ray(reader(), ray(reader(), pixels, criterion), criterion)[correct]
    assert result.numbers["median_min_eps"].value == pytest.approx(float(min_eps.median()), abs=2e-4)
    assert result.numbers["accuracy_clean"].value == pytest.approx(float(line.y[0]))
    assert result.numbers["accuracy_attacked"].value == pytest.approx(float(line.y[-1]))


def test_noise_of_the_same_size_does_far_less() -> None:
    chart = run("fgsm", reader(), digit_images(120), eps=0.2).exhibits[0]
    assert isinstance(chart, Chart)
    attack, noise = chart.lines
    assert noise.dashed
    assert noise.y[0] == attack.y[0]
    assert noise.y[-1] > attack.y[-1] + 0.3


def test_the_examples_are_image_change_and_attacked_image() -> None:
    grid = run("fgsm", reader(), digit_images(120), eps=0.1, examples=3).exhibits[1]
    assert isinstance(grid, ImageGrid)
    assert len(grid.images) == len(grid.labels) == 9
    factor = 0.5 / 0.1
    for k in range(3):
        before, change, after = grid.images[3 * k : 3 * k + 3]
        assert np.abs(after - before).max() <= 0.1 + 1e-6
        assert change == pytest.approx(0.5 + factor * (after - before), abs=1e-5)
        assert grid.labels[3 * k + 1] == "enlarged 5 x"
        confidence = predict(reader(), torch.from_numpy(after).permute(2, 0, 1)[None]).softmax(1)
        assert grid.labels[3 * k + 2] == f"{int(confidence.argmax())} ({float(confidence.max()):.1%})"


def test_without_labels_the_predictions_are_taken_as_labels_with_a_warning() -> None:
    result = run("fgsm", reader(), digit_images(120, labelled=False), eps=0.1)
    assert result.numbers["accuracy_clean"].value == 1
    assert any("own predictions" in warning for warning in result.warnings)
    assert run("fgsm", reader(), digit_images(120), eps=0.1).warnings == []


def test_a_model_without_a_gradient_is_warned_of() -> None:
    class Rounded(torch.nn.Module):
        def __init__(self, network: torch.nn.Module) -> None:
            super().__init__()
            self.network = network

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return self.network(pixels.round())

    plain = reader()
    result = run("fgsm", Model(Rounded(plain.network), plain.card), digit_images(40), eps=0.1)
    assert result.numbers["accuracy_attacked"].value == result.numbers["accuracy_clean"].value
    assert any("40 of 40 images have a zero or NaN gradient" in warning for warning in result.warnings)


def test_a_target_is_reached_more_often_the_larger_the_step() -> None:
    result = run("fgsm", reader(), digit_images(120), eps=0.3, target="8")
    chart = result.exhibits[0]
    assert isinstance(chart, Chart)
    assert chart.lines[0].y[0] > 0.95
    assert chart.lines[0].y[-1] < 0.8
    assert result.numbers["not_target_attacked"].value == pytest.approx(float(chart.lines[0].y[-1]))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"eps": "8"}, "eps must lie in (0, 1], got 8: for eight grey levels write 8/255"),
        ({"target": "eight"}, "there is no class 'eight'"),
        ({"loss": "mse"}, "loss must be one of 'log-odds', 'cross-entropy', got mse"),
    ],
)
def test_bad_parameters_are_refused_in_one_line(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as refused:
        run("fgsm", reader(), digit_images(10), **wrong)
    assert str(refused.value).startswith(message)


def test_images_that_are_all_of_the_target_class_are_refused() -> None:
    pixels, labels = digits()
    eights = Images.from_tensor(pixels[labels == 8], labels[labels == 8], classes=CLASSES)
    with pytest.raises(UserError, match="every image is of the target class 8 already"):
        run("fgsm", reader(), eights, target="8")


@pytest.mark.parametrize(("layer", "before", "sign"), DEFECTS)
def test_a_model_with_a_masked_gradient_is_warned_of(layer: nn.Module, before: bool, sign: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        result = run("fgsm", defective(layer, before=before), digit_images(40), eps=0.1)
    assert any(sign in warning for warning in result.warnings)


FINDINGS = FgsmFindings(
    eps=np.array([0, 4 / 255, 8 / 255]),
    target="",
    robust=np.array([90, 40, 20]),
    noise_robust=np.array([90, 90, 89]),
    n=100,
    correct=90,
    confidence=0.874,
    candidates=90,
    median_min_eps=0.0123,
    zero_gradient=0,
)


def test_the_caption_states_the_fall_of_the_accuracy_and_the_median_eps() -> None:
    assert accuracy_caption(FINDINGS) == (
        "Accuracy falls from 90.0% to 20.0% at eps 8/255 (8 grey levels); under random noise of the same size it is"
        " 89.0%. The misclassified images have a mean confidence of 87%. Half of the correctly classified images are"
        " fooled at eps 0.0123 (3.1 grey levels) or less. Bands: 95% intervals, 100 images."
    )


def test_the_caption_of_a_robust_model_has_no_median() -> None:
    robust = replace(
        FINDINGS, robust=np.array([90, 90, 90]), confidence=None, median_min_eps=None, target="cat"
    )
    assert accuracy_caption(robust) == (
        "Proportion not classified as cat stays at 90.0% at eps 8/255 (8 grey levels); under random noise of the same"
        " size it is 89.0%. Fewer than half of the correctly classified images are fooled at any eps, so there is no"
        " median minimal eps. Bands: 95% intervals, 100 images."
    )


def test_one_grey_level_is_singular() -> None:
    caption = accuracy_caption(replace(FINDINGS, eps=np.array([0, 1 / 255]), robust=np.array([90, 20])))
    assert "at eps 1/255 (1 grey level);" in caption


def test_without_a_correct_image_the_caption_has_no_minimal_eps() -> None:
    caption = accuracy_caption(replace(FINDINGS, candidates=0, correct=0, median_min_eps=None))
    assert "eps, so there is no" not in caption


@pytest.mark.parametrize(
    ("shown", "fooled", "text"),
    [
        (1, 1, "The image shown is fooled at eps 0.1."),
        (1, 0, "The image shown is not fooled at eps 0.1."),
        (2, 2, "Both images shown are fooled at eps 0.1."),
        (4, 4, "All 4 images shown are fooled at eps 0.1."),
        (4, 0, "None of the 4 images shown is fooled at eps 0.1."),
        (4, 1, "1 of the 4 images shown is fooled at eps 0.1. Fooled images come first."),
    ],
)
def test_the_caption_of_the_examples_counts_them(shown: int, fooled: int, text: str) -> None:
    findings = ExampleFindings(shown=shown, fooled=fooled, eps=0.1, enlargement=5)
    assert example_caption(findings).startswith(f"{text} The change is magnified 5 times")


def test_examples_are_of_different_classes_and_preferred_ones_first() -> None:
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    preferred = torch.tensor([False, True, True, True, False, False])
    assert select_examples(labels, preferred, count=3).tolist() == [1, 2, 3]
    assert select_examples(labels, count=3).tolist() == [0, 2, 4]


def test_the_radii_show_the_fall_wherever_it_is() -> None:
    """Equally many images fall between two radii, although the largest is a hundred times the median of the falls."""
    min_eps = np.geomspace(1e-4, 1e-2, 60)
    radii = radii_of_the_fall(min_eps, 0.3, 8)
    assert (len(radii), radii[0], radii[-1]) == (9, 0, 0.3)
    falls = np.histogram(min_eps, radii)[0]
    assert (falls[:-1] <= 12).all()
    assert np.diff(radii_of_the_fall(np.full(9, np.inf), 0.2, 4)) == pytest.approx(0.05)
    robust = radii_of_the_fall(np.r_[0.1, np.full(59, np.inf)], 0.2, 4)
    assert robust.tolist() == pytest.approx([0, 0.05, 0.1, 0.15, 0.2])


def test_the_caption_says_from_how_many_images_a_minute_allowed_these(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("probe.analyses.adversarial.fgsm._SECONDS", 1e-6)
    result = run("fgsm", reader(), digit_images(120), eps=0.1)
    assert result.numbers["accuracy_clean"].n == 16
    assert "16 images of 120, as many as this network allows in a minute" in result.exhibits[0].caption
    given = run("fgsm", reader(), digit_images(120), eps=0.1, max_images=20)
    assert given.exhibits[0].caption.endswith("20 images.")
