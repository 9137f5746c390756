"""How `maximise` optimises by default, by the depth of the layer and the size of the images."""

from dataclasses import replace
from typing import Literal

import pytest
import torch
from torch import nn

from probe.analyses.synthesis.maximise_optimise import (
    OptimisationOptions,
    Sheet,
    _objective,
    default_decay_power,
    default_lr,
)
from probe.analyses.synthesis.maximise_units import Units
from probe.methods.synthesis.optimise import activations
from probe.model.model import Model
from tests.conftest import model_of


def chain(side: int) -> Model:
    """Eight convolutions of 3 x 3: layer i sees 3 + 2 i pixels."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = [nn.Conv2d(3 if i == 0 else 2, 2, 3, padding=1) for i in range(8)]
        return model_of(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), (3, side, side), 2)


def test_low_frequencies_decay_less_in_layers_that_see_eleven_pixels_at_most() -> None:
    model = chain(32)
    powers = [default_decay_power(model, str(i)) for i in range(8)]
    assert powers == [1.5 if 3 + 2 * i <= 11 else 1.0 for i in range(8)]


@pytest.mark.parametrize(("side", "power", "lr"), [(32, 1.5, 0.05), (96, 1.5, 0.05), (112, 1.0, 0.03)])
def test_classes_of_large_images_have_more_detail_and_shorter_steps(
    side: int, power: float, lr: float
) -> None:
    model = chain(side)
    assert default_decay_power(model, "") == power
    assert default_lr(model) == lr


OPTIONS = OptimisationOptions(
    preset="", parametrisation="fourier", decay_power=None, jitter=None, smoothness=1.0, start="mean",
    steps=4, lr=0.0, diverse=1, precision="float32", animation=None,
)  # fmt: skip


@pytest.mark.parametrize(
    ("layer", "preset", "diverse"),
    [("4", "", 1), ("4", "", 2), ("", "", 1), ("", "", 2), ("", "simonyan", 1)],
)
def test_the_objective_of_a_chunk_is_that_of_its_images(
    layer: str, preset: Literal["", "simonyan"], diverse: int, convnet: Model
) -> None:
    options = replace(OPTIONS, preset=preset, diverse=diverse)
    units = Units(torch.tensor([0, 1, 2]), torch.ones(3), list("abc")).repeated(diverse)
    spreads = torch.tensor([1.0, 10.0, 100.0]).repeat_interleave(diverse)
    sheet = Sheet("a", layer, units, lambda _: None, spreads)  # type: ignore[arg-type]
    pixels = torch.rand(3 * diverse, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    whole = _objective(convnet, sheet, slice(0, 3 * diverse), options)
    read = dict(activations(convnet, pixels, whole.layers))
    together = whole.value(read)
    assert len(together) == 3 * diverse
    for begin in range(0, 3 * diverse, diverse):
        rows = slice(begin, begin + diverse)
        alone = _objective(convnet, sheet, rows, options).value({name: a[rows] for name, a in read.items()})
        torch.testing.assert_close(alone, together[rows])
