"""Histories whose every figure is known, and the shipped ones."""

from pathlib import Path

import pytest
from torch import nn

from probe.analyses.inspection.training_history import common_level, reached
from probe.analyses.inspection.training_history_exhibits import finding
from probe.exhibits.exhibits import Chart, Table
from probe.model.cards import Card, Input
from probe.model.loading import load
from probe.model.model import Model
from probe.runs.execute import run
from probe.training.history import Epoch, History, thinned, write_history


def history(accuracies: list[float], steps: int = 100) -> History:
    epochs = [
        Epoch(
            epoch=number, steps=number * steps, loss=1 / number, accuracy=accuracy, test_loss=1, lr=0.1,
            test_accuracy=accuracy, seconds=2, rate=50,
        )
        for number, accuracy in enumerate(accuracies, start=1)
    ]  # fmt: skip
    return History(epochs=epochs, steps=thinned([1 / step for step in range(1, len(epochs) * steps + 1)]))


def trained(folder: Path, name: str, accuracies: list[float], data: str = "same") -> Model:
    (folder / name).mkdir()
    write_history(history(accuracies), folder / name)
    pixels = Input(shape=(1, 4, 4), mean=(0.5,), std=(0.5,), preprocess="")
    card = Card(
        name=name, architecture="tests", classes=("a", "b"), input=pixels, training={"data_sha256": data}
    )
    return Model(nn.Sequential(nn.Flatten(), nn.Linear(16, 2)), card, folder=folder / name)


def test_the_steps_to_an_accuracy_are_those_of_the_first_epoch_that_has_it():
    one = history([0.3, 0.6, 0.5, 0.9])
    assert [reached(one, level) for level in (0.3, 0.55, 0.9, 0.95)] == [100, 200, 400, None]
    assert common_level([one, history([0.7, 0.8, 0.6])]) == 0.8


def test_a_faster_training_is_said_to_be_so_many_times_faster(tmp_path, noise_images):
    slow = trained(tmp_path, "slow", [0.2, 0.4, 0.5, 0.6])
    fast = trained(tmp_path, "fast", [0.61, 0.8, 0.8, 0.8])
    result = run(
        "training", slow, noise_images.preprocessed((1, 4, 4), "resize 4, centre crop 4"), compare_to=[fast]
    )
    chart, steps, _, table = result.exhibits
    assert isinstance(chart, Chart)
    assert isinstance(steps, Table)
    assert isinstance(table, Table)
    said = "fast reaches a test accuracy of 60.00% after 100 steps, slow after 400: 4.0 times as many."
    assert steps.caption.startswith(said)
    assert steps.columns == ["test accuracy", "slow", "fast"]
    assert steps.rows == [
        ["50.00%", 300, 100],
        ["60.00%", 400, 100],
        ["70.00%", None, 200],
        ["80.00%", None, 200],
    ]
    assert result.numbers["steps of fast to 60.00%"].value == 100
    assert table.rows[1][:4] == ["fast", 34, 4, 400]
    assert result.warnings == []


def test_trainings_on_different_images_are_not_compared_in_silence(tmp_path, noise_images):
    one, other = trained(tmp_path, "one", [0.5]), trained(tmp_path, "other", [0.6], data="else")
    result = run(
        "training",
        one,
        noise_images.preprocessed((1, 4, 4), "resize 4, centre crop 4"),
        compare_to=[other],
        level=0.55,
    )
    assert any("different images" in warning for warning in result.warnings)
    assert "other reaches a test accuracy of 55.00% after 100 steps. one never reaches it." in (
        result.exhibits[1].caption
    )


def test_the_history_of_a_shipped_model_ends_at_the_accuracy_of_its_card(noise_images):
    model = load("lenet5-mnist", device="cpu")
    images = noise_images.preprocessed(model.shape, model.card.input.preprocess)
    result = run("training", model, images)
    final = result.numbers["final test accuracy of lenet5-mnist"].value
    assert final == pytest.approx(model.card.results["accuracy"], abs=2e-3)


@pytest.mark.parametrize(
    ("taken", "said"),
    [
        ([None, None, None], "None reaches a test accuracy of 60.00%."),
        ([100, 100, 100], "a reaches a test accuracy of 60.00% after 100 steps, as do the others."),
        ([100, None, 100], "a and c reach a test accuracy of 60.00% after 100 steps. b never reaches it."),
        ([100, None, None], "a reaches a test accuracy of 60.00% after 100 steps. b and c never reach it."),
        (
            [500, 1000, 100],
            "c reaches a test accuracy of 60.00% after 100 steps, b after 1,000: 10.0 times as many.",
        ),
    ],
)
def test_the_caption_says_who_reaches_the_level_first_and_who_never_does(taken, said):
    assert finding("abc", taken, 0.6) == said


def test_one_training_of_one_epoch_is_not_said_to_beat_anything(tmp_path, noise_images):
    one = trained(tmp_path, "one", [0.5])
    result = run("training", one, noise_images.preprocessed((1, 4, 4), "resize 4, centre crop 4"))
    captions = " ".join(exhibit.caption for exhibit in result.exhibits)
    assert "one reaches a test accuracy of 50.00% after 100 steps. " in captions
    assert "lowest" not in captions
    assert "highest" not in captions


def test_a_model_without_a_history_is_in_the_table_and_nothing_is_made_up_for_it(tmp_path, noise_images):
    images = noise_images.preprocessed((1, 4, 4), "resize 4, centre crop 4")
    one = trained(tmp_path, "one", [0.5, 0.7])
    bare = Model(nn.Sequential(nn.Flatten(), nn.Linear(16, 2)), one.card.model_copy(update={"name": "bare"}))
    result = run("training", one, images, compare_to=[bare])
    steps, table = result.exhibits[1], result.exhibits[-1]
    assert isinstance(steps, Table)
    assert isinstance(table, Table)
    assert table.rows[-1] == ["bare", 34, *[None] * 6]
    assert steps.columns == ["test accuracy", "one"]
    assert result.warnings == ["bare has no history.json, so nothing is known of the course of its training."]
    alone = run("training", bare, images)
    assert [exhibit.caption for exhibit in alone.exhibits] == [
        "None of the models has a history of its training."
    ]
