"""What a stated number of seconds allows."""

from torch import nn

from probe.model.budget import affordable, forward_seconds
from probe.model.model import Model
from tests.conftest import model_of


def test_the_number_follows_the_cost_within_its_bounds(convnet: Model) -> None:
    each = 10 * forward_seconds(convnet)
    assert affordable(100.5 * each, convnet, passes=10, low=4, high=500) == 100
    assert affordable(100.5 * each, convnet, passes=10, low=4, high=50) == 50
    assert affordable(0.5 * each, convnet, passes=10, low=4, high=500) == 4


def test_convolutions_cost_their_multiplications_and_pointwise_layers_their_values() -> None:
    def seconds(*layers: nn.Module) -> float:
        return forward_seconds(model_of(nn.Sequential(*layers, nn.Flatten()), (3, 16, 16), 768, "test"))

    relu, conv = seconds(nn.ReLU()), seconds(nn.Conv2d(3, 3, 15, padding=7))
    assert conv > 10 * relu > 0
    assert seconds(nn.ReLU(), nn.ReLU()) > relu
