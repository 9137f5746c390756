"""Transfer from MNIST's digits to scikit-learn's, of which few are given."""

import pytest
import torch
from torch import nn

from probe.errors import UserError
from probe.subject.loading import load
from probe.training.feeding import Feed
from probe.training.loop import Sets, Trainer
from probe.training.opening import open_pair
from probe.training.recipe import Recipe
from probe.training.transfer import Transfer, classifier, renewed, thaw
from probe.training.transferring import run_transfer
from probe.zoo import build
from tests.conftest import subject_of


@pytest.fixture(scope="module")
def transferred(tmp_path_factory):
    out = tmp_path_factory.mktemp("transfer") / "digits"
    options = Transfer(images=40, last=3, epochs=25)
    card, result = run_transfer("lenet5-mnist", "digits", out, options, device="cpu", quiet=True)
    return out, card, {name: number.value for name, number in result.numbers.items()}, result


def test_with_few_images_every_way_of_transfer_beats_training_from_scratch(transferred):
    _, _, numbers, _ = transferred
    scratch = numbers["accuracy, from scratch"]
    for way in ("way 1", "way 2", "fine-tuned, last 3"):
        assert numbers[f"accuracy, {way}"] > scratch + 0.02
    assert numbers["gap to training from scratch"] > 0.05


def test_a_trained_layer_tells_the_classes_apart_better_than_the_pixels(transferred):
    probes = transferred[3].exhibits[2]
    accuracy = dict(zip(probes.ticks, probes.lines[0].y.tolist(), strict=True))
    assert list(accuracy) == ["pixels", "conv1", "conv2", "conv3", "dense1", "dense2"]
    assert accuracy["conv3"] > accuracy["pixels"] + 0.02


def test_the_folder_of_a_transfer_is_a_subject_that_does_what_its_card_says(transferred):
    out, card, _, _ = transferred
    subject = load(out, device="cpu")
    _, test, _ = open_pair("digits")
    fitted = test.fitted(subject.shape, card.input.fit)
    assert fitted.labels is not None
    right = torch.eq(subject.logits(fitted.pixels()).argmax(1), fitted.labels).float().mean()
    assert float(right) == pytest.approx(card.results["accuracy"], abs=1e-6)
    assert card.training["from"] == "lenet5-mnist"
    assert {path.suffix for path in out.iterdir()} == {".toml", ".png", ".safetensors", ".json", ".csv"}


def test_the_trunk_that_a_transfer_starts_from_is_not_changed(transferred):
    out, _, _, _ = transferred
    before, after = load("lenet5-mnist", device="cpu"), load(out, device="cpu")
    old, new = before.network.state_dict(), after.network.state_dict()
    assert before.digest == transferred[1].training["from_sha256"]
    frozen = [name for name in old if name.startswith(("conv1", "conv2"))]
    assert all(torch.equal(old[name], new[name]) for name in frozen)
    assert not torch.equal(old["conv3.weight"], new["conv3.weight"])


def test_a_full_folder_is_left_alone(transferred):
    with pytest.raises(UserError, match="is not empty: choose another --out"):
        run_transfer("lenet5-mnist", "digits", transferred[0], Transfer(), device="cpu")


def test_frozen_batch_norm_keeps_its_statistics_while_the_head_learns():
    subject = subject_of(build("conv2-bn"), (3, 24, 24), 10)
    images, _, _ = open_pair("digits")
    few = images.take(40).fitted(subject.shape, "resize 24, centre crop 24")
    network = renewed(subject, 10)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    order = [one.address for one in subject.layers if one.leaf and one.parameters]
    assert thaw(network, order, 1) == 192 * 10 + 10
    feed = Feed(few, torch.device("cpu"))
    trainer = Trainer(
        network,
        Sets(feed, feed),
        Recipe(epochs=1, batch=20),
        mean=(0.5,) * 3,
        std=(0.5,) * 3,
        precision="float32",
    )
    trainer.epoch()
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"dense3.weight", "dense3.bias"}


def test_the_last_layers_are_freed_with_what_normalises_them():
    subject = subject_of(build("conv2-bn"), (3, 24, 24), 10)
    network = renewed(subject, 4)
    thaw(network, [one.address for one in subject.layers if one.leaf and one.parameters], 2)
    free = {name for name, weight in network.named_parameters() if weight.requires_grad}
    assert free == {"dense2.weight", "bn4.weight", "bn4.bias", "dense3.weight", "dense3.bias"}


def test_a_network_that_ends_in_no_dense_layer_is_refused():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(UserError, match="net ends in 0, not in a dense layer"):
        classifier(subject_of(network, (3, 8, 8), 4))
