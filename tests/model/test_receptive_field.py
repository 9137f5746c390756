"""Receptive fields against what gradients reach."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from probe.model.tracing import trace_layers


class Skip(nn.Module):
    """A strided skip that slices and pads, as parameter-free shortcuts do."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.end = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        skip = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, 1))
        return self.end(self.second(F.relu(self.first(x))) + skip)


NETWORKS = {
    "plain": nn.Sequential(nn.Conv2d(3, 4, 5, stride=2, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3)),
    "pooled": nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.AvgPool2d(3, 2, 1), nn.Conv2d(4, 4, 3, dilation=2)
    ),
    "shortcut": Skip(),
    "oblong": nn.Sequential(nn.Conv2d(3, 4, (1, 5), stride=(1, 2)), nn.Conv2d(4, 4, (3, 1), padding=(1, 0))),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_unit_sees_exactly_the_pixels_that_its_gradient_reaches(name: str) -> None:
    network = NETWORKS[name].eval()
    for parameter in network.parameters():
        parameter.data.abs_().add_(0.1)
    layer = trace_layers(network, (3, 32, 32), name)[-1]
    assert layer.receptive_field is not None
    rows, columns = layer.shape[1:]
    for row, column in [(0, 0), (rows // 2, columns // 2), (rows - 1, columns - 1), (1, columns - 2)]:
        image = torch.rand(1, 3, 32, 32, requires_grad=True)
        (reached,) = torch.autograd.grad(network(image)[0, :, row, column].sum(), image)
        ys, xs = torch.nonzero(reached[0].abs().sum(0), as_tuple=True)
        found = (int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1)
        assert layer.receptive_field.box(row, column, 32, 32) == found


def test_published_sizes_of_torchvision_networks() -> None:
    # Araujo et al. 2019, "Computing receptive fields of convolutional neural networks", table 1. (Its ResNet-50
    # strides in the 1 x 1 convolutions, torchvision's in the 3 x 3 ones.)
    import torchvision

    published = {
        "alexnet": ("features.12", 195),
        "vgg16": ("features.30", 212),
        "inception_v3": ("Mixed_7c", 1311),
    }
    for name, (address, size) in published.items():
        options = {"init_weights": False} if name == "inception_v3" else {}
        layers = trace_layers(
            torchvision.models.get_model(name, weights=None, **options).eval(), (3, 299, 299), name
        )
        field = layers.find(address).receptive_field
        assert field is not None
        assert field.size == (size, size), name


def test_multiply_accumulates_follow_the_closed_formula() -> None:
    layers = trace_layers(
        nn.Sequential(nn.Conv2d(3, 8, 5, padding=2), nn.Flatten(), nn.Linear(8 * 64, 10)), (3, 8, 8), "net"
    )
    assert layers.find("0").macs == 5 * 5 * 3 * 8 * 8 * 8
    assert layers.find("2").macs == 8 * 64 * 10


def test_a_unit_behind_global_pooling_sees_the_whole_image() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    field = trace_layers(network, (3, 16, 20), "net").find("3").receptive_field
    assert field is not None
    assert field.box(0, 0, 16, 20) == (0, 0, 20, 16)


def test_what_cannot_be_known_is_not_guessed() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Upsample(scale_factor=2), nn.Conv2d(4, 4, 3))
    assert trace_layers(network, (3, 16, 16), "net")[-1].receptive_field is None
