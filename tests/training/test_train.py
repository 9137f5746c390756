"""A whole training by its public function: what it learns, writes and prints, on one process or two."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from probe.data.sources import open_images
from probe.errors import UserError
from probe.model.cards import read_card
from probe.model.loading import load
from probe.runs.execute import prepare
from probe.training.config import TrainingConfig
from probe.training.history import read_history
from probe.training.request import TrainingRequest
from probe.training.resume import TRAINING_CHECKPOINT
from probe.training.splits import open_splits
from probe.training.train import run_training
from probe.training.trainer import Diverged, Trainer
from probe.zoo import architecture
from tests.training.quick import QUICK, folder, train


def test_a_training_learns_and_writes_a_model_with_the_accuracy_of_its_card(finished):
    out, card, _ = finished
    model = load(out, device="cpu")
    images = open_splits("digits", architecture("lenet5")).test
    pixels = images.preprocessed(model.shape, card.input.preprocess).pixels()
    assert images.labels is not None
    correct = int(torch.eq(model.logits(pixels).argmax(1), images.labels).sum())
    assert correct / len(images) == pytest.approx(card.results["test_accuracy"], abs=1e-6)
    assert card.results["test_accuracy"] > 0.7
    assert card == read_card(out)
    assert str(out.parent) not in (out / "card.toml").read_text()


def test_weights_stored_in_16_bits_take_half_the_space_and_are_what_the_card_measures(tmp_path):
    from safetensors.torch import load_file

    whole = train(tmp_path / "whole", arch="conv2-bn", config=QUICK.model_copy(update={"epochs": 1}))
    half = train(
        tmp_path / "half", arch="conv2-bn", config=QUICK.model_copy(update={"epochs": 1, "fp16": True})
    )
    assert whole.training["command"].replace("whole", "half") + " --fp16" == half.training["command"]
    sizes = [(tmp_path / name / "weights.safetensors").stat().st_size for name in ("whole", "half")]
    assert sizes[1] == pytest.approx(sizes[0] / 2, rel=0.02)
    stored = load_file(tmp_path / "half" / "weights.safetensors")
    for name, value in load_file(tmp_path / "whole" / "weights.safetensors").items():
        assert torch.equal(stored[name], value.half() if value.ndim > 1 else value)
    model = load(tmp_path / "half", device="cpu")
    assert {value.dtype for value in model.network.parameters()} == {torch.float32}
    images = prepare(model, open_images("digits:test"))
    correct = model.logits(images.pixels()).argmax(1) == images.labels
    assert half.results["test_accuracy"] == pytest.approx(float(correct.float().mean()), abs=1e-6)


def test_a_training_restores_the_global_random_state(finished):
    assert finished[2]


def test_the_saved_epochs_begin_at_the_initialisation_and_end_at_the_result(finished):
    out, _, _ = finished
    saved = sorted(path.name for path in (out / "epochs").iterdir())
    assert saved == [f"{epoch:03d}.safetensors" for epoch in range(4)]
    assert (out / "epochs/003.safetensors").read_bytes() == (out / "weights.safetensors").read_bytes()
    assert (out / "epochs/002.safetensors").read_bytes() != (out / "weights.safetensors").read_bytes()


def test_a_loss_that_becomes_nan_stops_with_the_step_and_keeps_the_last_finite_weights(tmp_path, monkeypatch):
    out, real = tmp_path / "out", Trainer._logits
    steps = 0

    def logits(self, network, pixels):
        nonlocal steps
        steps += network.training
        return real(self, network, pixels) * (float("nan") if steps == 15 else 1)

    monkeypatch.setattr(Trainer, "_logits", logits)
    with pytest.raises(
        Diverged, match=r"not finite at step 15 \(epoch 2, .*after epoch 1 are kept. Try a lower --lr"
    ):
        train(out)
    saved = torch.load(out / TRAINING_CHECKPOINT, weights_only=True)["trainer"]
    assert len(saved["epochs"]) == 1
    assert all(bool(value.isfinite().all()) for value in saved["network"].values())


def test_a_learning_rate_that_is_far_too_high_is_an_error_and_a_lower_one_may_use_the_same_folder(tmp_path):
    with pytest.raises(Diverged, match=r"no epoch was completed. Try a lower --lr, such as 10, or --prec"):
        train(tmp_path / "out", TrainingConfig(epochs=3, lr=100, schedule="constant"), arch="lenet5-relu")
    card = train(tmp_path / "out", TrainingConfig(epochs=1, lr=0.05, schedule="constant"), arch="lenet5-relu")
    assert card.training["epochs"] == 1


def test_a_folder_of_classes_gives_the_same_weights_from_memory_and_from_disk(tmp_path):
    data = folder(tmp_path / "data", {"red": 30, "green": 30, "blue": 30})
    config = TrainingConfig(epochs=4, batch_size=16, augment=("crop", "flip", "brightness"))
    cards = [
        train(tmp_path / f"{limit}" / "out", config, arch="lenet5-relu", data=data, max_resident_bytes=limit)
        for limit in (0, 2**20)
    ]
    assert cards[0].weights.sha256 == cards[1].weights.sha256
    assert cards[0].results["test_accuracy"] == 1
    assert cards[0].results["test_images"] == 18


def test_early_stopping_keeps_the_weights_with_the_lowest_validation_loss(tmp_path):
    config = TrainingConfig(
        epochs=40, lr=0.3, schedule="constant", validation=0.2, early_stopping=2, save_epochs=True
    )
    train(tmp_path / "out", config)
    epochs = read_history(tmp_path / "out").epochs
    losses = [epoch.validation_loss or 0.0 for epoch in epochs]
    best = losses.index(min(losses)) + 1
    assert len(epochs) == best + 2 < 40
    saved = (tmp_path / "out" / "epochs" / f"{best:03d}.safetensors").read_bytes()
    assert (tmp_path / "out" / "weights.safetensors").read_bytes() == saved


def test_a_network_of_a_python_file_is_loaded_again_from_any_folder(tmp_path, monkeypatch):
    (tmp_path / "net.py").write_text(
        "from torch import nn\ndef make(classes):\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))\n"
    )
    monkeypatch.chdir(tmp_path)
    config = TrainingConfig(epochs=1, size=8, preprocess="resize 8, centre crop 8")
    card = train(Path("out"), config, arch="net.py:make")
    assert card.training["command"].startswith("probe train net.py:make --data digits")
    monkeypatch.chdir("/")
    assert load(tmp_path / "out", device="cpu").shape == (1, 8, 8)


def test_a_whitened_network_is_loaded_as_one_that_is_invariant_to_contrast(tmp_path):
    card = train(tmp_path / "out", TrainingConfig(epochs=1, whiten=True, lr=0.05), arch="lenet5-relu")
    assert card.options == {"whiten": True}
    assert card.input.std == (1,)
    model = load(tmp_path / "out", device="cpu")
    pixels = open_splits("digits", architecture("lenet5")).test.pixels()[:20]
    torch.testing.assert_close(model.logits(pixels), model.logits(pixels * 0.5 + 0.2), atol=1e-3, rtol=0)
    assert sum(p.numel() for p in model.network.parameters()) == 61_706
    with pytest.raises(
        UserError, match="architectures of the zoo only: it cannot be added to torchvision:squeezenet1_1"
    ):
        train(tmp_path / "other", TrainingConfig(whiten=True), arch="torchvision:squeezenet1_1")


def test_the_notes_of_the_images_are_printed_before_the_first_epoch(tmp_path, capsys):
    data = folder(tmp_path / "data", {"red": 6, "green": 6})
    (tmp_path / "data" / "red" / "broken.png").write_bytes(b"no picture")
    config = TrainingConfig(epochs=1, lr=0.01)
    card = run_training(TrainingRequest("lenet5-relu", data, tmp_path / "out", config), device="cpu")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("images: 1 file could not be read and was skipped: red/broken.png")
    assert lines[1] == "images: each step uses all 10 training images, fewer than the batch size of 128"
    assert lines[0].removeprefix("images: ") in card.training["notes"]
    assert card.training["config"]["batch_size"] == 10


def test_the_default_learning_rate_is_that_of_the_batch_that_is_used(tmp_path):
    data = folder(tmp_path / "data", {"red": 20, "green": 20})
    large, exact = (
        train(
            tmp_path / f"{batch_size}" / "out",
            TrainingConfig(epochs=1, batch_size=batch_size),
            arch="lenet5-relu",
            data=data,
        )
        for batch_size in (4096, 32)
    )
    assert large.training["config"]["lr"] == exact.training["config"]["lr"] == pytest.approx(0.02 * 32 / 128)
    assert large.weights.sha256 == exact.weights.sha256


def test_a_network_of_torchvision_is_given_grey_images_in_its_three_channels(tmp_path):
    config = TrainingConfig(epochs=1, batch_size=256, size=32, lr=0.001)
    card = train(tmp_path / "out", config, arch="torchvision:squeezenet1_1", data="digits")
    assert card.input.shape == (3, 32, 32)
    with pytest.raises(UserError, match=r"squeezenet1_1 cannot be built with these options: .*'foo'"):
        train(
            tmp_path / "no",
            config.model_copy(update={"options": ("foo=1",)}),
            arch="torchvision:squeezenet1_1",
        )


def test_a_network_of_torchvision_is_trained_at_the_requested_size(tmp_path):
    data = folder(tmp_path / "data", {"red": 12, "green": 12}, size=40)
    config = TrainingConfig(epochs=1, batch_size=8, size=48, lr=0.01)
    card = train(tmp_path / "out", config, arch="torchvision:squeezenet1_1", data=data)
    assert card.input.shape == (3, 48, 48)
    assert card.input.preprocess == "pad 48"
    model = load(tmp_path / "out", device="cpu")
    assert model.logits(torch.zeros(1, 3, 48, 48)).shape == (1, 2)
    assert "--size 48" in card.training["command"]


JOINT = TrainingConfig(epochs=2, batch_size=90, augment=("crop", "flip"), lr=0.05, precision="float32")
SCRIPT = f"""
import sys
from pathlib import Path
from probe.training.config import TrainingConfig
from probe.training.request import TrainingRequest
from probe.training.train import run_training
config = TrainingConfig.model_validate_json({JOINT.model_dump_json()!r})
run_training(TrainingRequest("lenet5", "digits", Path(sys.argv[1]), config), device="cpu", quiet=True)
"""


@pytest.mark.slow
def test_two_processes_give_the_loss_curve_of_one_with_the_joint_batch(tmp_path):
    script = tmp_path / "joint.py"
    script.write_text(SCRIPT)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()}
    command = [*torchrun, str(script), str(tmp_path / "two")]
    subprocess.run(command, check=True, env=environment, timeout=300, capture_output=True)
    train(tmp_path / "one", JOINT)
    one, two = (read_history(tmp_path / name) for name in ("one", "two"))
    assert len(one.steps.loss) == 30
    assert two.steps.loss == pytest.approx(one.steps.loss, abs=2e-4)
    assert [e.test_loss for e in two.epochs] == pytest.approx([e.test_loss for e in one.epochs], rel=1e-3)
    assert "2 processes" in read_card(tmp_path / "two").training["machine"]
