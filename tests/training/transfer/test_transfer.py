"""Transfer from MNIST's digits to scikit-learn's, of which few are given."""

import json

import pytest
import torch
from torch import nn

from probe.errors import UserError
from probe.model.cards import Card, Input, read_card
from probe.model.loading import build as build_named
from probe.model.loading import load
from probe.model.model import Model
from probe.params import validate
from probe.training.augmentation import Augmentation
from probe.training.config import TrainingConfig
from probe.training.datasets import DeviceDataset
from probe.training.resume import TRANSFER
from probe.training.splits import open_pair
from probe.training.trainer import Sets, Trainer
from probe.training.transfer.exhibits import compared
from probe.training.transfer.heads import classifier, head_inputs, unfreeze, with_new_head
from probe.training.transfer.layer_probes import linear_probes
from probe.training.transfer.run import run_transfer
from probe.training.transfer.strategies import (
    FROZEN,
    STORED,
    Kept,
    Strategy,
    Transfer,
    Transferred,
    Transferring,
)
from tests.conftest import model_of

FEW = Transfer(images=40, last=3, epochs=12)


def model_named(architecture: str, shape: tuple[int, int, int], classes: int, **options) -> Model:
    """An untrained model that its card builds again."""
    middle = (0.5,) * shape[0]
    card = Card(
        name="net",
        architecture=architecture,
        options=options,
        classes=tuple(f"class {index}" for index in range(classes)),
        input=Input(
            shape=shape, mean=middle, std=middle, preprocess=f"resize {shape[1]}, centre crop {shape[1]}"
        ),
    )
    return Model(build_named(architecture, classes=classes, shape=shape, options=options), card)


@pytest.fixture(scope="module")
def transferred(tmp_path_factory):
    out = tmp_path_factory.mktemp("transfer") / "digits"
    return out, run_transfer("lenet5-mnist", "digits", out, FEW, device="cpu", quiet=True)


def test_with_few_images_every_way_of_transfer_beats_training_from_scratch(transferred):
    ways = transferred[1].results["ways"]
    assert list(ways) == [STORED, FROZEN, "fine-tuned, last 3", "from scratch"]
    trained = min(accuracy for name, accuracy in ways.items() if name != "from scratch")
    assert trained > ways["from scratch"] + 0.02
    assert transferred[1].results["gap_to_scratch"] > 0.05


def test_a_trained_layer_tells_the_classes_apart_better_than_the_pixels():
    model = load("lenet5-mnist", device="cpu")
    train, test, _ = open_pair("digits")
    rule = "resize 32, centre crop 32"
    accuracy = linear_probes(
        model, train.take(40).preprocessed(model.shape, rule), test.preprocessed(model.shape, rule)
    )
    assert list(accuracy) == ["pixels", "conv1", "conv2", "conv3", "dense1", "dense2"]
    assert accuracy["conv3"] > accuracy["pixels"] + 0.02


def test_the_folder_of_a_transfer_is_a_model_that_does_what_its_card_says(transferred):
    out, card = transferred
    model = load(out, device="cpu")
    _, test, _ = open_pair("digits")
    fitted = test.preprocessed(model.shape, card.input.preprocess)
    assert fitted.labels is not None
    right = torch.eq(model.logits(fitted.pixels()).argmax(1), fitted.labels).float().mean()
    assert float(right) == pytest.approx(card.results["accuracy"], abs=1e-6)
    assert card == read_card(out)
    assert card.training["from"] == "lenet5-mnist"
    assert json.loads((out / "history.json").read_text())["epochs"][-1]["test_accuracy"] == pytest.approx(
        card.results["accuracy"], abs=1e-6
    )
    assert {path.suffix for path in out.iterdir()} == {".toml", ".png", ".safetensors", ".json", ".csv"}


def test_the_trunk_that_a_transfer_starts_from_is_not_changed(transferred):
    out, card = transferred
    before, after = load("lenet5-mnist", device="cpu"), load(out, device="cpu")
    old, new = before.network.state_dict(), after.network.state_dict()
    assert before.digest == card.training["from_sha256"]
    frozen = [name for name in old if name.startswith(("conv1", "conv2"))]
    assert all(torch.equal(old[name], new[name]) for name in frozen)
    assert not torch.equal(old["conv3.weight"], new["conv3.weight"])


def test_a_finished_transfer_is_left_as_it_is_and_another_is_not_written_over_it(transferred, capsys):
    out, card = transferred
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    assert run_transfer("lenet5-mnist", "digits", out, FEW, device="cpu") == card
    assert "finished: nothing was done" in capsys.readouterr().err
    with pytest.raises(UserError, match="already holds digits: choose another --out"):
        run_transfer("lenet5-mnist", "digits", out, Transfer(), device="cpu")
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before


@pytest.mark.parametrize(
    ("epochs", "doing"),
    [(0, STORED), (3, FROZEN), (12, "fine-tuned, last 3"), (30, "from scratch")],
)
def test_a_transfer_that_was_interrupted_goes_on_to_the_same_bytes(
    tmp_path, transferred, monkeypatch, epochs, doing
):
    out, real, passed = tmp_path / "digits", Trainer.epoch, 0

    def epoch(self):
        nonlocal passed
        if passed == epochs and epochs:
            raise KeyboardInterrupt
        passed += 1
        return real(self)

    def stop(*anything):
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "epoch", epoch)
    if not epochs:
        monkeypatch.setattr("probe.training.transfer.strategies.new_head", stop)
    with pytest.raises(KeyboardInterrupt, match=f"stopped in {doing}: the same command goes on from there"):
        run_transfer("lenet5-mnist", "digits", out, FEW, device="cpu", quiet=True)
    monkeypatch.undo()
    counted: list[int] = []
    if not epochs:  # the features are there: the trunk is not asked again
        monkeypatch.setattr("probe.training.transfer.strategies.head_inputs", stop)
    else:  # what is finished is not done again
        monkeypatch.setattr(Trainer, "epoch", lambda self: counted.append(1) or real(self))
        monkeypatch.setattr(Transferring, "_stored", stop)
    card = run_transfer("lenet5-mnist", "digits", out, FEW, device="cpu", quiet=True)
    assert not epochs or len(counted) == 3 * 12 - epochs
    assert (out / "weights.safetensors").read_bytes() == (transferred[0] / "weights.safetensors").read_bytes()
    assert card.results == transferred[1].results
    assert not (out / TRANSFER).exists()


def test_another_transfer_is_not_resumed_and_a_full_folder_is_left_alone(tmp_path, monkeypatch):
    def stop(*anything):
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "epoch", stop)  # the first way is done by then
    with pytest.raises(KeyboardInterrupt):
        run_transfer("lenet5-mnist", "digits", tmp_path / "out", FEW, device="cpu", quiet=True)
    for options, words in (
        (FEW.model_copy(update={"seed": 3}), "other images|seed 0, not 3"),
        (FEW.model_copy(update={"last": 2}), "unfinished transfer with last 3, not 2: go on with the same"),
    ):
        with pytest.raises(UserError, match=words):
            run_transfer("lenet5-mnist", "digits", tmp_path / "out", options, device="cpu", quiet=True)
    with pytest.raises(
        UserError, match="images must be at least 10, one of each class of digits:train, got 5"
    ):
        run_transfer("lenet5-mnist", "digits", tmp_path / "few", Transfer(images=5), device="cpu", quiet=True)
    with pytest.raises(UserError, match=r"augment: there is no augmentation 'filp'. Did you mean flip"):
        validate(Transfer, {"augment": "filp"})
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="is not empty and holds no transfer: choose another --out"):
        run_transfer("lenet5-mnist", "digits", tmp_path / "full", FEW, device="cpu", quiet=True)


def test_frozen_batch_norm_keeps_its_statistics_while_the_head_learns():
    model = model_named("zoo:conv2-bn", (3, 24, 24), 10)
    images, _, _ = open_pair("digits")
    few = images.take(40).preprocessed(model.shape, "resize 24, centre crop 24")
    network = with_new_head(model, 10)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    order = [one.address for one in model.layers if one.leaf and one.parameters]
    assert unfreeze(network, order, 1) == 192 * 10 + 10
    feed = DeviceDataset(few, torch.device("cpu"))
    trainer = Trainer(
        network,
        Sets(feed, feed),
        TrainingConfig(epochs=1, batch=20),
        mean=(0.5,) * 3,
        std=(0.5,) * 3,
        precision="float32",
    )
    trainer.epoch()
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"dense3.weight", "dense3.bias"}


def test_the_last_layers_are_freed_with_what_normalises_them():
    model = model_named("zoo:conv2-bn", (3, 24, 24), 10)
    network = with_new_head(model, 4)
    unfreeze(network, [one.address for one in model.layers if one.leaf and one.parameters], 2)
    free = {name for name, weight in network.named_parameters() if weight.requires_grad}
    assert free == {"dense2.weight", "bn4.weight", "bn4.bias", "dense3.weight", "dense3.bias"}


def test_a_network_that_ends_in_a_convolution_and_an_average_gets_a_new_convolution():
    model = model_named("torchvision:squeezenet1_1", (3, 64, 64), 7)
    assert classifier(model) == "classifier.1"
    network = with_new_head(model, 3)
    assert network.get_submodule("classifier.1").weight.shape == (3, 512, 1, 1)
    assert network(torch.zeros(2, 3, 64, 64)).shape == (2, 3)
    unfreeze(network, [one.address for one in model.layers if one.leaf and one.parameters], 2)
    free = {name.rpartition(".")[0] for name, weight in network.named_parameters() if weight.requires_grad}
    assert free == {"features.12.expand3x3", "classifier.1"}


def test_what_a_head_is_given_is_averaged_where_the_network_averages_and_whole_where_it_does_not():
    """A 1 x 1 convolution and an average are a dense layer on the average; a full-size one is dense as it is."""
    torch.manual_seed(0)
    images, _, _ = open_pair("digits")
    feed = DeviceDataset(
        images.take(20).preprocessed((1, 8, 8), "resize 8, centre crop 8"), torch.device("cpu")
    )
    averaged = nn.Sequential(
        nn.Conv2d(1, 5, 3), nn.ReLU(), nn.Conv2d(5, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    whole = nn.Sequential(nn.Conv2d(1, 5, 3), nn.ReLU(), nn.Conv2d(5, 4, 6), nn.Flatten())
    for network in (averaged, whole):
        model = model_of(network, (1, 8, 8), 4)
        last = network[2]
        assert isinstance(last, nn.Conv2d)
        assert last.bias is not None
        dense = head_inputs(model, feed) @ last.weight.flatten(1).T + last.bias
        pixels, _ = next(feed.batches([torch.arange(20)], Augmentation((), (8, 8)), None, slice(None)))
        torch.testing.assert_close(dense, model.logits(pixels))


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (
            nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
            "ends in 1",
        ),
        (
            nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten(), nn.MaxPool1d(64)),
            "net ends in 0 .Conv2d, 4 outputs",
        ),
        (nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), "has no weights"),
    ],
)
def test_a_network_whose_classes_are_no_layer_of_its_own_is_refused(network, words):
    with pytest.raises(UserError, match=words):
        classifier(model_of(network, (3, 8, 8), 5))


def test_an_architecture_of_a_fixed_number_of_classes_is_refused_before_anything_is_trained(tmp_path):
    (tmp_path / "net.py").write_text(
        "from torch import nn\ndef make():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"
    )
    model = model_named(f"{tmp_path / 'net.py'}:make", (1, 8, 8), 10)
    with pytest.raises(UserError, match=r"builds no network like net for 3 classes \(1.weight differs\)"):
        with_new_head(model, 3)


@pytest.mark.parametrize(
    ("way", "scratch", "said"),
    [
        (0.95, 0.25, "a gap of 70.0 points."),
        (0.6, 0.5, "a gap of 10.0 points, which so few test images cannot tell from chance."),
        (0.5, 0.5, "gains nothing"),
        (0.4, 0.5, "does not help"),
    ],
)
def test_the_caption_says_which_way_the_gap_goes(transferred, way, scratch, said):
    model = load("lenet5-mnist", device="cpu")
    images = open_pair("digits")[1].take(20)
    ways = [Strategy(name, way, 1.0, 10) for name in (STORED, FROZEN, "tuned")] + [
        Strategy("from scratch", scratch, 1.0, 10)
    ]
    done = Transferred(ways, {}, model.network, images, images)
    assert said in compared(done, "lenet5-mnist").caption


def test_what_is_kept_of_a_transfer_comes_back_as_it_was():
    kept = Kept(ways=[Strategy(STORED, 0.5, 2.0, 30)], features={"train": torch.ones(2), "seconds": 1.0})
    again = Kept()
    again.restore(kept.state())
    assert again.state() == kept.state() | {"features": again.features}
    assert again.ways == kept.ways
