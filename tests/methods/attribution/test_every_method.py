"""What holds for every attribution method that the registry lists."""

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import probe
from probe.errors import UserError
from probe.methods.attribution.gradients import GradientInput, IntegratedGradients, SmoothGrad
from probe.methods.attribution.method import AttributionMethod, seconds
from probe.methods.attribution.occlusion import Occlusion
from probe.methods.attribution.registry import METHODS
from probe.model.budget import forward_seconds
from probe.model.targets import UnitTargets, contrast
from tests.methods.attribution.networks import CLASSES, LABELS, SIDE, images, linear, model_of, small_convnet

every = pytest.mark.parametrize("name", METHODS.catalogue)
CHEAP: dict[str, Any] = {"steps": 3, "samples": 2, "window": 4, "regions": 3}


def cheap(name: str, **parameters: Any) -> AttributionMethod:
    """The method with few steps, and with those of `parameters` that it has."""
    kind = METHODS.find(name)
    given = {**CHEAP, **parameters}
    return kind(**{field: value for field, value in given.items() if field in kind.model_fields})


@every
def test_it_is_declared_completely(name):
    kind = METHODS.find(name)
    assert kind.name == name == METHODS.catalogue[name].name
    assert kind.title
    assert kind.source
    assert kind.kind in ("signed", "magnitude")
    for field, info in kind.model_fields.items():
        assert info.description, f"{name}.{field} has no description"
        assert not info.is_required(), f"{name}.{field} has no default"
    assert getattr(probe.attribution, kind.__name__) is kind


@every
def test_it_is_read_back_from_its_text(name):
    assert METHODS.parse(str(cheap(name))) == cheap(name)


@every
def test_a_batch_gives_what_one_by_one_gives(name):
    model = model_of(small_convnet())
    method = cheap(name)
    together = method.map(model, images(), LABELS)
    assert together.shape == (4, SIDE, SIDE)
    for i in range(4):
        alone = method.map(model, images()[i : i + 1], LABELS[i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone, rtol=0, atol=1e-12)


@every
def test_it_explains_a_unit_inside_the_network(name):
    model = model_of(small_convnet())
    units = UnitTargets("3", torch.tensor([0, 5]), torch.tensor([[1, 2], [4, 4]]))
    if name in ("finer-cam", "lrp"):  # defined for classes
        with pytest.raises(UserError, match="choose a class as the target"):
            cheap(name, layer="1").map(model, images(2), units)
        return
    maps = cheap(name, layer="1").map(model, images(2), units)
    assert maps.shape == (2, SIDE, SIDE)
    assert torch.isfinite(maps).all()


@pytest.mark.parametrize(
    "name",
    ["gradient", "deconvnet", "guided-backprop", "gradient-input", "integrated-gradients", "smoothgrad", "guided-gradcam"],
)  # fmt: skip
def test_gradients_are_zero_outside_the_receptive_field_of_a_unit(name):
    model = model_of(small_convnet())
    units = UnitTargets("3", torch.tensor([0, 5]), torch.tensor([[1, 2], [4, 4]]))
    maps = cheap(name, layer="1").map(model, images(2), units)
    # The first unit, at row 1 and column 2 of 5 x 5 maps, sees the rows up to 6 and the columns 1 to 8 at most.
    assert not maps[0, 7:].any()


@every
def test_nothing_is_left_on_the_network_nor_in_the_random_state(name):
    network = small_convnet()
    model = model_of(network)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    state = torch.get_rng_state()
    cheap(name).map(model, images(), LABELS)
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert all(p.grad is None and not p.requires_grad for p in network.parameters())
    assert not any(module.training or module._forward_hooks for module in network.modules())
    assert not any(module._forward_pre_hooks for module in network.modules())


@every
def test_a_batch_that_does_not_fit_is_halved(name):
    class Hungry(nn.Module):
        limit = 1000

        def __init__(self) -> None:
            super().__init__()
            self.inner = small_convnet()

        def forward(self, x: Tensor) -> Tensor:
            if len(x) > self.limit:
                raise torch.OutOfMemoryError("not enough memory")
            return self.inner(x)

    network = Hungry()
    model = model_of(network)
    method = cheap(name, steps=4, samples=4, window=0)
    expected = method.map(model, images(), LABELS)
    network.limit = 2
    torch.testing.assert_close(method.map(model, images(), LABELS), expected)


@every
def test_a_constant_image_is_explained_without_complaint(name):
    grey = torch.full((1, 2, SIDE, SIDE), 0.5, dtype=torch.float64)
    assert torch.isfinite(cheap(name).map(model_of(small_convnet()), grey, LABELS[:1])).all()


@every
def test_scores_that_are_not_finite_are_refused(name):
    model = model_of(small_convnet())
    model.network.get_parameter("7.bias")[:] = torch.nan
    with pytest.raises(UserError, match="produces NaN or infinity"):
        cheap(name).map(model, images(), LABELS)


@every
def test_what_is_filled_in_changes_nothing(name):
    """A method with its defaults equals the one with all its parameters written out."""
    model = model_of(small_convnet())
    method = METHODS.find(name)()
    resolved = method.resolved(model)
    assert METHODS.parse(str(resolved)) == resolved == resolved.resolved(model, "coarse")
    assert resolved.forward_passes(model) == method.forward_passes(model) > 0
    assert torch.equal(method.map(model, images(1), LABELS[:1]), resolved.map(model, images(1), LABELS[:1]))


def test_a_contrast_is_the_difference_of_two_attributions():
    model = model_of(small_convnet())
    others = torch.tensor([1, 0, 2, 3])
    both = contrast(LABELS, others, CLASSES)
    for method in (GradientInput(), IntegratedGradients(), Occlusion()):
        difference = method(model, images(), LABELS) - method(model, images(), others)
        torch.testing.assert_close(method(model, images(), both), difference)


def test_the_cost_of_a_network_decides_what_is_left_open():
    model = model_of(small_convnet())
    methods = [
        METHODS.find(name)() for name in ("integrated-gradients", "smoothgrad", "occlusion", "gradcam")
    ]
    coarse = [method.resolved(model, "coarse") for method in methods]
    assert coarse[:2] == [IntegratedGradients(steps=8), SmoothGrad(samples=4)]
    assert coarse[2] == Occlusion(window=round(min(model.shape[1:]) / 3), stride=1)
    for method in (IntegratedGradients(steps=5), SmoothGrad(samples=7), Occlusion(window=3, stride=1)):
        assert method.resolved(model, "coarse") == method
    fine = [method.resolved(model, "fine") for method in methods]
    assert seconds(fine, model) > seconds(coarse, model) > 0
    for method, passes in zip(fine, (3 * 64, 3 * 16, None, 3), strict=True):
        assert passes is None or seconds([method], model) == passes * forward_seconds(model)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("grad-cam", r"no attribution method 'grad-cam'\. Did you mean gradcam"),
        ("integrated-gradients(steps=-1)", r"integrated-gradients: steps must lie in \[0, 1000\], got -1"),
        ("smoothgrad(noise=2)", r"smoothgrad: noise must lie in \[0, 1\], got 2"),
        ("smoothgrad(sample=2)", r"smoothgrad: there is no parameter 'sample'\. Did you mean samples"),
        ("occlusion(fill=3/2)", r"occlusion: fill"),
        ("gradient(steps=2)", r"gradient: there is no parameter 'steps'"),
    ],
)
def test_a_wrong_name_parameter_or_value_is_answered_in_one_line(text, message):
    with pytest.raises(UserError, match=message) as error:
        METHODS.parse(text)
    assert "\n" not in str(error.value)


def test_the_methods_are_lazy_names_that_load_no_torch_before_they_are_used():
    code = (
        "import sys, probe; methods = probe.attribution; names = dir(methods); "
        "assert 'IntegratedGradients' in names and 'GradCAM' in names, names; "
        "assert 'torch' not in sys.modules; "
        "print(methods.IntegratedGradients(steps=32)); assert 'torch' in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "integrated-gradients(steps=32)\n", done.stderr
    with pytest.raises(AttributeError, match="has no attribute 'Saliency'"):
        probe.attribution.Saliency  # noqa: B018


def test_a_method_is_called_on_a_model_pixels_and_targets():
    model, weights = linear()
    pixels = images()
    attribution = probe.attribution.IntegratedGradients(steps=1)(model, pixels, LABELS)
    torch.testing.assert_close(attribution, weights[LABELS] * pixels)


def test_one_class_or_unit_for_all_images_is_named_by_number_or_text():
    model, pixels = model_of(small_convnet()), images()
    method = METHODS.parse("gradient")
    expected = method(model, pixels, torch.full((len(pixels),), 1))
    assert torch.equal(method(model, pixels, 1), expected)
    assert torch.equal(method(model, pixels, model.classes[1]), expected)
    layer = next(layer.address for layer in model.layers if layer.kind == "Conv2d")
    assert method(model, pixels, f"{layer}:0").shape == pixels.shape
    with pytest.raises(UserError, match="there is no class"):
        method(model, pixels, "nothing of the kind")
