"""Layer conductance of single images: sums, choice of layers, and what is warned of."""

import numpy as np
import pytest
import torch
from torch import nn

from probe.analyses.attribution.conductance_exhibits import LayerFindings, channel_sums, layer_caption
from probe.data.images import Images
from probe.errors import UserError
from probe.exhibits.exhibits import Chart, ImageGrid, Table
from probe.exhibits.result import Result
from probe.methods.attribution.conductance import layer_conductance, layer_conductances
from probe.model.model import Model
from probe.runs.execute import run
from tests.conftest import model_of

CLASSES = 4


def residual() -> Model:
    """A block whose branch is bypassed, then class maps and their mean."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU())
            self.branch = nn.Conv2d(6, 6, 3, padding=1)
            self.head = nn.Conv2d(6, CLASSES, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.stem(x)
            return self.head(torch.relu(x + self.branch(x))).mean((2, 3))

    with torch.random.fork_rng():
        torch.manual_seed(1)
        return model_of(Net(), (3, 16, 16), CLASSES, "net")


@pytest.fixture(scope="module")
def images() -> Images:
    draw = torch.Generator().manual_seed(0)
    pixels = torch.rand(6, 3, 16, 16, generator=draw)
    return Images.from_tensor(pixels, torch.arange(6) % CLASSES, classes=tuple("abcd"), name="noise")


def table(result: Result) -> dict[str, list]:
    (exhibit,) = [e for e in result.exhibits if isinstance(e, Table)]
    return {str(row[0]): row for row in exhibit.rows}


def test_layers_that_all_paths_lead_through_are_complete_and_a_branch_is_not(images: Images) -> None:
    result = run("conductance", residual(), images, layers="stem.1,branch,/relu", steps=64)
    rows = table(result)
    assert rows["stem.1"][3] == pytest.approx(1, abs=0.01)
    assert rows["/relu"][3] == pytest.approx(1, abs=0.01)
    assert abs(rows["branch"][3] - 1) > 0.05
    assert result.numbers["completeness_error"].value < 0.01
    assert "do not include paths that bypass them" in result.exhibits[-1].caption


def test_the_layers_are_chosen_without_class_maps_and_the_last_is_shown(images: Images) -> None:
    result = run("conductance", residual(), images, steps=8, channels=3, examples=2)
    assert "head" not in table(result)
    grid, chart, _ = result.exhibits
    assert isinstance(grid, ImageGrid)
    assert isinstance(chart, Chart)
    assert "/relu" in grid.title
    assert len(grid.images) == 2 * (1 + 3)
    fractions = [float(label.split(": ")[1].rstrip("%")) / 100 for label in grid.labels if label]
    assert sum(map(abs, fractions)) / 2 == pytest.approx(grid.facts["fraction"], abs=0.02)


def test_several_layers_by_the_same_passes_are_each_layer_by_itself(images: Images) -> None:
    model, pixels, classes = residual(), images.pixels()[:2], torch.tensor([0, 3])
    both = layer_conductances(model, pixels, classes, ["stem.0", "/relu"], steps=7, baseline=0.5)
    for layer, values in both.items():
        torch.testing.assert_close(
            values, layer_conductance(model, pixels, classes, layer, steps=7, baseline=0.5)
        )


def test_a_unit_is_explained_by_the_layers_before_it(images: Images) -> None:
    result = run("conductance", residual(), images, target="branch:2:4,4", steps=16)
    assert set(table(result)) <= {"stem.0", "stem.1"}
    with pytest.raises(UserError, match="no layer comes before"):
        run("conductance", residual(), images, target="stem.0:1", steps=16)


def test_too_few_steps_are_warned_of_with_the_parameter_to_raise(images: Images) -> None:
    class Power(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 196, CLASSES))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (3 * self.net(x)) ** 4

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = model_of(Power(), (3, 16, 16), CLASSES, "net")
    result = run("conductance", model, images, layers="net.1", steps=2)
    assert any("raise steps, as in --steps 8" in line for line in result.warnings)


def test_findings_of_known_conductances() -> None:
    layer = residual().layers.find("stem.1")
    values = np.zeros((6, 16, 16))
    values[0, 0, 0], values[1, 2, 2], values[2, 3, 3] = 6.0, -3.0, 1.0
    f = LayerFindings.of(layer, [values, values], torch.tensor([4.0, 4.0], dtype=torch.float64))
    assert channel_sums(values).tolist() == [6, -3, 1, 0, 0, 0]
    assert (f.total, f.error, f.half, f.negative) == pytest.approx((1, 0, 1 / 6, 0.3))
    assert f.curve.tolist() == pytest.approx([0.6, 0.9, 1, 1, 1, 1])
    assert layer_caption([f], "the score of a") == (
        "Half of the conductance of the score of a passes through 17% of the 6 channels of stem.1. Magnitudes of channels, "
        "the largest first; means over the images."
    )
