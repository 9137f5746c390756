"""`classify` counts what is classified correctly, warns where it cannot, and its captions agree with its findings."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from probe.analyses.inspection import classify_captions as captions
from probe.analyses.inspection import classify_unlabelled as unlabelled
from probe.analyses.inspection.classify import Classify
from probe.analyses.inspection.classify_exhibits import calibration_findings
from probe.data.images import Images
from probe.data.sources import open_images
from probe.exhibits.checks import check
from probe.exhibits.exhibits import Chart, Exhibit, ImageGrid, Matrix, Table
from probe.exhibits.result import Result
from probe.methods.inspection.predictions import predict_images, reliability
from probe.model.loading import load
from probe.model.model import Model
from probe.runs.job import RunJob
from tests.conftest import model_of


def brightest_pixel(classes: int = 7, *, scale: float = 5.0, softmax: bool = False) -> Model:
    """Predicts the position of the brightest of as many pixels as there are classes."""
    dense = nn.Linear(classes, classes, bias=False)
    dense.weight.data = torch.eye(classes) * 0.5 * scale
    network = nn.Sequential(nn.Flatten(), dense, *[nn.Softmax(1)] * softmax)
    return model_of(network, (1, 1, classes), classes)


def predicted_as(predictions: torch.Tensor, labels: torch.Tensor | None, classes: int = 7) -> Images:
    """Images for which `brightest_pixel` predicts `predictions`."""
    pixels = torch.rand(len(predictions), 1, 1, classes, generator=torch.Generator().manual_seed(0)) * 0.5
    pixels[torch.arange(len(predictions)), 0, 0, predictions] = 1
    names = tuple(f"class {i}" for i in range(classes))
    return Images.from_tensor(pixels, labels, classes=names if labels is not None else None)


def run(model: Model, images: Images, **options: int) -> tuple[Result, dict[str, Exhibit]]:
    result = Classify(**options).run(model, images, RunJob(0))
    for exhibit in result.exhibits:
        check(exhibit)
    return result, {exhibit.title: exhibit for exhibit in result.exhibits}


def test_accuracy_and_the_confusion_matrix_count_planted_errors():
    labels = torch.arange(700) % 7
    predictions = torch.where(torch.arange(700) % 10 == 3, (labels + 1) % 7, labels)
    result, exhibits = run(brightest_pixel(), predicted_as(predictions, labels))
    accuracy = result.numbers["accuracy"]
    assert accuracy.value == pytest.approx(0.9)
    assert accuracy.low is not None
    assert accuracy.high is not None
    assert 0.87 < accuracy.low < 0.9 < accuracy.high < 0.93
    matrix = exhibits["Confusion matrix"]
    assert isinstance(matrix, Matrix)
    expected = np.zeros((7, 7))
    np.add.at(expected, (labels.numpy(), predictions.numpy()), 1)
    np.testing.assert_allclose(matrix.values, expected, atol=1e-4)  # 100 images a class: per cent
    chart = exhibits["Accuracy by class"]
    assert isinstance(chart, Chart)
    np.testing.assert_allclose(chart.lines[0].y, np.diag(expected) / 100)
    grid = exhibits["Most confident misclassifications"]
    assert isinstance(grid, ImageGrid)
    assert len(grid.images) == 20
    assert grid.facts["misclassified"] == 70
    true, predicted = grid.labels[0].split("\n\u2192 ")
    assert int(predicted.split(" ")[1]) == (int(true.split(" ")[1]) + 1) % 7
    assert result.warnings == []


def test_misclassified_images_are_sorted_by_confidence():
    images = predicted_as(torch.zeros(60, dtype=torch.long), torch.ones(60, dtype=torch.long))
    _, exhibits = run(brightest_pixel(), images)
    grid = exhibits["Most confident misclassifications"]
    assert isinstance(grid, ImageGrid)
    confidence = [float(label.rpartition("(")[2][:-2]) / 100 for label in grid.labels]
    assert confidence == sorted(confidence, reverse=True)
    probabilities = brightest_pixel().logits(images.pixels()).softmax(1).max(1).values
    assert confidence[0] == pytest.approx(float(probabilities.max()), abs=0.006)
    assert grid.facts["min_confidence"] == pytest.approx(confidence[-1], abs=0.006)
    assert grid.facts["confident"] == int((probabilities > 0.9).sum())


def test_a_perfect_network_has_no_misclassified_images_to_show():
    labels = torch.arange(140) % 7
    result, exhibits = run(brightest_pixel(), predicted_as(labels, labels))
    assert result.numbers["accuracy"].value == 1
    assert "Most confident misclassifications" not in exhibits
    assert exhibits["Confusion matrix"].facts["misclassified"] == 0


def test_a_difference_within_the_interval_of_the_accuracy_is_not_significant():
    verdicts = {}
    for n in (14, 7000):
        labels = torch.arange(n) % 7
        predictions = predict_images(brightest_pixel(), predicted_as(labels, labels))
        bins = reliability(predictions.confidence, predictions.correct, 15)
        verdicts[n] = calibration_findings(bins, predictions).verdict
    assert verdicts == {14: "difference not significant", 7000: "underconfident"}


def test_a_collapse_on_one_class_is_warned_of_unless_all_images_are_of_it():
    labels = torch.arange(140) % 7
    result, _ = run(brightest_pixel(), predicted_as(torch.full((140,), 3), labels))
    assert any("collapsed" in warning and "class 3" in warning for warning in result.warnings)
    three = torch.full((140,), 3)
    assert not any("collapsed" in w for w in run(brightest_pixel(), predicted_as(three, three))[0].warnings)
    assert not any("collapsed" in w for w in run(brightest_pixel(), predicted_as(labels, labels))[0].warnings)


def test_a_softmax_at_the_end_is_warned_of_and_changes_no_number():
    labels = torch.arange(140) % 7
    images = predicted_as((labels + labels % 2) % 7, labels)
    plain, soft = run(brightest_pixel(), images)[0], run(brightest_pixel(softmax=True), images)[0]
    assert any("softmax" in warning for warning in soft.warnings)
    assert not any("softmax" in warning for warning in plain.warnings)
    for name, number in plain.numbers.items():
        assert soft.numbers[name].value == pytest.approx(number.value, abs=1e-5), name


def test_few_images_are_warned_of():
    labels = torch.arange(14) % 7
    assert run(brightest_pixel(), predicted_as(labels, labels))[0].warnings == [
        "Only 14 images: all proportions are rough."
    ]


def test_a_thousand_classes_are_shown_by_their_most_confused_pairs():
    labels = torch.arange(2000) % 1000
    predictions = labels.clone()
    predictions[labels == 17] = 940
    predictions[30] = 31
    result, exhibits = run(brightest_pixel(1000, scale=50.0), predicted_as(predictions, labels, 1000))
    table = exhibits["Most confused classes"]
    assert isinstance(table, Table)
    assert table.rows == [["class 17", "class 940", 2, 2, 1.0]], "a pair that occurs once is no confusion"
    assert "accuracy_top5" in result.numbers
    assert any("2,000 images for 1,000 classes" in warning for warning in result.warnings)


def test_where_no_confusion_occurs_twice_the_most_confident_are_listed():
    labels = torch.arange(1000)
    predictions = labels.clone()
    predictions[:30] += 1
    _, exhibits = run(brightest_pixel(1000, scale=50.0), predicted_as(predictions, labels, 1000))
    table = exhibits["Most confidently confused classes"]
    assert isinstance(table, Table)
    assert len(table.rows) == 10
    assert table.caption == (
        "30 of 1,000 images are misclassified. No confusion occurs twice. The 10 most confident are listed, the most "
        "confident first."
    )


@pytest.mark.parametrize(
    ("repeated", "listed", "words"),
    [
        (3, 3, "The 3 pairs that occur twice or more are listed."),
        (40, 25, "The 25 most frequent of 40 pairs that occur twice or more are listed."),
    ],
)
def test_the_caption_of_confused_classes_says_which_are_listed(repeated, listed, words):
    findings = captions.ConfusionFindings(
        n=700, misclassified=100, pair_count=2, repeated=repeated, listed=listed
    )
    assert captions.confused_classes_caption(findings).endswith(words)


def test_without_labels_the_predictions_are_shown():
    predictions = torch.tensor([2] * 60 + [5] * 40)
    result, exhibits = run(brightest_pixel(), predicted_as(predictions, None), examples=6)
    chart, table, grid = (
        exhibits[t] for t in ("Predicted classes", "Prediction for each image", "Predictions")
    )
    assert isinstance(chart, Chart)
    assert isinstance(table, Table)
    assert isinstance(grid, ImageGrid)
    assert chart.lines[0].y.tolist() == [0, 0, 60, 0, 0, 40, 0]
    assert [row[1] for row in table.rows] == [f"class {c}" for c in predictions.tolist()]
    assert len(grid.images) == 6
    assert result.numbers["predicted_classes"].value == 2
    assert "accuracy" not in result.numbers


def test_the_accuracy_of_a_pretrained_network_on_test_digits_is_that_of_its_logits():
    model = load("lenet5-digits", device="cpu")
    images = (
        open_images("digits:test")
        .preprocessed(model.shape, model.card.input.preprocess)
        .matched(model.classes)
    )
    result, _ = run(model, images)
    assert images.labels is not None
    accuracy = model.logits(images.pixels()).argmax(1).eq(images.labels).float().mean()
    assert result.numbers["accuracy"].value == pytest.approx(float(accuracy))
    assert float(accuracy) > 0.95


def test_the_most_frequent_confusion_is_counted_with_pairs_that_are_as_frequent():
    labels = torch.arange(70) % 7
    predictions = labels.clone()
    predictions[[1, 8, 5, 12, 6]] = torch.tensor([0, 0, 2, 2, 3])
    facts = run(brightest_pixel(), predicted_as(predictions, labels))[1]["Confusion matrix"].facts
    assert (facts["misclassified"], facts["pair_count"], facts["class_size"], facts["ties"]) == (5, 2, 10, 1)
    assert facts["error_fraction"] == pytest.approx(0.4)
    predictions[12] = 5
    facts = run(brightest_pixel(), predicted_as(predictions, labels))[1]["Confusion matrix"].facts
    assert (facts["misclassified"], facts["pair_count"], facts["ties"]) == (4, 2, 0)


def test_a_class_without_images_has_an_empty_row_in_the_matrix():
    labels = torch.arange(60) % 6
    matrix = run(brightest_pixel(), predicted_as(labels, labels))[1]["Confusion matrix"]
    assert isinstance(matrix, Matrix)
    assert np.isnan(matrix.values[6]).all()
    assert np.isfinite(matrix.values[:6]).all()
    assert "Classes without images have an empty row." in matrix.caption


@pytest.mark.parametrize("labels", [torch.tensor([2]), torch.tensor([3]), None])
def test_captions_and_warnings_of_a_single_image_are_in_the_singular(labels):
    result, exhibits = run(brightest_pixel(), predicted_as(torch.tensor([2]), labels))
    text = " ".join([*result.warnings, *(e.caption for e in exhibits.values())])
    assert not re.search(r"\b1 (of 1|\w+s)\b|All 1\b", text)


PAIR = {"true": "cat", "predicted": "dog", "pair_count": 2, "class_size": 10, "error_fraction": 0.4}


@pytest.mark.parametrize(
    ("findings", "text"),
    [
        ({"n": 70, "misclassified": 0}, "None of 70 images is misclassified."),
        ({"n": 1, "misclassified": 0}, "The image is classified correctly."),
        ({"n": 1, "misclassified": 1, **PAIR}, "The image is misclassified: cat as dog."),
        ({"n": 70, "misclassified": 1, **PAIR}, "1 of 70 images is misclassified: cat as dog."),
        (
            {"n": 70, "misclassified": 2, **PAIR, "pair_count": 1},
            "2 of 70 images are misclassified. No confusion occurs twice.",
        ),
        (
            {"n": 70, "misclassified": 5, **PAIR},
            "5 of 70 images are misclassified. The most frequent confusion is cat classified as dog: 2 of 10 images,"
            " 40% of all misclassifications.",
        ),
        (
            {"n": 70, "misclassified": 5, **PAIR, "ties": 1},
            "5 of 70 images are misclassified. The most frequent confusion is cat classified as dog: 2 of 10 images,"
            " 40% of all misclassifications. 1 other pair is as frequent.",
        ),
    ],
)
def test_the_caption_names_the_most_frequent_confusion(findings, text):
    assert captions.most_frequent_confusion(captions.ConfusionFindings(**findings)) == text


@pytest.mark.parametrize(
    ("confident", "misclassified", "text"),
    [
        (0, 2, "No misclassification has a confidence above 90%."),
        (1, 2, "1 of 2 misclassifications has a confidence above 90%."),
        (2, 3, "2 of 3 misclassifications have a confidence above 90%."),
        (3, 3, "All misclassifications have a confidence above 90%."),
        (1, 1, ""),
    ],
)
def test_the_caption_counts_confident_misclassifications(confident, misclassified, text):
    assert captions.confident_misclassifications(confident, misclassified) == text


@pytest.mark.parametrize(
    ("shown", "misclassified", "start"),
    [
        (1, 1, "The only misclassified image, with the true class, the predicted class and the confidence."),
        (2, 2, "Both misclassified images, the most confident first, with"),
        (5, 5, "All 5 misclassified images, the most confident first, with"),
        (20, 45, "The 20 most confident of 45 misclassified images, with"),
        (1, 45, "The most confident of 45 misclassified images, with"),
    ],
)
def test_the_caption_says_which_misclassified_images_are_shown(shown, misclassified, start):
    findings = captions.MisclassificationFindings(
        misclassified=misclassified, shown=shown, confident=0, min_confidence=0.5
    )
    text = captions.misclassifications_caption(findings)
    assert text.startswith(start)
    assert ("at least 50%" in text) == (shown > 1)


def test_the_caption_of_the_accuracy_by_class_names_the_extremes_unless_all_are_equal():
    findings = captions.ClassAccuracyFindings(
        worst="cat", worst_accuracy=0.5, best="dog", best_accuracy=0.9,
        fewest_images=8, most_images=10, listed=2, classes=2,
    )  # fmt: skip
    assert captions.class_accuracy_caption(findings) == (
        "The accuracy is lowest for cat (50.0%) and highest for dog (90.0%). The error bars are 95% intervals, from 8 to 10 images per"
        " class."
    )
    equal = replace(findings, best_accuracy=0.5, most_images=8, listed=40, classes=100)
    assert captions.class_accuracy_caption(equal) == (
        "The accuracy is 50.0% for every class. The error bars are 95% intervals, from 8 images per class."
        " The 40 least accurate of 100 classes are listed."
    )


@pytest.mark.parametrize(
    ("correct", "incorrect", "text"),
    [
        (0.9, 0.6, "The median confidence is 0.90 for correct and 0.60 for incorrect predictions."),
        (0.9, None, "All predictions are correct; their median confidence is 0.90."),
        (None, 0.6, "No prediction is correct; the median confidence is 0.60."),
    ],
)
def test_the_caption_of_the_confidence_compares_correct_and_incorrect_predictions(correct, incorrect, text):
    findings = captions.ConfidenceFindings(median_correct=correct, median_incorrect=incorrect)
    assert captions.confidence_caption(findings) == text


def test_the_captions_without_labels_count_what_is_shown():
    classes = unlabelled.PredictedClassFindings(
        n=9, predicted=3, shown=2, classes=7, mode="cat", mode_count=5
    )
    assert unlabelled.predicted_classes_caption(classes) == (
        "3 of 7 classes are predicted, most often cat: 5 of 9 images. The 2 most frequent are shown."
    )
    assert (
        unlabelled.predicted_classes_caption(replace(classes, predicted=1))
        == "Every image is classified as cat."
    )
    every = unlabelled.predicted_classes_caption(replace(classes, predicted=7, shown=7))
    assert every == "All 7 classes are predicted, most often cat: 5 of 9 images."
    none = unlabelled.PredictionTableFindings(n=9, below_half=0, listed=9)
    assert unlabelled.prediction_table_caption(none) == "No prediction has a confidence below 0.5."
    single = unlabelled.PredictionTableFindings(n=1, below_half=1, listed=1)
    assert unlabelled.prediction_table_caption(single) == "The prediction has a confidence below 0.5."
    table = unlabelled.PredictionTableFindings(n=600, below_half=1, listed=500)
    assert unlabelled.prediction_table_caption(table) == (
        "1 of 600 predictions has a confidence below 0.5. The first 500 images are listed."
    )
    grid = unlabelled.PredictionGridFindings(n=9, shown=4, lowest_prediction="dog", min_confidence=0.25)
    assert unlabelled.prediction_grid_caption(grid) == (
        "The first 4 of 9 images with the predicted class and its confidence."
        " The least confident prediction is dog (25%)."
    )
