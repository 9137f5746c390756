"""Anatomies whose figures are in the books."""

import pytest
import torch
from torch import nn

from probe.data.images import Images
from probe.exhibits.exhibits import Chart, Table
from probe.runs.execute import run
from probe.zoo import architecture, build
from tests.conftest import model_of


def anatomy(network: nn.Module, shape, classes: int, **parameters):
    blank = Images.from_tensor(torch.zeros(1, *shape), name="blank")
    return run("anatomy", model_of(network, shape, classes), blank, **parameters)


def exhibit(result, title: str):
    return next(one for one in result.exhibits if one.title.startswith(title))


def test_lenet5_has_the_sizes_of_the_book_and_its_third_convolution_sees_the_whole_image():
    result = anatomy(build("lenet5"), (1, 32, 32), 10)
    table = exhibit(result, "Layers")
    assert isinstance(table, Table)
    assert [(row[0], row[2], row[3], row[4]) for row in table.rows if row[1] == "Conv2d"] == [
        ("conv1", "6 x 28 x 28", 156, 117_600),
        ("conv2", "16 x 10 x 10", 2_416, 240_000),
        ("conv3", "120 x 1 x 1", 48_120, 48_000),
    ]
    assert "3 of 3 convolutions are those of the closed formulas" in table.caption
    fields = exhibit(result, "Receptive fields")
    assert isinstance(fields, Chart)
    assert fields.lines[0].y.tolist() == [5, 6, 14, 16, 32]
    assert "sees less than the whole side is pool2" in fields.caption
    assert result.warnings == []


def test_alexnet_keeps_96_percent_of_its_parameters_in_dense_layers():
    from torchvision.models import alexnet

    result = anatomy(alexnet(), (3, 224, 224), 1000)
    assert result.numbers["parameters"].value == 61_100_840
    dense = 9216 * 4096 + 4096 + 4096 * 4096 + 4096 + 4096 * 1000 + 1000
    assert result.numbers["share of parameters in dense layers"].value == pytest.approx(dense / 61_100_840)


@pytest.mark.parametrize("name", ["conv2-bn", "plain20", "densenet-cifar", "mobilenet-cifar", "vgg-small"])
def test_every_convolution_of_the_zoo_costs_what_the_formulas_say(name):
    found = architecture(name)
    result = anatomy(build(name), found.shape, found.classes)
    assert result.warnings == []
    shares = exhibit(result, "Where parameters")
    assert isinstance(shares, Chart)
    for line in shares.lines:
        assert float(line.y.sum()) == pytest.approx(1)


def test_a_network_without_convolutions_has_an_anatomy_too():
    result = anatomy(build("dense-baseline"), (1, 32, 32), 10)
    assert [one.title for one in result.exhibits] == ["Layers", "Where parameters and multiplications sit"]
    assert result.numbers["share of parameters in dense layers"].value == 1
