"""Do the checks for gradient masking find planted defects, and pass an undefended network?"""

import pytest
import torch
from torch import Tensor, nn

from probe.errors import UserError
from probe.methods.adversarial.blackbox import Noise
from probe.methods.adversarial.criteria import predict
from probe.methods.adversarial.gradient_attacks import FGSM, PGD
from probe.methods.adversarial.masking import (
    BLACK_BOX,
    CHECKS,
    CONVERGED,
    DETERMINISTIC,
    GRADIENT,
    ITERATIVE,
    LARGE_RADIUS,
    LOGITS,
    LOSSES,
    Check,
    CheckPlan,
    Known,
    failed_checks,
    masking_checks,
    quick_checks,
    skipped_checks,
)
from probe.model.model import Model
from tests.methods.adversarial.victims import (
    NanGradient,
    NoGradient,
    Noisy,
    Rounded,
    defective,
    digits,
    linear,
    model_of,
    reader,
)

PLAN = CheckPlan(eps=0.15, steps=15, queries=200)
N = 100


class Times(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 100 * x


class NanOutput(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.nan


def checks_of(model: Model, plan: CheckPlan = PLAN, n: int = N) -> dict[str, Check]:
    pixels, labels = digits()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        checks = masking_checks(model, pixels[:n], labels[:n], plan)
    assert [check.name for check in checks] == list(CHECKS)
    return {check.name: check for check in checks}


def correct(model: Model) -> tuple[Tensor, Tensor]:
    """The images that the checks attack: those of the first N that are classified correctly."""
    pixels, labels = (t[:N] for t in digits())
    rows = (predict(model, pixels).argmax(1) == labels).nonzero()[:, 0]
    return pixels[rows], labels[rows]


def accuracy(model: Model, pixels: Tensor, labels: Tensor) -> float:
    return float((predict(model, pixels).argmax(1) == labels).float().mean())


def test_an_undefended_network_passes_every_check() -> None:
    checks = checks_of(reader())
    assert {check.verdict for check in checks.values()} == {"PASS"}
    assert failed_checks(list(checks.values())) == []


def test_the_measured_figures_are_those_of_the_attacks_run_by_themselves() -> None:
    checks, (pixels, labels) = checks_of(reader()), correct(reader())
    rows = (predict(reader(), digits()[0][:N]).argmax(1) == digits()[1][:N]).nonzero()[:, 0]
    single_step, cross_entropy = (
        accuracy(reader(), FGSM(eps=0.15, loss=loss)(reader(), pixels, labels).pixels, labels)
        for loss in ("log-odds", "cross-entropy")
    )
    iterative = accuracy(reader(), PGD(eps=0.15, steps=15)(reader(), pixels, labels, ids=rows).pixels, labels)
    robust_to_noise = torch.ones(len(labels), dtype=torch.bool)
    for seed in range(3):
        noisy = Noise(eps=0.5)(reader(), pixels, labels, seed=seed, ids=rows).pixels
        robust_to_noise &= predict(reader(), noisy).argmax(1) == labels
    x, y = pixels[robust_to_noise], labels[robust_to_noise]
    large = accuracy(reader(), PGD(eps=0.5, steps=30, start="centre")(reader(), x, y).pixels, y)
    assert single_step > iterative > 0
    assert checks[ITERATIVE].measured == {"single_step": single_step, "iterative": iterative, "steps": 15}
    assert checks[LARGE_RADIUS].measured == {
        "accuracy": large,
        "eps": 0.5,
        "chance_level": 0.1,
        "noise": pytest.approx(float(robust_to_noise.float().mean())),
    }
    assert checks[LOSSES].measured == {"cross_entropy": cross_entropy, "log_odds": single_step}
    converged = checks[CONVERGED].measured
    assert (converged["accuracy"], converged["steps"], converged["more_steps"]) == (iterative, 15, 45)
    assert iterative - 0.05 <= converged["longer"] <= iterative
    assert checks[BLACK_BOX].measured["queries"] == 200
    assert checks[BLACK_BOX].measured["fooled"] <= iterative
    sums = predict(reader(), digits()[0][:N]).sum(1)
    assert checks[LOGITS].measured == {
        "smallest_sum": pytest.approx(float(sums.min()), rel=1e-5),
        "largest_sum": pytest.approx(float(sums.max()), rel=1e-5),
    }
    assert checks[DETERMINISTIC].measured["difference"] < 1e-4
    assert checks[DETERMINISTIC].measured["largest_logit"] == pytest.approx(
        float(predict(reader(), digits()[0][:N]).abs().max()), rel=1e-5
    )
    gradient = checks[GRADIENT].measured
    assert (gradient["zero"], gradient["invalid"]) == (0, 0)
    assert 0 <= gradient["zero_values"] < 0.5


@pytest.mark.parametrize(
    ("layer", "before", "name", "figure", "low", "high"),
    [
        (Rounded(), True, GRADIENT, "zero", 1, 1),
        (Rounded(), True, GRADIENT, "zero_values", 1, 1),
        (NoGradient(), True, GRADIENT, "zero", 1, 1),
        (NoGradient(), True, GRADIENT, "invalid", 0, 0),
        (NoGradient(), True, LARGE_RADIUS, "accuracy", 0.15, 1),
        (NoGradient(), True, BLACK_BOX, "fooled", 0.05, 1),
        (NanGradient(), True, GRADIENT, "invalid", 0.9, 1),
        (NanGradient(), True, GRADIENT, "zero", 0, 0),
        (Noisy(), True, DETERMINISTIC, "difference", 0.1, 100),
        (nn.Softmax(1), False, LOGITS, "smallest_sum", 0.999, 1.001),
        (nn.Softmax(1), False, LOGITS, "largest_sum", 0.999, 1.001),
        (Times(), False, LOSSES, "cross_entropy", 0.3, 1),
        (Times(), False, DETERMINISTIC, "largest_logit", 500, 10_000),
    ],
)
def test_a_planted_defect_is_measured(
    layer: nn.Module, before: bool, name: str, figure: str, low: float, high: float
) -> None:
    check = checks_of(defective(layer, before=before))[name]
    assert check.verdict == ("PASS" if isinstance(layer, Times) and name == DETERMINISTIC else "WARN")
    assert low <= check.measured[figure] <= high


def test_checks_are_not_applicable_where_no_image_is_classified_correctly() -> None:
    pixels, labels = (t[:5] for t in digits())
    constant = linear(torch.zeros(10, 64), 2 * torch.eye(10)[(int(labels[0]) + 1) % 10], (1, 8, 8))
    rows = labels == labels[0]
    checks = masking_checks(constant, pixels[rows], labels[rows], CheckPlan(eps=0.1, steps=2, queries=5))
    assert [check.verdict for check in checks] == ["PASS", "PASS", "WARN"] + ["not applicable"] * 6
    assert all(check.measured == {} for check in checks[3:])


def test_the_large_radius_is_not_applicable_where_eps_is_large() -> None:
    check = checks_of(reader(), CheckPlan(eps=0.6, steps=2, queries=5), n=20)[LARGE_RADIUS]
    assert check == Check(LARGE_RADIUS, "not applicable", {"eps": 0.6})


def test_attacks_that_were_run_already_give_the_same_checks() -> None:
    pixels, labels = (t[:80] for t in digits())
    ids, effort = torch.arange(80), {"eps": 0.15, "seed": 3}
    known = Known(
        **{
            name: predict(reader(), attack(reader(), pixels, labels, seed=3, ids=ids).pixels).argmax(1)
            == labels
            for name, attack in (
                ("fgsm", FGSM(eps=0.15)),
                ("pgd", PGD(eps=0.15, steps=10)),
            )
        }
    )
    plan = CheckPlan(steps=10, queries=50, **effort)
    assert masking_checks(reader(), pixels, labels, plan, ids=ids, known=known) == masking_checks(
        reader(), pixels, labels, plan, ids=ids
    )


def test_the_quick_checks_pass_an_undefended_network() -> None:
    pixels, labels = (t[:32] for t in digits())
    checks = quick_checks(reader(), pixels, labels)
    assert [(check.name, check.verdict) for check in checks] == [(name, "PASS") for name in CHECKS[:3]]


def test_a_check_that_the_budget_does_not_cover_is_not_run_and_never_passes() -> None:
    pixels, labels = (t[:N] for t in digits())
    for passes, not_run in ((0, CHECKS[3:]), (6000, (BLACK_BOX,)), (10**9, ())):
        plan = CheckPlan(eps=0.15, steps=15, queries=2000, passes=passes)
        checks = masking_checks(reader(), pixels, labels, plan)
        assert [check.name for check in checks] == list(CHECKS)
        assert {check.name for check in checks if check.verdict == "NOT RUN"} >= set(not_run)
        assert skipped_checks(checks) == [check for check in checks if check.verdict == "NOT RUN"]
        for check in skipped_checks(checks):
            assert check.measured["needed"] > check.measured["left"]
    assert not skipped_checks(checks)


def test_a_large_radius_at_which_noise_alone_fools_all_images_tells_nothing() -> None:
    class Delicate(nn.Module):
        """One constant logit wins as soon as a pixel is far from grey: noise does it, small changes do not."""

        def forward(self, x: Tensor) -> Tensor:
            far = (x - 0.5).abs().flatten(1).mean(1, keepdim=True) > 0.2
            return torch.where(far, torch.eye(10)[1], torch.eye(10)[0])

    model = model_of(Delicate(), (1, 8, 8), 10)
    pixels = torch.full((20, 1, 8, 8), 0.5)
    checks = masking_checks(model, pixels, torch.zeros(20, dtype=torch.long), CheckPlan(eps=0.05, queries=5))
    large = next(check for check in checks if check.name == LARGE_RADIUS)
    assert (large.verdict, large.measured["noise"]) == ("not applicable", 0)


def test_logits_that_are_nan_are_refused() -> None:
    pixels, labels = (t[:8] for t in digits())
    broken = model_of(nn.Sequential(reader().network, NanOutput()), (1, 8, 8), 10)
    with pytest.raises(UserError, match="NaN or infinite logits"):
        quick_checks(broken, pixels, labels)
