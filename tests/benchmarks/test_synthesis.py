"""Speed and memory of image optimisation. Ratios of processor time within one run, so that other work does not matter."""

import os
import subprocess
import sys
from time import process_time

import pytest
import torch
import torchvision

from probe.methods.synthesis.objectives import Channel
from probe.methods.synthesis.optimise import Schedule, activations, optimise
from probe.methods.synthesis.parametrisation import Fourier
from probe.methods.synthesis.precision import in_precision
from probe.methods.synthesis.style import Setting, Style, Weights, default_layers, transfer
from probe.methods.synthesis.transforms import RandomAffine
from probe.model.loading import load
from probe.model.model import Model
from probe.precision import computes_in_bf16
from tests.conftest import model_of

pytestmark = pytest.mark.slow

LAYER = "features.9"


@pytest.fixture(scope="module")
def shapes() -> Model:
    return load("vgg-shapes", device="cpu")


@pytest.fixture(scope="module")
def squeezenet() -> Model:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return model_of(torchvision.models.squeezenet1_0(weights=None), (3, 256, 256), 1000)


def test_a_sheet_of_64_channels_against_runs_one_by_one_through_the_whole_network(shapes: Model) -> None:
    """One by one as a plain script does it: every layer, with gradients of the weights, one image at a time."""
    channels = torch.arange(64) % 32
    parametrisation = Fourier(shapes.shape)
    steps, alone = 12, 4

    default = in_precision(shapes, {LAYER}, "auto")

    def batched(model: Model) -> None:
        size = shapes.batch(gradient=True)  # as maximise does
        for begin in range(0, 64, size):
            optimise(
                model,
                Channel(LAYER, channels[begin : begin + size]),
                parametrisation,
                Schedule(steps, RandomAffine.for_side(64)),
                start=list(range(64))[begin : begin + size],
            )

    network, transforms = shapes.network, RandomAffine.for_side(64)

    def one_by_one() -> None:
        for unit in range(alone):
            generator = torch.Generator().manual_seed(unit)
            variables = parametrisation.initialise(generator)[None].requires_grad_(True)
            optimiser = torch.optim.Adam([variables], lr=0.05)
            seen: dict[str, torch.Tensor] = {}
            handle = network.get_submodule(LAYER).register_forward_hook(
                lambda module, inputs, output, seen=seen: seen.update(out=output)
            )
            for _ in range(steps):
                drawn = transforms.sample(1, (64, 64), generator)
                network(shapes.normalise(transforms.apply(parametrisation.to_pixels(variables), drawn)))
                optimiser.zero_grad()
                (-seen["out"][0, unit].mean()).backward()
                optimiser.step()
            handle.remove()

    network.requires_grad_(True)
    try:
        one_by_one()
        started = process_time()
        one_by_one()
        single = (process_time() - started) / (alone * steps)
    finally:
        network.requires_grad_(False)
        network.zero_grad(set_to_none=True)

    def gain(model: Model) -> float:
        batched(model)
        started = process_time()
        batched(model)
        # One more gradient than steps: that of the starts, which tells whether a unit is dead.
        return single / ((process_time() - started) / (64 * steps))

    gains = {"float32": gain(shapes), "default": gain(default)}
    print(f"64 channels of {LAYER}, times the image-steps of one by one: {gains}")
    # In float32 one core is as busy with single images of 64 pixels as with a batch: the gain is that of stopping and
    # freezing, 1.9 times fewer operations. The passes alone, without the optimisation around them, take 1 / 2.2 of the
    # time of one by one, and 1 / 2.5 with folded batch norm.
    assert gains["float32"] >= 1.2
    assert gains["default"] >= (5 if computes_in_bf16(torch.device("cpu")) else 1.2)


def test_the_gain_of_stopping_at_the_layer_and_freezing_the_weights(shapes: Model) -> None:
    layers = ("features.2", "features.9", "features.23")
    for layer in layers:
        times = {}
        for kind in ("stopped and frozen", "whole"):
            shapes.network.requires_grad_(kind == "whole")
            wanted = [layer] if kind == "stopped and frozen" else [layer, ""]
            for attempt in range(3):
                pixels = torch.rand(16, 3, 64, 64).requires_grad_(True)
                started = process_time()
                read = activations(shapes, pixels, wanted)
                read[layer].mean((2, 3)).sum().backward()
                times[kind] = min(times.get(kind, 1e9), process_time() - started) if attempt else 1e9
        shapes.network.requires_grad_(False)
        shapes.network.zero_grad(set_to_none=True)
        gain = times["whole"] / times["stopped and frozen"]
        print(f"{layer}: {gain:.1f} times as fast as the whole network with gradients of its weights")
        assert gain > (1.2 if layer != layers[-1] else 1.0)


def test_style_transfer_takes_little_more_than_its_passes(squeezenet: Model) -> None:
    draw = torch.Generator().manual_seed(0)
    content, style = torch.rand(2, 1, 3, 256, 256, generator=draw)
    layers, steps = default_layers(squeezenet), 6

    def bare() -> float:
        started = process_time()
        for _ in range(steps):
            pixels = content.clone().requires_grad_(True)
            read = squeezenet.features(pixels, *layers.all)
            torch.autograd.grad(sum(value.mean() for value in read.values()), pixels)
        return process_time() - started

    def whole() -> float:
        """The difference of two runs, without what is done once for a picture."""
        seconds = []
        for count in (1, 1 + steps):
            started = process_time()
            transfer(
                squeezenet,
                content,
                [Style(style)],
                Setting(layers, Weights()),
                start=content,
                schedule=Schedule(count, keep_best=True),
            )
            seconds.append(process_time() - started)
        return seconds[1] - seconds[0]

    whole()
    ratio = min(whole() for _ in range(2)) / min(bare() for _ in range(2))
    print(f"style transfer at 256 pixels: {ratio:.2f} times its forward and backward passes")
    assert ratio <= 1.3


PEAK = """
import sys, torch
from torch import nn
from probe.methods.synthesis.dream import Octaves, dream
from probe.methods.synthesis.objectives import LayerEnergy
from tests.conftest import model_of
from tests.memory import peak_memory
network = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1),
                        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 4))
model = model_of(network, (3, 64, 64), 4)
height, width = int(sys.argv[1]), int(sys.argv[2])
picture = torch.rand(1, 3, height, width)
dream(model, picture, LayerEnergy("4"), Octaves(2, steps=2, tile=256), seed=0)
print(peak_memory())
"""


def test_a_large_picture_takes_at_most_ten_copies_more_than_one_tile() -> None:
    """Of what is held: the allocator returns freed blocks at once, of which it otherwise keeps one to three copies."""

    def peak(height: int, width: int) -> int:
        done = subprocess.run(
            [sys.executable, "-c", PEAK, str(height), str(width)],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"},
        )
        return int(done.stdout)

    copy = 4 * 3 * 1500 * 2000
    copies = (peak(1500, 2000) - peak(256, 256)) / copy
    print(f"dreaming on 2,000 x 1,500 pixels: {copies:.1f} float32 copies above one tile")
    assert copies <= 10
