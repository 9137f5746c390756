"""Does no known way to hide a gradient pass the masking checks in silence?"""

import pytest
import torch

from probe.methods.adversarial.criteria import predict
from probe.methods.adversarial.gradient_attacks import PGD
from probe.methods.adversarial.gradient_quality import gradient_quality
from probe.methods.adversarial.masking import CheckPlan, failed_checks, masking_checks
from tests.methods.adversarial.defences import DEFENCES, Defence, true_accuracy
from tests.methods.adversarial.victims import digits, linear, reader

EPS, N = 0.15, 48


def test_the_gradient_of_a_linear_network_predicts_its_loss_exactly() -> None:
    rng = torch.Generator().manual_seed(0)
    model = linear(torch.randn(2, 64, generator=rng, dtype=torch.float64), torch.zeros(2).double(), (1, 8, 8))
    pixels = 0.2 + 0.6 * torch.rand(20, 1, 8, 8, generator=rng, dtype=torch.float64)
    quality = gradient_quality(model, pixels, predict(model, pixels).argmax(1), 0.15)
    # The log-odds of two classes are linear in the logits, and no pixel meets a bound.
    torch.testing.assert_close(quality.predicted, quality.measured)
    assert quality.lengths == pytest.approx((1 / 510, 0.15 / 64, 0.15 / 16, 0.15 / 4, 0.15))
    assert quality.figures() == {"length": 1 / 510, "ratio": pytest.approx(1), "outside": 0, "fell": 0}
    assert quality.predicts


@pytest.mark.parametrize("eps", [0.15, 8 / 255])
def test_a_rugged_loss_is_not_predicted_and_that_of_a_plain_network_is(eps: float) -> None:
    pixels, labels = (t[:N] for t in digits())
    assert gradient_quality(reader(), pixels, labels, eps).predicts
    for defence in DEFENCES:
        if defence.name in ("sine", "winners take all"):
            assert not gradient_quality(defence.model(), pixels, labels, eps).predicts


@pytest.mark.slow
@pytest.mark.parametrize("defence", DEFENCES, ids=lambda d: d.name)
def test_a_planted_defence_is_warned_of_or_its_accuracy_is_true(defence: Defence) -> None:
    model, (pixels, labels) = defence.model(), (t[:N] for t in digits())
    with torch.random.fork_rng():
        torch.manual_seed(0)
        correct = predict(model, pixels).argmax(1) == labels
        pixels, labels = pixels[correct], labels[correct]
        attacked = PGD(eps=EPS, steps=20)(model, pixels, labels).pixels
        reported = float((predict(model, attacked).argmax(1) == labels).float().mean())
        true = true_accuracy(defence, pixels, labels, EPS)
        checks = masking_checks(model, pixels, labels, CheckPlan(eps=EPS))
    warned = [check.name for check in failed_checks(checks)]
    print(f"{defence.name}: PGD {reported:.1%}, true {true:.1%}, warned of {warned}")
    assert set(defence.warns) <= set(warned)
    if not warned:
        assert reported - true <= 0.05
