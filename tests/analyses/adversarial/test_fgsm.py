"""Is what the analysis of one gradient step shows what the attack did?"""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from probe.data.images import Images
from probe.errors import UserError
from probe.exhibits.exhibits import Chart, ImageGrid
from probe.methods.adversarial.criteria import Criterion, predict
from probe.methods.adversarial.gradient_attacks import FGSM, ray
from probe.methods.adversarial.min_radius import min_radius_on_ray
from probe.model.model import Model
from probe.runs.execute import run
from tests.methods.adversarial.victims import DEFECTS, defective, digits, reader

CLASSES = tuple(str(i) for i in range(10))


def images(n: int = 120, *, labelled: bool = True) -> Images:
    pixels, labels = digits()
    return Images.from_tensor(pixels[:n], labels[:n] if labelled else None, classes=CLASSES, name="digits")


def test_the_figures_are_those_of_the_attack() -> None:
    pixels, labels = (t[:120] for t in digits())
    result = run("fgsm", reader(), images(), eps=0.2, points=4)
    chart, pictures = result.exhibits
    assert isinstance(chart, Chart)
    assert isinstance(pictures, ImageGrid)
    line = chart.lines[0]
    assert line.x.tolist() == pytest.approx([0, 0.05, 0.1, 0.15, 0.2])
    for eps, share in zip(line.x, line.y, strict=True):
        moved = FGSM(eps=float(eps))(reader(), pixels, labels).pixels
        assert share == pytest.approx(
            float((predict(reader(), moved).argmax(1) == labels).float().mean()), abs=1e-6
        )
    assert line.low is not None
    assert line.high is not None
    assert ((line.low < line.y) & (line.y < line.high) | (line.y == 0)).all()
    aim = Criterion(labels)
    right = predict(reader(), pixels).argmax(1) == labels
    least = min_radius_on_ray(reader(), ray(reader(), pixels, aim), aim)[right]
    assert result.numbers["median minimal eps"].value == pytest.approx(float(least.median()), abs=2e-4)
    assert f"{line.y[0]:.1%}" in chart.caption
    assert f"{line.y[-1]:.1%}" in chart.caption


def test_noise_of_the_same_size_does_far_less() -> None:
    chart = run("fgsm", reader(), images(), eps=0.2).exhibits[0]
    assert isinstance(chart, Chart)
    attack, noise = chart.lines
    assert noise.dashed
    assert noise.y[0] == attack.y[0]
    assert noise.y[-1] > attack.y[-1] + 0.3


def test_the_pictures_are_image_change_and_attacked_image() -> None:
    pictures = run("fgsm", reader(), images(), eps=0.1, examples=3).exhibits[1]
    assert isinstance(pictures, ImageGrid)
    assert len(pictures.images) == len(pictures.labels) == 9
    factor = 0.5 / 0.1
    for k in range(3):
        before, change, after = pictures.images[3 * k : 3 * k + 3]
        assert np.abs(after - before).max() <= 0.1 + 1e-6
        assert change == pytest.approx(0.5 + factor * (after - before), abs=1e-5)
        assert pictures.labels[3 * k + 1] == "enlarged 5 x"
        said = predict(reader(), torch.from_numpy(after).permute(2, 0, 1)[None]).softmax(1)
        assert pictures.labels[3 * k + 2] == f"{int(said.argmax())} ({float(said.max()):.1%})"


def test_without_labels_the_networks_own_answers_stand_for_them_and_it_says_so() -> None:
    result = run("fgsm", reader(), images(labelled=False), eps=0.1)
    assert result.numbers["clean accuracy"].value == 1
    assert any("own predictions" in warning for warning in result.warnings)
    assert run("fgsm", reader(), images(), eps=0.1).warnings == []


def test_a_network_without_a_gradient_is_never_silently_robust() -> None:
    class Rounded(torch.nn.Module):
        def __init__(self, network: torch.nn.Module) -> None:
            super().__init__()
            self.network = network

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return self.network(pixels.round())

    plain = reader()
    result = run("fgsm", Model(Rounded(plain.network), plain.card), images(40), eps=0.1)
    assert result.numbers["accuracy at eps 0.1"].value == result.numbers["clean accuracy"].value
    assert any("40 of 40 images give a gradient of zero" in warning for warning in result.warnings)
    assert "stays at" in result.exhibits[0].caption


def test_a_target_is_reached_more_often_the_larger_the_step() -> None:
    result = run("fgsm", reader(), images(), eps=0.3, target="8")
    chart = result.exhibits[0]
    assert isinstance(chart, Chart)
    assert chart.lines[0].y[0] > 0.95
    assert chart.lines[0].y[-1] < 0.8
    assert "share not answered 8 at eps 0.3" in result.numbers


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"eps": "8"}, "eps must lie in (0, 1], got 8: for eight grey levels write 8/255"),
        ({"target": "eight"}, "there is no class 'eight'"),
        ({"loss": "mse"}, "loss must be one of 'log-odds', 'cross-entropy', got mse"),
    ],
)
def test_bad_parameters_are_refused_in_one_line(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as refused:
        run("fgsm", reader(), images(10), **wrong)
    assert str(refused.value).startswith(message)


def test_images_that_are_all_of_the_target_class_are_refused() -> None:
    pixels, labels = digits()
    eights = Images.from_tensor(pixels[labels == 8], labels[labels == 8], classes=CLASSES)
    with pytest.raises(UserError, match="every image is of the target class 8 already"):
        run("fgsm", reader(), eights, target="8")


@pytest.mark.parametrize(("layer", "before", "sign"), DEFECTS)
def test_a_network_that_only_seems_robust_is_warned_of(layer: nn.Module, before: bool, sign: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        result = run("fgsm", defective(layer, before=before), images(40), eps=0.1)
    assert any(sign in warning for warning in result.warnings)
