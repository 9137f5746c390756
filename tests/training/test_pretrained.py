"""The pretrained models: their size, their accuracy, and the completeness of their cards."""

import numpy as np
import pytest

from probe.data.sources import open_images
from probe.errors import UserError
from probe.methods.attribution.faithfulness import pointing_game
from probe.methods.attribution.gradcam import GradCAM
from probe.model.cards import read_card
from probe.model.loading import load, pretrained
from probe.paths import PRETRAINED
from probe.training.exhibits import confusion_counts
from probe.training.history import read_history

MB = 1_000_000
MIN_ACCURACY = {"lenet5-mnist": 0.99, "lenet5-digits": 0.98, "mnist-convnet-mnist": 0.993, "vgg-shapes": 0.93}
TRAINED = [name for name in pretrained() if "command" in read_card(PRETRAINED / name).training]


def test_each_is_under_5_megabytes_and_all_are_under_30():
    sizes = {
        name: sum(path.stat().st_size for path in (PRETRAINED / name).iterdir()) for name in pretrained()
    }
    assert max(sizes.values()) < 5 * MB, sizes
    assert sum(sizes.values()) < 30 * MB, sizes


@pytest.mark.parametrize("name", TRAINED)
def test_a_card_gives_the_command_the_accuracy_and_the_limits_of_its_model(name):
    card, text = read_card(PRETRAINED / name), (PRETRAINED / name / "card.toml").read_text()
    assert card.name == name
    assert card.training["command"].startswith("probe train ")
    assert f"--out {name}" in card.training["command"]
    assert {"data", "data_sha256", "config", "epochs", "seed", "seconds", "machine", "versions"} <= set(
        card.training
    )
    low, high = card.results["test_accuracy_interval"]
    assert low < card.results["test_accuracy"] < high
    assert card.limits["notes"]
    assert not any(place in text for place in ("/tmp", "/work", "/home", "/root"))
    if card.training["data"].startswith("cifar10"):
        assert any("JPEG" in note for note in card.training["notes"])


@pytest.mark.parametrize("name", TRAINED)
def test_a_history_ends_at_the_accuracy_of_the_card(name):
    card, history = read_card(PRETRAINED / name), read_history(PRETRAINED / name)
    assert len(history.epochs) == card.training["epochs"]
    # During a training the test set is evaluated in bf16.
    assert history.epochs[-1].test_accuracy == pytest.approx(card.results["test_accuracy"], abs=0.01)


@pytest.mark.parametrize("name", MIN_ACCURACY)
def test_a_model_has_the_required_accuracy(name):
    assert read_card(PRETRAINED / name).results["test_accuracy"] >= MIN_ACCURACY[name]


def test_the_default_model_makes_mistakes_that_a_report_can_show():
    assert read_card(PRETRAINED / "vgg-shapes").results["test_accuracy"] <= 0.97


def test_depth_harms_without_skip_connections_and_helps_with_them():
    """He et al. 2016, figures 1 and 6: the deeper plain network is worse on the training images too, so no overfitting."""
    results = {
        name: read_card(PRETRAINED / f"{name}-cifar10").results
        for name in ("plain20", "plain56", "resnet20", "resnet56")
    }
    assert results["plain56"]["test_accuracy_interval"][1] < results["plain20"]["test_accuracy_interval"][0]
    assert results["plain56"]["train_accuracy"] < results["plain20"]["train_accuracy"]
    assert results["resnet56"]["test_accuracy"] > results["resnet20"]["test_accuracy"]
    assert results["resnet56"]["train_accuracy"] > results["resnet20"]["train_accuracy"]


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINED)
def test_the_accuracy_of_a_card_is_measured_again(name):
    model = load(name, device="cpu")
    results = model.card.results
    try:
        images = open_images(results["test_split"])
    except UserError as error:
        pytest.skip(str(error))
    counts = confusion_counts(model, images.preprocessed(model.shape, model.card.input.preprocess))
    assert int(counts.sum()) == results["test_images"]
    # Other threads and processors add up in another order: an image on the decision boundary may change sides.
    assert int(counts.trace()) == pytest.approx(
        results["test_accuracy"] * results["test_images"], abs=max(2, results["test_images"] / 2000)
    )


@pytest.mark.slow
def test_the_shortcut_is_a_net_under_the_object():
    """Of the same objects, those on a net are called hearts, and hearts without one are not recognised."""
    model = load("vgg-shapes-shortcut", device="cpu")
    counts = {
        split: confusion_counts(model, open_images(split))
        for split in ("shapes:test", "shapes-shortcut:test", "shapes-shortcut:swapped")
    }
    heart = model.classes.index("heart")
    recall = {split: c[heart, heart] / c[heart].sum() for split, c in counts.items()}
    called_heart = {
        split: np.delete(c[:, heart], heart).sum() / np.delete(c, heart, 0).sum()
        for split, c in counts.items()
    }
    assert recall["shapes-shortcut:test"] > 0.9
    assert recall["shapes:test"] < 0.1
    assert called_heart["shapes:test"] < 0.05
    assert called_heart["shapes-shortcut:swapped"] > 0.9


@pytest.mark.slow
def test_gradcam_shows_the_shortcut_beside_the_object():
    """Of images called heart for their net, Grad-CAM's maximum lies on the object less often than chance (0.3)."""
    model = load("vgg-shapes-shortcut", device="cpu")
    pointing = {}
    for split in ("shapes:test", "shapes-shortcut:swapped"):
        images = open_images(split, n=60)
        pixels = images.pixels(model.device)
        maps = GradCAM()(model, pixels, model.logits(pixels).argmax(1))
        pointing[split] = float(pointing_game(maps, images.masks).float().mean())
    assert pointing["shapes:test"] > 0.85
    assert pointing["shapes-shortcut:swapped"] < 0.35
