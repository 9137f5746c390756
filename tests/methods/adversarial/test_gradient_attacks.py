"""Gradient attacks follow their papers, in pixel space, and leave nothing on the network."""

import copy
import warnings

import pytest
import torch
from torch import Tensor, nn

from probe.errors import UserError
from probe.methods.adversarial.criteria import Criterion, Loss, input_gradient, predict
from probe.methods.adversarial.gradient_attacks import BIM, FGSM, MIFGSM, PGD, ray, sweep
from probe.methods.adversarial.minimal_attacks import CarliniWagner, DeepFool
from probe.methods.adversarial.norms import Norm, perturbation_norm
from probe.methods.adversarial.score_ascent import ascend_class_score
from probe.model.model import Model
from tests.methods.adversarial.victims import NoGradient, defective, digits, linear, model_of, reader

NORMS: tuple[Norm, ...] = ("linf", "l2", "l1")
EPS: dict[Norm, float] = {"linf": 0.2, "l2": 1.5, "l1": 6.0}


def sample(n: int = 64) -> tuple[Tensor, Tensor]:
    pixels, labels = digits()
    return pixels[:n], labels[:n]


def test_the_test_network_classifies_digits() -> None:
    pixels, labels = digits()
    assert (predict(reader(), pixels).argmax(1) == labels).float().mean() > 0.9


@pytest.mark.parametrize("loss", ["cross-entropy", "log-odds"])
def test_fgsm_equals_the_plain_formula(loss: Loss) -> None:
    pixels, labels = sample()
    x = pixels.clone().requires_grad_(True)
    gradient = torch.autograd.grad(nn.functional.cross_entropy(reader().network(x), labels), x)[0]
    plain = (pixels + 0.1 * gradient.sign()).clamp(0, 1)
    ours = FGSM(eps=0.1, loss=loss)(reader(), pixels, labels).pixels
    # Log-odds are a monotone function of the cross-entropy, whose gradient is smaller and may lose its sign.
    clear = gradient.abs() > (0 if loss == "cross-entropy" else 1e-6)
    assert clear.float().mean() > 0.5
    assert (ours - plain)[clear].abs().max() <= 1e-6
    mask = reader().logits(plain).argmax(1) == labels
    assert torch.equal(reader().logits(ours).argmax(1) == labels, mask)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_fgsm_agrees_with_foolbox(norm: Norm) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import foolbox
    pixels, labels = sample()
    theirs_model = foolbox.PyTorchModel(reader().network, bounds=(0, 1), device="cpu")
    attack = {"linf": foolbox.attacks.FGSM, "l2": foolbox.attacks.FGM}[norm]()
    _, theirs, _ = attack(theirs_model, pixels, labels, epsilons=EPS[norm])
    ours = FGSM(eps=EPS[norm], norm=norm, loss="cross-entropy")(reader(), pixels, labels).pixels
    assert (ours - theirs).abs().max() <= 1e-6


@pytest.mark.parametrize("norm", NORMS)
def test_radius_zero_returns_the_input_bit_for_bit(norm: Norm) -> None:
    pixels, labels = sample()
    for attack in (FGSM(eps=0, norm=norm), PGD(eps=0, norm=norm, steps=3), BIM(eps=0, norm=norm, steps=3)):
        assert torch.equal(attack(reader(), pixels, labels).pixels, pixels)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("targeted", [False, True])
def test_results_lie_in_their_ball_and_in_the_box(norm: Norm, targeted: bool) -> None:
    pixels, labels = sample()
    targets = (labels + 3) % 10 if targeted else None
    eps = EPS[norm]
    for attack in (
        FGSM(eps=eps, norm=norm),
        PGD(eps=eps, norm=norm, steps=7, restarts=2, momentum=0.9),
        MIFGSM(eps=eps, norm=norm, steps=3),
    ):
        perturbed = attack(reader(), pixels, labels, targets=targets).pixels
        assert perturbed.min() >= 0
        assert perturbed.max() <= 1
        assert (perturbation_norm(perturbed - pixels, norm) <= eps * (1 + 1e-6) + 1e-6).all()
        assert attack.in_bounds(pixels, perturbed).all()


@pytest.mark.parametrize("norm", NORMS)
def test_pgd_fools_what_fgsm_of_the_same_size_does_not(norm: Norm) -> None:
    pixels, labels = digits()
    one_step, iterative = (
        attack(reader(), pixels, labels)
        for attack in (FGSM(eps=EPS[norm] / 2, norm=norm), PGD(eps=EPS[norm] / 2, norm=norm, steps=20))
    )
    robust = predict(reader(), iterative.pixels).argmax(1) == labels
    assert robust.sum() < (predict(reader(), one_step.pixels).argmax(1) == labels).sum()
    assert torch.equal(iterative.success_step < 0, robust)


def test_eps_is_in_pixels_whatever_the_network_subtracts_and_divides_by() -> None:
    weights = torch.tensor([[0.3, -0.2, 0.1, 0.4], [0.0, 0.0, 0.0, 0.0]])
    plain = linear(weights, torch.zeros(2), (1, 2, 2))
    shifted = linear(weights * 0.25, weights.sum(1) * 0.5, (1, 2, 2), mean=0.5, std=0.25)
    pixels = torch.full((1, 1, 2, 2), 0.5)
    for victim in (plain, shifted):
        perturbed = FGSM(eps="8/255")(victim, pixels, torch.tensor([0])).pixels
        assert (perturbed - pixels).abs().flatten().tolist() == pytest.approx([8 / 255] * 4, abs=1e-7)


def test_one_gradient_serves_a_sweep_that_equals_separate_calls() -> None:
    pixels, labels = sample()
    eps = torch.tensor([0.0, 0.05, 0.1, 0.3])
    swept = sweep(reader(), ray(reader(), pixels, Criterion(labels)), eps)
    for logits, e in zip(swept, eps.tolist(), strict=True):
        alone = predict(reader(), FGSM(eps=e)(reader(), pixels, labels).pixels)
        assert torch.allclose(logits, alone, atol=1e-5)


@pytest.mark.parametrize("norm", NORMS)
def test_batch_order_and_size_do_not_matter(norm: Norm) -> None:
    model = reader().double()
    pixels, labels = sample(24)
    pixels, ids = pixels.double(), torch.arange(100, 124)
    pgd = PGD(eps=EPS[norm] / 3, norm=norm, steps=6, restarts=2)

    def attack(rows: Tensor) -> Tensor:
        return pgd(model, pixels[rows], labels[rows], seed=5, ids=ids[rows]).pixels

    together, back = attack(torch.arange(24)), torch.arange(23, -1, -1)
    assert torch.allclose(attack(back)[back], together, atol=1e-9)
    alone = torch.cat([attack(torch.tensor([row])) for row in range(24)])
    assert torch.allclose(alone, together, atol=1e-9)


def test_other_seeds_give_other_starts() -> None:
    pixels, labels = sample(4)
    first, second = (PGD(eps=0.01, steps=1)(reader(), pixels, labels, seed=s).pixels for s in (0, 1))
    assert not torch.equal(first, second)


def test_the_first_success_is_kept_not_the_last_iterate() -> None:
    pixels, labels = sample()
    result = PGD(eps=0.3, steps=30, start="centre", step=0.01)(reader(), pixels, labels)
    fooled = result.success_step >= 0
    assert fooled.any()
    size = perturbation_norm(result.pixels - pixels, "linf")[fooled]
    assert (size <= 0.01 * result.success_step[fooled] + 1e-6).all()
    assert size.max() < 0.3 - 1e-3
    # One step less had not been enough.
    for row in fooled.nonzero()[:5, 0].tolist():
        if (before := int(result.success_step[row]) - 1) > 0:
            attack = PGD(eps=0.3, steps=before, start="centre", step=0.01)
            shorter = attack(reader(), pixels[row : row + 1], labels[row : row + 1])
            assert int(shorter.success_step[0]) == -1


def test_queries_count_forward_passes_until_the_first_success() -> None:
    pixels, labels = sample()
    result = PGD(eps=0.3, steps=30, start="centre", step=0.01)(reader(), pixels, labels)
    expected = torch.where(result.success_step >= 0, result.success_step + 1, 31)
    assert torch.equal(result.queries, expected)


def test_momentum_of_a_zero_gradient_is_not_nan() -> None:
    constant = linear(torch.zeros(2, 4), torch.tensor([1.0, 0.0]), (1, 2, 2))
    pixels = torch.full((2, 1, 2, 2), 0.5)
    result = MIFGSM(eps=0.1, steps=5)(constant, pixels, torch.tensor([0, 0]))
    assert torch.isfinite(result.pixels).all()


@pytest.mark.parametrize("momentum", [0.0, 0.5, 1.0])
def test_mi_fgsm_equals_the_algorithm_of_its_paper(momentum: float) -> None:
    """Dong et al. 2018, algorithm 1, written out for one image after the other."""
    model, (pixels, labels) = reader().double(), sample(20)
    pixels, eps, steps = pixels.double(), 0.1, 6
    attack = MIFGSM(eps=eps, steps=steps, momentum=momentum, loss="cross-entropy", early_stop=False)
    ours = attack(model, pixels, labels).pixels
    for row in range(20):
        x, velocity = pixels[row : row + 1], torch.zeros(1, 1, 8, 8, dtype=torch.float64)
        for _ in range(steps):
            leaf = x.clone().requires_grad_(True)
            loss = nn.functional.cross_entropy(model.logits(leaf), labels[row : row + 1])
            (gradient,) = torch.autograd.grad(loss, leaf)
            velocity = momentum * velocity + gradient / gradient.abs().sum()
            x = x + eps / steps * velocity.sign()
            x = x.clamp(pixels[row] - eps, pixels[row] + eps).clamp(0, 1)
        assert (ours[row] - x[0]).abs().max() <= 1e-9


def test_momentum_changes_where_pgd_goes_and_fools_as_many() -> None:
    pixels, labels = sample()
    plain, heavy = (
        PGD(eps=0.15, steps=20, momentum=momentum, early_stop=False)(reader(), pixels, labels)
        for momentum in (0.0, 0.9)
    )
    assert (plain.pixels - heavy.pixels).abs().max() > 0.01
    assert (heavy.success_step >= 0).sum() > 0.9 * (plain.success_step >= 0).sum() > 0


def test_bim_without_momentum_is_fgsm_in_small_steps() -> None:
    pixels, labels = sample()
    x = pixels
    for _ in range(4):
        x = FGSM(eps=0.1 / 4)(reader(), x, labels).pixels
    ours = BIM(eps=0.1, steps=4, early_stop=False)(reader(), pixels, labels).pixels
    assert (ours - x).abs().max() <= 1e-6


class Times(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x


class Leaking(nn.Module):
    """A gradient that is NaN for dark pixels."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(torch.where(x > 0, x.log() * 0 + x, x))


def test_a_nan_gradient_does_not_break_the_image() -> None:
    pixels, labels = sample(8)
    victim = model_of(Leaking(copy.deepcopy(reader().network)), (1, 8, 8), 10)
    assert input_gradient(victim, pixels, Criterion(labels).loss)[0].isnan().any()
    for attack in (FGSM(eps=0.1), PGD(eps=0.1, steps=3)):
        assert torch.isfinite(attack(victim, pixels, labels).pixels).all()


def test_a_network_without_a_gradient_is_attacked_without_an_error() -> None:
    pixels, labels = sample(20)
    victim = defective(NoGradient(), before=True)
    assert torch.equal(FGSM(eps=0.1)(victim, pixels, labels).pixels, pixels)
    assert torch.equal(BIM(eps=0.1)(victim, pixels, labels).pixels, pixels)
    for attack in (DeepFool(), CarliniWagner(rounds=1, steps=3)):
        assert torch.equal(attack(victim, pixels, labels).pixels, pixels)
    ascent = ascend_class_score(victim, pixels, 7, steps=3)
    assert torch.equal(ascent.pixels, pixels)
    assert torch.allclose(ascent.probability[-1], predict(victim, pixels).softmax(1)[:, 7], atol=1e-6)


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_is_left_on_the_network(fails: bool) -> None:
    model = model_of(copy.deepcopy(reader().network), (1, 8, 8), 10)
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    pixels, labels = sample(8)
    state = torch.get_rng_state()
    if fails:
        with pytest.raises(UserError):
            PGD(eps=0.1)(model, pixels * 2, labels)
    else:
        PGD(eps=0.1, steps=3)(model, pixels, labels)
        FGSM(eps=0.1)(model, pixels, labels)
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(module.training for module in model.network.modules())
    assert all(p.grad is None and not p.requires_grad for p in model.network.parameters())
    after = model.network.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert not pixels.requires_grad


def test_log_odds_keep_the_signs_that_the_cross_entropy_loses() -> None:
    """Confidences near 1 (logits times 20): float32 log-odds have float64's signs, cross-entropy has not."""
    confident = model_of(nn.Sequential(copy.deepcopy(reader().network), Times(20)), (1, 8, 8), 10)
    double = confident.double()
    pixels, labels = digits()
    correct = (predict(confident, pixels).argmax(1) == labels).nonzero()[:, 0]
    pixels, labels = pixels[correct], labels[correct]

    def signs(model: Model, x: Tensor, kind: Loss) -> Tensor:
        return input_gradient(model, x, lambda z: Criterion(labels).loss(z, kind))[0].sign()

    exact = signs(double, pixels.double(), "log-odds")
    kinds: tuple[Loss, ...] = ("cross-entropy", "log-odds")
    agree = {kind: float((signs(confident, pixels, kind) == exact).double().mean()) for kind in kinds}
    assert agree["log-odds"] > 0.999
    assert agree["cross-entropy"] < 0.5
    accuracy = {
        kind: float(
            (
                predict(confident, FGSM(eps=0.25, loss=kind)(confident, pixels, labels).pixels).argmax(1)
                == labels
            )
            .float()
            .mean()
        )
        for kind in kinds
    }
    assert accuracy["cross-entropy"] > accuracy["log-odds"] + 0.3


def test_a_targeted_attack_succeeds_where_its_target_is_predicted() -> None:
    pixels, labels = sample()
    targets = (labels + 1) % 10
    result = PGD(eps=0.4, steps=30)(reader(), pixels, labels, targets=targets)
    met = predict(reader(), result.pixels).argmax(1) == targets
    assert torch.equal(met, result.success_step >= 0)
    assert met.float().mean() > 0.8


def test_nan_logits_are_no_success() -> None:
    assert not Criterion(torch.tensor([0])).is_adversarial(torch.tensor([[torch.nan, 0.0]])).any()


def test_without_early_stop_every_image_takes_all_steps() -> None:
    pixels, labels = sample()
    first = PGD(eps=0.2, steps=10)(reader(), pixels, labels, seed=1)
    last = PGD(eps=0.2, steps=10, early_stop=False)(reader(), pixels, labels, seed=1)
    assert torch.equal(last.success_step >= 0, first.success_step >= 0)
    assert (last.queries == 11).all()
    criterion = Criterion(labels)
    fooled = first.success_step >= 0
    weaker, stronger = (criterion.loss(predict(reader(), result.pixels))[fooled] for result in (first, last))
    assert stronger.mean() > weaker.mean() + 1


def test_falling_steps_fool_more_than_twice_as_many_constant_ones() -> None:
    pixels, labels = digits()
    eps = 0.1
    falling = PGD(eps=eps, steps=10)(reader(), pixels, labels).success_step >= 0
    constant = PGD(eps=eps, steps=20, step=2.5 * eps / 20)(reader(), pixels, labels).success_step >= 0
    assert falling.sum() >= constant.sum()
    assert 0.2 < constant.float().mean() < 0.9
