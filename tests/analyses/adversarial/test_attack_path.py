"""Do the exhibits of the attack path show the attack that was run?"""

import numpy as np
import pytest
import torch
from torch import nn

from probe.errors import UserError
from probe.exhibits.exhibits import Chart, ImageGrid, Scatter, Surface
from probe.exhibits.result import Result
from probe.methods.adversarial.criteria import Criterion, predict
from probe.runs.execute import make_analysis, run
from tests.methods.adversarial.victims import DEFECTS, defective, digit_images, linear, reader
from tests.results import the


@pytest.fixture(scope="module")
def result() -> Result:
    return run(
        "attack-path",
        reader(),
        digit_images(),
        eps=0.15,
        attack="pgd(steps=15)",
        max_images=50,
        grid=9,
        layers="0,2,6,7",
    )


def test_an_attack_grows_through_the_layers_and_noise_of_the_same_norm_does_not(result: Result) -> None:
    lines = {line.name: line for line in the(result, Chart, "Activation shift").lines}
    attack, noise = lines["relative distance, attack"].y, lines["relative distance, noise"].y
    assert attack[-1] > 1.5 * attack[0]
    assert attack[-1] > 2 * noise[-1]
    assert lines["cosine, attack"].y[-1] < lines["cosine, noise"].y[-1]


def test_adversarial_images_come_near_the_new_class_in_late_layers(result: Result) -> None:
    line = the(result, Chart, "Nearest class mean").lines[0]
    assert line.y[-1] > line.y[0] + 0.1
    assert ((line.y >= 0) & (line.y <= 1)).all()


def test_the_attributions_before_and_after_differ_and_share_one_scale(
    result: Result,
) -> None:
    shown = the(result, ImageGrid, "Attribution before")
    assert len(shown.images) == 15
    assert result.numbers["attribution_correlation"].value < 0.9
    for k in range(3):
        maps = [shown.images[5 * k + column] for column in (1, 3, 4)]
        assert max(np.abs(m).max() for m in maps) == pytest.approx(1, abs=1e-5)


def test_the_surface_holds_the_loss_of_the_image_and_of_the_attacked_one(result: Result) -> None:
    surface, shown = the(result, Surface, "Loss"), the(result, ImageGrid, "Attribution before")
    before, after = (torch.from_numpy(shown.images[k]).permute(2, 0, 1)[None] for k in (0, 2))
    label = predict(reader(), before).argmax(1)
    middle = int(np.abs(surface.y).argmin())
    for x, image in ((0.0, before), (1.0, after)):
        column = int(np.abs(surface.x - x).argmin())
        assert surface.x[column] == x
        exact = float(Criterion(label).loss(predict(reader(), image))[0])
        assert surface.z[middle, column] == pytest.approx(exact, abs=1e-3)
    assert (
        surface.z[middle, int(np.abs(surface.x - 1).argmin())]
        > surface.z[middle, int(np.abs(surface.x).argmin())]
    )


def test_the_path_leads_from_one_class_towards_the_other(result: Result) -> None:
    path = the(result, Scatter, "Path of one image")
    assert path.group is not None
    steps = path.x[path.group == len(path.group_names) - 1]
    assert len(steps) == 17
    assert steps[-1] > steps[0]
    assert path.x[path.group == 1].mean() > path.x[path.group == 0].mean()


def test_an_attack_that_fools_no_image_is_warned_of() -> None:
    result = run(
        "attack-path",
        reader(),
        digit_images(),
        eps=1e-4,
        attack="pgd(steps=2)",
        max_images=20,
        grid=5,
        method="gradient",
    )
    assert result.numbers["success_rate"].value == 0
    assert any("fools no image" in warning for warning in result.warnings)


def test_a_network_of_one_layer_has_no_path_in_feature_space() -> None:
    draw = torch.Generator().manual_seed(0)
    model = linear(torch.randn(10, 64, generator=draw), torch.zeros(10), (1, 8, 8))
    result = run("attack-path", model, digit_images(labelled=False), eps=0.1, max_images=20, grid=5)
    assert not any(isinstance(e, Scatter) for e in result.exhibits)
    assert any("feature space is not shown" in warning for warning in result.warnings)


def test_unknown_layers_and_methods_are_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match="Did you mean"):
        run("attack-path", reader(), digit_images(), method="gradcamm")
    with pytest.raises(UserError, match="there is no layer"):
        run("attack-path", reader(), digit_images(), layers="conv9")


@pytest.mark.parametrize(("layer", "before", "sign"), DEFECTS)
def test_a_masked_gradient_is_warned_of(layer: nn.Module, before: bool, sign: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        result = run(
            "attack-path",
            defective(layer, before=before),
            digit_images(),
            eps=0.15,
            attack="pgd(steps=3)",
            max_images=20,
            grid=5,
            method="gradient",
        )
    assert any(sign in warning for warning in result.warnings)


def test_the_attack_may_be_any_that_is_declared() -> None:
    asked = {"eps": 0.15, "max_images": 20, "grid": 5, "method": "gradient"}
    fgsm, deepfool = (
        run("attack-path", reader(), digit_images(), attack=attack, **asked)
        for attack in ("fgsm", "deepfool(norm=linf)")
    )
    for result in (fgsm, deepfool):
        assert result.numbers["success_rate"].value > 0.1
    grid = the(fgsm, ImageGrid, "Attribution before")
    change = grid.images[2] - grid.images[0]
    assert np.abs(change).max() == pytest.approx(0.15, abs=1e-5)


def test_an_unknown_attack_is_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"there is no attack 'fgms'\. Did you mean fgsm"):
        make_analysis("attack-path", attack="fgms")
