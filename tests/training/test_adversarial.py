"""Adversarial training makes networks robust, is recorded on the card, and resumes to the same bytes."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from probe.errors import UserError
from probe.model.cards import read_card
from probe.params import validate
from probe.training.adversarial import (
    AttackKind,
    adversarial_batch,
    catastrophic_overfitting,
    measure_robustness,
    overfitting_warning,
    training_attack,
    warmed_up_eps,
)
from probe.training.config import TrainingConfig, format_flags
from probe.training.history import read_history
from probe.training.request import TrainingRequest
from probe.training.train import run_training
from probe.training.trainer import Trainer
from tests.methods.adversarial.victims import digits, fitted, fresh

CONFIG = TrainingConfig(
    epochs=3, adversarial="pgd", eps=0.1, attack_steps=2, optimiser="adam", lr=2e-3, precision="float32"
)


def train(out: Path, config: TrainingConfig = CONFIG) -> None:
    run_training(TrainingRequest("lenet5-relu", "digits", out, config), device="cpu", quiet=True)


@pytest.fixture(scope="module")
def robust(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("robust") / "whole"
    train(out)
    return out


def test_the_robust_accuracy_is_higher_than_after_the_same_training_without(
    robust: Path, tmp_path: Path
) -> None:
    from probe.data.sources import open_images
    from probe.model.loading import load
    from probe.runs.execute import prepare

    train(tmp_path / "plain", CONFIG.model_copy(update={"adversarial": "none"}))
    plain = load(tmp_path / "plain", device="cpu")
    images = prepare(plain, open_images("digits:test"))
    assert images.labels is not None
    undefended = measure_robustness(plain, images.pixels(), images.labels, 0.1)["robust_accuracy"]
    assert read_card(robust).results["robust_accuracy"] > undefended + 0.1


def test_the_card_states_the_attack_and_the_robust_accuracy(robust: Path) -> None:
    card = read_card(robust)
    assert "--adversarial pgd --eps 0.1 --attack-steps 2" in card.training["command"]
    assert card.training["config"]["eps"] == 0.1
    assert card.results["robust_attack"] == "PGD with 40 steps of constant size, Linf 0.1, one random start"
    assert card.results["robust_accuracy"] <= card.results["test_accuracy"] + 0.01
    assert any(
        "trained to be robust to perturbations of at most 0.1" in note for note in card.limits["notes"]
    )
    assert not any("not trained to be robust" in note for note in card.limits["notes"])


def test_every_epoch_is_measured_under_one_step_and_under_many(robust: Path) -> None:
    epochs = read_history(robust).epochs
    assert len(epochs) == read_card(robust).training["epochs"]
    for epoch in epochs:
        assert epoch.fgsm_accuracy is not None
        assert epoch.pgd_accuracy is not None
        assert epoch.pgd_accuracy <= epoch.fgsm_accuracy + 0.05


def test_interrupted_and_resumed_it_has_the_same_bytes(
    robust: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Trainer.epoch

    def stopping(self: Trainer):
        if len(self.epochs) == 1:
            raise KeyboardInterrupt
        return real(self)

    monkeypatch.setattr(Trainer, "epoch", stopping)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "whole")
    monkeypatch.undo()
    train(tmp_path / "whole")
    assert (tmp_path / "whole" / "weights.safetensors").read_bytes() == (
        robust / "weights.safetensors"
    ).read_bytes()


def test_without_it_the_settings_are_unused() -> None:
    assert TrainingConfig().unused == {"adversarial", "eps", "attack_steps", "whiten"}
    assert format_flags(TrainingConfig(adversarial="fgsm", eps=0.3)) == "--adversarial fgsm --eps 0.3"


def test_a_radius_in_grey_levels_is_refused_with_the_right_notation() -> None:
    with pytest.raises(UserError, match="for eight grey levels write 8/255"):
        validate(TrainingConfig, {"adversarial": "pgd", "eps": "8"})


def test_catastrophic_overfitting_is_warned_of() -> None:
    warning = overfitting_warning(7, 0.9, 0.02)
    assert warning.startswith(
        "epoch 7: catastrophic overfitting, accuracy 90% under one attack step but 2% under 10"
    )
    assert overfitting_warning(7, 0.9, 0.8) == overfitting_warning(7, None, None) == ""


@pytest.mark.parametrize("kind", ["fgsm", "pgd"])
def test_an_adversarial_batch_has_a_higher_loss_and_lies_in_its_ball(kind: AttackKind) -> None:
    network = fitted(fresh(batch_norm=True), steps=60).train()
    pixels, labels = (t[:100] for t in digits())
    rng = torch.Generator().manual_seed(0)
    attack = training_attack(kind, 0.1, 5)
    attacked = adversarial_batch(network, network, pixels, labels, attack, rng)
    assert (attacked - pixels).abs().max() <= 0.1 + 1e-6
    assert attacked.min() >= 0
    assert attacked.max() <= 1
    network.eval()
    assert F.cross_entropy(network(attacked), labels) > 1.5 * F.cross_entropy(network(pixels), labels)


def test_an_adversarial_batch_leaves_statistics_modes_and_gradients_unchanged() -> None:
    network = fresh(batch_norm=True).train()
    network[5].eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    pixels, labels = (t[:32] for t in digits())
    network(pixels)
    assert not torch.equal(network.state_dict()["1.running_mean"], before["1.running_mean"])
    network.load_state_dict(before)
    adversarial_batch(network, network, pixels, labels, training_attack("pgd", 0.1, 3), torch.Generator())
    assert all(torch.equal(network.state_dict()[name], value) for name, value in before.items())
    assert network.training
    assert not network[5].training
    assert all(p.grad is None and p.requires_grad for p in network.parameters())


def test_statistics_are_restored_after_an_exception_too() -> None:
    network = fresh(batch_norm=True).train()
    before = network.state_dict()["1.running_mean"].clone()
    pixels, labels = (t[:8] for t in digits())

    def failing(x: torch.Tensor) -> torch.Tensor:
        network(x)
        raise RuntimeError("no memory")

    with pytest.raises(RuntimeError, match="no memory"):
        adversarial_batch(
            network, failing, pixels, labels, training_attack("pgd", 0.1, 10), torch.Generator()
        )
    assert torch.equal(network.state_dict()["1.running_mean"], before)


def test_radius_zero_gives_the_batch_itself() -> None:
    pixels, labels = (t[:8] for t in digits())
    network = fresh()
    attack = training_attack("pgd", 0, 10)
    assert adversarial_batch(network, network, pixels, labels, attack, torch.Generator()) is pixels


def test_the_radius_rises_over_the_first_quarter() -> None:
    assert [warmed_up_eps(0.4, progress) for progress in (0, 0.125, 0.25, 1)] == pytest.approx(
        [0, 0.2, 0.4, 0.4]
    )


@pytest.mark.parametrize(
    ("fgsm", "pgd", "expected"), [(0.9, 0.0, True), (0.9, 0.8, False), (0.1, 0.05, False), (0.6, 0.2, True)]
)
def test_catastrophic_overfitting_is_robustness_to_one_step_but_not_to_many(
    fgsm: float, pgd: float, expected: bool
) -> None:
    assert catastrophic_overfitting(fgsm, pgd) is expected
