"""Receptive fields against what gradients reach."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from probe.model.observer import activations
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
def test_the_receptive_field_is_where_the_gradient_is_non_zero(name: str) -> None:
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


def test_multiply_accumulates_are_those_that_torch_counts() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    network = nn.Sequential(
        nn.Conv2d(3, 8, 5, stride=2, padding=2),
        nn.Conv2d(8, 8, 3, groups=4, dilation=2),
        nn.ConvTranspose2d(8, 6, 3, stride=2),
        nn.ConvTranspose2d(6, 4, 2, groups=2),
        nn.Flatten(1, 2),
        nn.Linear(10, 7),
        Apply(lambda x: x @ x.transpose(1, 2)),
    ).eval()
    with FlopCounterMode(display=False) as counter:
        network(torch.rand(1, 3, 16, 16))
    layers = trace_layers(network, (3, 16, 16), "net")
    assert 2 * sum(layer.macs for layer in layers if layer.leaf) == counter.get_total_flops() > 0


def test_a_unit_behind_global_pooling_sees_the_whole_image() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    field = trace_layers(network, (3, 16, 20), "net").find("3").receptive_field
    assert field is not None
    assert field.box(0, 0, 16, 20) == (0, 0, 20, 16)


class Gate(nn.Module):
    """Squeeze and excitation: every unit of what follows sees the whole image."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.gate, self.after = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.before(x)
        return self.after(x * self.gate(x.mean((2, 3), keepdim=True)).sigmoid())


class Apply(nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def between(function) -> nn.Module:
    """`function` between two convolutions of 14 x 14 maps."""
    return nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), Apply(function), nn.Conv2d(4, 4, 3, bias=False))


def resampled(x: Tensor) -> Tensor:
    grid = F.affine_grid(
        torch.eye(2, 3)[None].expand(len(x), -1, -1) * 0.5, list(x.shape), align_corners=False
    )
    return F.grid_sample(x, grid, align_corners=False)


def channels_last(x: Tensor) -> Tensor:
    """A linear layer over the channels, as ConvNeXt has it."""
    return F.gelu(F.linear(x.permute(0, 2, 3, 1), torch.ones(4, 4))).permute(0, 3, 1, 2)


def permuted_channels(x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    return x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


EXACT = {
    "gate": Gate(),
    "group norm": nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.Conv2d(4, 4, 3)),
    "instance norm": nn.Sequential(nn.Conv2d(3, 4, 3), nn.InstanceNorm2d(4), nn.Conv2d(4, 4, 3)),
    "layer norm over space": nn.Sequential(nn.Conv2d(3, 4, 3), nn.LayerNorm([4, 14, 14]), nn.Conv2d(4, 4, 3)),
    "mean over one axis": between(lambda x: x + x.mean(3, keepdim=True)),
    "softmax over channels": between(lambda x: x.softmax(1)),
    "softmax over rows": between(lambda x: x.softmax(2)),
    "channels last": between(channels_last),
    "permuted channels": between(permuted_channels),
    "channels chosen": between(lambda x: x[:, [3, 1, 2, 0]]),
    "chunks": between(lambda x: torch.cat([part.relu() for part in x.chunk(2, 1)], 1)),
    "flattened and back": nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 196, 6)),
    "cut at the start": between(lambda x: x[:, :, 3:, 2:]),
    "cut from the end": between(lambda x: x[:, :, -9:, -12::2]),
    "padded unevenly": between(lambda x: F.pad(x, (1, 0, 2, 1))),
    "padded by reflection": between(lambda x: F.pad(x, (0, 0, 0, 1), mode="replicate")[:, :, 1:]),
    "a dimension more and less": between(lambda x: x.unsqueeze(2).relu().squeeze(2)),
    "one of one frame": between(lambda x: x.unsqueeze(1)[:, 0]),
    "transposed and back": between(lambda x: x.transpose(1, 3).relu().transpose(1, 3)),
    "mean over channels": between(lambda x: x + x.mean(1, keepdim=True)),
    "maximum over channels": between(lambda x: x * x.amax(1).unsqueeze(1)),
    "branches side by side": between(lambda x: torch.cat([x, F.avg_pool2d(x, 3, 1, 1)], 1)[:, ::2]),
    "pooling with dilation": between(nn.MaxPool2d((2, 1), 1, dilation=(3, 1))),
    "adaptive pooling to half": between(nn.AdaptiveAvgPool2d(7)),
    "layer norm over rows": nn.Sequential(nn.Conv2d(3, 4, 3), nn.LayerNorm(14), nn.Conv2d(4, 4, 3)),
    "statistics of the batch": between(nn.BatchNorm2d(4, track_running_stats=False)),
}
INEXACT = {
    "roll": between(lambda x: x.roll(3, 2)),
    "flip": between(lambda x: x.flip(3)),
    "rot90": between(lambda x: x.rot90(1, (2, 3))),
    "height and width transposed": between(lambda x: x.transpose(2, 3)),
    "rows chosen": between(lambda x: x.index_select(2, torch.arange(13, -1, -1))),
    "cumsum": between(lambda x: x.cumsum(3)),
    "sort": between(lambda x: x.sort(2).values),
    "grid_sample": between(resampled),
    "upsampled": nn.Sequential(nn.Conv2d(3, 4, 3), nn.Upsample(scale_factor=2), nn.Conv2d(4, 4, 3)),
    "transposed convolution": nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ConvTranspose2d(4, 4, 2, 2), nn.Conv2d(4, 4, 3)
    ),
    "branches of unequal stride": between(lambda x: x[:, :, :7, :7] + x[:, :, ::2, ::2]),
    "reshaped across": between(lambda x: x.reshape(len(x), 4, 7, 28)),
    "rows indexed": between(lambda x: x[:, :, list(range(13, -1, -1))]),
    "halves of the rows exchanged": between(lambda x: torch.cat(x.chunk(2, 2)[::-1], 2)),
    "means of columns": between(lambda x: x.mean(3).unsqueeze(3).expand(-1, -1, -1, 14)),
    "a mean of each row": nn.Sequential(nn.Conv2d(3, 4, 3), Apply(lambda x: x.mean(3))),
    "adaptive pooling to 9 of 14": between(nn.AdaptiveAvgPool2d(9)),
}


def reach(network: nn.Module, index: tuple[int, ...], side: int = 16) -> tuple[int, int, int, int]:
    """The box of the pixels that the gradient of one position reaches, over several images."""
    boxes = []
    for seed in range(3):
        image = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(seed)).requires_grad_()
        (gradient,) = torch.autograd.grad(network(image)[(0, slice(None), *index)].square().sum(), image)
        rows, columns = torch.nonzero(gradient[0].abs().sum(0), as_tuple=True)
        boxes.append((int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1))
    return tuple(fold(b) for fold, b in zip((min, min, max, max), zip(*boxes, strict=True), strict=True))


@pytest.mark.parametrize("name", [*EXACT, *INEXACT])
def test_the_box_holds_what_the_gradient_reaches_and_is_it_where_it_claims_to_be_exact(name: str) -> None:
    torch.manual_seed(1)
    network = (EXACT | INEXACT)[name].eval()
    layer = trace_layers(network, (3, 16, 16), name)[-1]
    field = layer.receptive_field
    assert field is not None
    assert field.exact == (name in EXACT)
    positions = [(0, 0), (2, 3), (layer.shape[1] - 1, layer.shape[2] - 1)] if layer.spatial else [()]
    for position in positions:
        left, top, right, bottom = reach(network, position)
        box = field.box(*(position or (0, 0)), 16, 16)
        assert box[0] <= left
        assert box[1] <= top
        assert right <= box[2]
        assert bottom <= box[3]
        assert not field.exact or box == (left, top, right, bottom)


@pytest.mark.parametrize("name", ["efficientnet_b0", "convnext_tiny", "mobilenet_v3_small", "regnet_y_400mf"])
def test_every_layer_of_modern_networks_has_a_field_that_holds_its_gradient(name: str) -> None:
    import torchvision

    network = torchvision.models.get_model(name, weights=None).eval()
    layers = trace_layers(network, (3, 96, 96), name)
    assert all(layer.receptive_field is not None for layer in layers)
    assert all(layer.receptive_field.exact for layer in layers if layer.spatial), (
        "no operator of theirs is unknown"
    )
    maps = [layer for layer in layers if layer.spatial and layer.leaf and layer.shape[1] > 1]
    for layer in maps[:: max(1, len(maps) // 12)]:
        image = torch.rand(1, 3, 96, 96, requires_grad=True)
        recorded = activations(network, image, [layer.address])[layer.address]
        (gradient,) = torch.autograd.grad(recorded[0, :, 0, 1].sum(), image)
        rows, columns = torch.nonzero(gradient[0].abs().sum(0), as_tuple=True)
        left, top, right, bottom = layer.receptive_field.box(0, 1, 96, 96)
        assert left <= int(columns.min())
        assert int(columns.max()) < right
        assert top <= int(rows.min())
        assert int(rows.max()) < bottom
