"""Does classify say what is right and wrong, and warn where it cannot?"""

import numpy as np
import pytest
import torch
from torch import nn

from probe.analyses.inspection.classify import Classify
from probe.data.images import Images
from probe.data.sources import open_images
from probe.exhibits.checks import check
from probe.exhibits.exhibits import Chart, Exhibit, ImageGrid, Matrix, Table
from probe.exhibits.result import Result
from probe.model.loading import load
from probe.model.model import Model
from probe.runs.job import RunJob
from tests.conftest import model_of


def reading(classes: int = 7, *, scale: float = 5.0, softmax: bool = False) -> Model:
    """Answers with the brightest of as many pixels as there are classes."""
    dense = nn.Linear(classes, classes, bias=False)
    dense.weight.data = torch.eye(classes) * 0.5 * scale
    network = nn.Sequential(nn.Flatten(), dense, *[nn.Softmax(1)] * softmax)
    return model_of(network, (1, 1, classes), classes)


def bright(answers: torch.Tensor, labels: torch.Tensor | None, classes: int = 7) -> Images:
    """Pictures that `reading` answers with `answers`."""
    pixels = torch.rand(len(answers), 1, 1, classes, generator=torch.Generator().manual_seed(0)) * 0.5
    pixels[torch.arange(len(answers)), 0, 0, answers] = 1
    names = tuple(f"class {i}" for i in range(classes))
    return Images.from_tensor(pixels, labels, classes=names if labels is not None else None)


def run(model: Model, images: Images, **options: int) -> tuple[Result, dict[str, Exhibit]]:
    result = Classify(**options).run(model, images, RunJob(0))
    for exhibit in result.exhibits:
        check(exhibit)
    return result, {exhibit.title: exhibit for exhibit in result.exhibits}


def test_accuracy_and_the_matrix_count_what_was_planted():
    labels = torch.arange(700) % 7
    answers = torch.where(torch.arange(700) % 10 == 3, (labels + 1) % 7, labels)
    result, exhibits = run(reading(), bright(answers, labels))
    accuracy = result.numbers["accuracy"]
    assert accuracy.value == pytest.approx(0.9)
    assert accuracy.low is not None
    assert accuracy.high is not None
    assert 0.87 < accuracy.low < 0.9 < accuracy.high < 0.93
    matrix = exhibits["Confusion"]
    assert isinstance(matrix, Matrix)
    wanted = np.zeros((7, 7))
    np.add.at(wanted, (labels.numpy(), answers.numpy()), 1)
    np.testing.assert_allclose(matrix.values, wanted, atol=1e-4)  # 100 images a class: per cent
    chart = exhibits["Accuracy of each class"]
    assert isinstance(chart, Chart)
    np.testing.assert_allclose(chart.lines[0].y, np.diag(wanted) / 100)
    mistakes = exhibits["Most confident mistakes"]
    assert isinstance(mistakes, ImageGrid)
    assert len(mistakes.images) == 20
    true, said = mistakes.labels[0].split("\n\u2192 ")
    assert int(said.split(" ")[1]) == (int(true.split(" ")[1]) + 1) % 7
    assert result.warnings == []


def test_mistakes_come_with_the_surest_first():
    images = bright(torch.zeros(60, dtype=torch.long), torch.ones(60, dtype=torch.long))
    _, exhibits = run(reading(), images)
    mistakes = exhibits["Most confident mistakes"]
    assert isinstance(mistakes, ImageGrid)
    sure = [float(label.rpartition("(")[2][:-1]) for label in mistakes.labels]
    assert sure == sorted(sure, reverse=True)
    share = reading().logits(images.pixels()).softmax(1).max(1).values
    assert sure[0] == pytest.approx(float(share.max()), abs=0.006)


def test_a_perfect_network_has_no_mistakes_to_show():
    labels = torch.arange(140) % 7
    result, exhibits = run(reading(), bright(labels, labels))
    assert result.numbers["accuracy"].value == 1
    assert "Most confident mistakes" not in exhibits
    assert "No mistake" in exhibits["Confusion"].caption


def test_a_gap_that_lies_within_the_interval_of_the_accuracy_is_not_called_a_fault():
    few, many = torch.arange(14) % 7, torch.arange(7000) % 7
    told = {
        n: run(reading(), bright(labels, labels))[1]["Calibration"].caption
        for n, labels in ((14, few), (7000, many))
    }
    assert "too near to each other for these images to tell them apart" in told[14]
    assert "less sure than it is right" in told[7000]


def test_a_collapse_on_one_class_is_said_but_not_where_all_images_are_of_it():
    labels = torch.arange(140) % 7
    result, _ = run(reading(), bright(torch.full((140,), 3), labels))
    assert any("collapsed" in warning and "class 3" in warning for warning in result.warnings)
    three = torch.full((140,), 3)
    assert not any("collapsed" in w for w in run(reading(), bright(three, three))[0].warnings)
    assert not any("collapsed" in w for w in run(reading(), bright(labels, labels))[0].warnings)


def test_a_softmax_at_the_end_is_said_and_changes_no_figure():
    labels = torch.arange(140) % 7
    images = bright((labels + labels % 2) % 7, labels)
    plain, soft = run(reading(), images)[0], run(reading(softmax=True), images)[0]
    assert any("softmax" in warning for warning in soft.warnings)
    assert not any("softmax" in warning for warning in plain.warnings)
    for name, number in plain.numbers.items():
        assert soft.numbers[name].value == pytest.approx(number.value, abs=1e-5), name


def test_few_images_are_said_to_be_few():
    labels = torch.arange(14) % 7
    assert run(reading(), bright(labels, labels))[0].warnings == ["Only 14 images: all shares are rough."]


def test_a_thousand_classes_are_told_by_their_most_confused_pairs():
    labels = torch.arange(2000) % 1000
    answers = labels.clone()
    answers[labels == 17] = 940
    result, exhibits = run(reading(1000, scale=50.0), bright(answers, labels, 1000))
    table = exhibits["Most confused classes"]
    assert isinstance(table, Table)
    assert table.rows == [["class 17", "class 940", 2, 2]]
    assert "top-5 accuracy" in result.numbers
    assert any("2,000 images for 1,000 classes" in warning for warning in result.warnings)


def test_without_labels_the_answers_are_told():
    answers = torch.tensor([2] * 60 + [5] * 40)
    result, exhibits = run(reading(), bright(answers, None), pictures=6)
    chart, table, pictures = (exhibits[t] for t in ("What is answered", "Answer for each image", "Answers"))
    assert isinstance(chart, Chart)
    assert isinstance(table, Table)
    assert isinstance(pictures, ImageGrid)
    assert chart.lines[0].y.tolist() == [0, 0, 60, 0, 0, 40, 0]
    assert [row[1] for row in table.rows] == [f"class {answer}" for answer in answers.tolist()]
    assert len(pictures.images) == 6
    assert result.numbers["classes answered"].value == 2
    assert "accuracy" not in result.numbers


def test_the_shipped_network_reads_the_handwritten_digits_that_it_has_not_seen():
    model = load("lenet5-digits", device="cpu")
    images = (
        open_images("digits:test")
        .preprocessed(model.shape, model.card.input.preprocess)
        .matched(model.classes)
    )
    result, _ = run(model, images)
    assert images.labels is not None
    right = model.logits(images.pixels()).argmax(1).eq(images.labels).float().mean()
    assert result.numbers["accuracy"].value == pytest.approx(float(right))
    assert float(right) > 0.95


def test_one_mistake_and_mistakes_of_which_no_two_are_alike_are_spoken_of_as_such():
    labels = torch.arange(70) % 7
    once = labels.clone()
    once[3] = 4
    _, exhibits = run(reading(), bright(once, labels))
    assert exhibits["Confusion"].caption.startswith(
        "One mistake among 70 images: class 3 was taken for class 4."
    )
    assert exhibits["Most confident mistakes"].caption.startswith("The only mistake: ")
    twice = once.clone()
    twice[5] = 6
    _, exhibits = run(reading(), bright(twice, labels))
    assert exhibits["Confusion"].caption.startswith("2 mistakes among 70 images, no two of them alike.")
    assert exhibits["Most confident mistakes"].caption.startswith("All 2 mistakes, the surest first: ")


def test_pairs_that_are_equally_frequent_are_not_passed_over():
    labels = torch.arange(70) % 7
    said = labels.clone()
    said[[1, 8, 5, 12, 6]] = torch.tensor([0, 0, 2, 2, 3])
    caption = run(reading(), bright(said, labels))[1]["Confusion"].caption
    assert caption.startswith(
        "Most often class 1 is taken for class 0: 2 of 10 times, 40% of all 5 mistakes; 1 other pair is"
    )
    said[12] = 5
    caption = run(reading(), bright(said, labels))[1]["Confusion"].caption
    assert "as frequent" not in caption


def test_a_class_without_images_has_an_empty_row_in_the_matrix():
    labels = torch.arange(60) % 6
    matrix = run(reading(), bright(labels, labels))[1]["Confusion"]
    assert isinstance(matrix, Matrix)
    assert np.isnan(matrix.values[6]).all()
    assert np.isfinite(matrix.values[:6]).all()
    assert "Classes without images have an empty row." in matrix.caption


def test_a_single_image_is_spoken_of_as_one():
    for labels in (torch.tensor([2]), None):
        result, exhibits = run(reading(), bright(torch.tensor([2]), labels))
        said = " ".join([*result.warnings, *(e.caption for e in exhibits.values())])
        assert "1 images" not in said
        assert "1 of 1 images" not in said
