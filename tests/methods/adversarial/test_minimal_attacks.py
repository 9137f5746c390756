"""DeepFool and Carlini-Wagner find the smallest change where it is known, and small ones elsewhere."""

import pytest
import torch

from probe.methods.adversarial.criteria import Criterion, predict
from probe.methods.adversarial.gradient_attacks import ray
from probe.methods.adversarial.min_radius import min_radius_on_ray
from probe.methods.adversarial.minimal_attacks import CarliniWagner, DeepFool
from probe.methods.adversarial.norms import Norm, perturbation_norm
from tests.methods.adversarial.test_min_radius import two_classes
from tests.methods.adversarial.victims import digits, linear, reader


@pytest.mark.parametrize(("norm", "dual"), [("l2", 2), ("linf", 1)])
def test_deepfool_is_exact_on_a_linear_network(norm: Norm, dual: int) -> None:
    weights, bias, pixels = two_classes()
    model, images = linear(weights, bias, (1, 3, 3)), pixels.view(-1, 1, 3, 3)
    logits = predict(model, images)
    exact = (logits[:, 0] - logits[:, 1]).abs() / (weights[0] - weights[1]).norm(p=dual)
    result = DeepFool(norm=norm, overshoot=1e-6)(model, images, logits.argmax(1))
    assert (result.success_step == 1).all()
    assert (perturbation_norm(result.pixels - images, norm) - exact).abs().max() <= 2e-6


def test_carlini_wagner_comes_near_to_the_smallest_change_of_a_linear_network() -> None:
    weights, bias, pixels = two_classes()
    model, images = linear(weights, bias, (1, 3, 3)), pixels.view(-1, 1, 3, 3)
    logits = predict(model, images)
    exact = (logits[:, 0] - logits[:, 1]).abs() / (weights[0] - weights[1]).norm()
    result = CarliniWagner(rounds=6, steps=200, lr=0.01)(model, images, logits.argmax(1))
    reach = perturbation_norm(result.pixels - images, "l2")
    assert (result.success_step >= 0).all()
    assert (reach >= exact - 1e-9).all()
    assert (reach <= 1.05 * exact + 2e-3).all()


def test_both_find_smaller_changes_than_one_gradient_step() -> None:
    pixels, labels = (t[:40] for t in digits())
    correct = predict(reader(), pixels).argmax(1) == labels
    pixels, labels = pixels[correct], labels[correct]
    criterion = Criterion(labels)
    rays = ray(reader(), pixels, criterion, norm="l2")
    one_step = min_radius_on_ray(reader(), rays, criterion, eps=8.0)
    for result in (
        DeepFool()(reader(), pixels, labels),
        CarliniWagner(rounds=5, steps=80)(reader(), pixels, labels),
    ):
        assert (predict(reader(), result.pixels).argmax(1) != labels).all()
        assert (result.success_step >= 0).all()
        assert result.pixels.min() >= 0
        assert result.pixels.max() <= 1
        assert perturbation_norm(result.pixels - pixels, "l2").median() < one_step.median()


def test_targeted_carlini_wagner_succeeds_with_confidence() -> None:
    pixels, labels = (t[:20] for t in digits())
    targets = (labels + 1) % 10
    attack = CarliniWagner(confidence=2.0, rounds=4, steps=100)
    result = attack(reader(), pixels, labels, targets=targets)
    logits = predict(reader(), result.pixels)
    success = result.success_step >= 0
    assert success.float().mean() > 0.9
    ahead = logits.gather(1, targets[:, None])[:, 0] - logits.scatter(1, targets[:, None], -torch.inf).amax(1)
    assert (ahead[success] >= 2.0 - 1e-4).all()


def test_deepfool_returns_misclassified_images_unchanged() -> None:
    pixels = digits()[0][:10]
    wrong = (predict(reader(), pixels).argmax(1) + 1) % 10
    result = DeepFool()(reader(), pixels, wrong)
    assert torch.equal(result.pixels, pixels)
    assert (result.success_step == 0).all()


def test_carlini_wagner_refines_deepfool_and_never_enlarges_the_change() -> None:
    pixels, labels = (t[:60] for t in digits())
    correct = predict(reader(), pixels).argmax(1) == labels
    pixels, labels = pixels[correct], labels[correct]
    near = DeepFool()(reader(), pixels, labels)
    result = CarliniWagner(rounds=2, steps=40).refine(reader(), pixels, Criterion(labels), near.pixels)
    before, after = (perturbation_norm(r.pixels - pixels, "l2") for r in (near, result))
    assert (after[near.success_step >= 0] <= before[near.success_step >= 0] + 1e-6).all()
    assert after.median() < 0.97 * before.median()
    assert (predict(reader(), result.pixels).argmax(1) != labels).all()
