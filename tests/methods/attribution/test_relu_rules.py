"""The three ReLU rules equal a slow backward pass, wherever and however a network calls its ReLUs."""

import copy
import threading

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from probe.methods.attribution.relu_rules import RULES, backpropagate, count_relus, relu_rule
from probe.model.targets import UnitTargets, contrast
from tests.methods.attribution.slow_relu_rules import (
    CLASSES,
    NETWORKS,
    SIDE,
    Apart,
    Interleaved,
    Small,
    assert_untouched,
    images,
    model_of,
    slow_picture,
    state,
)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", NETWORKS)
def test_every_rule_equals_a_slow_backward_pass(name, rule):
    network = NETWORKS[name]()
    model = model_of(network)
    pixels, classes = images(), torch.tensor([0, 1, 2, 1, 0])
    wanted = slow_picture(network, pixels, classes, rule)
    before = state(network)
    picture = backpropagate(model, pixels, classes, rule=rule)
    assert_untouched(network, before)
    assert np.abs(wanted).max() > 0.1
    np.testing.assert_allclose(picture.numpy(), wanted, rtol=0, atol=1e-10)


def test_the_three_rules_differ_from_each_other():
    model = model_of(Small())
    shown = [backpropagate(model, images(), torch.zeros(5).long(), rule=rule) for rule in RULES]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert (shown[one] - shown[other]).abs().max() > 0.1


@pytest.mark.parametrize("rule", RULES)
def test_a_call_from_another_thread_gives_the_same_picture(rule):
    model = model_of(Small())
    here = backpropagate(model, images(), torch.zeros(5).long(), rule=rule)
    there: list[Tensor] = []
    thread = threading.Thread(
        target=lambda: there.append(backpropagate(model, images(), torch.zeros(5).long(), rule=rule))
    )
    thread.start()
    thread.join()
    assert torch.equal(here, there[0])


@pytest.mark.filterwarnings("ignore::UserWarning")  # the compiler's own, while it compiles
@pytest.mark.parametrize("rule", RULES)
def test_a_compiled_network_gives_the_picture_of_the_plain_one(rule):
    network = Small(nn.ReLU())
    pixels, classes = images(), torch.zeros(5).long()
    wanted = slow_picture(network.double().requires_grad_(False), pixels, classes, rule)
    compiled = torch.compile(copy.deepcopy(network), backend="eager")
    assert isinstance(compiled, nn.Module)
    whole = model_of(compiled)
    np.testing.assert_allclose(backpropagate(whole, pixels, classes, rule=rule), wanted, rtol=0, atol=1e-10)

    inner = copy.deepcopy(network)
    inner.forward = torch.compile(inner.forward, backend="aot_eager")
    outer = model_of(nn.Sequential(inner))
    outer.logits(pixels.clone().requires_grad_())  # compiled before it is asked for
    np.testing.assert_allclose(backpropagate(outer, pixels, classes, rule=rule), wanted, rtol=0, atol=1e-10)


def test_attributions_are_computed_under_no_grad():
    model = model_of(Small())
    wanted = backpropagate(model, images(), torch.zeros(5).long(), rule="guided")
    with torch.no_grad():
        assert torch.equal(wanted, backpropagate(model, images(), torch.zeros(5).long(), rule="guided"))
    with torch.inference_mode():
        again = backpropagate(model, images(), torch.zeros(5).long(), rule="guided")
    assert torch.equal(wanted, again)


@pytest.mark.parametrize("rule", RULES)
def test_a_batch_gives_what_one_by_one_gives(rule):
    model = model_of(Interleaved())
    pixels, classes = images(), torch.tensor([0, 1, 2, 1, 0])
    together = backpropagate(model, pixels, classes, rule=rule)
    apart = [backpropagate(model, pixels[i : i + 1], classes[i : i + 1], rule=rule) for i in range(5)]
    torch.testing.assert_close(together, torch.cat(apart), rtol=0, atol=1e-12)


@pytest.mark.parametrize("rule", RULES)
def test_many_units_of_one_image_in_one_call_equal_a_call_for_each(rule):
    model = model_of(Small(nn.ReLU()))
    one = images(1)
    rng = torch.Generator().manual_seed(1)
    places = torch.randint(3, (16, 2), generator=rng)
    units = UnitTargets("conv3", torch.randint(4, (16,), generator=rng), places)
    together = backpropagate(model, one, units, rule=rule)
    for i in range(16):
        row, column = places[i].tolist()
        address = model.layers.parse(f"conv3:{int(units.channels[i])}:{row},{column}")
        alone = backpropagate(model, one, address, rule=rule)
        torch.testing.assert_close(together[i : i + 1], alone, rtol=0, atol=1e-12)


def test_a_channel_is_the_sum_of_its_units():
    model = model_of(Small())
    whole = backpropagate(model, images(1), model.layers.parse("conv3:2"))
    places = torch.cartesian_prod(torch.arange(3), torch.arange(3))
    parts = backpropagate(model, images(1), UnitTargets("conv3", torch.full((9,), 2), places))
    torch.testing.assert_close(whole[0], parts.sum(0), rtol=0, atol=1e-12)


def test_the_attribution_of_a_unit_does_not_depend_on_later_layers():
    network = Small()
    model = model_of(network)
    address = model.layers.parse("conv2:1:2,2")
    before = backpropagate(model, images(), address, rule="guided")
    network.dense.weight.data.mul_(-3)
    network.conv3.weight.data.mul_(-3)
    assert torch.equal(before, backpropagate(model, images(), address, rule="guided"))


def test_the_difference_of_two_classes_is_the_difference_of_their_gradients():
    model = model_of(Small())
    first, second = torch.tensor([0, 1, 2, 1, 0]), torch.tensor([1, 2, 0, 0, 2])
    apart = backpropagate(model, images(), first) - backpropagate(model, images(), second)
    together = backpropagate(model, images(), contrast(first, second, CLASSES))
    torch.testing.assert_close(together, apart, rtol=0, atol=1e-12)


def test_the_forward_pass_is_the_same_bits_inside_the_rule():
    network = Small().double()
    pixels = images()
    with relu_rule("deconvnet"):
        inside = network(pixels)
    assert torch.equal(inside, network(pixels))


def test_the_gradient_of_a_linear_network_is_its_weights():
    dense = nn.Linear(2 * SIDE * SIDE, CLASSES)
    model = model_of(nn.Sequential(nn.Flatten(), dense))
    picture = backpropagate(model, images(2), torch.tensor([2, 0]))
    weights = dense.weight.detach()[[2, 0]].view(2, 2, SIDE, SIDE) / 0.25
    torch.testing.assert_close(picture, weights, rtol=0, atol=1e-12)


def test_zennit_agrees_where_every_relu_is_a_module():
    from zennit.attribution import Gradient
    from zennit.composites import LayerMapComposite
    from zennit.rules import ReLUDeconvNet, ReLUGuidedBackprop

    network = Apart()
    network.relu2 = nn.ReLU()
    model = model_of(network)
    pixels, classes = images(), torch.tensor([0, 1, 2, 1, 0])
    for rule, hook in (("deconvnet", ReLUDeconvNet()), ("guided", ReLUGuidedBackprop())):
        composite = LayerMapComposite([(nn.ReLU, hook)])
        inputs = model.normalise(pixels).requires_grad_()
        with Gradient(network, composite) as attributor:
            wanted = attributor(inputs, F.one_hot(classes, CLASSES).double())[1]  # pyrefly: ignore
        picture = backpropagate(model, pixels, classes, rule=rule) * 0.25
        torch.testing.assert_close(picture, wanted, rtol=0, atol=1e-12)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_captum_agrees_where_no_tensor_is_shared():
    from captum.attr import Deconvolution, GuidedBackprop

    network = Apart()
    network.relu2 = nn.ReLU()
    model = model_of(network)
    pixels, classes = images(), torch.tensor([0, 1, 2, 1, 0])
    for rule, method in (("deconvnet", Deconvolution), ("guided", GuidedBackprop)):
        inputs = model.normalise(pixels).requires_grad_()
        wanted = method(network).attribute(inputs, target=classes)
        picture = backpropagate(model, pixels, classes, rule=rule) * 0.25
        torch.testing.assert_close(picture, wanted.detach(), rtol=0, atol=1e-12)


def test_relus_are_counted_only_where_the_output_depends_on_them():
    network = Interleaved().double()
    x = images().requires_grad_()
    assert count_relus(network(x)) == 4
    branch = F.relu(network.conv1(x))
    F.relu(branch.sum())
    assert count_relus(network.conv2(branch)) == 1
