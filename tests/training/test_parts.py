"""The small parts of a training: recipe, course of the rate, order of the images, history."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from probe.data.images import Images
from probe.errors import UserError
from probe.params import validate
from probe.training.augmentation import Augmentation
from probe.training.config import TrainingConfig, flags
from probe.training.datasets import DeviceDataset, even_parts, mean_and_std
from probe.training.distributed import Processes
from probe.training.history import Epoch, History, read_history, thinned, write_history
from probe.training.optimiser import lr_factor, make_optimiser, peak_rate
from probe.training.splits import default_preprocess


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"augment": "crop,filp"}, "no augmentation 'filp'. Did you mean flip"),
        ({"augment": "crop,whitening"}, "whitening is done to every image, also after training: --whiten"),
        ({"optimiser": "sdg"}, "optimiser must be one of 'sgd', 'adam', 'adamw', got sdg"),
        ({"epochs": "0"}, r"epochs must lie in \[1, 10000\], got 0"),
        ({"early_stopping": 3}, "needs images that are held out: add validation"),
        ({"learning_rate": 1}, "no parameter 'learning_rate'"),
    ],
)
def test_a_wrong_recipe_is_refused_in_one_line(values, words):
    with pytest.raises(UserError, match=words):
        validate(TrainingConfig, values)


def test_an_option_of_the_architecture_has_the_type_that_it_looks_like():
    found = TrainingConfig(options=("width=256", "dropout=0.2", "flatten=false", "name=x")).arguments()
    assert found == {"width": 256, "dropout": 0.2, "flatten": False, "name": "x"}
    with pytest.raises(UserError, match="must be written name=value"):
        TrainingConfig(options=("width",)).arguments()


def test_the_flags_of_a_recipe_are_what_differs_from_the_defaults():
    recipe = TrainingConfig(
        epochs=5, augment=("crop", "flip"), keep_epochs=True, preprocess="centre crop 24", weight_decay=1 / 2
    )
    assert (
        flags(recipe)
        == "--weight-decay 0.5 --epochs 5 --augment crop,flip --keep-epochs --preprocess 'centre crop 24'"
    )
    assert flags(TrainingConfig()) == ""


@pytest.mark.parametrize("schedule", ["one-cycle", "cosine", "step", "constant"])
def test_the_rate_reaches_its_peak_once_and_never_exceeds_it(schedule):
    rates = [lr_factor(schedule, step / 1000) for step in range(1001)]
    assert max(rates) == 1
    assert min(rates) >= 0
    falling = rates[rates.index(1.0) :]
    assert falling == sorted(falling, reverse=True)


def test_one_cycle_climbs_for_a_quarter_and_ends_at_a_ten_thousandth():
    assert lr_factor("one-cycle", 0) == pytest.approx(1 / 25)
    assert lr_factor("one-cycle", 0.25) == 1
    assert lr_factor("one-cycle", 1) == pytest.approx(1e-4)
    assert [lr_factor("step", at) for at in (0.49, 0.5, 0.75)] == [1, 0.1, 0.01]


def test_the_default_rate_grows_with_the_batch_and_with_batch_norm():
    plain, normalised = nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    assert peak_rate(TrainingConfig(batch=256), normalised) == pytest.approx(0.2)
    assert peak_rate(TrainingConfig(batch=128), plain) == pytest.approx(0.02)
    assert peak_rate(TrainingConfig(batch=512, optimiser="adam"), plain) == pytest.approx(1e-3 * math.sqrt(4))
    assert peak_rate(TrainingConfig(lr=0.3), normalised) == 0.3


def test_shared_batch_norm_is_owned_up_to_on_cpu_and_nowhere_else():
    normalised, plain = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)), nn.Linear(2, 2)
    cpu = torch.device("cpu")
    assert "in 2 shares" in Processes(0, 2).caveat(normalised, cpu)
    assert Processes(0, 2).caveat(plain, cpu) == ""
    assert Processes(0, 2).caveat(normalised, torch.device("cuda")) == ""
    assert Processes().caveat(normalised, cpu) == ""


def test_frozen_weights_are_left_out_of_the_optimiser():
    network = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    network[0].requires_grad_(False)
    groups = make_optimiser(TrainingConfig(), network).param_groups
    assert [id(p) for p in groups[0]["params"]] == [id(p) for p in network[1].parameters()]


@given(count=st.integers(1, 500), batch=st.integers(1, 100))
def test_parts_hold_every_image_once_and_differ_by_one(count, batch):
    parts = even_parts(torch.arange(count), batch)
    sizes = [len(part) for part in parts]
    assert torch.cat(parts).tolist() == list(range(count))
    assert max(sizes) <= batch
    assert max(sizes) - min(sizes) <= 1
    assert len(parts) == math.ceil(count / batch)


@pytest.mark.parametrize("resident", [0, 2**20])
def test_mean_and_deviation_are_those_of_all_pixels(resident):
    rng = torch.Generator().manual_seed(0)
    raw = torch.randint(0, 256, (50, 3, 6, 5), dtype=torch.uint8, generator=rng)
    images = Images.from_tensor(raw, torch.arange(50) % 2, classes=("a", "b"))
    mean, std = mean_and_std(DeviceDataset(images, torch.device("cpu"), resident=resident))
    values = raw.double() / 255
    assert mean == pytest.approx(values.mean((0, 2, 3)).tolist(), abs=1e-4)
    assert std == pytest.approx(values.std((0, 2, 3), correction=0).tolist(), abs=1e-4)


def test_where_images_stream_those_that_are_measured_come_from_all_classes():
    raw = (torch.arange(90) // 30 * 100).to(torch.uint8).view(90, 1, 1, 1).expand(90, 1, 4, 4).contiguous()
    images = Images.from_tensor(raw, torch.arange(90) // 30, classes=("a", "b", "c"))
    mean, std = mean_and_std(DeviceDataset(images, torch.device("cpu"), resident=0), most=9)
    assert mean == pytest.approx((100 / 255,), abs=1e-4)
    assert std == pytest.approx((100 * (2 / 3) ** 0.5 / 255,), abs=1e-4)


@pytest.mark.parametrize("resident", [0, 2**20])
def test_shares_of_a_batch_put_together_are_the_batch(resident):
    rng = torch.Generator().manual_seed(0)
    raw = torch.randint(0, 256, (23, 3, 8, 8), dtype=torch.uint8, generator=rng)
    feed = DeviceDataset(
        Images.from_tensor(raw, torch.arange(23) % 4, classes=tuple("abcd")),
        torch.device("cpu"),
        resident=resident,
    )
    augmentation = Augmentation(("crop", "flip", "brightness"), (8, 8))
    parts = even_parts(torch.randperm(23, generator=rng), 6)

    def run(share: slice) -> list[tuple[torch.Tensor, torch.Tensor]]:
        return list(feed.batches(parts, augmentation, torch.Generator().manual_seed(5), share))

    whole, halves = run(slice(None)), [run(slice(number, None, 2)) for number in (0, 1)]
    for step, (pixels, labels) in enumerate(whole):
        for number in (0, 1):
            assert torch.equal(halves[number][step][0], pixels[number::2])
            assert torch.equal(halves[number][step][1], labels[number::2])


def test_thinned_losses_keep_their_mean_and_their_last_step():
    losses = [float(value) for value in range(2500)]
    steps = thinned(losses, points=1000)
    assert (steps.every, steps.step[-1], len(steps.loss)) == (3, 2500, 834)
    weights = [b - a for a, b in zip([0, *steps.step], steps.step, strict=False)]
    mean = sum(w * value for w, value in zip(weights, steps.loss, strict=True)) / 2500
    assert mean == pytest.approx(sum(losses) / 2500, abs=1e-4)


def test_a_history_is_read_as_it_was_written(tmp_path):
    epoch = Epoch(
        epoch=1, steps=2, loss=0.5, accuracy=0.25, test_loss=1, test_accuracy=0.5, lr=0.1, seconds=2, rate=9
    )
    history = History(epochs=[epoch], steps=thinned([0.25, 0.75]))
    write_history(history, tmp_path)
    assert read_history(tmp_path) == history
    assert (tmp_path / "history.csv").read_text().splitlines()[1].startswith("1,2,0.5,0.25")
    (tmp_path / "history.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        read_history(tmp_path)


@pytest.mark.parametrize(
    ("size", "side", "rule"),
    [
        (28, 32, "pad 32"),
        (32, 24, "centre crop 24"),
        (32, 32, "resize 32, centre crop 32"),
        (8, 32, "resize 32, centre crop 32"),
    ],
)
def test_images_of_nearly_the_right_size_are_padded_or_cut_and_others_resized(size, side, rule):
    assert default_preprocess(Images.from_tensor(torch.zeros(1, 1, size, size)), side) == rule


def test_batch_norm_over_several_processes_has_the_rate_of_batch_norm():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    alone = peak_rate(TrainingConfig(), network)
    assert peak_rate(TrainingConfig(), nn.SyncBatchNorm.convert_sync_batchnorm(network)) == alone == 0.1


def test_several_processes_expect_no_gradient_of_auxiliary_heads(monkeypatch):
    """torchvision's GoogLeNet and Inception have them, and the loss takes the main answer alone."""
    monkeypatch.setattr(
        "probe.training.distributed.DistributedDataParallel", lambda network, **options: options
    )
    network = nn.Linear(2, 2)
    assert Processes(0, 2).wrap(network, torch.device("cpu")) == {"find_unused_parameters": False}
    network.aux_logits = True
    assert Processes(0, 2).wrap(network, torch.device("cpu")) == {"find_unused_parameters": True}
