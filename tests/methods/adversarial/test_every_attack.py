"""What holds for every attack that the registry finds, those added later included."""

import subprocess
import sys

import pytest
import torch

import probe
from probe.errors import UserError
from probe.methods.adversarial.attack import Attack, BoundedAttack
from probe.methods.adversarial.criteria import predict
from probe.methods.adversarial.norms import perturbation_norm
from probe.methods.adversarial.registry import ATTACKS
from tests.methods.adversarial.victims import digits, model_of, reader

NAMES = list(ATTACKS.catalogue)
every = pytest.mark.parametrize("name", NAMES)
QUICK = {
    "pgd": "pgd(steps=4)",
    "bim": "bim(steps=4)",
    "mi-fgsm": "mi-fgsm(steps=4)",
    "square": "square(queries=20)",
    "one-pixel": "one-pixel(population=8, generations=2)",
    "carlini-wagner": "carlini-wagner(rounds=2, steps=10)",
}


def quick(name: str) -> Attack:
    attack = ATTACKS.parse(QUICK.get(name, name))
    return attack.with_defaults(eps=0.2)


def test_the_attacks_are_found_by_their_names() -> None:
    assert {
        "bim", "carlini-wagner", "deepfool", "fgsm", "mi-fgsm", "noise", "one-pixel", "pgd", "square"
    } <= set(NAMES)  # fmt: skip


@every
def test_every_attack_returns_images_within_its_bounds(name: str) -> None:
    pixels, labels = (t[:40] for t in digits())
    attack = quick(name)
    result = attack(reader(), pixels, labels, ids=torch.arange(100, 140))
    assert result.pixels.shape == pixels.shape
    assert attack.in_bounds(pixels, result.pixels).all()
    assert result.success_step.shape == result.queries.shape == (40,)
    assert (result.queries > 0).all()
    if isinstance(attack, BoundedAttack):
        assert (perturbation_norm(result.pixels - pixels, attack.norm) <= 0.2 + 1e-6).all()


@every
def test_every_attack_fools_more_images_than_the_original_pixels_do(name: str) -> None:
    pixels, labels = (t[:100] for t in digits())
    before = predict(reader(), pixels).argmax(1) != labels
    after = predict(reader(), quick(name)(reader(), pixels, labels).pixels).argmax(1) != labels
    assert after.sum() > before.sum()


@every
def test_every_parameter_is_described_and_every_attack_has_a_source(name: str) -> None:
    attack = ATTACKS.find(name)
    assert attack.title
    assert attack.source
    assert all(field.description for field in attack.model_fields.values())


@every
def test_every_attack_takes_a_target_or_refuses_it(name: str) -> None:
    pixels, labels = (t[:10] for t in digits())
    attack, targets = quick(name), (labels + 1) % 10
    if attack.has_targets:
        assert attack.in_bounds(pixels, attack(reader(), pixels, labels, targets=targets).pixels).all()
    else:
        with pytest.raises(UserError, match=f"{name} cannot be targeted"):
            attack(reader(), pixels, labels, targets=targets)


def test_python_has_the_attacks_by_their_class_names() -> None:
    pixels, labels = (t[:10] for t in digits())
    attack = probe.adversarial.PGD(eps="8/255", steps=3)
    assert str(attack) == "pgd(eps=8/255, steps=3)"
    assert attack(reader(), pixels, labels).pixels.shape == pixels.shape
    assert {"FGSM", "SquareAttack", "MIFGSM"} <= set(dir(probe.adversarial))
    with pytest.raises(AttributeError, match="no attribute 'PGDD'"):
        probe.adversarial.PGDD  # noqa: B018


def test_the_names_are_listed_without_loading_torch() -> None:
    code = "import sys, probe; assert 'PGD' in dir(probe.adversarial); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pdg", r"^there is no attack 'pdg'\. Did you mean .*pgd"),
        ("pgd(step_size=0.1)", r"^pgd: there is no parameter 'step_size'\. Did you mean steps"),
        ("pgd(steps=0)", r"^pgd: steps must lie in \[1, 10000\], got 0$"),
        ("pgd(eps=8)", r"^pgd: eps must lie in \[0, 1\], got 8: for 8 grey levels write 8/255$"),
        ("pgd(eps=-1, norm=l2)", r"^pgd: eps must be 0 or more, got -1$"),
        ("square(norm=l2)", r"^square: norm must be one of 'linf', got l2$"),
        ("fgsm(loss=mse)", r"^fgsm: loss must be one of 'log-odds', 'cross-entropy', got mse$"),
    ],
)
def test_a_mistake_in_the_text_is_one_line(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        ATTACKS.parse(text)
    assert "\n" not in str(error.value)


def test_a_default_of_the_caller_fills_only_what_was_not_given() -> None:
    given, open_ = (ATTACKS.parse(text) for text in ("pgd(eps=8/255)", "pgd"))
    (text,) = ATTACKS.texts("pgd(eps=8/255)")
    assert text == "pgd(eps=8/255)"
    assert dict(given.with_defaults(eps=0.3, early_stop=False))["eps"] == 8 / 255
    assert dict(open_.with_defaults(eps=0.3, early_stop=False))["eps"] == 0.3
    assert dict(ATTACKS.parse("deepfool").with_defaults(eps=0.3)) == dict(ATTACKS.parse("deepfool"))


class OneClass(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)[:, :1]


def test_a_model_with_one_class_cannot_be_attacked() -> None:
    with pytest.raises(UserError, match="has 1 class"):
        probe.adversarial.FGSM()(
            model_of(OneClass(), (1, 8, 8), 1), torch.zeros(1, 1, 8, 8), torch.tensor([0])
        )
