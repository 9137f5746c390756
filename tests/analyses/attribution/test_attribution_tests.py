"""Does the trust analysis pass what sees and fail what does not?"""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from probe.data.images import Images
from probe.exhibits.exhibits import Chart, Table
from probe.exhibits.result import Result
from probe.model.cards import Card, Input
from probe.model.model import Model
from probe.runs.execute import run

QUICK: dict[str, Any] = {"count": 6, "tested": 4, "stages": 3, "steps": 4, "samples": 2, "points": 5}


def rows(result: Result) -> dict[str, dict[str, object]]:
    table = result.exhibits[0]
    assert isinstance(table, Table)
    return {str(row[0]): dict(zip(table.columns, row, strict=True)) for row in table.rows}


class Lit(nn.Module):
    """Answers by how much red and how much green there is: what it looks at is known."""

    def __init__(self) -> None:
        super().__init__()
        self.look = nn.Conv2d(3, 2, 1, bias=False)
        self.look.weight.data = torch.tensor([[4.0, 0, 0], [0, 4.0, 0]]).view(2, 3, 1, 1)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.look(x)).mean((2, 3)) * 8


def red_and_green() -> tuple[Model, Images]:
    """A square of red or green in the dark, with its mask."""
    card = Card(
        name="lit",
        architecture="tests",
        classes=("red", "green"),
        input=Input(
            shape=(3, 24, 24), mean=(0.0,) * 3, std=(1.0,) * 3, preprocess="resize 24, centre crop 24"
        ),
    )
    rng = torch.Generator().manual_seed(0)
    pixels = torch.rand(12, 3, 24, 24, generator=rng) * 0.05
    masks = torch.zeros(12, 24, 24, dtype=torch.bool)
    labels = torch.arange(12) % 2
    for i in range(12):
        top, left = torch.randint(0, 16, (2,), generator=rng).tolist()
        masks[i, top : top + 8, left : left + 8] = True
        pixels[i, int(labels[i])][masks[i]] = 0.9
    return Model(Lit(), card), Images.from_tensor(
        pixels, labels, classes=card.classes, name="squares", masks=masks
    )


def test_methods_that_multiply_by_the_image_find_the_object_that_decides() -> None:
    model, images = red_and_green()
    result = run("trust", model, images, count=12, tested=4, stages=2)
    found = rows(result)
    for name in ("Gradient × input", "Integrated gradients", "Grad-CAM", "Occlusion"):
        assert found[name]["pointing"] == 1, name
    for name in ("Gradient × input", "Integrated gradients", "Grad-CAM"):
        assert found[name]["mass on object"] > 0.7, name  # type: ignore[operator]
        assert found[name]["insertion area"] > found["random order"]["insertion area"], name  # type: ignore[operator]
        assert found[name]["deletion area"] < found["random order"]["deletion area"], name  # type: ignore[operator]
    # The network adds up pixels, so its gradient is the same everywhere: a flat map that points nowhere.
    assert found["Gradient"]["pointing"] == 0
    assert found["Gradient"]["verdict"] == "fails: maps have one value everywhere"
    assert result.numbers["completeness error"].value < 1e-5


def test_edges_alone_fail_the_randomisation_test_on_any_network(convnet: Model, noise_images: Images) -> None:
    found = rows(run("trust", convnet, noise_images, **QUICK))
    assert found["Edges alone (no network)"]["likeness, all shuffled"] == pytest.approx(1)
    assert "randomisation" in str(found["Edges alone (no network)"]["verdict"])
    assert "blind to the class" in str(found["Edges alone (no network)"]["verdict"])


def test_the_curve_of_likeness_starts_at_one_and_has_a_point_for_every_stage(
    convnet: Model, noise_images: Images
) -> None:
    result = run("trust", convnet, noise_images, methods="gradient,guided", **QUICK)
    chart = result.exhibits[1]
    assert isinstance(chart, Chart)
    assert [line.name for line in chart.lines] == ["Gradient", "Guided backprop", "Edges alone (no network)"]
    for line in chart.lines:  # three layers in three stages: the first is the last layer alone
        assert len(line.x) == 4
        assert line.y[0] == 1
    coarser: dict[str, Any] = {**QUICK, "stages": 2}
    coarse = run("trust", convnet, noise_images, methods="gradient", **coarser).exhibits[1]
    assert isinstance(coarse, Chart)
    assert coarse.lines[0].x == pytest.approx([0, 1 / 3, 1 / 2, 1])


def test_images_without_masks_leave_out_what_needs_them_and_say_so(
    convnet: Model, noise_images: Images
) -> None:
    bare = Images.from_tensor(
        noise_images.pixels(), noise_images.labels, classes=noise_images.classes, name="bare"
    )
    result = run("trust", convnet, bare, methods="gradcam", **QUICK)
    assert "pointing" not in rows(result)["Grad-CAM"]
    assert any("bare has no masks" in warning for warning in result.warnings)


def test_methods_that_cannot_be_applied_are_left_out_with_the_reason(
    convnet: Model, noise_images: Images
) -> None:
    layers = [nn.Tanh() if isinstance(one, nn.ReLU) else one for one in convnet.network.children()]
    result = run(
        "trust",
        Model(nn.Sequential(*layers), convnet.card),
        noise_images,
        methods="gradient,guided",
        **QUICK,
    )
    assert "Guided backprop" not in rows(result)
    assert any("Guided backprop is left out: there is no ReLU" in warning for warning in result.warnings)


def test_maps_without_any_gradient_are_said_to_say_nothing(convnet: Model, noise_images: Images) -> None:
    deaf = Model(nn.Sequential(nn.Threshold(9.0, 0.0), *convnet.network.children()), convnet.card)
    result = run("trust", deaf, noise_images, methods="gradient,gradcam", **QUICK)
    assert rows(result)["Gradient"]["verdict"] == "fails: maps have one value everywhere"
    assert not any(name.startswith("likeness") and "gradient" in name for name in result.numbers)


def test_one_image_is_enough(convnet: Model, noise_images: Images) -> None:
    run("trust", convnet, noise_images.select([3]), methods="gradient,gradcam", **QUICK)


def test_few_images_leave_open_what_they_cannot_tell(convnet: Model, noise_images: Images) -> None:
    few: dict[str, Any] = {**QUICK, "count": 2, "tested": 2}
    result = run("trust", convnet, noise_images, methods="gradient,gradcam", **few)
    for title in ("Gradient", "Grad-CAM"):
        verdict = str(rows(result)[title]["verdict"])
        assert "too few images: " in verdict
        assert "pointing" not in verdict.partition("too few images")[0]
    assert "2 images cannot tell of" in result.exhibits[0].caption


@pytest.mark.slow
def test_on_shapes_gradcam_finds_the_objects_and_guided_backprop_does_not_see_what_was_learnt() -> None:
    from probe.data.sources import open_images
    from probe.model.loading import load

    images = open_images("shapes:test", n=200)
    result = run(
        "trust",
        load("vgg-shapes", device="cpu"),
        images,
        methods="gradient,deconvnet,guided,integrated_gradients,gradcam",
        count=200,
        tested=16,
        points=3,
    )
    found = rows(result)
    assert found["Grad-CAM"]["pointing"] >= 0.9  # type: ignore[operator]
    assert found["Grad-CAM"]["verdict"] == "passes"
    assert found["Grad-CAM"]["likeness, half shuffled"] < 0.4  # type: ignore[operator]
    for title in ("Gradient", "Integrated gradients"):
        assert "randomisation" not in str(found[title]["verdict"]), title
    assert "fails: randomisation" in str(found["Guided backprop"]["verdict"])
    assert found["Guided backprop"]["likeness, half shuffled"] > 0.6  # type: ignore[operator]
    # Deconvnet forgets with half of the layers, but hardly sees that the last one is another.
    assert "fails: randomisation" in str(found["Deconvnet"]["verdict"])
    assert found["Deconvnet"]["likeness, last layer shuffled"] > 0.55  # type: ignore[operator]
    assert found["Gradient"]["likeness, last layer shuffled"] < 0.3  # type: ignore[operator]
