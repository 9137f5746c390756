"""Batched augmentation against slow rewrites of one image at a time and against torchvision."""

import numpy as np
import pytest
import torch
from torchvision.transforms import functional as reference

from probe.training.augmentation import Augmentation, RandomValues


@pytest.fixture
def pool() -> torch.Tensor:
    """Eight coloured images of bytes, 32 x 32, channels last."""
    return torch.randint(
        0, 256, (8, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )


def augmented(names: tuple[str, ...], pool: torch.Tensor, size: tuple[int, int] = (32, 32), **more):
    """The pool under the named augmentations, and the random values drawn for it."""
    augmentation = Augmentation(names, size, **more)
    drawn = augmentation.draw(len(pool), (pool.shape[1], pool.shape[2]), torch.Generator().manual_seed(1))
    return augmentation.apply(pool, torch.arange(len(pool)), drawn), drawn


def test_without_augmentation_the_pixels_are_the_bytes_over_255(pool):
    pixels, drawn = augmented((), pool)
    assert torch.equal(pixels, pool.permute(0, 3, 1, 2).float() / 255)
    assert pixels.is_contiguous(memory_format=torch.channels_last)
    assert drawn == RandomValues()


def test_without_a_crop_a_larger_image_is_cropped_at_its_centre(pool):
    pixels, _ = augmented((), pool, (24, 24))
    assert torch.equal(pixels, pool[:, 4:28, 4:28].permute(0, 3, 1, 2).float() / 255)


def test_a_crop_is_a_window_of_the_image_with_reflected_edges(pool):
    pixels, drawn = augmented(("crop", "flip"), pool)
    for index, image in enumerate(pool.numpy()):
        padded = np.pad(image, ((4, 4), (4, 4), (0, 0)), mode="reflect")
        top, left = int(drawn.top[index]) + 4, int(drawn.left[index]) + 4
        window = padded[top : top + 32, left : left + 32]
        window = window[:, ::-1] if drawn.flip[index] else window
        assert np.array_equal((pixels[index].permute(1, 2, 0) * 255).round().numpy(), window)
    assert drawn.flip.any()
    assert not drawn.flip.all()


def test_a_crop_shifts_by_up_to_an_eighth_of_the_side_and_reaches_both_ends():
    drawn = Augmentation(("crop",), (32, 32)).draw(2000, (32, 32), torch.Generator().manual_seed(0))
    for side in ("top", "left"):
        assert getattr(drawn, side).unique().tolist() == list(range(-4, 5))


def test_a_crop_of_a_larger_image_stays_inside_it():
    drawn = Augmentation(("crop",), (24, 24)).draw(2000, (32, 32), torch.Generator().manual_seed(0))
    assert drawn.top.unique().tolist() == list(range(9))


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_colour_changes_are_those_of_torchvision(pool, name):
    pixels, drawn = augmented((name,), pool)
    change = getattr(reference, f"adjust_{name}")
    for index, image in enumerate(pool.permute(0, 3, 1, 2).float() / 255):
        torch.testing.assert_close(
            pixels[index], change(image, 1 + float(getattr(drawn, name)[index])), atol=2e-4, rtol=0
        )


def test_a_full_rotation_of_the_hue_is_the_identity_and_a_partial_one_keeps_the_luma(pool):
    muted = (pool.float() / 255 * 0.2 + 0.4).contiguous()  # so that no rotated colour leaves [0, 1]
    augmentation = Augmentation(("hue",), (32, 32))
    rows, luma = torch.arange(8), torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    whole = augmentation.apply(muted, rows, RandomValues(hue=torch.ones(8)))
    part = augmentation.apply(muted, rows, RandomValues(hue=torch.full((8,), 0.3)))
    original = muted.permute(0, 3, 1, 2)
    torch.testing.assert_close(whole, original, atol=1e-4, rtol=0)
    torch.testing.assert_close((part * luma).sum(1), (original * luma).sum(1), atol=1e-4, rtol=0)
    assert float((part - original).abs().mean()) > 0.02


def test_colour_changes_leave_grey_images_grey():
    grey = torch.randint(0, 256, (4, 8, 8, 1), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    pixels, _ = augmented(("saturation", "hue"), grey, (8, 8))
    assert torch.equal(pixels, grey.permute(0, 3, 1, 2).float() / 255)


def test_a_cutout_hides_one_square_of_half_the_side_at_most(pool):
    mean = (0.1234, 0.2345, 0.3456)
    pixels, drawn = augmented(("cutout",), pool, mean=mean)
    hidden = (pixels == torch.tensor(mean).view(1, 3, 1, 1)).all(1)
    for index, mask in enumerate(hidden):
        row, column = (drawn.cutout[index] * 32).floor().int().tolist()
        expected = torch.zeros(32, 32, dtype=torch.bool)
        expected[max(0, row - 8) : row + 8, max(0, column - 8) : column + 8] = True
        assert torch.equal(mask, expected)


def test_half_a_batch_is_augmented_as_within_the_whole_batch(pool):
    names = ("crop", "flip", "jitter", "cutout")
    whole, drawn = augmented(names, pool)
    shard = slice(1, None, 2)
    half = Augmentation(names, (32, 32)).apply(pool, torch.arange(8)[shard], drawn[shard])
    torch.testing.assert_close(half, whole[shard])
    assert float(whole.min()) >= 0
    assert float(whole.max()) <= 1
