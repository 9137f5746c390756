"""Success is counted by the predictions for valid results alone."""

import pytest
import torch
from torch import Tensor, nn

from probe.errors import UserError
from probe.methods.adversarial.attack import AttackResult
from probe.methods.adversarial.blackbox import OnePixel
from probe.methods.adversarial.criteria import Criterion, predict
from probe.methods.adversarial.evaluate import evaluate, joined
from probe.methods.adversarial.gradient_attacks import FGSM, PGD
from probe.methods.adversarial.minimal_attacks import DeepFool
from probe.methods.adversarial.norms import Norm, in_ball
from probe.methods.adversarial.per_image_random import PerImageRng
from probe.model.model import Model
from tests.methods.adversarial.victims import digits, model_of, reader


def sample(n: int = 100) -> tuple[Tensor, Tensor]:
    pixels, labels = digits()
    return pixels[:n], labels[:n]


def test_images_that_were_misclassified_before_are_not_attacked_and_count_as_no_success() -> None:
    pixels, labels = sample()
    clean = predict(reader(), pixels).argmax(1)
    labels = torch.where(torch.arange(100) < 30, (clean + 1) % 10, clean)
    attacked: list[int] = []

    def attack(model: Model, x: Tensor, criterion: Criterion, rng: PerImageRng) -> AttackResult:
        attacked.extend(rng.ids.tolist())
        return FGSM(eps=0.3).perturb(model, x, criterion, rng)

    evaluation = evaluate(reader(), pixels, labels, attack)
    assert attacked == list(range(30, 100))
    assert not evaluation.correct[:30].any()
    assert not evaluation.fooled[:30].any()
    assert torch.equal(evaluation.pixels[:30], pixels[:30])
    assert evaluation.accuracy == pytest.approx(float((evaluation.prediction == labels)[30:].sum()) / 100)
    assert evaluation.success_rate == pytest.approx(
        float((evaluation.prediction != labels)[30:].float().mean())
    )


@pytest.mark.parametrize("value", [torch.nan, -0.5, 1.5])
def test_a_result_that_is_no_image_is_no_success(value: float) -> None:
    pixels, labels = sample(10)
    evaluation = evaluate(
        reader(), pixels, labels, lambda m, x, c, r: AttackResult.single_step(torch.full_like(x, value))
    )
    assert not evaluation.fooled.any()
    assert torch.equal(evaluation.invalid, evaluation.correct)
    assert torch.equal(evaluation.pixels, pixels)


def test_success_is_predicted_again_whatever_the_attack_reports() -> None:
    pixels, labels = sample(20)
    evaluation = evaluate(reader(), pixels, labels, lambda m, x, c, r: AttackResult.single_step(x))
    assert not evaluation.fooled.any()
    assert (evaluation.success_step == -1).all()


def test_a_targeted_success_is_the_target_and_nothing_else() -> None:
    pixels, labels = sample()
    targets = (labels + 5) % 10
    evaluation = evaluate(reader(), pixels, labels, FGSM(eps=0.3), targets=targets)
    assert evaluation.fooled.any()
    assert (evaluation.prediction[evaluation.fooled] == targets[evaluation.fooled]).all()
    assert ((evaluation.prediction != labels) & ~evaluation.fooled).any()


def test_an_attack_without_targets_refuses_one() -> None:
    pixels, labels = sample(5)
    with pytest.raises(UserError, match="deepfool cannot be targeted"):
        evaluate(reader(), pixels, labels, DeepFool(), targets=(labels + 1) % 10)


def test_batches_evaluated_one_by_one_are_the_whole() -> None:
    pixels, labels = sample(60)
    attack, ids = PGD(eps=0.15, steps=8), torch.arange(60)
    whole = evaluate(reader(), pixels, labels, attack)
    parts = joined([evaluate(reader(), pixels[r], labels[r], attack, ids=r) for r in ids.split(17)])
    assert torch.equal(parts.fooled, whole.fooled)
    assert torch.equal(parts.success_step, whole.success_step)
    assert torch.allclose(parts.linf, whole.linf, atol=1e-6)
    assert len(parts.pixels) == 0
    assert (whole.queries[whole.correct] > 0).all()
    assert (whole.seconds > 0).all()


def test_an_evaluation_is_that_of_the_attack_called_by_itself() -> None:
    pixels, labels = sample(60)
    correct = predict(reader(), pixels).argmax(1) == labels
    ids = torch.arange(200, 260)
    evaluation = evaluate(reader(), pixels, labels, PGD(eps=0.1, steps=5), seed=3, ids=ids)
    alone = PGD(eps=0.1, steps=5)(reader(), pixels[correct], labels[correct], seed=3, ids=ids[correct])
    assert torch.equal(evaluation.pixels[correct], alone.pixels)
    assert torch.equal(evaluation.success_step[correct], alone.success_step)


class TooFar(FGSM):
    """FGSM that goes three times as far as it may."""

    def perturb(self, model: Model, pixels: Tensor, criterion: Criterion, rng: PerImageRng) -> AttackResult:
        return FGSM(eps=0.3).perturb(model, pixels, criterion, rng)


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.1), ("l2", 0.8), ("l1", 6.4)])
def test_a_result_outside_its_ball_is_no_success_and_is_marked(norm: Norm, eps: float) -> None:
    pixels, labels = sample(40)
    allowed = evaluate(reader(), pixels, labels, FGSM(eps=0.3))
    assert allowed.fooled.any()
    assert not allowed.invalid.any()
    evaluation = evaluate(reader(), pixels, labels, TooFar(eps=eps, norm=norm))
    assert not evaluation.fooled.any()
    assert torch.equal(evaluation.invalid, evaluation.correct)
    assert torch.equal(evaluation.pixels, pixels)


def test_a_ball_may_have_a_radius_for_each_image() -> None:
    pixels, labels = sample(40)
    perturbed = FGSM(eps=0.3)(reader(), pixels, labels).pixels
    radii = torch.where(torch.arange(40) < 20, 0.3, 0.1)
    assert in_ball(pixels, perturbed, radii).tolist() == [True] * 20 + [False] * 20


def test_an_attack_without_a_radius_is_only_bounded_by_the_pixel_range() -> None:
    pixels, labels = sample(20)
    evaluation = evaluate(reader(), pixels, labels, OnePixel(population=10, generations=2))
    assert not evaluation.invalid.any()
    assert evaluation.linf.max() > 0.5


def test_rounding_does_not_leave_the_ball() -> None:
    pixels, labels = sample(100)
    for eps in (1 / 255, 0.1, 0.3):
        assert not evaluate(reader(), pixels, labels, FGSM(eps=eps)).invalid.any()


class NanWhenBright(nn.Module):
    """`reader`, whose logits are NaN once a black corner is brighter."""

    def forward(self, x: Tensor) -> Tensor:
        return reader().network(x) + torch.where(x[:, 0, 0, :1] > 0, torch.nan, 0.0)


def test_nan_logits_are_marked_after_the_attack_and_refused_before_it() -> None:
    pixels, labels = sample(20)
    victim = model_of(NanWhenBright(), (1, 8, 8), 10)
    evaluation = evaluate(
        victim, pixels, labels, lambda m, x, c, r: AttackResult.single_step((x + 0.3).clamp(0, 1))
    )
    assert not evaluation.fooled.any()
    assert torch.equal(evaluation.invalid, evaluation.correct)
    with pytest.raises(UserError, match="NaN or infinite"):
        evaluate(victim, pixels + 0.01 * (pixels < 0.5), labels, FGSM())
