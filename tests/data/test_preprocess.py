"""Preprocessing rules: what they read, what they do, and what they leave alone."""

# Labels, masks and bytes may be None in general, and are not in these cases.

from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision import transforms
from torchvision.models import get_model_weights, list_models
from torchvision.transforms import v2
from torchvision.transforms.functional import to_tensor

from probe.data.images import Images
from probe.data.preprocess import Preprocess
from probe.errors import UserError
from probe.model.loading import torchvision_rule

kinds = st.sampled_from(["resize {}", "resize {} bicubic", "centre crop {}", "pad {}"])
steps = st.builds(str.format, kinds, st.integers(1, 40))
rules = st.lists(steps, max_size=4).map(", ".join)
sizes = st.tuples(st.integers(1, 40), st.integers(1, 40))


@given(rules)
def test_a_rule_survives_printing_and_parsing(rule):
    assert str(Preprocess.parse(rule)) == rule
    assert Preprocess.parse(rule.upper().replace("CENTRE", " center ")) == Preprocess.parse(rule)


@pytest.mark.parametrize(
    "rule",
    [
        *("resize", "resize 0", "stretch 32", "pad 32;", "resize 32,", "resize -1", "pad 9999"),
        *("resize 32 cubic", "pad 32 bicubic", "resize 32bicubic", "resize bicubic 32"),
    ],
)
def test_a_bad_rule_is_refused_in_one_line(rule):
    with pytest.raises(UserError, match="is not a preprocessing step") as caught:
        Preprocess.parse(rule)
    assert "\n" not in str(caught.value)


@settings(deadline=None)
@given(rules, sizes)
def test_pixels_masks_and_images_have_the_predicted_size(rule, size):
    preprocess = Preprocess.parse(rule)
    expected = preprocess.size(size)
    assert preprocess.pixels(torch.rand(2, 3, *size)).shape[2:] == expected
    assert preprocess.masks(torch.rand(2, *size) > 0.5).shape[1:] == expected
    image = preprocess.image(Image.new("RGB", size[::-1]))
    assert (image.height, image.width) == expected


@settings(deadline=None)
@given(rules, sizes)
def test_steps_without_effect_are_removed(rule, size):
    preprocess = Preprocess.parse(rule)
    pixels = torch.rand(1, 1, *size)
    working = preprocess.effective({size})
    assert torch.equal(working.pixels(pixels), preprocess.pixels(pixels))
    assert working.size(size) == preprocess.size(size)


@settings(deadline=None)
@given(rules, st.integers(0, 2**32 - 1))
def test_a_preprocessed_box_contains_the_preprocessed_mask(rule, seed):
    rng = np.random.default_rng(seed)
    h, w = rng.integers(4, 40, 2)
    top, left = rng.integers(0, h), rng.integers(0, w)
    bottom, right = rng.integers(top + 1, h + 1), rng.integers(left + 1, w + 1)
    mask = torch.zeros(1, int(h), int(w), dtype=torch.bool)
    mask[:, top:bottom, left:right] = True
    preprocess = Preprocess.parse(rule)
    moved = preprocess.masks(mask)[0]
    x0, y0, x1, y1 = preprocess.boxes(torch.tensor([[left, top, right, bottom]]), (int(h), int(w)))[
        0
    ].tolist()
    moved[y0:y1, x0:x1] = False
    # The filter that shrinks is wider than a pixel: half coverage may reach one pixel out.
    resizes = sum(step.kind == "resize" for step in preprocess.steps)
    assert resizes or not moved.any()


def test_cropping_and_padding_move_a_box_exactly():
    box = torch.tensor([[2, 3, 6, 9]])
    assert Preprocess.parse("pad 16").boxes(box, (12, 10)).tolist() == [[5, 5, 9, 11]]
    assert Preprocess.parse("centre crop 6").boxes(box, (12, 10)).tolist() == [[0, 0, 4, 6]]
    assert Preprocess.parse("resize 20").boxes(box, (12, 10)).tolist() == [[4, 6, 12, 18]]
    assert Preprocess.parse("centre crop 2").boxes(torch.tensor([[0, 0, 2, 2]]), (12, 10)).tolist() == [
        [0, 0, 0, 0]
    ]


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(300, 401), (401, 300), (256, 341), (97, 61), (40, 30)])
def test_an_image_is_preprocessed_as_by_torchvisions_reference(size, interpolation):
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8))
    resize = transforms.Resize(64, interpolation=transforms.InterpolationMode(interpolation))
    reference = transforms.Compose([resize, transforms.CenterCrop(57)])(image)
    rule = Preprocess.parse(f"resize 64 {interpolation}, centre crop 57")
    assert np.array_equal(np.asarray(rule.image(image)), np.asarray(reference))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_tensors_are_resized_as_by_torchvisions_reference(interpolation):
    pixels = torch.rand(2, 3, 61, 97, generator=torch.Generator().manual_seed(0))
    reference = v2.Resize(32, interpolation=v2.InterpolationMode(interpolation), antialias=True)(pixels)
    resized = Preprocess.parse(f"resize 32 {interpolation}").pixels(pixels)
    torch.testing.assert_close(resized, reference.clamp(0, 1), atol=1e-6, rtol=0)


def photograph() -> Image.Image:
    """A real one, of 640 x 427 pixels."""
    from sklearn.datasets import load_sample_image

    return Image.fromarray(load_sample_image("china.jpg"))


def published() -> dict[str, Any]:
    """The weights of torchvision for classification, one for each preprocessing."""
    every = (w for name in list_models(module=torchvision.models) for w in get_model_weights(name))
    return {str(w.transforms()): w for w in every}


def test_the_rules_of_torchvisions_weights_do_what_their_transforms_do():
    image, weights = photograph(), published()
    assert {torchvision_rule(w.transforms()).count("bicubic") for w in weights.values()} == {0, 1}
    for each in weights.values():
        transform = each.transforms()
        pixels = to_tensor(Preprocess.parse(torchvision_rule(transform)).image(image))
        ours = (pixels - torch.tensor(transform.mean)[:, None, None]) / torch.tensor(transform.std)[
            :, None, None
        ]
        torch.testing.assert_close(ours, transform(image), atol=1e-6, rtol=0, msg=str(each))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_tensors_and_images_are_resized_alike_to_a_grey_level(interpolation):
    rng = np.random.default_rng(0)
    array = rng.integers(0, 256, (50, 70, 3), dtype=np.uint8)
    preprocess = Preprocess.parse(f"resize 20 {interpolation}, centre crop 20")
    picture = np.asarray(preprocess.image(Image.fromarray(array)), np.float32) / 255
    tensor = preprocess.pixels(torch.from_numpy(array).permute(2, 0, 1)[None].float() / 255)[0].permute(
        1, 2, 0
    )
    assert np.abs(picture - tensor.numpy()).max() <= 1.01 / 255


def test_an_image_of_the_right_size_is_unchanged_without_a_note():
    images = Images.from_tensor(torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16))
    preprocessed = images.preprocessed((1, 16, 16), "resize 16, centre crop 16, pad 16")
    assert torch.equal(preprocessed.pixels(), images.pixels())
    assert preprocessed.notes == ()
    assert preprocessed.digest == images.digest


def test_padding_keeps_the_bytes_with_a_note():
    images = Images.from_tensor(torch.randint(0, 256, (3, 1, 28, 28), dtype=torch.uint8))
    preprocessed = images.preprocessed((1, 32, 32), "resize 28, centre crop 28, pad 32")
    assert preprocessed.notes == ("28 x 28 grey images were padded to 32 x 32.",)
    assert preprocessed.shape == (1, 32, 32)
    assert torch.equal(preprocessed.bytes()[:, :, 2:-2, 2:-2], images.bytes())
    assert preprocessed.bytes().sum() == images.bytes().sum()
    assert torch.equal(preprocessed.pixels(), preprocessed.bytes().float() / 255)


def test_grey_becomes_colour_by_repeating_and_colour_grey_by_luma():
    grey = Images.from_tensor(torch.randint(0, 256, (2, 1, 8, 8), dtype=torch.uint8))
    coloured = grey.preprocessed((3, 8, 8), "")
    assert torch.equal(coloured.pixels(), grey.pixels().repeat(1, 3, 1, 1))
    assert torch.equal(coloured.bytes(), grey.bytes().repeat(1, 3, 1, 1))
    assert coloured.notes == ("8 x 8 grey images were repeated over three channels.",)
    assert torch.equal(coloured.preprocessed((1, 8, 8), "").pixels(), grey.pixels())

    colour = Images.from_tensor(torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8))
    turned = colour.preprocessed((1, 8, 8), "")
    wanted = colour.pixels().double()
    wanted = 0.299 * wanted[:, 0] + 0.587 * wanted[:, 1] + 0.114 * wanted[:, 2]
    assert torch.allclose(turned.pixels()[:, 0].double(), wanted, atol=1e-6)
    assert turned.bytes() is None
    assert turned.notes == ("8 x 8 colour images were converted to grey (Rec. 601 luma).",)


def test_masks_are_transformed_like_the_pixels():
    masks = torch.zeros(1, 64, 64, dtype=torch.bool)
    masks[:, 16:40, 24:56] = True
    pixels = masks[:, None].float().repeat(1, 3, 1, 1)
    images = Images.from_tensor(pixels, masks=masks, boxes=[[24, 16, 56, 40]])
    for shape, rule in (
        ((3, 32, 32), "resize 32"),
        ((3, 32, 32), "resize 32 bicubic"),
        ((3, 48, 48), "centre crop 48"),
        ((1, 80, 80), "pad 80"),
    ):
        preprocessed = images.preprocessed(shape, rule)
        assert torch.equal(preprocessed.masks, preprocessed.pixels()[:, 0] >= 0.5)
        left, top, right, bottom = preprocessed.boxes[0].tolist()
        assert preprocessed.masks[0, top:bottom, left:right].all()
        assert preprocessed.masks.sum() == (right - left) * (bottom - top)


def test_a_rule_that_does_not_lead_to_the_model_is_refused_with_one_that_does():
    images = Images.from_tensor(torch.zeros(1, 1, 64, 64))
    with pytest.raises(
        UserError, match="turns the 64 x 64 images of images into 64 x 64, but the model takes 32 x 32"
    ):
        images.preprocessed((1, 32, 32), "pad 32")


def test_bicubic_resizing_is_named_in_the_note():
    images = Images.from_tensor(torch.zeros(1, 3, 64, 64))
    assert images.preprocessed((3, 32, 32), "resize 32 bicubic").notes == (
        "64 x 64 colour images were resized bicubically to 32 x 32.",
    )
