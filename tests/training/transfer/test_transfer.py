"""Transfer from the digits of MNIST to a few of scikit-learn's."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from probe.errors import UserError
from probe.model.cards import Card, Input, read_card
from probe.model.loading import build as build_named
from probe.model.loading import load
from probe.model.model import Model
from probe.params import validate
from probe.reporting.transfer import write_transfer_page
from probe.training.augmentation import Augmentation
from probe.training.config import TrainingConfig
from probe.training.datasets import Datasets, DeviceDataset, Normalisation
from probe.training.resume import TRANSFER_CHECKPOINT
from probe.training.splits import open_train_and_test
from probe.training.trainer import Trainer
from probe.training.transfer.config import TransferConfig, TransferRequest
from probe.training.transfer.heads import (
    classifier_address,
    head_inputs,
    trainable_parameters,
    unfreeze,
    with_new_head,
)
from probe.training.transfer.progress import StoredFeatures, StrategyResult, TransferProgress
from probe.training.transfer.run import EXHIBITS, run_transfer
from probe.training.transfer.strategies import (
    FROM_SCRATCH,
    FROZEN_BACKBONE,
    STORED_FEATURES,
    TransferTrainer,
)
from tests.conftest import model_of

FEW = TransferConfig(n=40, unfreeze=3, epochs=12)
FINE_TUNED = "fine-tuned, last 3 layers"


def transfer(out: Path, config: TransferConfig = FEW, *, quiet: bool = True) -> Card:
    """Transfer LeNet-5 from MNIST to the digits."""
    request = TransferRequest("lenet5-mnist", "digits", out, config)
    return run_transfer(request, device="cpu", quiet=quiet)


def weighted_layers(model: Model) -> list[str]:
    return [layer.address for layer in model.layers if layer.leaf and layer.parameters]


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
    return out, transfer(out)


def test_with_few_images_every_strategy_beats_training_from_scratch(transferred):
    accuracies = dict(transferred[1].results["strategies"])
    assert list(accuracies) == [STORED_FEATURES, FROZEN_BACKBONE, FINE_TUNED, FROM_SCRATCH]
    scratch = accuracies.pop(FROM_SCRATCH)
    assert min(accuracies.values()) > scratch + 0.02
    assert transferred[1].results["gain_over_scratch"] > 0.05


def test_the_folder_of_a_transfer_is_a_model_with_the_accuracy_of_its_card(transferred):
    out, card = transferred
    model = load(out, device="cpu")
    _, test, _ = open_train_and_test("digits")
    images = test.preprocessed(model.shape, card.input.preprocess)
    assert images.labels is not None
    correct = torch.eq(model.logits(images.pixels()).argmax(1), images.labels).float().mean()
    assert float(correct) == pytest.approx(card.results["test_accuracy"], abs=1e-6)
    assert card == read_card(out)
    assert card.training["from"] == "lenet5-mnist"
    assert json.loads((out / "history.json").read_text())["epochs"][-1]["test_accuracy"] == pytest.approx(
        card.results["test_accuracy"], abs=1e-6
    )
    files = {path.name for path in out.iterdir()}
    assert files == {"card.toml", "weights.safetensors", "history.json", "history.csv", EXHIBITS}


@pytest.mark.parametrize("hidden_units", [0, 8])
def test_the_most_accurate_network_is_saved_with_its_accuracy(tmp_path, hidden_units):
    """After one epoch it is the head on stored features, unless the network has no place for its hidden layer."""
    card = transfer(tmp_path / "out", TransferConfig(n=40, epochs=1, batch_size=4, hidden_units=hidden_units))
    accuracies = dict(card.results["strategies"])
    if hidden_units:
        del accuracies[STORED_FEATURES]
    assert card.results["strategy"] == max(accuracies, key=lambda name: accuracies[name])
    assert card.results["test_accuracy"] == max(accuracies.values())
    assert (card.results["strategy"] == STORED_FEATURES) == (not hidden_units)
    model = load(tmp_path / "out", device="cpu")
    _, test, _ = open_train_and_test("digits")
    images = test.preprocessed(model.shape, card.input.preprocess)
    assert images.labels is not None
    correct = torch.eq(model.logits(images.pixels()).argmax(1), images.labels).float().mean()
    assert float(correct) == pytest.approx(card.results["test_accuracy"], abs=1e-6)


def test_a_network_trained_from_scratch_is_saved_where_it_is_the_most_accurate(tmp_path, monkeypatch):
    """With the normalisation that it was trained with, which is not that of the model."""
    network, normalisation = nn.Linear(1, 1), Normalisation((0.3,), (0.2,))
    progress = TransferProgress()
    progress.add(
        StrategyResult(FROZEN_BACKBONE, 0.5, 1, 2),
        nn.Linear(1, 1),
        Normalisation((0.5,), (0.5,)),
        next_too=True,
    )
    progress.add(StrategyResult(FROM_SCRATCH, 0.6, 1, 2), network, normalisation, next_too=False)
    assert progress.best is not None
    assert (progress.best.strategy, progress.best.mean, progress.best.std) == (FROM_SCRATCH, (0.3,), (0.2,))
    assert torch.equal(progress.best.state["weight"], network.weight)
    assert progress.network is not None
    assert not torch.equal(progress.network["weight"], network.weight)
    restored = TransferProgress()
    restored.restore(progress.state())
    assert restored.best == progress.best


def test_a_transfer_has_a_page_like_a_report(transferred):
    out, card = transferred
    text = write_transfer_page(out, card).read_text()
    for words in (
        f"test accuracy, {STORED_FEATURES}",
        "Four transfer strategies",
        "Linear probes",
        card.training["command"],
    ):
        assert words in text
    (out / "report.html").unlink()


def test_two_transfers_have_the_same_pictures_and_tables_whatever_time_they_took(tmp_path, monkeypatch):
    clock = iter(range(0, 10**6))
    monkeypatch.setattr("probe.training.transfer.strategies.time.monotonic", lambda: next(clock) ** 1.5)
    few, files = TransferConfig(n=20, unfreeze=3, epochs=2), []
    for name in ("first", "second"):
        transfer(tmp_path / name, few)
        folder = tmp_path / name / EXHIBITS
        files.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert len(files[0]) > 8
    assert files[0] == files[1]


def test_the_frozen_layers_of_the_model_are_not_changed(transferred):
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
    assert transfer(out, quiet=False) == card
    assert "finished result of this command: nothing to do" in capsys.readouterr().err
    with pytest.raises(UserError, match="already holds digits: choose another --out"):
        transfer(out, TransferConfig())
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before


@pytest.mark.parametrize(
    ("epochs", "current"),
    [(0, STORED_FEATURES), (3, FROZEN_BACKBONE), (12, FINE_TUNED), (30, FROM_SCRATCH)],
)
def test_an_interrupted_transfer_is_resumed_to_the_same_bytes(
    tmp_path, transferred, monkeypatch, epochs, current
):
    out, real, done = tmp_path / "digits", Trainer.epoch, 0

    def epoch(self):
        nonlocal done
        if done == epochs and epochs:
            raise KeyboardInterrupt
        done += 1
        return real(self)

    def stop(*anything, **named):
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "epoch", epoch)
    if not epochs:
        monkeypatch.setattr("probe.training.transfer.strategies.new_head", stop)
    with pytest.raises(KeyboardInterrupt, match=f"stopped in {current}: the same command resumes from there"):
        transfer(out)
    monkeypatch.undo()
    counted: list[int] = []
    if not epochs:  # the stored features are not computed again
        monkeypatch.setattr("probe.training.transfer.strategies.head_inputs", stop)
    else:  # what is finished is not done again
        monkeypatch.setattr(Trainer, "epoch", lambda self: counted.append(1) or real(self))
        monkeypatch.setattr(TransferTrainer, "_train_on_features", stop)
    card = transfer(out)
    assert not epochs or len(counted) == 3 * 12 - epochs
    assert (out / "weights.safetensors").read_bytes() == (transferred[0] / "weights.safetensors").read_bytes()
    assert card.results == transferred[1].results
    assert not (out / TRANSFER_CHECKPOINT).exists()


def test_another_transfer_is_not_resumed_and_a_full_folder_is_left_alone(tmp_path, monkeypatch):
    def stop(*anything, **named):
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "epoch", stop)  # the first strategy is finished by then
    with pytest.raises(KeyboardInterrupt):
        transfer(tmp_path / "out")
    for config, words in (
        (FEW.model_copy(update={"seed": 3}), "other images|seed 0, not 3"),
        (
            FEW.model_copy(update={"unfreeze": 2}),
            "unfinished transfer with unfreeze 3, not 2: resume it with the same",
        ),
    ):
        with pytest.raises(UserError, match=words):
            transfer(tmp_path / "out", config)
    with pytest.raises(
        UserError, match="n must be at least 10, one image of each class of digits:train, got 5"
    ):
        transfer(tmp_path / "few", TransferConfig(n=5))
    with pytest.raises(UserError, match=r"augment: there is no augmentation 'filp'. Did you mean flip"):
        validate(TransferConfig, {"augment": "filp"})
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="is not empty and contains no transfer: choose another --out"):
        transfer(tmp_path / "full")


def test_frozen_batch_norm_keeps_its_statistics_while_the_head_learns():
    model = model_named("zoo:conv2-bn", (3, 24, 24), 10)
    images, _, _ = open_train_and_test("digits")
    few = images.take(40).preprocessed(model.shape, "resize 24, centre crop 24")
    network = with_new_head(model, 10)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    unfreeze(network, weighted_layers(model), 1)
    assert trainable_parameters(network) == 192 * 10 + 10
    dataset = DeviceDataset(few, torch.device("cpu"))
    trainer = Trainer(
        network,
        Datasets(dataset, dataset),
        TrainingConfig(epochs=1, batch_size=20),
        Normalisation((0.5,) * 3, (0.5,) * 3),
        precision="float32",
    )
    trainer.epoch()
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"dense3.weight", "dense3.bias"}


def test_the_last_layers_are_unfrozen_with_their_normalisation():
    model = model_named("zoo:conv2-bn", (3, 24, 24), 10)
    network = with_new_head(model, 4)
    unfreeze(network, weighted_layers(model), 2)
    unfrozen = {name for name, weight in network.named_parameters() if weight.requires_grad}
    assert unfrozen == {"dense2.weight", "bn4.weight", "bn4.bias", "dense3.weight", "dense3.bias"}


def test_a_network_that_ends_in_a_convolution_and_an_average_gets_a_new_convolution():
    model = model_named("torchvision:squeezenet1_1", (3, 64, 64), 7)
    assert classifier_address(model) == "classifier.1"
    network = with_new_head(model, 3)
    assert network.get_submodule("classifier.1").weight.shape == (3, 512, 1, 1)
    assert network(torch.zeros(2, 3, 64, 64)).shape == (2, 3)
    unfreeze(network, weighted_layers(model), 2)
    unfrozen = {
        name.rpartition(".")[0] for name, weight in network.named_parameters() if weight.requires_grad
    }
    assert unfrozen == {"features.12.expand3x3", "classifier.1"}


def test_the_inputs_of_a_head_are_averaged_where_the_network_averages_and_whole_where_it_does_not():
    """A 1 x 1 convolution and an average are a dense layer on the average; a full-size one is dense as it is."""
    torch.manual_seed(0)
    images, _, _ = open_train_and_test("digits")
    dataset = DeviceDataset(
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
        dense = head_inputs(model, dataset) @ last.weight.flatten(1).T + last.bias
        pixels, _ = next(dataset.batches([torch.arange(20)], Augmentation((), (8, 8)), None, slice(None)))
        torch.testing.assert_close(dense, model.logits(pixels))


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (
            nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
            "ends with 1",
        ),
        (
            nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten(), nn.MaxPool1d(64)),
            "net ends with 0 .Conv2d, 4 outputs",
        ),
        (nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), "has no weights"),
    ],
)
def test_a_network_that_does_not_end_in_a_classifier_is_refused(network, words):
    with pytest.raises(UserError, match=words):
        classifier_address(model_of(network, (3, 8, 8), 5))


def test_an_architecture_with_a_fixed_number_of_classes_is_refused_before_anything_is_trained(tmp_path):
    (tmp_path / "net.py").write_text(
        "from torch import nn\ndef make():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"
    )
    model = model_named(f"{tmp_path / 'net.py'}:make", (1, 8, 8), 10)
    with pytest.raises(
        UserError, match=r"does not build the same network as net for 3 classes \(1.weight differs\)"
    ):
        with_new_head(model, 3)


def test_the_progress_of_a_transfer_is_restored_as_it_was_saved():
    progress = TransferProgress(
        finished=[StrategyResult(STORED_FEATURES, 0.5, 2.0, 30)],
        features=StoredFeatures(torch.ones(2), torch.zeros(3), 1.0),
    )
    restored = TransferProgress()
    restored.restore(progress.state())
    assert restored.finished == progress.finished
    assert restored.features is not None
    assert torch.equal(restored.features.train, torch.ones(2))
    assert torch.equal(restored.features.test, torch.zeros(3))
    assert restored.features.seconds == 1.0
