"""The maps of `attribution` beside their images, with their tests, boxes and the runner-up."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from probe.data.images import Images
from probe.errors import UserError
from probe.exhibits.checks import check
from probe.exhibits.exhibits import ImageGrid, Table
from probe.model.model import Model
from probe.runs.execute import run

SIX = "gradient-input,integrated-gradients(steps=4),smoothgrad(samples=2),occlusion,gradcam,guided-gradcam"
QUICK: dict[str, Any] = {"examples": 2, "methods": SIX}


def with_boxes(images: Images) -> Images:
    boxes = torch.tensor([[10, 8, 24, 20]]).expand(len(images), 4)
    return Images.from_tensor(
        images.pixels(), images.labels, classes=images.classes, name="boxed", masks=images.masks, boxes=boxes
    )


def test_every_method_shows_image_map_and_overlay_with_its_test(convnet: Model, noise_images: Images) -> None:
    result = run("attribution", convnet, noise_images, **QUICK)
    shown = [
        e
        for e in result.exhibits
        if isinstance(e, ImageGrid) and e.column_headers == ["image", "map", "overlay"]
    ]
    assert len(shown) == 6
    for exhibit in shown:
        image, heat, overlay = exhibit.images[:3]
        assert image.shape == overlay.shape == (32, 32, 3)
        assert heat.shape == (32, 32)
    for key in (
        "gradient_input",
        "integrated_gradients",
        "smoothgrad",
        "occlusion",
        "gradcam",
        "guided_gradcam",
    ):
        for layers in ("last", "half"):
            assert -1 <= result.numbers[f"similarity_{layers}_randomised_{key}"].value <= 1
    assert 0.05 < result.numbers["completeness_error_integrated_gradients"].value < 0.5
    (warning,) = result.warnings
    assert warning.endswith("raise steps, as in --methods 'integrated-gradients(steps=16)'.")


def test_the_contrast_is_the_difference_of_the_two_columns_before_it(
    convnet: Model, noise_images: Images
) -> None:
    result = run("attribution", convnet, noise_images, methods="integrated-gradients(steps=4)", examples=2)
    contrast = next(e for e in result.exhibits if e.title == "The predicted class against the runner-up")
    assert isinstance(contrast, ImageGrid)
    for row in range(2):
        predicted, runner_up, difference = contrast.images[4 * row + 1 : 4 * row + 4]
        np.testing.assert_allclose(predicted - runner_up, difference, atol=1e-5)


def test_boxes_are_compared_with_the_true_ones_where_they_are_known(
    convnet: Model, noise_images: Images
) -> None:
    known = run("attribution", convnet, with_boxes(noise_images), methods="gradcam", examples=3)
    boxes = next(e for e in known.exhibits if e.title.startswith("Bounding boxes"))
    assert isinstance(boxes, ImageGrid)
    assert all(label.startswith("IoU") for label in boxes.labels)
    assert 0 <= known.numbers["box_iou"].value <= 1
    unknown = run("attribution", convnet, noise_images, methods="gradcam", examples=3)
    assert "box_iou" not in unknown.numbers


def test_images_without_labels_leave_out_the_true_class(convnet: Model, noise_images: Images) -> None:
    bare = Images.from_tensor(noise_images.pixels(), name="bare")
    table = run("attribution", convnet, bare, methods="gradcam").exhibits[-1]
    assert isinstance(table, Table)
    assert "true class" not in table.columns
    assert "correct" not in table.facts


def test_constant_images_can_be_drawn(convnet: Model) -> None:
    grey = Images.from_tensor(torch.full((2, 3, 32, 32), 0.5), name="grey")
    for exhibit in run("attribution", convnet, grey, **QUICK).exhibits:
        check(exhibit)


def test_a_method_layer_or_window_that_does_not_exist_is_answered_in_one_line(
    convnet: Model, noise_images: Images
) -> None:
    with pytest.raises(UserError, match="no attribution method 'gradcm'"):
        run("attribution", convnet, noise_images, methods="gradcm")
    with pytest.raises(UserError, match="no layer 'conv9'"):
        run("attribution", convnet, noise_images, methods="gradient,gradcam(layer=conv9)")
    with pytest.raises(UserError, match="window must lie in"):
        run("attribution", convnet, noise_images, methods="occlusion(window=33)")


def test_a_method_may_be_given_twice_with_other_parameters(convnet: Model, noise_images: Images) -> None:
    methods = "smoothgrad(samples=2),smoothgrad(samples=3)"
    result = run("attribution", convnet, noise_images, examples=2, methods=methods)
    titles = [exhibit.title.partition(":")[0] for exhibit in result.exhibits[:2]]
    assert titles == ["SmoothGrad (samples=2)", "SmoothGrad (samples=3)"]
    assert {
        "similarity_last_randomised_smoothgrad_samples_2",
        "similarity_last_randomised_smoothgrad_samples_3",
    } <= set(result.numbers)
    assert [exhibit.facts["samples"] for exhibit in result.exhibits[:2]] == [2, 3]


def test_what_is_left_open_is_in_the_facts_of_the_exhibit(convnet: Model, noise_images: Images) -> None:
    result = run("attribution", convnet, noise_images, examples=1, methods="integrated-gradients,occlusion")
    assert result.exhibits[0].facts["steps"] == 64
    assert (result.exhibits[1].facts["window"], result.exhibits[1].facts["stride"]) == (4, 2)


def test_what_the_budget_does_not_allow_is_shown_but_not_tested(convnet: Model, noise_images: Images) -> None:
    methods = "gradient-input,smoothgrad(samples=200)"
    result = run("attribution", convnet, noise_images, examples=1, methods=methods, budget=1)
    (warning,) = result.warnings
    assert warning.startswith(
        "SmoothGrad is shown but not tested: 16 images would take longer than the 1 seconds"
    )
    assert "SmoothGrad is not tested here: the budget does not allow it." in result.exhibits[1].caption
    assert not any(key.endswith("smoothgrad") for key in result.numbers)
    assert "similarity_last_randomised_gradient_input" in result.numbers


def test_blank_maps_are_counted_said_and_left_out(convnet: Model, noise_images: Images) -> None:
    """A network that is dead on dark images: no method can explain those."""
    dark = noise_images.pixels()
    dark[::4] *= 0.1
    dead = Model(nn.Sequential(nn.Threshold(-0.75, 0.0), *convnet.network.children()), convnet.card)
    images = Images.from_tensor(dark, noise_images.labels, classes=noise_images.classes, name="dark")
    result = run("attribution", dead, images, methods="gradient-input", ids=("dark/0", "dark/1"))
    exhibit = result.exhibits[0]
    assert isinstance(exhibit, ImageGrid)
    assert exhibit.labels[1] == "blank"
    assert exhibit.labels[4].startswith("full colour")
    assert any(warning.startswith("1 of 2 maps of Gradient × input is blank") for warning in result.warnings)
    blank = int(exhibit.facts["blank_maps_gradient_input"])
    assert 1 <= blank < 16
    assert f"Blank maps are excluded: {blank} of 16 with the trained network" in exhibit.caption
    assert result.numbers["similarity_last_randomised_gradient_input"].n == 16 - blank


def test_the_user_chooses_images_by_id_or_as_files(
    convnet: Model, noise_images: Images, tmp_path: Path
) -> None:
    cheap: dict[str, Any] = {"methods": "gradient-input", "budget": 5}
    by_id = run("attribution", convnet, noise_images, ids="noise/7,noise/3", **cheap)
    table = by_id.exhibits[-1]
    assert isinstance(table, Table)
    assert [row[0] for row in table.rows] == ["noise/7", "noise/3"]
    pixels = (noise_images.select([7]).pixels()[0].permute(1, 2, 0) * 255).round().byte().numpy()
    Image.fromarray(pixels).save(tmp_path / "seven.png")
    for data in (noise_images, noise_images.select([])):
        from_file = run("attribution", convnet, data, image=str(tmp_path / "seven.png"), **cheap)
        table = from_file.exhibits[-1]
        assert isinstance(table, Table)
        assert [row[0] for row in table.rows] == ["seven.png"]
        grids = [result.exhibits[0] for result in (by_id, from_file)]
        assert all(isinstance(grid, ImageGrid) for grid in grids)
        np.testing.assert_allclose(grids[0].images[1], grids[1].images[1], atol=1e-4)  # type: ignore[attr-defined]
        tested = from_file.numbers["similarity_last_randomised_gradient_input"].n
        assert tested == (16 if len(data) else 1)
    with pytest.raises(UserError, match="noise has no image 'noise/99'"):
        run("attribution", convnet, noise_images, ids="noise/99", **cheap)
    with pytest.raises(UserError, match="--image and --ids"):
        run("attribution", convnet, noise_images, ids="noise/1", image="china.jpg", **cheap)
