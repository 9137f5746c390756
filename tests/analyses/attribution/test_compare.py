"""Two models are compared on the same images, for the same target and on one scale."""

import copy

import numpy as np
import pytest
from torch import nn

from probe.analyses import find
from probe.data.images import Images
from probe.errors import UserError
from probe.exhibits.exhibits import ImageGrid
from probe.model.model import Model
from probe.runs.execute import run


def twin(model: Model, **changes: object) -> Model:
    card = model.card.model_copy(update={"name": "twin", **changes})
    return Model(copy.deepcopy(model.network), card)


def test_a_model_is_similar_to_itself(convnet: Model, noise_images: Images) -> None:
    result = run("compare", convnet, noise_images, compare_to=[twin(convnet)], **find("compare").quick)
    for method in ("gradient", "integrated_gradients", "gradcam"):
        assert result.numbers[f"similarity_{method}_1"].value == pytest.approx(1)


def test_both_maps_are_on_one_scale(convnet: Model, noise_images: Images) -> None:
    louder = twin(convnet)
    for name in ("9.weight", "9.bias"):
        louder.network.get_parameter(name).mul_(3)
    result = run("compare", convnet, noise_images, compare_to=[louder], examples=2, methods="gradient")
    exhibit = result.exhibits[0]
    assert isinstance(exhibit, ImageGrid)
    np.testing.assert_allclose(exhibit.images[2], 3 * exhibit.images[1], rtol=1e-4, atol=1e-6)
    assert exhibit.facts["magnitude_ratio_1"] == pytest.approx(3)
    assert exhibit.column_headers == ["image", "convnet", "twin"]
    assert result.numbers["similarity_gradient_1"].value == pytest.approx(1)


def test_a_method_that_one_model_does_not_admit_is_skipped_for_both(
    convnet: Model, noise_images: Images
) -> None:
    smooth = [nn.Tanh() if isinstance(layer, nn.ReLU) else layer for layer in convnet.network.children()]
    other = Model(nn.Sequential(*copy.deepcopy(smooth)), convnet.card.model_copy(update={"name": "smooth"}))
    result = run(
        "compare", convnet, noise_images, compare_to=[other], examples=2, methods="guided-backprop,gradient"
    )
    assert len(result.exhibits) == 3
    assert "no ReLU in smooth" in result.warnings[0]
    with pytest.raises(UserError, match="no ReLU in smooth"):
        run("compare", convnet, noise_images, compare_to=[other], examples=2, methods="guided-backprop")


def test_models_that_cannot_be_compared_are_refused_in_one_line(convnet: Model, noise_images: Images) -> None:
    with pytest.raises(UserError, match="compare needs another model"):
        run("compare", convnet, noise_images)
    renamed = twin(convnet, classes=tuple(f"kind {i}" for i in range(10)))
    with pytest.raises(UserError, match="different classes"):
        run("compare", convnet, noise_images, compare_to=[renamed])
    smaller = twin(convnet, input=convnet.card.input.model_copy(update={"shape": (3, 16, 16)}))
    with pytest.raises(UserError, match="takes 3 x 32 x 32 images and twin 3 x 16 x 16"):
        run("compare", convnet, noise_images, compare_to=[smaller])


def test_units_are_compared_whatever_the_classes_are(convnet: Model, noise_images: Images) -> None:
    renamed = twin(convnet, classes=tuple(f"kind {i}" for i in range(10)))
    result = run(
        "compare", convnet, noise_images, compare_to=[renamed], target="4:3", methods="gradient", examples=2
    )
    assert result.numbers["similarity_gradient_1"].value == pytest.approx(1)


def test_accuracies_and_agreement_have_intervals_and_maps_up_to_a_hundred_images(
    convnet: Model, noise_images: Images
) -> None:
    flipped = twin(convnet)
    for name in ("9.weight", "9.bias"):
        parameter = flipped.network.get_parameter(name)
        parameter.copy_(parameter[[1, 0, *range(2, 10)]])
    result = run("compare", convnet, noise_images, compare_to=[flipped], methods="gradient", examples=2)
    prediction = convnet.logits(noise_images.pixels()).argmax(1)
    swapped = flipped.logits(noise_images.pixels()).argmax(1)
    assert noise_images.labels is not None
    for i, found in enumerate((prediction, swapped)):
        accuracy = result.numbers[f"accuracy_{i}"]
        assert accuracy.value == pytest.approx(float((found == noise_images.labels).float().mean()))
        assert accuracy.n == 40
        assert accuracy.low is not None
    agreement = result.numbers["agreement_1"]
    assert agreement.value == pytest.approx(float((prediction == swapped).float().mean()))
    assert result.numbers["similarity_gradient_1"].n == 40
    assert not result.warnings


def test_a_budget_that_allows_few_images_is_said(convnet: Model, noise_images: Images) -> None:
    methods = "gradient,smoothgrad(samples=300)"
    result = run(
        "compare", convnet, noise_images, compare_to=[twin(convnet)], methods=methods, examples=1, budget=1
    )
    (warning,) = [text for text in result.warnings if text.startswith("Maps are compared on")]
    n = result.numbers["similarity_gradient_1"].n
    assert n is not None
    assert 1 <= n < 40
    assert warning.startswith(f"Maps are compared on {n} image")
    assert any("SmoothGrad is shown but not tested" in text for text in result.warnings)
