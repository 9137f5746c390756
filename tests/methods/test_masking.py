"""Does the checklist find planted defects, and leave a plain network in peace?"""

import copy

import pytest
import torch
from torch import Tensor, nn

from probe.methods.masking import Check, checklist
from tests.methods.victims import digits, linear, reader, subject_of


class Rounded(nn.Module):
    """Pixels on eight levels: the gradient of rounding is zero."""

    def forward(self, x: Tensor) -> Tensor:
        return (x * 8).round() / 8


class NoGradient(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.detach()


class Noisy(nn.Module):
    """Random in evaluation mode too."""

    def forward(self, x: Tensor) -> Tensor:
        return x + 0.1 * torch.randn_like(x)


class Times(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 100 * x


class NanSlope(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x > 0, x.log() * 0 + x, x)


def checked(*layers: nn.Module, before: bool) -> dict[str, Check]:
    network = copy.deepcopy(reader().network)
    whole = nn.Sequential(*layers, network) if before else nn.Sequential(network, *layers)
    pixels, labels = digits()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        found = checklist(
            subject_of(whole, (1, 8, 8), 10), pixels[:100], labels[:100], eps=0.15, steps=15, queries=200
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
    found = checklist(stubborn, pixels[rows], labels[rows], eps=0.1, steps=2, queries=5)
    assert [check.verdict for check in found] == ["PASS", "PASS"] + ["not applicable"] * 6


def test_the_huge_radius_is_not_applicable_where_eps_is_huge() -> None:
    pixels, labels = (t[:20] for t in digits())
    found = checklist(reader(), pixels, labels, eps=0.6, steps=2, queries=5)
    assert {c.name: c.verdict for c in found}["a huge radius fools all"] == "not applicable"
