"""Does the attribution analysis show its maps beside the images, with boxes and the runner-up?"""

from typing import Any

import numpy as np
import pytest
import torch

from probe.data.images import Images
from probe.errors import UserError
from probe.exhibits.checks import check
from probe.exhibits.exhibits import ImageGrid, Table
from probe.model.model import Model
from probe.runs.execute import run

QUICK: dict[str, Any] = {"examples": 2, "steps": 4, "samples": 2}


def with_boxes(images: Images) -> Images:
    boxes = torch.tensor([[10, 8, 24, 20]]).expand(len(images), 4)
    return Images.from_tensor(
        images.pixels(), images.labels, classes=images.classes, name="boxed", masks=images.masks, boxes=boxes
    )


def test_every_method_shows_image_map_and_overlay_with_its_verdict(
    convnet: Model, noise_images: Images
) -> None:
    result = run("attribution", convnet, noise_images, **QUICK)
    shown = [
        e
        for e in result.exhibits
        if isinstance(e, ImageGrid) and e.column_headers == ["image", "map", "overlay"]
    ]
    assert len(shown) == 6
    for exhibit in shown:
        assert "the randomisation test" in exhibit.caption
        image, heat, overlay = exhibit.images[:3]
        assert image.shape == overlay.shape == (32, 32, 3)
        assert heat.shape == (32, 32)
    assert result.numbers["completeness error"].value < 0.5
    assert not result.warnings


def test_the_answer_minus_the_runner_up_is_the_difference_of_the_two_columns(
    convnet: Model, noise_images: Images
) -> None:
    result = run("attribution", convnet, noise_images, methods="integrated_gradients", examples=2, steps=4)
    apart = next(e for e in result.exhibits if e.title.startswith("The answer pulled apart"))
    assert isinstance(apart, ImageGrid)
    for row in range(2):
        answer, second, difference = apart.images[4 * row + 1 : 4 * row + 4]
        np.testing.assert_allclose(answer - second, difference, atol=1e-5)


def test_boxes_are_held_against_the_true_ones_where_they_are_known(
    convnet: Model, noise_images: Images
) -> None:
    known = run("attribution", convnet, with_boxes(noise_images), methods="gradcam", examples=3)
    boxes = next(e for e in known.exhibits if e.title.startswith("Boxes"))
    assert "overlaps the true one" in boxes.caption
    assert 0 <= known.numbers["overlap of boxes"].value <= 1
    unknown = run("attribution", convnet, noise_images, methods="gradcam", examples=3)
    boxes = next(e for e in unknown.exhibits if e.title.startswith("Boxes"))
    assert "not known" in boxes.caption
    assert "overlap of boxes" not in unknown.numbers


def test_images_without_labels_leave_out_what_is_true(convnet: Model, noise_images: Images) -> None:
    bare = Images.from_tensor(noise_images.pixels(), name="bare")
    table = run("attribution", convnet, bare, methods="gradcam").exhibits[-1]
    assert isinstance(table, Table)
    assert "true" not in table.columns
    assert "not known" in table.caption


def test_constant_images_can_be_drawn(convnet: Model) -> None:
    grey = Images.from_tensor(torch.full((2, 3, 32, 32), 0.5), name="grey")
    for exhibit in run("attribution", convnet, grey, **QUICK).exhibits:
        check(exhibit)


def test_a_method_or_layer_that_is_not_there_is_answered_in_one_line(
    convnet: Model, noise_images: Images
) -> None:
    with pytest.raises(UserError, match="no attribution method 'gradcm'"):
        run("attribution", convnet, noise_images, methods="gradcm")
    with pytest.raises(UserError, match="no layer 'conv9'"):
        run("attribution", convnet, noise_images, layer="conv9")
    with pytest.raises(UserError, match="window must lie in"):
        run("attribution", convnet, noise_images, window=33, methods="occlusion")
