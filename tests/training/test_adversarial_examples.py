"""Does a training batch become harder without a trace on the network?"""

import pytest
import torch
import torch.nn.functional as F

from probe.training.adversarial_examples import Adversary, adversarial_batch, collapsed, eps_warmup
from tests.methods.adversarial.victims import digits, fitted, fresh


@pytest.mark.parametrize("kind", ["fgsm", "pgd"])
def test_the_batch_is_harder_and_inside_its_ball(kind: Adversary) -> None:
    network = fitted(fresh(batch_norm=True), steps=60).train()
    pixels, labels = (t[:100] for t in digits())
    rng = torch.Generator().manual_seed(0)
    moved = adversarial_batch(network, network, pixels, labels, eps=0.1, kind=kind, steps=5, rng=rng)
    assert (moved - pixels).abs().max() <= 0.1 + 1e-6
    assert moved.min() >= 0
    assert moved.max() <= 1
    network.eval()
    assert F.cross_entropy(network(moved), labels) > 1.5 * F.cross_entropy(network(pixels), labels)


def test_statistics_modes_and_gradients_are_as_before() -> None:
    network = fresh(batch_norm=True).train()
    network[5].eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    pixels, labels = (t[:32] for t in digits())
    network(pixels)
    assert not torch.equal(network.state_dict()["1.running_mean"], before["1.running_mean"])
    network.load_state_dict(before)
    adversarial_batch(network, network, pixels, labels, eps=0.1, steps=3, rng=torch.Generator())
    assert all(torch.equal(network.state_dict()[name], value) for name, value in before.items())
    assert network.training
    assert not network[5].training
    assert all(p.grad is None and p.requires_grad for p in network.parameters())


def test_statistics_come_back_after_an_exception_too() -> None:
    network = fresh(batch_norm=True).train()
    before = network.state_dict()["1.running_mean"].clone()
    pixels, labels = (t[:8] for t in digits())

    def failing(x: torch.Tensor) -> torch.Tensor:
        network(x)
        raise RuntimeError("no memory")

    with pytest.raises(RuntimeError, match="no memory"):
        adversarial_batch(network, failing, pixels, labels, eps=0.1, rng=torch.Generator())
    assert torch.equal(network.state_dict()["1.running_mean"], before)


def test_radius_zero_gives_the_batch_itself() -> None:
    pixels, labels = (t[:8] for t in digits())
    network = fresh()
    assert adversarial_batch(network, network, pixels, labels, eps=0, rng=torch.Generator()) is pixels


def test_the_radius_grows_over_the_first_quarter() -> None:
    assert [eps_warmup(0.4, share) for share in (0, 0.125, 0.25, 1)] == pytest.approx([0, 0.2, 0.4, 0.4])


@pytest.mark.parametrize(
    ("one", "many", "found"), [(0.9, 0.0, True), (0.9, 0.8, False), (0.1, 0.05, False), (0.6, 0.2, True)]
)
def test_catastrophic_overfitting_is_standing_one_step_but_not_many(
    one: float, many: float, found: bool
) -> None:
    assert collapsed(one, many) is found
