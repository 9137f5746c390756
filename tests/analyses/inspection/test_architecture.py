"""Architectures whose sizes and costs are published, and the captions of `architecture`."""

import pytest
import torch
from torch import nn

from probe.analyses.inspection import architecture_captions as captions
from probe.data.images import Images
from probe.exhibits.exhibits import Chart, Exhibit, Table
from probe.exhibits.result import Result
from probe.runs.execute import run
from probe.zoo import architecture, build
from tests.conftest import model_of


def result_of(network: nn.Module, shape, classes: int, **parameters) -> Result:
    blank = Images.from_tensor(torch.zeros(1, *shape), name="blank")
    return run("architecture", model_of(network, shape, classes), blank, **parameters)


def exhibit(result: Result, title: str) -> Exhibit:
    return next(e for e in result.exhibits if e.title.startswith(title))


def test_lenet5_has_the_published_sizes_and_its_third_convolution_covers_the_image():
    result = result_of(build("lenet5"), (1, 32, 32), 10)
    table = exhibit(result, "Layers")
    assert isinstance(table, Table)
    assert [(row[0], row[2], row[3], row[4]) for row in table.rows if row[1] == "Conv2d"] == [
        ("conv1", "6 x 28 x 28", 156, 117_600),
        ("conv2", "16 x 10 x 10", 2_416, 240_000),
        ("conv3", "120 x 1 x 1", 48_120, 48_000),
    ]
    assert table.facts["convolutions"] == 3
    assert table.facts["mismatches"] == 0
    fields = exhibit(result, "Receptive fields")
    assert isinstance(fields, Chart)
    assert fields.lines[0].y.tolist() == [5, 6, 14, 16, 32]
    assert fields.lines[1].y.tolist() == [32] * 5
    assert result.warnings == []


def test_alexnet_has_96_percent_of_its_parameters_in_dense_layers():
    from torchvision.models import alexnet

    result = result_of(alexnet(), (3, 224, 224), 1000)
    assert result.numbers["parameters"].value == 61_100_840
    dense = 9216 * 4096 + 4096 + 4096 * 4096 + 4096 + 4096 * 1000 + 1000
    assert result.numbers["dense_parameter_fraction"].value == pytest.approx(dense / 61_100_840)


@pytest.mark.parametrize("name", ["conv2-bn", "plain20", "densenet-cifar", "mobilenet-cifar", "vgg-small"])
def test_every_convolution_of_the_zoo_costs_what_the_formulas_give(name):
    entry = architecture(name)
    result = result_of(build(name), entry.shape, entry.classes)
    assert result.warnings == []
    chart = exhibit(result, "Parameters and MACs")
    assert isinstance(chart, Chart)
    for line in chart.lines:
        assert float(line.y.sum()) == pytest.approx(1)


def test_compact_structures_are_compared_with_plain_convolutions():
    result = result_of(build("mobilenet-cifar"), (3, 32, 32), 10)
    table = exhibit(result, "Structures that save weights")
    assert isinstance(table, Table)
    weights, plain = (sum(int(row[column] or 0) for row in table.rows) for column in (2, 3))
    assert result.numbers["compact_weight_ratio"].value == pytest.approx(weights / plain)
    assert table.facts == {"weights": weights, "plain_weights": plain}


def test_a_network_without_convolutions_has_layers_and_costs_too():
    result = result_of(build("dense-baseline"), (1, 32, 32), 10)
    assert [e.title for e in result.exhibits] == ["Layers", "Parameters and MACs by kind of layer"]
    assert result.numbers["dense_parameter_fraction"].value == 1


COST = captions.CostFindings(
    model="net",
    parameters=1200,
    macs=34_000,
    costliest="conv1",
    mac_fraction=0.75,
    largest="fc",
    parameter_fraction=0.5,
    convolutions=2,
    mismatches=0,
    unlisted=0,
    unlisted_macs=0,
)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {},
            "The costliest layer, conv1, takes 75.0% of the MACs; the largest, fc, holds 50.0% of the parameters.",
        ),
        ({"largest": "conv1"}, "conv1 takes 75.0% of the MACs and holds 50.0% of the parameters."),
        ({}, "The cost of every convolution agrees with the closed formulas."),
        ({"mismatches": 1}, "1 of 2 convolutions does not cost what the closed formulas give."),
        ({"unlisted": 1}, "Not listed is 1 layer with no MACs."),
        (
            {"unlisted": 7, "unlisted_macs": 1200},
            "Not listed are 7 layers with at most 1,200 MACs each.",
        ),
    ],
)
def test_the_caption_of_the_costs_names_the_costliest_and_the_largest_layer(changes, words):
    assert words in captions.cost_caption(captions.CostFindings(**{**vars(COST), **changes}))


def test_the_caption_of_a_network_without_convolutions_mentions_no_formulas():
    findings = captions.CostFindings(**{**vars(COST), "convolutions": 0})
    assert "formula" not in captions.cost_caption(findings)


def test_the_caption_of_the_receptive_fields_names_the_last_layer_that_is_local():
    findings = captions.ReceptiveFieldFindings(
        last="conv3", receptive_field=32, image_side=32, last_local="pool2"
    )
    text = captions.receptive_field_caption(findings)
    assert "The last layer with a receptive field smaller than the image is pool2." in text
    covering = captions.ReceptiveFieldFindings(last="fc", receptive_field=9, image_side=8, last_local="")
    assert "every layer covers the image" in captions.receptive_field_caption(covering)


class Functional(nn.Module):
    """Pools and flattens by functions."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.fc = nn.Linear(4 * 3 * 3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pooled = nn.functional.max_pool2d(torch.relu(self.conv(x)), 2)
        return self.fc(pooled.flatten(1))


def test_layers_that_are_functions_are_listed_and_have_receptive_fields():
    result = result_of(Functional(), (1, 8, 8), 2)
    table, fields = exhibit(result, "Layers"), exhibit(result, "Receptive fields")
    assert isinstance(table, Table)
    assert isinstance(fields, Chart)
    assert [row[:2] for row in table.rows] == [
        ["conv", "Conv2d"],
        ["/max_pool2d", "MaxPool2d"],
        ["fc", "Linear"],
    ]
    assert fields.lines[0].y.tolist() == [3, 4]
