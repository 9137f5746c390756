"""Layer conductance is complete, exact where the network is linear, and tends to what captum gives."""

import pytest
import torch

import probe
from probe.errors import UserError
from probe.methods.attribution.conductance import layer_conductance
from tests.methods.attribution.networks import CLASSES, LABELS, images, linear, model_of, small_convnet


@pytest.mark.parametrize("layer", ["0", "1", "4", "7"])
def test_it_sums_to_the_difference_of_scores(layer):
    model = model_of(small_convnet())
    found = layer_conductance(model, images(), LABELS, layer, steps=200, baseline=0.2)
    assert found.shape == (4, *model.layers.find(layer).shape)
    grey = torch.full_like(images(), 0.2)
    difference = (model.logits(images()) - model.logits(grey)).gather(1, LABELS[:, None])[:, 0]
    torch.testing.assert_close(found.flatten(1).sum(1), difference, rtol=0.02, atol=2e-3)


def test_of_the_logits_themselves_it_is_the_difference_of_the_class_alone():
    model, weights = linear()
    found = layer_conductance(model, images(), LABELS, "1", steps=1)
    wanted = torch.zeros(4, CLASSES, dtype=torch.float64)
    wanted[torch.arange(4), LABELS] = (weights[LABELS] * images()).sum((1, 2, 3))
    torch.testing.assert_close(found, wanted)


def test_it_agrees_with_captum():
    from captum.attr import LayerConductance

    network = small_convnet()
    model = model_of(network)
    wanted = LayerConductance(model.logits, network[3]).attribute(
        images(), torch.zeros_like(images()), target=LABELS, n_steps=800
    )
    found = probe.attribution.layer_conductance(model, images(), LABELS, "3", steps=800)
    torch.testing.assert_close(found, wanted.detach(), rtol=0, atol=0.01 * float(found.abs().max()))


def test_a_layer_that_is_not_there_is_refused():
    with pytest.raises(UserError, match="no layer '9'"):
        layer_conductance(model_of(small_convnet()), images(), LABELS, "9")
