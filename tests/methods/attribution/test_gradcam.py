"""Grad-CAM gives class activation maps where they are defined, else what captum gives."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from probe.errors import UserError
from probe.methods.attribution.gradcam import (
    FinerCAM,
    GradCAM,
    GuidedGradCAM,
    HiResCAM,
    LayerCAM,
    gradcam_layer,
)
from probe.methods.attribution.relu_rules import backpropagate
from probe.model.targets import UnitTargets
from tests.methods.attribution.networks import (
    CLASSES,
    LABELS,
    SIDE,
    images,
    linear,
    model_of,
    small_convnet,
)


def test_gradcam_agrees_with_captum_where_nothing_happens_in_place():
    from captum.attr import LayerAttribution, LayerGradCam

    network = small_convnet()
    model = model_of(network)
    coarse = LayerGradCam(model.logits, network[3]).attribute(
        images().requires_grad_(), target=LABELS, relu_attributions=True
    )
    assert isinstance(coarse, Tensor)
    wanted = LayerAttribution.interpolate(coarse.detach(), (SIDE, SIDE), "bilinear")
    assert isinstance(wanted, Tensor)
    found = GradCAM(layer="3")(model, images(), LABELS)
    torch.testing.assert_close(found, wanted[:, 0])
    assert found.max() > 0


def test_gradcam_before_an_in_place_relu_equals_that_before_a_plain_one():
    found = []
    for inplace in (False, True):
        network = small_convnet()
        network[4] = nn.ReLU(inplace=inplace)
        found.append(GradCAM(layer="3")(model_of(network), images(), LABELS))
    assert torch.equal(found[0], found[1])
    assert found[0].max() > 0


def test_gradcam_after_global_average_is_the_class_activation_map():
    network = small_convnet()
    dense = nn.Linear(8, CLASSES)
    network[7] = dense
    model = model_of(network)
    maps = network[:5](model.normalise(images()))
    weights = dense.weight.detach()[LABELS]
    cam = torch.einsum("nc,nchw->nhw", weights, maps).clamp(min=0) / maps[0, 0].numel()
    wanted = F.interpolate(cam[:, None], size=(SIDE, SIDE), mode="bilinear", align_corners=False)[:, 0]
    assert gradcam_layer(model).address == "4"
    torch.testing.assert_close(GradCAM()(model, images(), LABELS), wanted)


def test_guided_gradcam_is_the_product_of_its_two_parts():
    model = model_of(small_convnet())
    guided = backpropagate(model, images(), LABELS, rule="guided")
    wanted = guided * GradCAM(layer="1")(model, images(), LABELS)[:, None]
    torch.testing.assert_close(GuidedGradCAM(layer="1")(model, images(), LABELS), wanted)


def test_a_layer_that_cannot_be_used_is_refused_in_one_line():
    model = model_of(small_convnet())
    with pytest.raises(UserError, match="layer 7 has no maps"):
        GradCAM(layer="7")(model, images(), LABELS)
    with pytest.raises(UserError, match="no layer 'seven'"):
        GradCAM(layer="seven")(model, images(), LABELS)
    with pytest.raises(UserError, match="no layer 'seven'"):
        GradCAM(layer="seven").resolved(model)
    with pytest.raises(UserError, match=r"does not depend on layer 3|layer 3 comes after"):
        GradCAM(layer="3")(model, images(), UnitTargets("1", torch.zeros(4).long()))
    flat, _ = linear()
    with pytest.raises(UserError, match="no layer with maps"):
        GradCAM()(flat, images(), LABELS)
    assert GradCAM().resolved(flat) == GradCAM()


def test_the_layer_is_filled_in_with_its_default():
    assert GradCAM().resolved(model_of(small_convnet())) == GradCAM(layer="4")


def maps_and_gradient(model, layer, weights):
    """Maps of a layer of a sequential network and the gradient of weighted logits, written out in float64."""
    normalised = model.normalise(images())
    maps = model.network[: layer + 1](normalised).detach().requires_grad_()
    logits = model.network[layer + 1 :](maps)
    (gradient,) = torch.autograd.grad((logits * weights).sum(), maps)
    return maps.detach(), gradient, logits.detach()


def resized(cam: Tensor) -> Tensor:
    return F.interpolate(cam.clamp(min=0)[:, None], size=(SIDE, SIDE), mode="bilinear", align_corners=False)[
        :, 0
    ]


def test_before_average_pooling_and_a_linear_layer_hirescam_equals_gradcam():
    model = model_of(small_convnet())
    torch.testing.assert_close(HiResCAM()(model, images(), LABELS), GradCAM()(model, images(), LABELS))
    earlier = HiResCAM(layer="1")(model, images(), LABELS)
    assert not torch.allclose(earlier, GradCAM(layer="1")(model, images(), LABELS))


def test_hirescam_and_layercam_weight_every_place_by_its_own_gradient():
    model = model_of(small_convnet())
    maps, gradient, _ = maps_and_gradient(model, 1, F.one_hot(LABELS, CLASSES).double())
    hirescam, layercam = torch.zeros(4, 10, 10).double(), torch.zeros(4, 10, 10).double()
    for n, c in ((n, c) for n in range(4) for c in range(6)):
        hirescam[n] += gradient[n, c] * maps[n, c]
        layercam[n] += gradient[n, c].clamp(min=0) * maps[n, c]
    torch.testing.assert_close(HiResCAM(layer="1")(model, images(), LABELS), resized(hirescam))
    torch.testing.assert_close(LayerCAM(layer="1")(model, images(), LABELS), resized(layercam))


def test_finer_cam_is_gradcam_against_the_classes_nearest_in_logit():
    model = model_of(small_convnet())
    with torch.no_grad():
        logits = model.logits(images())
    weights = torch.zeros(4, CLASSES, dtype=torch.float64)
    for n, own in enumerate(LABELS.tolist()):
        distance = {k: abs(float(logits[n, k] - logits[n, own])) for k in range(CLASSES) if k != own}
        rivals = sorted(distance, key=distance.__getitem__)[:2]
        p = logits[n].softmax(0)
        for k in rivals:  # sum_k p_k (z_n - alpha z_k) / sum_k p_k
            weights[n, own] += p[k] / p[rivals].sum()
            weights[n, k] -= 0.5 * p[k] / p[rivals].sum()
    maps, gradient, _ = maps_and_gradient(model, 1, weights)
    wanted = resized((gradient.mean((2, 3), keepdim=True) * maps).sum(1))
    torch.testing.assert_close(FinerCAM(layer="1", alpha=0.5, rivals=2)(model, images(), LABELS), wanted)
    plain = FinerCAM(layer="1", alpha=0)(model, images(), LABELS)
    torch.testing.assert_close(plain, GradCAM(layer="1")(model, images(), LABELS))
    with pytest.raises(UserError, match="Finer-CAM compares classes: choose a class as the target"):
        FinerCAM()(model, images(), weights)
