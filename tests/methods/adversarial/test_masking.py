"""Does the checklist find planted defects, and leave a plain network in peace?"""

import pytest
import torch
from torch import Tensor, nn

from probe.methods.adversarial.blackbox import square_attack
from probe.methods.adversarial.criteria import predict
from probe.methods.adversarial.gradient_attacks import fgsm, pgd
from probe.methods.adversarial.masking import Check, failed_checks, masking_checks, quick_checks
from tests.methods.adversarial.victims import (
    NanSlope,
    NoGradient,
    Noisy,
    Rounded,
    defective,
    digits,
    linear,
    reader,
)


class Times(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 100 * x


def checked(*layers: nn.Module, before: bool) -> dict[str, Check]:
    pixels, labels = digits()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        found = masking_checks(
            defective(*layers, before=before), pixels[:100], labels[:100], eps=0.15, steps=15, queries=200
        )
    return {check.name: check for check in found}


def tripped(checks: dict[str, Check]) -> set[str]:
    return {name for name, check in checks.items() if check.verdict == "WARN"}


def test_a_plain_network_trips_nothing() -> None:
    checks = checked(before=True)
    assert len(checks) == 8
    assert tripped(checks) == set()
    assert all(check.verdict == "PASS" for check in checks.values())


@pytest.mark.parametrize(
    ("layer", "before", "sign"),
    [
        (Rounded(), True, "the gradient is there"),
        (NoGradient(), True, "the gradient is there"),
        (NoGradient(), True, "a huge radius fools all"),
        (NoGradient(), True, "blind search is weaker"),
        (NanSlope(), True, "the gradient is there"),
        (Noisy(), True, "the answer is not random"),
        (nn.Softmax(1), False, "the answers are logits"),
        (Times(), False, "the loss does not matter"),
    ],
)
def test_a_planted_defect_is_found(layer: nn.Module, before: bool, sign: str) -> None:
    checks = checked(layer, before=before)
    assert checks[sign].verdict == "WARN"
    assert checks[sign].figure
    assert checks[sign].meaning


def test_what_cannot_be_measured_is_not_applicable() -> None:
    pixels, labels = (t[:5] for t in digits())
    stubborn = linear(torch.zeros(10, 64), 2 * torch.eye(10)[(int(labels[0]) + 1) % 10], (1, 8, 8))
    rows = labels == labels[0]
    found = masking_checks(stubborn, pixels[rows], labels[rows], eps=0.1, steps=2, queries=5)
    assert [check.verdict for check in found] == ["PASS", "PASS", "WARN"] + ["not applicable"] * 5


def test_the_huge_radius_is_not_applicable_where_eps_is_huge() -> None:
    pixels, labels = (t[:20] for t in digits())
    found = masking_checks(reader(), pixels, labels, eps=0.6, steps=2, queries=5)
    assert {c.name: c.verdict for c in found}["a huge radius fools all"] == "not applicable"


def test_what_was_measured_already_is_not_measured_again_and_gives_the_same_list() -> None:
    pixels, labels = (t[:80] for t in digits())
    index, effort = torch.arange(80), {"eps": 0.15, "seed": 3}
    right = predict(reader(), pixels).argmax(1) == labels
    stands = {
        name: right & (predict(reader(), moved).argmax(1) == labels)
        for name, moved in (
            ("FGSM", fgsm(reader(), pixels, labels, eps=0.15)),
            ("PGD", pgd(reader(), pixels, labels, steps=10, index=index, **effort).pixels),
            ("square", square_attack(reader(), pixels, labels, queries=50, index=index, **effort).pixels),
        )
    }
    asked = {"steps": 10, "queries": 50, "index": index, **effort}
    assert masking_checks(reader(), pixels, labels, stands=stands, **asked) == masking_checks(
        reader(), pixels, labels, **asked
    )


def test_the_checks_that_cost_little_warn_of_nothing_on_a_plain_network() -> None:
    pixels, labels = (t[:32] for t in digits())
    checks = quick_checks(reader(), pixels, labels)
    assert [check.verdict for check in checks] == ["PASS"] * 3
    assert failed_checks(checks) == []
