"""Are the flags of the AutoAttack standard raised where they should be, and only there?"""

import pytest
import torch
from torch import Tensor, nn

from probe.analyses.adversarial.robustness_standard import flag_warnings
from probe.methods.adversarial.standard_flags import StandardFlags, standard_flags
from probe.model.model import Model
from tests.methods.adversarial.victims import NoGradient, Noisy, defective, digits, reader


class Purified(nn.Module):
    """Takes a gradient step of its own on the pixels in every forward pass."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.enable_grad():
            own = x.detach().requires_grad_(True)
            (gradient,) = torch.autograd.grad(own.square().sum(), own)
        return x - 0.01 * gradient


def flags(model: Model, square_gain: float = 0.0) -> StandardFlags:
    pixels, labels = (t[:20] for t in digits())
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return standard_flags(model, pixels, labels, square_gain=square_gain)


def test_a_plain_network_raises_no_flag() -> None:
    assert flag_warnings(flags(reader())) == []


@pytest.mark.parametrize(
    ("model", "square_gain", "words"),
    [
        (lambda: defective(Noisy(), before=True), 0, "the logits of two passes"),
        (lambda: defective(nn.Softmax(1), before=False), 0, "probabilities, and not logits"),
        (lambda: defective(NoGradient(), before=True), 0, "20 of 20 images have a zero gradient"),
        (lambda: defective(Purified(), before=True), 0, "computes gradients itself"),
        (reader, 0.012, "takes another 1.2% of accuracy"),
    ],
    ids=["random", "probabilities", "zero gradient", "gradient inside", "black box"],
)
def test_each_flag_is_raised_with_a_warning(model, square_gain: float, words: str) -> None:
    before = torch.autograd.grad
    (warning,) = [w for w in flag_warnings(flags(model(), square_gain)) if words in w]
    assert warning.startswith("AutoAttack warning flag: ")
    assert torch.autograd.grad is before
