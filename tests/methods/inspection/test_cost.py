"""The closed formulas of cost agree with the weights and products counted on modules."""

import pytest
import torch
from torch import nn

from probe.methods.inspection import cost
from probe.zoo import build
from tests.conftest import model_of


def weights(*modules: nn.Conv2d) -> int:
    return sum(module.weight.numel() for module in modules)


@pytest.mark.parametrize("channels", [8, 24])
def test_three_stacked_3x3_filters_take_27_c_squared_weights_and_one_7x7_takes_49(channels):
    small = weights(*(nn.Conv2d(channels, channels, 3) for _ in range(3)))
    large = weights(nn.Conv2d(channels, channels, 7))
    assert (small, large) == (27 * channels**2, 49 * channels**2)
    assert cost.stack_ratio(3, 3) == small / large


def test_a_bottleneck_of_half_the_channels_takes_3_and_a_quarter_c_squared_weights_instead_of_9():
    c = 16
    narrow = weights(nn.Conv2d(c, c // 2, 1), nn.Conv2d(c // 2, c // 2, 3), nn.Conv2d(c // 2, c, 1))
    assert narrow == 3.25 * c**2
    assert cost.bottleneck_ratio(0.5) == pytest.approx(narrow / weights(nn.Conv2d(c, c, 3)), rel=1e-12)


@pytest.mark.parametrize(("in_channels", "out_channels", "kernel"), [(8, 12, 3), (16, 64, 5)])
def test_a_depthwise_separable_convolution_takes_one_nth_and_one_over_k_squared(
    in_channels, out_channels, kernel
):
    separable = weights(
        nn.Conv2d(in_channels, in_channels, kernel, groups=in_channels),
        nn.Conv2d(in_channels, out_channels, 1),
    )
    plain = weights(nn.Conv2d(in_channels, out_channels, kernel))
    assert separable / plain == pytest.approx(1 / out_channels + 1 / kernel**2, rel=1e-12)
    assert cost.separable_ratio(out_channels, kernel) == pytest.approx(separable / plain, rel=1e-12)


@pytest.mark.parametrize(
    "options", [{}, {"stride": 2}, {"padding": 2, "dilation": 2}, {"groups": 4, "padding": "same"}]
)
def test_the_formulas_agree_with_the_counted_cost_of_a_convolution(options):
    model = model_of(
        nn.Sequential(nn.Conv2d(4, 8, 3, **options), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2)),
        (4, 17, 14),
        2,
    )
    (conv,) = cost.convolutions(model)
    layer = model.layers.find("0")
    assert conv.formula_cost() == cost.ConvolutionCost(layer.parameters, layer.macs, layer.shape[1:])


def test_every_block_of_mobilenet_is_separable_with_the_ratio_of_the_formula():
    blocks = cost.compact_blocks(cost.convolutions(model_of(build("mobilenet-cifar"), (3, 32, 32), 10)))
    assert [block.structure for block in blocks] == ["depthwise separable"] * 7
    for block in blocks:
        assert block.weights / block.plain_weights == pytest.approx(block.formula_ratio, rel=1e-12)


def test_bottlenecks_groups_and_stacks_are_distinguished():
    network = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        *(nn.Conv2d(16, 16, 3, padding=1) for _ in range(3)),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 16, 3, padding=1),
        nn.Conv2d(16, 4, 1),
        nn.Conv2d(4, 4, 3, padding=1),
        nn.Conv2d(4, 16, 1),
        nn.Conv2d(16, 32, 3, padding=1, groups=4),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 2),
    )
    blocks = cost.compact_blocks(cost.convolutions(model_of(network, (3, 16, 16), 2)))
    assert [(block.structure, block.layers) for block in blocks] == [
        ("3 stacked 3 x 3", ("1", "2", "3")),
        ("bottleneck", ("6", "7", "8")),
        ("4 groups", ("9",)),
    ]
    for block in blocks:
        assert block.weights / block.plain_weights == pytest.approx(block.formula_ratio, rel=1e-12)


def test_listing_convolutions_leaves_nothing_on_the_network(convnet):
    cost.convolutions(convnet)
    assert all(not module._forward_hooks for module in convnet.network.modules())
    broken = model_of(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(5, 4, 3)), (3, 8, 8), 2)
    with pytest.raises(RuntimeError):
        cost.convolutions(broken)
    assert all(not module._forward_hooks for module in broken.network.modules())
    assert torch.is_grad_enabled()
