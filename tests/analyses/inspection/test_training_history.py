"""Histories whose every figure is known, those of pretrained models, and the captions of `training-history`."""

from pathlib import Path

import pytest
from torch import nn

from probe.analyses.inspection import training_history_captions as captions
from probe.analyses.inspection.training_history import (
    common_accuracy,
    informative_accuracies,
    steps_to_accuracy,
)
from probe.exhibits.exhibits import Chart, Table
from probe.model.cards import Card, Input
from probe.model.loading import load
from probe.model.model import Model
from probe.runs.execute import run
from probe.training.history import Epoch, History, downsample, write_history


def history(accuracies: list[float], steps: int = 100) -> History:
    epochs = [
        Epoch(
            epoch=number, steps=number * steps, loss=1 / number, accuracy=accuracy, test_loss=1, lr=0.1,
            test_accuracy=accuracy, seconds=2, images_per_second=50,
        )
        for number, accuracy in enumerate(accuracies, start=1)
    ]  # fmt: skip
    return History(epochs=epochs, steps=downsample([1 / step for step in range(1, len(epochs) * steps + 1)]))


def trained(folder: Path, name: str, accuracies: list[float], data: str = "same") -> Model:
    (folder / name).mkdir()
    write_history(history(accuracies), folder / name)
    pixels = Input(shape=(1, 4, 4), mean=(0.5,), std=(0.5,), preprocess="")
    card = Card(
        name=name, architecture="tests", classes=("a", "b"), input=pixels, training={"data_sha256": data}
    )
    return Model(nn.Sequential(nn.Flatten(), nn.Linear(16, 2)), card, folder=folder / name)


@pytest.fixture
def small_images(noise_images):
    return noise_images.preprocessed((1, 4, 4), "resize 4, centre crop 4")


def test_the_steps_to_an_accuracy_are_those_of_the_first_epoch_that_reaches_it():
    record = history([0.3, 0.6, 0.5, 0.9])
    steps = [steps_to_accuracy(record, accuracy) for accuracy in (0.3, 0.55, 0.9, 0.95)]
    assert steps == [100, 200, 400, None]
    assert common_accuracy([record, history([0.7, 0.8, 0.6])]) == 0.8
    assert informative_accuracies([record, history([0.7, 0.8, 0.6])]) == [0.5, 0.6, 0.7, 0.8, 0.9]


def test_the_steps_of_a_faster_training_are_compared_with_a_slower_one(tmp_path, small_images):
    slow = trained(tmp_path, "slow", [0.2, 0.4, 0.5, 0.6])
    fast = trained(tmp_path, "fast", [0.61, 0.8, 0.8, 0.8])
    result = run("training-history", slow, small_images, compare_to=[fast])
    chart, steps, _, table = result.exhibits
    assert isinstance(chart, Chart)
    assert isinstance(steps, Table)
    assert isinstance(table, Table)
    assert steps.columns == ["test accuracy", "slow", "fast"]
    assert steps.rows == [
        ["50.00%", 300, 100],
        ["60.00%", 400, 100],
        ["70.00%", None, 200],
        ["80.00%", None, 200],
    ]
    assert steps.facts["ratio"] == 4
    assert result.numbers["test_accuracy_slow"].value == 0.6
    assert result.numbers["steps_to_target_slow"].value == 400
    assert result.numbers["steps_to_target_fast"].value == 100
    assert table.rows[1][:4] == ["fast", 34, 4, 400]
    assert result.warnings == []


def test_trainings_on_different_images_are_compared_with_a_warning(tmp_path, small_images):
    first, second = trained(tmp_path, "first", [0.5]), trained(tmp_path, "second", [0.6], data="else")
    result = run("training-history", first, small_images, compare_to=[second], target_accuracy=0.55)
    assert any("different images" in warning for warning in result.warnings)
    assert "steps_to_target_first" not in result.numbers
    assert result.numbers["steps_to_target_second"].value == 100


def test_the_history_of_a_pretrained_model_ends_at_the_accuracy_of_its_card(noise_images):
    model = load("lenet5-mnist", device="cpu")
    images = noise_images.preprocessed(model.shape, model.card.input.preprocess)
    result = run("training-history", model, images)
    final = result.numbers["test_accuracy_lenet5_mnist"].value
    assert final == model.card.results["test_accuracy"]


@pytest.mark.parametrize(
    ("steps", "text"),
    [
        ([None, None, None], "No model reaches a test accuracy of 60.00%."),
        ([100, 100, 100], "a, b and c reach a test accuracy of 60.00% after 100 steps."),
        ([100, None, 100], "a and c reach a test accuracy of 60.00% after 100 steps. b never reaches it."),
        ([100, None, None], "a reaches a test accuracy of 60.00% after 100 steps. b and c never reach it."),
        (
            [500, 1000, 100],
            "c reaches a test accuracy of 60.00% after 100 steps, b after 1,000 steps, 10.0 times as many.",
        ),
        (
            [100, 500, 100],
            "a and c reach a test accuracy of 60.00% after 100 steps, b after 500 steps, 5.0 times as many.",
        ),
    ],
)
def test_the_caption_names_the_models_that_reach_the_target_first_and_those_that_never_do(steps, text):
    findings = captions.StepsFindings(names="abc", steps=steps, target_accuracy=0.6)
    assert captions.steps_to_target(findings) == text


def test_the_captions_of_one_training_compare_it_with_nothing():
    steps = captions.StepsFindings(names=["a"], steps=[100], target_accuracy=0.5, schedules=["cosine"])
    text = captions.steps_caption(steps)
    text += captions.loss_caption(captions.LossFindings(name="a", loss=0.5, models=1, every=1))
    text += captions.summary_caption(captions.SummaryFindings(name="a", accuracy=0.5, steps=100, models=1))
    assert text.startswith("a reaches a test accuracy of 50.00% after 100 steps. Accuracy is measured")
    for word in ("lowest", "highest", "fairly", "mean over up to"):
        assert word not in text


def test_the_captions_of_several_trainings_name_the_lowest_loss_and_the_highest_accuracy():
    loss = captions.loss_caption(captions.LossFindings(name="a", loss=0.5, models=2, every=20))
    assert loss.startswith("a ends with the lowest training loss of 0.5000")
    assert loss.endswith("Each point is the mean over up to 20 steps.")
    summary = captions.SummaryFindings(name="a", accuracy=0.5, steps=1, models=2)
    assert "a has the highest test accuracy of 50.00% after 1 step." in captions.summary_caption(summary)


def test_different_batch_sizes_are_warned_of():
    findings = captions.ComparabilityFindings(missing=["c"], same_images=True, batch_sizes=[32, 64])
    assert captions.comparability_warnings(findings, "history.json") == [
        "c has no history.json: its training history is unknown.",
        "The models were trained with batch sizes of 32 and 64: a step is not the same amount of work for all.",
    ]


def test_a_model_without_a_history_has_an_empty_row_in_the_table(tmp_path, small_images):
    model = trained(tmp_path, "known", [0.5, 0.7])
    bare = Model(
        nn.Sequential(nn.Flatten(), nn.Linear(16, 2)), model.card.model_copy(update={"name": "bare"})
    )
    result = run("training-history", model, small_images, compare_to=[bare])
    steps, table = result.exhibits[1], result.exhibits[-1]
    assert isinstance(steps, Table)
    assert isinstance(table, Table)
    assert table.rows[-1] == ["bare", 34, *[None] * 6]
    assert steps.columns == ["test accuracy", "known"]
    assert result.warnings == ["bare has no history.json: its training history is unknown."]
    alone = run("training-history", bare, small_images)
    assert [exhibit.caption for exhibit in alone.exhibits] == ["No model has a history of its training."]
    assert not alone.numbers
