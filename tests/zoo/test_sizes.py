"""Parameter counts, map sizes and outputs of the architectures against papers and textbooks."""

import pytest
import torch
from torch import nn

from probe.errors import UserError
from probe.zoo import architectures, build

SIZES = {
    "lenet5": 61_706,
    "lenet5-sigmoid": 61_706,
    "lenet5-maxpool": 61_706,
    "lenet5-relu": 61_706,
    "lenet5-keras": 44_426,
    "dense-baseline": 61_706,
    "mnist-convnet": 3_274_634,
    "strided-convnet": 662_786,
    "cifar-convnet": 703_594,
    "cifar-convnet-gmp": 179_306,
    "alexnet-cifar": 22_589_642,
    "zfnet": 62_357_608,
    "text-convnet": 1_315_937,
} | {
    f"{kind}{depth}": count
    for kind in ("resnet", "plain")
    for depth, count in {20: 269_722, 32: 464_154, 44: 658_586, 56: 853_018, 110: 1_727_962}.items()
}


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def example(name: str, channels: int | None = None) -> torch.Tensor:
    shape = architectures()[name].shape
    generator = torch.Generator().manual_seed(0)
    if len(shape) == 1:
        return torch.randint(10_000, (2, *shape), generator=generator)
    return torch.rand(2, channels or shape[0], *shape[1:], generator=generator)


@pytest.mark.parametrize("name", SIZES)
def test_a_network_has_exactly_its_published_number_of_parameters(name):
    assert parameters(build(name)) == SIZES[name]


def test_alexnet_for_cifar_has_704_running_statistics():
    state = build("alexnet-cifar").state_dict()
    whole = sum(value.numel() for key, value in state.items() if "num_batches" not in key)
    assert whole == 22_590_346


def test_the_layers_of_keras_lenet_have_the_sizes_of_its_summary():
    network = build("lenet5-keras")
    assert [n for layer in network.children() if (n := parameters(layer))] == [
        156,
        2_416,
        30_840,
        10_164,
        850,
    ]


@pytest.mark.parametrize("channels", [1, 3])
def test_the_dense_baseline_is_exactly_as_large_as_lenet(channels):
    for classes in (10, 7):
        lenet, dense = (build(n, classes=classes, channels=channels) for n in ("lenet5", "dense-baseline"))
        assert parameters(dense) == parameters(lenet)
        assert sum(isinstance(layer, nn.Linear) for layer in dense.modules()) == 7


def test_the_dense_baseline_stays_within_a_twentieth_of_lenet_for_other_channel_counts():
    for channels in (2, 4, 5):
        lenet, dense = (build(n, channels=channels) for n in ("lenet5", "dense-baseline"))
        assert abs(parameters(dense) / parameters(lenet) - 1) < 0.05


def test_batch_norm_replaces_704_biases_by_scales_and_shifts():
    widths = 64 + 64 + 384 + 192
    assert parameters(build("conv2-bn")) - parameters(build("conv2")) == 2 * widths - widths


def test_the_small_vgg_fits_into_five_megabytes_with_its_statistics():
    state = build("vgg-small").state_dict()
    assert sum(value.nbytes for value in state.values()) < 5_000_000
    assert parameters(build("vgg-small")) < 1_100_000


@pytest.mark.parametrize("name", ["densenet-cifar", "mobilenet-cifar"])
def test_the_compact_networks_have_between_a_fifth_and_four_fifths_of_a_million_parameters(name):
    assert 200_000 < parameters(build(name)) < 800_000


@pytest.mark.parametrize("name", [name for name in architectures() if name != "zfnet"])
def test_a_network_has_one_logit_per_class_for_any_classes_and_channels(name):
    entry = architectures()[name]
    for classes, channels in ((entry.classes, None), (3, 1), (4, 2)):
        network = build(name, classes=classes, channels=channels if entry.takes_images else None).eval()
        with torch.inference_mode():
            logits = network(example(name, channels))
        assert logits.shape == (2, classes)
        assert logits.isfinite().all()
        assert not torch.equal(logits[0], logits[1]), "the logits must depend on the input"


@pytest.mark.parametrize(
    "name", [n for n, entry in architectures().items() if entry.any_size and entry.takes_images]
)
def test_a_network_of_any_size_takes_other_heights_and_widths(name):
    with torch.inference_mode():
        assert build(name).eval()(torch.rand(1, 3, 40, 52)).shape == (1, 10)


def test_zfnet_has_the_maps_of_the_papers_figure_three():
    with torch.device("meta"):
        x, network = torch.empty(1, 3, 224, 224), build("zfnet")
    sides = {}
    for address, layer in network.named_children():
        x = layer(x)
        sides[address] = tuple(x.shape[1:])
    assert sides["conv1"] == (96, 110, 110)
    assert sides["pool1"] == (96, 55, 55)
    assert sides["conv2"] == (256, 26, 26)
    assert sides["pool2"] == (256, 13, 13)
    assert sides["conv3"] == sides["conv4"] == (384, 13, 13)
    assert sides["conv5"] == (256, 13, 13)
    assert sides["pool5"] == (256, 6, 6)
    assert tuple(x.shape) == (1, 1000)


WINDOWS = nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d


@pytest.mark.parametrize(
    "name", [n for n, entry in architectures().items() if entry.takes_images and n != "dense-baseline"]
)
def test_the_output_width_of_every_convolution_and_pooling_is_floor_of_w_minus_f_plus_2p_over_s_plus_1(name):
    def first(value: int | str | tuple[int, ...]) -> int:
        return int(value[0]) if isinstance(value, tuple) else int(value)

    widths = []

    def compare(layer: WINDOWS, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        width, size, stride, padding = (
            inputs[0].shape[-1],
            *map(first, (layer.kernel_size, layer.stride, layer.padding)),
        )
        widths.append((output.shape[-1], (width - size + 2 * padding) // stride + 1))

    with torch.device("meta"):
        network = build(name).eval()
        for layer in network.modules():
            if isinstance(layer, WINDOWS):
                layer.register_forward_hook(compare)
        network(torch.empty(2, *architectures()[name].shape))
    assert len(widths) >= 2
    assert all(real == formula for real, formula in widths)


@pytest.mark.parametrize("name", [n for n, entry in architectures().items() if entry.takes_images])
def test_a_convolution_has_c_times_ffd_plus_1_parameters_less_the_bias_before_batch_norm(name):
    for layer in build(name).modules():
        if isinstance(layer, nn.Conv2d):
            depth = layer.in_channels // layer.groups
            size, bias = layer.kernel_size[0], layer.bias is not None
            assert parameters(layer) == layer.out_channels * (size * size * depth + bias)


def test_a_convolution_worked_out_by_hand():
    patch = torch.tensor([[150.0, 0, 40], [70, 210, 130], [80, 60, 120]])
    convolution, kernel = nn.Conv2d(1, 1, 2, bias=False), torch.tensor([[0.25, 0.75], [0.60, 0.30]])
    convolution.weight.data.copy_(kernel)
    maps = convolution(patch[None, None])
    # 150/4 + 0 + 70 * 0.6 + 210 * 0.3 = 37.5 + 42 + 63 and so on
    torch.testing.assert_close(maps[0, 0], torch.tensor([[142.5, 195], [241, 222]]))
    assert nn.AvgPool2d(2)(maps).item() == pytest.approx(200.125)
    assert nn.MaxPool2d(2)(maps).item() == pytest.approx(241)


def test_a_depth_without_whole_blocks_is_refused_in_one_line():
    for name, depth in (("resnet20", 21), ("plain56", 2), ("densenet-cifar", 41)):
        with pytest.raises(UserError, match=rf"depth must be 6 n \+ \d, such as .* got {depth}$"):
            build(name, depth=depth)
