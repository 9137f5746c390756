"""How good the images of `maximise` are on trained networks: what they reach, and whether a second network agrees."""

import os
from pathlib import Path

import pytest

from probe.analyses.synthesis.maximise import Maximise
from probe.data.images import Images
from probe.data.sources import open_images
from probe.exhibits.result import Result
from probe.model.loading import load
from probe.model.model import Model
from probe.runs.job import RunJob
from probe.training.config import TrainingConfig
from probe.training.request import TrainingRequest
from probe.training.train import run_training

AGREEMENTS = ("agreement", "control_agreement")


def opened(model: Model, data: str, n: int) -> Images:
    if data.startswith("cifar10") and not (Path(os.environ.get("PROBE_DATA", "none")) / "cifar10").is_dir():
        pytest.skip("PROBE_DATA has no cifar10")
    return open_images(data).take(n, 0).preprocessed(model.shape, model.card.input.preprocess)


def maximised(model: Model, images: Images, *judges: Model, **options: object) -> Result:
    return Maximise(**options).run(model, images, RunJob(3, compare_to=judges))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "data", "layer"),
    [
        ("vgg-shapes", "shapes:test", "features.2"),
        ("vgg-shapes", "shapes:test", "features.9"),
        ("lenet5-digits", "digits:test", "act1"),
        ("resnet56-cifar10", "cifar10:test", "relu"),
        ("resnet20-cifar10", "cifar10:test", "layer2.0.relu1"),
    ],
)
def test_channels_exceed_the_data_near_the_input_and_further_on(name: str, data: str, layer: str):
    model = load(name, device="cpu")
    result = maximised(model, opened(model, data, 200), layer=layer, n_units=16)
    assert result.numbers["proportion_exceeding_data"].value >= 0.95


@pytest.mark.parametrize(
    ("name", "judge"),
    [("resnet20-cifar10", "resnet56-cifar10"), ("resnet56-cifar10", "resnet20-cifar10")],
)
def test_a_second_network_agrees_on_cifar10(name: str, judge: str):
    model = load(name, device="cpu")
    result = maximised(model, opened(model, "cifar10:test", 200), load(judge, device="cpu"), n_units=5)
    assert result.numbers[f"agreement_{judge.replace('-', '_')}"].value == 5


def test_a_second_network_agrees_on_shapes_and_not_without_regularisers():
    """The judge was trained from the same initial weights on other data, shapes with a planted shortcut."""
    model, judge = load("vgg-shapes", device="cpu"), load("vgg-shapes-shortcut", device="cpu")
    numbers = maximised(model, opened(model, "shapes:test", 200), judge).numbers
    agreement, control = (numbers[f"{kind}_vgg_shapes_shortcut"].value for kind in AGREEMENTS)
    assert agreement >= 7
    assert control <= agreement - 3


@pytest.mark.parametrize(
    ("name", "data"), [("vgg-shapes", "shapes:test"), ("resnet20-cifar10", "cifar10:test")]
)
def test_classes_of_fixed_magnitude_exceed_the_data(name: str, data: str):
    model = load(name, device="cpu")
    numbers = maximised(model, opened(model, data, 200), parametrisation="maco", n_units=4).numbers
    assert numbers["min_confidence"].value >= 0.99
    assert numbers["proportion_exceeding_data"].value == 1


@pytest.mark.slow
@pytest.mark.skipif("PROBE_LONG" not in os.environ, reason="trains for four minutes: set PROBE_LONG=1")
def test_a_network_trained_from_other_weights_agrees(tmp_path: Path):
    config = TrainingConfig(
        epochs=6, seed=1, lr=0.05, weight_decay=0.002, batch_size=64, augment=("crop", "flip")
    )
    run_training(TrainingRequest("vgg-small", "shapes", tmp_path / "judge", config), device="cpu", quiet=True)
    model, judge = load("vgg-shapes", device="cpu"), load(str(tmp_path / "judge"), device="cpu")
    numbers = maximised(model, opened(model, "shapes:test", 300), judge).numbers
    agreement, control = (numbers[f"{kind}_judge"].value for kind in AGREEMENTS)
    print(f"{agreement} of 10 images, {control} of 10 without regularisers")
    assert agreement >= 7
    assert control <= agreement - 2
