"""The tests of attribution methods pass those that find what decides and fail those that do not depend on it."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from probe.analyses.attribution.attribution_tests import AttributionTests
from probe.data.images import Images
from probe.exhibits.exhibits import Chart, Table
from probe.exhibits.result import Result
from probe.model.cards import Card, Input
from probe.model.model import Model
from probe.runs.execute import run

SIZES: dict[str, Any] = {"max_images": 6, "test_images": 4, "stages": 3, "curve_points": 5}
CHEAP = {"integrated-gradients": "integrated-gradients(steps=4)", "smoothgrad": "smoothgrad(samples=2)"}
QUICK: dict[str, Any] = {
    "methods": [CHEAP.get(name, name) for name in AttributionTests().methods],
    **SIZES,
}


def rows(result: Result) -> dict[str, dict[str, object]]:
    table = result.exhibits[0]
    assert isinstance(table, Table)
    return {str(row[0]): dict(zip(table.columns, row, strict=True)) for row in table.rows}


class Lit(nn.Module):
    """Its scores are the amounts of red and of green: what they depend on is known."""

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
    result = run("attribution-tests", model, images, max_images=12, test_images=4, stages=2)
    table = rows(result)
    for name in ("Gradient × input", "Integrated gradients", "Grad-CAM", "Occlusion"):
        assert table[name]["pointing game"] == 1, name
    for name in ("Gradient × input", "Integrated gradients", "Grad-CAM"):
        assert table[name]["relevance mass"] > 0.7, name  # type: ignore[operator]
        assert table[name]["insertion AUC"] > table["random order"]["insertion AUC"], name  # type: ignore[operator]
        assert table[name]["deletion AUC"] < table["random order"]["deletion AUC"], name  # type: ignore[operator]
    # The network adds up pixels, so its gradient is the same everywhere: a flat map that points nowhere.
    assert table["Gradient"]["pointing game"] is None
    assert table["Gradient"]["blank maps"] == "12 of 12"
    assert table["Gradient"]["verdict"] == "blank maps: all tests"
    assert result.numbers["completeness_error_integrated_gradients"].value < 1e-5


def test_edges_alone_fail_the_randomisation_test_on_any_network(convnet: Model, noise_images: Images) -> None:
    table = rows(run("attribution-tests", convnet, noise_images, **QUICK))
    assert table["Edges only (no network)"]["similarity, all layers"] == pytest.approx(1)
    assert "randomisation" in str(table["Edges only (no network)"]["verdict"])
    assert "class" in str(table["Edges only (no network)"]["verdict"])


def test_the_curve_of_similarity_starts_at_one_and_has_a_point_for_every_stage(
    convnet: Model, noise_images: Images
) -> None:
    result = run("attribution-tests", convnet, noise_images, methods="gradient,guided-backprop", **SIZES)
    chart = result.exhibits[1]
    assert isinstance(chart, Chart)
    assert [line.name for line in chart.lines] == ["Gradient", "Guided backprop", "Edges only (no network)"]
    for line in chart.lines:  # three layers in three stages: the first is the last layer alone
        assert len(line.x) == 4
        assert line.y[0] == 1
    coarser: dict[str, Any] = {**SIZES, "stages": 2}
    coarse = run("attribution-tests", convnet, noise_images, methods="gradient", **coarser).exhibits[1]
    assert isinstance(coarse, Chart)
    assert coarse.lines[0].x == pytest.approx([0, 1 / 3, 1 / 2, 1])


def test_images_without_masks_skip_what_needs_them_with_a_warning(
    convnet: Model, noise_images: Images
) -> None:
    bare = Images.from_tensor(
        noise_images.pixels(), noise_images.labels, classes=noise_images.classes, name="bare"
    )
    result = run("attribution-tests", convnet, bare, methods="gradcam", **SIZES)
    assert "pointing game" not in rows(result)["Grad-CAM"]
    assert any("bare has no masks" in warning for warning in result.warnings)


def test_methods_that_cannot_be_applied_are_skipped_with_the_reason(
    convnet: Model, noise_images: Images
) -> None:
    layers = [nn.Tanh() if isinstance(one, nn.ReLU) else one for one in convnet.network.children()]
    result = run(
        "attribution-tests",
        Model(nn.Sequential(*layers), convnet.card),
        noise_images,
        methods="gradient,guided-backprop",
        **SIZES,
    )
    assert "Guided backprop" not in rows(result)
    assert any("Guided backprop is skipped: there is no ReLU" in warning for warning in result.warnings)


def test_constant_maps_get_no_verdict_and_no_number(convnet: Model, noise_images: Images) -> None:
    constant = Model(nn.Sequential(nn.Threshold(9.0, 0.0), *convnet.network.children()), convnet.card)
    result = run("attribution-tests", constant, noise_images, methods="gradient,gradcam", **SIZES)
    assert rows(result)["Gradient"]["verdict"] == "blank maps: all tests"
    assert "Maps of Gradient are blank and excluded: 6 of 6 with the trained network." in result.warnings
    assert not any(name.startswith("similarity") and name.endswith("gradient") for name in result.numbers)


def test_one_image_is_enough(convnet: Model, noise_images: Images) -> None:
    result = run("attribution-tests", convnet, noise_images.select([3]), methods="gradient,gradcam", **SIZES)
    verdicts = [str(rows(result)[title]["verdict"]) for title in ("Gradient", "Grad-CAM")]
    assert all("too few images: " in verdict for verdict in verdicts)


def test_few_images_leave_tests_undecided(convnet: Model, noise_images: Images) -> None:
    few: dict[str, Any] = {**SIZES, "max_images": 2, "test_images": 2}
    result = run("attribution-tests", convnet, noise_images, methods="gradient,gradcam", **few)
    for title in ("Gradient", "Grad-CAM"):
        verdict = str(rows(result)[title]["verdict"])
        assert "too few images: " in verdict
        assert "pointing" not in verdict.partition("too few images")[0]


@pytest.mark.slow
def test_on_shapes_gradcam_finds_the_objects_and_guided_backprop_does_not_show_what_was_learnt() -> None:
    from probe.data.sources import open_images
    from probe.model.loading import load

    images = open_images("shapes:test", n=200)
    result = run(
        "attribution-tests",
        load("vgg-shapes", device="cpu"),
        images,
        methods="gradient,deconvnet,guided-backprop,integrated-gradients,gradcam",
        max_images=200,
        test_images=16,
        curve_points=3,
    )
    table = rows(result)
    assert table["Grad-CAM"]["pointing game"] >= 0.9  # type: ignore[operator]
    assert table["Grad-CAM"]["verdict"] == "passes"
    assert table["Grad-CAM"]["similarity, half of layers"] < 0.4  # type: ignore[operator]
    for title in ("Gradient", "Integrated gradients"):
        assert "randomisation" not in str(table[title]["verdict"]), title
    assert "fails: randomisation" in str(table["Guided backprop"]["verdict"])
    assert table["Guided backprop"]["similarity, half of layers"] > 0.6  # type: ignore[operator]
    # Deconvnet changes with half of the layers, but hardly with the last one.
    assert "fails: randomisation" in str(table["Deconvnet"]["verdict"])
    assert table["Deconvnet"]["similarity, last layer"] > 0.55  # type: ignore[operator]
    assert table["Gradient"]["similarity, last layer"] < 0.3  # type: ignore[operator]
