"""Adversarial training by the trainer's public function: it hardens, is described truly, and resumes to the same bytes."""

from pathlib import Path

import pytest

from probe.errors import UserError
from probe.model.cards import read_card
from probe.params import validate
from probe.training.adversarial import warning
from probe.training.config import TrainingConfig, format_flags
from probe.training.history import read_history
from probe.training.request import TrainingRequest
from probe.training.train import run_training
from probe.training.trainer import Trainer

HARD = TrainingConfig(
    epochs=3, adversarial="pgd", eps=0.1, attack_steps=2, optimiser="adam", lr=2e-3, precision="float32"
)


def train(out: Path, config: TrainingConfig = HARD) -> None:
    run_training(TrainingRequest("lenet5-relu", "digits", out, config), device="cpu", quiet=True)


@pytest.fixture(scope="module")
def hard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("hardened") / "whole"
    train(out)
    return out


def test_it_stands_more_than_the_same_training_without(hard: Path, tmp_path: Path) -> None:
    from probe.data.sources import open_images
    from probe.model.loading import load
    from probe.runs.execute import prepare
    from probe.training.adversarial import measured

    train(tmp_path / "soft", HARD.model_copy(update={"adversarial": "none"}))
    soft = load(tmp_path / "soft", device="cpu")
    images = prepare(soft, open_images("digits:test"))
    assert images.labels is not None
    undefended = measured(soft, images.pixels(), images.labels, 0.1)["robust_accuracy"]
    assert read_card(hard).results["robust_accuracy"] > undefended + 0.1


def test_the_card_says_what_it_was_hardened_against_and_how_far_that_reached(hard: Path) -> None:
    card = read_card(hard)
    assert "--adversarial pgd --eps 0.1 --attack-steps 2" in card.training["command"]
    assert card.training["config"]["eps"] == 0.1
    assert card.results["robust_attack"] == "PGD with 40 steps of constant size, Linf 0.1, one random start"
    assert card.results["robust_accuracy"] <= card.results["test_accuracy"] + 0.01
    assert any(
        "trained to be robust to perturbations of at most 0.1" in note for note in card.limits["notes"]
    )
    assert not any("not trained to be robust" in note for note in card.limits["notes"])


def test_every_epoch_is_measured_under_one_step_and_under_many(hard: Path) -> None:
    for epoch in read_history(hard).epochs:
        assert epoch.fgsm_accuracy is not None
        assert epoch.pgd_accuracy is not None
        assert epoch.pgd_accuracy <= epoch.fgsm_accuracy + 0.05


def test_interrupted_and_resumed_it_has_the_same_bytes(
    hard: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
        hard / "weights.safetensors"
    ).read_bytes()


def test_without_it_a_recipe_says_nothing_of_it() -> None:
    assert TrainingConfig().unused == {"adversarial", "eps", "attack_steps", "whiten"}
    assert format_flags(TrainingConfig(adversarial="fgsm", eps=0.3)) == "--adversarial fgsm --eps 0.3"


def test_a_radius_in_grey_levels_is_refused_and_told_how_to_be_written() -> None:
    with pytest.raises(UserError, match="for eight grey levels write 8/255"):
        validate(TrainingConfig, {"adversarial": "pgd", "eps": "8"})


def test_overfitting_to_single_steps_is_said() -> None:
    assert warning(7, 0.9, 0.02).startswith("epoch 7: it stands one step (90%) but not 10 (2%)")
    assert warning(7, 0.9, 0.8) == warning(7, None, None) == ""
