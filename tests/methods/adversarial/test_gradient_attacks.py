"""Do gradient attacks do what their papers say, in pixel space, and leave no trace?"""

import copy
import warnings

import pytest
import torch
from torch import Tensor, nn

from probe.errors import UserError
from probe.methods.adversarial.criteria import Criterion, Loss, input_gradient, make_criterion, predict
from probe.methods.adversarial.gradient_attacks import ascend, bim, fgsm, pgd, ray, sweep
from probe.methods.adversarial.norms import Norm, perturbation_norm
from probe.model.model import Model
from tests.methods.adversarial.victims import digits, linear, model_of, reader

NORMS: tuple[Norm, ...] = ("linf", "l2", "l1")
EPS: dict[Norm, float] = {"linf": 0.2, "l2": 1.5, "l1": 6.0}


def some(n: int = 64) -> tuple[Tensor, Tensor]:
    pixels, labels = digits()
    return pixels[:n], labels[:n]


def test_the_victim_reads_digits() -> None:
    pixels, labels = digits()
    assert (predict(reader(), pixels).argmax(1) == labels).float().mean() > 0.9


@pytest.mark.parametrize("loss", ["ce", "logodds"])
def test_fgsm_equals_the_plain_formula(loss: Loss) -> None:
    pixels, labels = some()
    at = pixels.clone().requires_grad_(True)
    slope = torch.autograd.grad(nn.functional.cross_entropy(reader().network(at), labels), at)[0]
    plain = (pixels + 0.1 * slope.sign()).clamp(0, 1)
    ours = fgsm(reader(), pixels, labels, eps=0.1, loss=loss)
    if loss == "ce":
        assert (ours - plain).abs().max() <= 1e-6
    mask = reader().logits(plain).argmax(1) == labels
    assert torch.equal(reader().logits(ours).argmax(1) == labels, mask)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_fgsm_agrees_with_foolbox(norm: Norm) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import foolbox
    pixels, labels = some()
    theirs_model = foolbox.PyTorchModel(reader().network, bounds=(0, 1), device="cpu")
    attack = {"linf": foolbox.attacks.FGSM, "l2": foolbox.attacks.FGM}[norm]()
    _, theirs, _ = attack(theirs_model, pixels, labels, epsilons=EPS[norm])
    ours = fgsm(reader(), pixels, labels, eps=EPS[norm], norm=norm, loss="ce")
    assert (ours - theirs).abs().max() <= 1e-6


@pytest.mark.parametrize("norm", NORMS)
def test_radius_zero_returns_the_input_bit_for_bit(norm: Norm) -> None:
    pixels, labels = some()
    assert torch.equal(fgsm(reader(), pixels, labels, eps=0, norm=norm), pixels)
    assert torch.equal(pgd(reader(), pixels, labels, eps=0, norm=norm, steps=3).pixels, pixels)
    assert torch.equal(bim(reader(), pixels, labels, eps=0, norm=norm, steps=3).pixels, pixels)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("targeted", [False, True])
def test_results_lie_in_their_ball_and_in_the_box(norm: Norm, targeted: bool) -> None:
    pixels, labels = some()
    targets = (labels + 3) % 10 if targeted else None
    eps = EPS[norm]
    one = fgsm(reader(), pixels, labels, eps=eps, norm=norm, targets=targets)
    many = pgd(
        reader(), pixels, labels, eps=eps, norm=norm, steps=7, restarts=2, momentum=0.9, targets=targets
    ).pixels
    for made in (one, many):
        assert made.min() >= 0
        assert made.max() <= 1
        assert (perturbation_norm(made - pixels, norm) <= eps * (1 + 1e-6) + 1e-6).all()


@pytest.mark.parametrize("norm", NORMS)
def test_pgd_fools_what_fgsm_of_the_same_size_does_not(norm: Norm) -> None:
    pixels, labels = digits()
    one = predict(reader(), fgsm(reader(), pixels, labels, eps=EPS[norm] / 2, norm=norm)).argmax(1) == labels
    found = pgd(reader(), pixels, labels, eps=EPS[norm] / 2, norm=norm, steps=20)
    many = predict(reader(), found.pixels).argmax(1) == labels
    assert many.sum() < one.sum()
    assert torch.equal(found.first < 0, many)


def test_eps_is_in_pixels_whatever_the_network_subtracts_and_divides_by() -> None:
    weights = torch.tensor([[0.3, -0.2, 0.1, 0.4], [0.0, 0.0, 0.0, 0.0]])
    plain = linear(weights, torch.zeros(2), (1, 2, 2))
    shifted = linear(weights * 0.25, weights.sum(1) * 0.5, (1, 2, 2), mean=0.5, std=0.25)
    pixels = torch.full((1, 1, 2, 2), 0.5)
    for victim in (plain, shifted):
        moved = fgsm(victim, pixels, torch.tensor([0]), eps=8 / 255)
        assert (moved - pixels).abs().flatten().tolist() == pytest.approx([8 / 255] * 4, abs=1e-7)


def test_one_gradient_serves_a_sweep_that_equals_separate_calls() -> None:
    pixels, labels = some()
    eps = torch.tensor([0.0, 0.05, 0.1, 0.3])
    swept = sweep(reader(), ray(reader(), pixels, Criterion(labels)), eps)
    for logits, e in zip(swept, eps.tolist(), strict=True):
        alone = predict(reader(), fgsm(reader(), pixels, labels, eps=e))
        assert torch.allclose(logits, alone, atol=1e-5)


@pytest.mark.parametrize("norm", NORMS)
def test_batch_order_and_size_do_not_matter(norm: Norm) -> None:
    model = reader().double()
    pixels, labels = some(24)
    pixels, index = pixels.double(), torch.arange(100, 124)

    def attack(rows: Tensor) -> Tensor:
        found = pgd(
            model,
            pixels[rows],
            labels[rows],
            eps=EPS[norm] / 3,
            norm=norm,
            steps=6,
            restarts=2,
            seed=5,
            index=index[rows],
        )
        return found.pixels

    together, back = attack(torch.arange(24)), torch.arange(23, -1, -1)
    assert torch.allclose(attack(back)[back], together, atol=1e-9)
    alone = torch.cat([attack(torch.tensor([row])) for row in range(24)])
    assert torch.allclose(alone, together, atol=1e-9)


def test_other_seeds_give_other_starts() -> None:
    pixels, labels = some(4)
    first, second = (pgd(reader(), pixels, labels, eps=0.01, steps=1, seed=s).pixels for s in (0, 1))
    assert not torch.equal(first, second)


def test_the_first_success_is_kept_not_the_last_iterate() -> None:
    pixels, labels = some()
    found = pgd(reader(), pixels, labels, eps=0.3, steps=30, start="centre", step=0.01)
    fooled = found.first >= 0
    assert fooled.any()
    reach = perturbation_norm(found.pixels - pixels, "linf")[fooled]
    assert (reach <= 0.01 * found.first[fooled] + 1e-6).all()
    assert reach.max() < 0.3 - 1e-3
    # One step less had not been enough.
    for row in fooled.nonzero()[:5, 0].tolist():
        if (before := int(found.first[row]) - 1) > 0:
            less = pgd(
                reader(),
                pixels[row : row + 1],
                labels[row : row + 1],
                eps=0.3,
                steps=before,
                start="centre",
                step=0.01,
            )
            assert int(less.first[0]) == -1


def test_queries_count_forward_passes_until_the_first_success() -> None:
    pixels, labels = some()
    found = pgd(reader(), pixels, labels, eps=0.3, steps=30, start="centre", step=0.01)
    expected = torch.where(found.first >= 0, found.first + 1, 31)
    assert torch.equal(found.queries, expected)


def test_momentum_of_a_zero_gradient_is_not_nan() -> None:
    constant = linear(torch.zeros(2, 4), torch.tensor([1.0, 0.0]), (1, 2, 2))
    pixels = torch.full((2, 1, 2, 2), 0.5)
    found = pgd(constant, pixels, torch.tensor([0, 0]), eps=0.1, steps=5, momentum=1.0)
    assert torch.isfinite(found.pixels).all()


def test_momentum_attacks_as_well_as_plain_steps() -> None:
    pixels, labels = some()
    counts = [
        int((pgd(reader(), pixels, labels, eps=0.15, steps=20, momentum=m).first >= 0).sum())
        for m in (0.0, 0.9)
    ]
    assert counts[1] > 0.9 * counts[0] > 0


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
    pixels, labels = some(8)
    victim = model_of(Leaking(copy.deepcopy(reader().network)), (1, 8, 8), 10)
    assert input_gradient(victim, pixels, Criterion(labels).loss)[0].isnan().any()
    assert torch.isfinite(fgsm(victim, pixels, labels, eps=0.1)).all()
    assert torch.isfinite(pgd(victim, pixels, labels, eps=0.1, steps=3).pixels).all()


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_is_left_on_the_network(fails: bool) -> None:
    model = model_of(copy.deepcopy(reader().network), (1, 8, 8), 10)
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    pixels, labels = some(8)
    state = torch.get_rng_state()
    if fails:
        with pytest.raises(UserError):
            pgd(model, pixels * 2, labels, eps=0.1)
    else:
        pgd(model, pixels, labels, eps=0.1, steps=3)
        fgsm(model, pixels, labels, eps=0.1)
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(module.training for module in model.network.modules())
    assert all(p.grad is None and not p.requires_grad for p in model.network.parameters())
    after = model.network.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert not pixels.requires_grad


def test_logodds_keep_the_signs_that_the_cross_entropy_loses() -> None:
    """A network that is sure (its logits times 20): float32 log-odds have float64's signs, cross-entropy has not."""
    sure = model_of(nn.Sequential(copy.deepcopy(reader().network), Times(20)), (1, 8, 8), 10)
    double = sure.double()
    pixels, labels = digits()
    right = (predict(sure, pixels).argmax(1) == labels).nonzero()[:, 0]
    pixels, labels = pixels[right], labels[right]

    def signs(model: Model, x: Tensor, kind: Loss) -> Tensor:
        return input_gradient(model, x, lambda z: Criterion(labels).loss(z, kind))[0].sign()

    exact = signs(double, pixels.double(), "logodds")
    kinds: tuple[Loss, ...] = ("ce", "logodds")
    agree = {kind: float((signs(sure, pixels, kind) == exact).double().mean()) for kind in kinds}
    assert agree["logodds"] > 0.999
    assert agree["ce"] < 0.5
    left = {
        kind: float(
            (predict(sure, fgsm(sure, pixels, labels, eps=0.25, loss=kind)).argmax(1) == labels)
            .float()
            .mean()
        )
        for kind in kinds
    }
    assert left["ce"] > left["logodds"] + 0.3


def test_a_targeted_attack_leads_to_its_target() -> None:
    pixels, labels = some()
    targets = (labels + 1) % 10
    found = pgd(reader(), pixels, labels, eps=0.4, steps=30, targets=targets)
    there = predict(reader(), found.pixels).argmax(1) == targets
    assert torch.equal(there, found.first >= 0)
    assert there.float().mean() > 0.8


def test_an_ascent_reaches_the_class_from_noise() -> None:
    pixels = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    climbed = ascend(reader(), pixels, 7, steps=200, confidence=0.9)
    assert (climbed.probability[-1] >= 0.9).all()
    assert (predict(reader(), climbed.pixels).argmax(1) == 7).all()
    assert climbed.pixels.min() >= 0
    assert climbed.pixels.max() <= 1
    near = ascend(reader(), pixels, 7, steps=30, eps=0.2)
    assert (perturbation_norm(near.pixels - pixels, "l2") <= 0.2 + 1e-6).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"eps": 8.0}, "eps must lie in [0, 1], got 8: for 8 grey levels write 8/255"),
        ({"eps": -0.1}, "eps must lie in [0, 1], got -0.1"),
        ({"targets": 10}, "there is no target class 10: victim has 10, 0 to 9"),
        ({"targets": 3}, "the target class 3 (3) is already the class of image 1"),
        ({"pixels": torch.full((2, 1, 8, 8), 1.5)}, "pixels must lie in [0, 1], got 1.5 to 1.5: normalisation is the model's own work"),
        ({"pixels": torch.full((2, 1, 8, 8), torch.nan)}, "pixels must lie in [0, 1], got nan to nan"),
        ({"labels": torch.tensor([0, 11])}, "there is no label class 11: victim has 10, 0 to 9"),
        ({"labels": torch.tensor([0])}, "there are 2 images but 1 labels"),
        ({"pixels": torch.zeros(0, 1, 8, 8)}, "there is no image to attack"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("attack", [fgsm, pgd])
def test_what_cannot_be_attacked_is_refused_in_one_line(attack: object, change: dict, message: str) -> None:
    asked = {"pixels": torch.full((2, 1, 8, 8), 0.5), "labels": torch.tensor([0, 3]), "eps": 0.1, **change}
    pixels, labels = asked.pop("pixels"), asked.pop("labels")
    with pytest.raises(UserError) as refused:
        attack(reader(), pixels, labels, **asked)  # pyrefly: ignore[not-callable]
    assert str(refused.value).startswith(message)


def test_a_model_with_one_class_is_refused() -> None:
    alone = linear(torch.ones(1, 4), torch.zeros(1), (1, 2, 2))
    with pytest.raises(UserError, match="has 1 class"):
        make_criterion(alone, torch.zeros(1, 1, 2, 2), torch.tensor([0]))


def test_an_answer_that_is_no_number_is_no_success() -> None:
    assert Criterion(torch.tensor([0])).reached(torch.tensor([[torch.nan, 0.0]])).tolist() == [False]


def test_to_the_end_every_image_uses_up_its_radius() -> None:
    pixels, labels = some()
    first = pgd(reader(), pixels, labels, eps=0.2, steps=10, seed=1)
    last = pgd(reader(), pixels, labels, eps=0.2, steps=10, seed=1, to_the_end=True)
    assert torch.equal(last.first >= 0, first.first >= 0)
    assert (last.queries == 11).all()
    goal_ = Criterion(labels)
    fooled = first.first >= 0
    weaker, stronger = (goal_.loss(predict(reader(), found.pixels))[fooled] for found in (first, last))
    assert stronger.mean() > weaker.mean() + 1


def test_steps_that_fall_find_more_than_twice_as_many_of_one_length() -> None:
    pixels, labels = digits()
    eps = 0.1
    falling = pgd(reader(), pixels, labels, eps=eps, steps=10).first >= 0
    level = pgd(reader(), pixels, labels, eps=eps, steps=20, step=2.5 * eps / 20).first >= 0
    assert falling.sum() >= level.sum()
    assert 0.2 < level.float().mean() < 0.9


def test_an_ascent_leaves_a_picture_where_it_arrived() -> None:
    pixels = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor([7, 1, 3, 7, 0, 2])
    together = ascend(reader(), pixels, targets, steps=60, confidence=0.9)
    for row in range(6):
        alone = ascend(reader(), pixels[row : row + 1], targets[row : row + 1], steps=60, confidence=0.9)
        assert torch.allclose(alone.pixels, together.pixels[row : row + 1], atol=1e-4)
        assert float(alone.probability[-1]) == pytest.approx(float(together.probability[-1, row]), abs=1e-3)
