"""Do DeepFool and Carlini-Wagner find the smallest change where it is known, and small ones elsewhere?"""

import pytest
import torch

from probe.methods.adversarial.criteria import Criterion, predict
from probe.methods.adversarial.gradient_attacks import ray
from probe.methods.adversarial.min_radius import min_radius_on_ray
from probe.methods.adversarial.minimal_attacks import carlini_wagner, deepfool
from probe.methods.adversarial.norms import Norm, perturbation_norm
from tests.methods.adversarial.test_min_radius import two_classes
from tests.methods.adversarial.victims import digits, linear, reader


@pytest.mark.parametrize(("norm", "dual"), [("l2", 2), ("linf", 1)])
def test_deepfool_is_exact_on_a_linear_network(norm: Norm, dual: int) -> None:
    weights, bias, pixels = two_classes()
    model, images = linear(weights, bias, (1, 3, 3)), pixels.view(-1, 1, 3, 3)
    logits = predict(model, images)
    exact = (logits[:, 0] - logits[:, 1]).abs() / (weights[0] - weights[1]).norm(p=dual)
    found = deepfool(model, images, logits.argmax(1), norm=norm, overshoot=1e-6)
    assert (found.first == 1).all()
    assert (perturbation_norm(found.pixels - images, norm) - exact).abs().max() <= 2e-6


def test_carlini_wagner_comes_near_to_the_smallest_change_of_a_linear_network() -> None:
    weights, bias, pixels = two_classes()
    model, images = linear(weights, bias, (1, 3, 3)), pixels.view(-1, 1, 3, 3)
    logits = predict(model, images)
    exact = (logits[:, 0] - logits[:, 1]).abs() / (weights[0] - weights[1]).norm()
    found = carlini_wagner(model, images, logits.argmax(1), rounds=6, steps=200, rate=0.01)
    reach = perturbation_norm(found.pixels - images, "l2")
    assert (found.first >= 0).all()
    assert (reach >= exact - 1e-9).all()
    assert (reach <= 1.05 * exact + 2e-3).all()


def test_both_need_less_than_one_gradient_step() -> None:
    pixels, labels = (t[:40] for t in digits())
    right = predict(reader(), pixels).argmax(1) == labels
    pixels, labels = pixels[right], labels[right]
    aim = Criterion(labels)
    one = min_radius_on_ray(reader(), ray(reader(), pixels, aim, norm="l2"), aim, eps=8.0)
    for found in (
        deepfool(reader(), pixels, labels),
        carlini_wagner(reader(), pixels, labels, rounds=5, steps=80),
    ):
        assert (predict(reader(), found.pixels).argmax(1) != labels).all()
        assert (found.first >= 0).all()
        assert found.pixels.min() >= 0
        assert found.pixels.max() <= 1
        assert perturbation_norm(found.pixels - pixels, "l2").median() < one.median()


def test_carlini_wagner_leads_to_a_target_with_confidence() -> None:
    pixels, labels = (t[:20] for t in digits())
    targets = (labels + 1) % 10
    found = carlini_wagner(reader(), pixels, labels, targets=targets, confidence=2.0, rounds=4, steps=100)
    logits = predict(reader(), found.pixels)
    done = found.first >= 0
    assert done.float().mean() > 0.9
    ahead = logits.gather(1, targets[:, None])[:, 0] - logits.scatter(1, targets[:, None], -torch.inf).amax(1)
    assert (ahead[done] >= 2.0 - 1e-4).all()


def test_images_that_are_wrong_already_are_given_back_by_deepfool() -> None:
    pixels = digits()[0][:10]
    wrong = (predict(reader(), pixels).argmax(1) + 1) % 10
    found = deepfool(reader(), pixels, wrong)
    assert torch.equal(found.pixels, pixels)
    assert (found.first == 0).all()


def test_carlini_wagner_goes_on_from_deepfool_and_never_ends_further_away() -> None:
    pixels, labels = (t[:60] for t in digits())
    right = predict(reader(), pixels).argmax(1) == labels
    pixels, labels = pixels[right], labels[right]
    near = deepfool(reader(), pixels, labels)
    found = carlini_wagner(reader(), pixels, labels, rounds=2, steps=40, begin=near.pixels)
    before, after = (perturbation_norm(made.pixels - pixels, "l2") for made in (near, found))
    assert (after[near.first >= 0] <= before[near.first >= 0] + 1e-6).all()
    assert after.median() < 0.97 * before.median()
    assert (predict(reader(), found.pixels).argmax(1) != labels).all()
