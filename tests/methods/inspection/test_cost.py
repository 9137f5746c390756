"""Closed formulas of costs against modules whose weights and products are counted."""

import pytest
import torch
from torch import nn

from probe.methods.inspection import cost as costs
from probe.zoo import build
from tests.conftest import model_of


def weights(*modules: nn.Conv2d) -> int:
    return sum(module.weight.numel() for module in modules)


@pytest.mark.parametrize("channels", [8, 24])
def test_three_small_filters_take_27_c_squared_where_a_large_one_takes_49(channels):
    small = weights(*(nn.Conv2d(channels, channels, 3) for _ in range(3)))
    large = weights(nn.Conv2d(channels, channels, 7))
    assert (small, large) == (27 * channels**2, 49 * channels**2)
    assert costs.stack_share(3, 3) == small / large


def test_a_bottleneck_through_half_of_the_channels_takes_3_and_a_quarter_c_squared_for_9():
    c = 16
    narrow = weights(nn.Conv2d(c, c // 2, 1), nn.Conv2d(c // 2, c // 2, 3), nn.Conv2d(c // 2, c, 1))
    assert narrow == 3.25 * c**2
    assert costs.bottleneck_share(0.5) == pytest.approx(narrow / weights(nn.Conv2d(c, c, 3)), rel=1e-12)


@pytest.mark.parametrize(("into", "out", "side"), [(8, 12, 3), (16, 64, 5)])
def test_a_depthwise_separable_convolution_takes_one_nth_and_one_over_k_squared(into, out, side):
    separable = weights(nn.Conv2d(into, into, side, groups=into), nn.Conv2d(into, out, 1))
    plain = weights(nn.Conv2d(into, out, side))
    assert separable / plain == pytest.approx(1 / out + 1 / side**2, rel=1e-12)
    assert costs.separable_share(out, side) == pytest.approx(separable / plain, rel=1e-12)


@pytest.mark.parametrize(
    "options", [{}, {"stride": 2}, {"padding": 2, "dilation": 2}, {"groups": 4, "padding": "same"}]
)
def test_the_formulas_of_a_convolution_agree_with_what_is_counted_on_it(options):
    model = model_of(
        nn.Sequential(nn.Conv2d(4, 8, 3, **options), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2)),
        (4, 17, 14),
        2,
    )
    (one,) = costs.convolutions(model)
    layer = model.layers.find("0")
    assert one.expected() == (layer.parameters, layer.macs, layer.shape[1:])


def test_every_block_of_mobilenet_is_found_to_be_separable_with_the_share_of_the_formula():
    found = costs.savings(costs.convolutions(model_of(build("mobilenet-cifar"), (3, 32, 32), 10)))
    assert [one.structure for one in found] == ["depthwise separable"] * 7
    for one in found:
        assert one.weights / one.plain == pytest.approx(one.share, rel=1e-12)


def test_bottlenecks_and_groups_and_stacks_are_told_apart():
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
    found = costs.savings(costs.convolutions(model_of(network, (3, 16, 16), 2)))
    assert [(one.structure, one.layers) for one in found] == [
        ("3 stacked 3 x 3", ("1", "2", "3")),
        ("bottleneck", ("6", "7", "8")),
        ("4 groups", ("9",)),
    ]
    for one in found:
        assert one.weights / one.plain == pytest.approx(one.share, rel=1e-12)


def test_nothing_is_left_on_a_network_whose_convolutions_were_listed(convnet):
    costs.convolutions(convnet)
    assert all(not module._forward_hooks for module in convnet.network.modules())
    broken = model_of(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(5, 4, 3)), (3, 8, 8), 2)
    with pytest.raises(RuntimeError):
        costs.convolutions(broken)
    assert all(not module._forward_hooks for module in broken.network.modules())
    assert torch.is_grad_enabled()
