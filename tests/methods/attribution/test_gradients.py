"""Do the attribution methods give what their papers say: on linear networks exactly, else as captum does?"""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from probe.errors import UserError
from probe.methods.attribution.gradients import (
    completeness_error,
    gradcam,
    gradcam_layer,
    gradient_input,
    guided_gradcam,
    integrated_gradients,
    occlusion,
    smoothgrad,
)
from probe.methods.attribution.registry import LEVELS, METHODS, Settings, chosen, cost, filled, macs
from probe.methods.attribution.relu_rules import backpropagate
from probe.model.cards import Card, Input
from probe.model.model import Model
from probe.model.targets import UnitTargets, contrast

SIDE, CLASSES = 10, 4
LABELS = torch.tensor([0, 3, 1, 2])


def model_of(network: nn.Module, *, classes: int = CLASSES) -> Model:
    card = Card(
        name="small",
        architecture="file.py:small",
        classes=tuple(f"class {i}" for i in range(classes)),
        input=Input(shape=(2, SIDE, SIDE), mean=(0.5, 0.25), std=(0.25, 0.5), preprocess=""),
    )
    rng = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        parameter.data = torch.randn(parameter.shape, generator=rng) * 0.3
    return Model(network.double(), card)


def images(n: int = 4) -> Tensor:
    return torch.rand(n, 2, SIDE, SIDE, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def convnet(activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1),
        activation(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3, padding=1),
        activation(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, CLASSES),
    )


def linear() -> tuple[Model, Tensor]:
    """A linear model and its weights (classes, c, h, w) in pixel space."""
    dense = nn.Linear(2 * SIDE * SIDE, CLASSES)
    model = model_of(nn.Sequential(nn.Flatten(), dense))
    std = torch.tensor([0.25, 0.5], dtype=torch.float64).view(1, 2, 1, 1)
    return model, dense.weight.detach().view(CLASSES, 2, SIDE, SIDE) / std


def test_a_linear_network_is_attributed_exactly():
    model, weights = linear()
    pixels = images()
    exact = weights[LABELS] * (pixels - 0.2)
    torch.testing.assert_close(gradient_input(model, pixels, LABELS, baseline=0.2), exact)
    torch.testing.assert_close(integrated_gradients(model, pixels, LABELS, baseline=0.2, steps=1), exact)
    torch.testing.assert_close(smoothgrad(model, pixels, LABELS, seed=0, samples=3), weights[LABELS])


def test_occlusion_of_a_linear_network_is_the_mean_of_what_its_squares_hold():
    model, weights = linear()
    pixels = images()
    held = (weights[LABELS] * (pixels - 0.3)).sum(1)
    windows = held.unfold(1, 4, 2).unfold(2, 4, 2).sum((3, 4))
    wanted, times = torch.zeros_like(held), torch.zeros_like(held)
    for i in range(4):
        for j in range(4):
            wanted[:, 2 * i : 2 * i + 4, 2 * j : 2 * j + 4] += windows[:, i, j, None, None]
            times[:, 2 * i : 2 * i + 4, 2 * j : 2 * j + 4] += 1
    found = occlusion(model, pixels, LABELS, window=4, stride=2, fill=0.3)
    torch.testing.assert_close(found, wanted / times)


def test_integrated_gradients_sum_to_the_difference_of_scores():
    network = convnet(nn.Tanh)
    network[2] = nn.AvgPool2d(2)
    model = model_of(network)
    errors = [
        completeness_error(
            model, images(), LABELS, integrated_gradients(model, images(), LABELS, steps=steps)
        ).max()
        for steps in (1, 8, 64)
    ]
    assert errors[0] > 0.1 > errors[1] > errors[2]
    assert errors[2] < 1e-9


def test_the_completeness_error_is_the_share_that_is_missing():
    model, _ = linear()
    attribution = gradient_input(model, images(), LABELS)
    assert completeness_error(model, images(), LABELS, attribution).max() < 1e-12
    half = completeness_error(model, images(), LABELS, attribution / 2)
    torch.testing.assert_close(half, torch.full((4,), 0.5, dtype=torch.float64))


def test_integrated_gradients_agree_with_captum():
    from captum.attr import IntegratedGradients

    model = model_of(convnet())
    pixels = images().requires_grad_()
    wanted = IntegratedGradients(model.logits).attribute(
        pixels, baselines=torch.full_like(pixels, 0.1), target=LABELS, n_steps=20
    )
    found = integrated_gradients(model, images(), LABELS, baseline=0.1, steps=20)
    torch.testing.assert_close(found, wanted.detach(), rtol=0, atol=1e-8)  # its alphas are float32


def test_the_gradient_and_gradient_times_input_agree_with_captum():
    from captum.attr import InputXGradient, Saliency

    model = model_of(convnet())
    pixels = images().requires_grad_()
    wanted = Saliency(model.logits).attribute(pixels, target=LABELS, abs=False)
    torch.testing.assert_close(backpropagate(model, images(), LABELS), wanted.detach())
    wanted = InputXGradient(model.logits).attribute(pixels, target=LABELS)
    torch.testing.assert_close(gradient_input(model, images(), LABELS), wanted.detach())


@pytest.mark.parametrize(("window", "stride"), [(3, 3), (4, 3), (5, 2), (10, 1), (1, 1)])
def test_occlusion_agrees_with_captum_also_where_squares_stick_out(window, stride):
    from captum.attr import Occlusion

    model = model_of(convnet())
    with torch.no_grad():
        wanted = Occlusion(model.logits).attribute(
            images(),
            sliding_window_shapes=(2, window, window),
            strides=(2, stride, stride),
            baselines=0.4,
            target=LABELS,
        )
    found = occlusion(model, images(), LABELS, window=window, stride=stride, fill=0.4)
    torch.testing.assert_close(found[:, None].expand_as(wanted), wanted.double(), rtol=0, atol=1e-6)


def test_smoothgrad_without_noise_or_on_one_colour_is_the_gradient():
    model = model_of(convnet())
    wanted = backpropagate(model, images(), LABELS)
    torch.testing.assert_close(smoothgrad(model, images(), LABELS, seed=1, noise=0), wanted)
    grey = torch.full_like(images(), 0.5)
    torch.testing.assert_close(smoothgrad(model, grey, LABELS, seed=1), backpropagate(model, grey, LABELS))


def test_smoothgrad_is_the_mean_over_noise_of_the_stated_share_of_the_range():
    class Square(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x**3).flatten(1).sum(1, keepdim=True)

    model = model_of(Square(), classes=1)
    pixels = images(2) * 0.5
    spread = 0.2 * (pixels.flatten(1).amax(1) - pixels.flatten(1).amin(1)).view(-1, 1, 1, 1)
    std = torch.tensor([0.25, 0.5], dtype=torch.float64).view(1, 2, 1, 1)
    z = model.normalise(pixels)
    expected = 3 * (z**2 + (spread / std) ** 2) / std  # E[3 (z + e)^2]
    found = smoothgrad(model, pixels, torch.zeros(2).long(), seed=5, samples=400, noise=0.2)
    assert (found.mean((2, 3)) / expected.mean((2, 3)) - 1).abs().max() < 0.02


def test_smoothgrad_depends_on_its_seed_alone_and_not_on_the_batch(monkeypatch):
    model = model_of(convnet())
    state = torch.get_rng_state()
    first = smoothgrad(model, images(), LABELS, seed=1, samples=5)
    monkeypatch.setattr(Model, "batch", lambda self, *, gradient=False: 3)
    torch.testing.assert_close(smoothgrad(model, images(), LABELS, seed=1, samples=5), first)
    assert not torch.allclose(smoothgrad(model, images(), LABELS, seed=2, samples=5), first)
    assert torch.equal(state, torch.get_rng_state())


def test_gradcam_agrees_with_captum_where_nothing_happens_in_place():
    from captum.attr import LayerAttribution, LayerGradCam

    network = convnet()
    model = model_of(network)
    coarse = LayerGradCam(model.logits, network[3]).attribute(
        images().requires_grad_(), target=LABELS, relu_attributions=True
    )
    assert isinstance(coarse, Tensor)
    wanted = LayerAttribution.interpolate(coarse.detach(), (SIDE, SIDE), "bilinear")
    assert isinstance(wanted, Tensor)
    found = gradcam(model, images(), LABELS, layer="3")
    torch.testing.assert_close(found, wanted[:, 0])
    assert found.max() > 0


def test_gradcam_before_an_in_place_relu_equals_that_before_a_plain_one():
    found = []
    for inplace in (False, True):
        network = convnet()
        network[4] = nn.ReLU(inplace=inplace)
        found.append(gradcam(model_of(network), images(), LABELS, layer="3"))
    assert torch.equal(found[0], found[1])
    assert found[0].max() > 0


def test_gradcam_after_global_average_is_the_class_activation_map():
    network = convnet()
    dense = nn.Linear(8, CLASSES)
    network[7] = dense
    model = model_of(network)
    maps = network[:5](model.normalise(images()))
    weights = dense.weight.detach()[LABELS]
    cam = torch.einsum("nc,nchw->nhw", weights, maps).clamp(min=0) / maps[0, 0].numel()
    wanted = F.interpolate(cam[:, None], size=(SIDE, SIDE), mode="bilinear", align_corners=False)[:, 0]
    assert gradcam_layer(model).address == "4"
    torch.testing.assert_close(gradcam(model, images(), LABELS), wanted)


def test_guided_gradcam_is_the_product_of_its_two_parts():
    model = model_of(convnet())
    guided = backpropagate(model, images(), LABELS, rule="guided")
    wanted = guided * gradcam(model, images(), LABELS, layer="1")[:, None]
    torch.testing.assert_close(guided_gradcam(model, images(), LABELS, layer="1"), wanted)


def test_a_contrast_is_the_difference_of_two_attributions():
    model = model_of(convnet())
    others = torch.tensor([1, 0, 2, 3])
    both = contrast(LABELS, others, CLASSES)
    for method in (gradient_input, integrated_gradients, occlusion):
        apart = method(model, images(), LABELS) - method(model, images(), others)
        torch.testing.assert_close(method(model, images(), both), apart)


@pytest.mark.parametrize("name", METHODS)
def test_a_batch_gives_what_one_by_one_gives(name):
    model = model_of(convnet())
    settings = Settings(steps=3, samples=1, window=4, noise=0.0)
    together = METHODS[name].map(model, images(), LABELS, settings)
    for i in range(4):
        alone = METHODS[name].map(model, images()[i : i + 1], LABELS[i : i + 1], settings)
        torch.testing.assert_close(together[i : i + 1], alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_explains_a_unit_inside_the_network(name):
    model = model_of(convnet())
    units = UnitTargets("3", torch.tensor([0, 5]), torch.tensor([[1, 2], [4, 4]]))
    settings = Settings(steps=3, samples=2, window=4, layer="1")
    heat = METHODS[name].map(model, images(2), units, settings)
    assert heat.shape == (2, SIDE, SIDE)
    assert torch.isfinite(heat).all()
    # The first unit, at row 1 and column 2 of 5 x 5 maps, sees the rows up to 6 and the columns 1 to 8 at most.
    assert name in ("gradcam", "occlusion") or not heat[0, 7:].any()


@pytest.mark.parametrize("name", METHODS)
def test_nothing_is_left_on_the_network(name):
    network = convnet()
    model = model_of(network)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    METHODS[name].map(model, images(), LABELS, Settings(steps=2, samples=2))
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert all(p.grad is None and not p.requires_grad for p in network.parameters())
    assert not any(module.training or module._forward_hooks for module in network.modules())
    assert not any(module._forward_pre_hooks for module in network.modules())


@pytest.mark.parametrize("name", METHODS)
def test_a_batch_that_does_not_fit_is_halved(name, monkeypatch):
    class Hungry(nn.Module):
        limit = 1000

        def __init__(self) -> None:
            super().__init__()
            self.inner = convnet()

        def forward(self, x: Tensor) -> Tensor:
            if len(x) > self.limit:
                raise torch.OutOfMemoryError("not enough memory")
            return self.inner(x)

    network = Hungry()
    model = model_of(network)
    settings = Settings(steps=4, samples=4)
    wanted = METHODS[name].map(model, images(), LABELS, settings)
    network.limit = 2
    torch.testing.assert_close(METHODS[name].map(model, images(), LABELS, settings), wanted)


def test_what_a_network_costs_decides_what_is_not_said():
    model = model_of(convnet())
    methods = chosen(["integrated_gradients", "smoothgrad", "occlusion", "gradcam"])
    coarse = filled(Settings(steps=0, samples=0), model, LEVELS[-1])
    assert (coarse.steps, coarse.samples, coarse.window) == (8, 4, round(min(model.shape[1:]) / 3))
    told = filled(Settings(steps=5, samples=7, window=3), model, LEVELS[0])
    assert (told.steps, told.samples, told.window) == (5, 7, 3)
    fine = filled(Settings(steps=0, samples=0), model, LEVELS[0])
    assert cost(methods, model, fine) > cost(methods, model, coarse) > 0
    for method, passes in zip(methods, (3 * 32, 3 * 16, None, 3), strict=True):
        assert passes is None or cost([method], model, fine) == passes * macs(model)


def test_an_unknown_method_is_answered_with_the_nearest_name():
    with pytest.raises(UserError, match=r"no attribution method 'grad_cam'\. Did you mean gradcam"):
        chosen(["grad_cam"])


def test_a_constant_image_is_explained_without_complaint():
    model = model_of(convnet())
    grey = torch.full((1, 2, SIDE, SIDE), 0.5, dtype=torch.float64)
    for method in METHODS.values():
        assert torch.isfinite(method.map(model, grey, LABELS[:1], Settings(steps=2, samples=2))).all()


def test_wrong_settings_are_refused_in_one_line():
    model = model_of(convnet())
    with pytest.raises(UserError, match=r"window must lie in \[1, 10\].* got 11"):
        occlusion(model, images(), LABELS, window=11)
    with pytest.raises(UserError, match=r"stride must lie in \[1, 3\].* got 4"):
        occlusion(model, images(), LABELS, window=3, stride=4)
    with pytest.raises(UserError, match="steps must be at least 1"):
        integrated_gradients(model, images(), LABELS, steps=0)
    with pytest.raises(UserError, match=r"noise lie in \[0, 1\]"):
        smoothgrad(model, images(), LABELS, seed=0, noise=2)
    with pytest.raises(UserError, match="layer 7 has no maps"):
        gradcam(model, images(), LABELS, layer="7")
    with pytest.raises(UserError, match="no layer 'seven'"):
        gradcam(model, images(), LABELS, layer="seven")
    with pytest.raises(UserError, match=r"does not depend on layer 3|layer 3 comes after"):
        gradcam(model, images(), UnitTargets("1", torch.zeros(4).long()), layer="3")
    with pytest.raises(UserError, match="no layer with maps"):
        gradcam(linear()[0], images(), LABELS)


def test_nan_in_the_answer_is_said_by_every_method():
    model = model_of(convnet())
    model.network.get_parameter("7.bias")[:] = torch.nan
    for method in METHODS.values():
        with pytest.raises(UserError, match="answers NaN or infinity"):
            method.map(model, images(), LABELS, Settings(steps=2, samples=2))
