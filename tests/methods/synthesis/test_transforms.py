"""Tests of the random affine transforms."""

import numpy as np
import pytest
import torch

from probe.methods.synthesis.transforms import RandomAffine, RandomCrops, RandomRoll, anneal, warp


def pixels(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def matrices(*rows: list[list[float]]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def test_ranges_of_zero_are_the_identity():
    identity = RandomAffine(shift=0, degrees=0, zoom=0).sample(2, (6, 9), torch.Generator().manual_seed(0))
    torch.testing.assert_close(warp(pixels(2, 3, 6, 9), identity), pixels(2, 3, 6, 9), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("down", "right"), [(0, 2), (-1, 0), (2, -3)])
def test_a_shift_by_whole_pixels_brings_in_the_reflection(down: int, right: int):
    image = pixels(1, 1, 6, 8)
    warped = warp(image, matrices([[1, 0, right * 2 / 8], [0, 1, down * 2 / 6]]))
    wide = np.pad(image[0, 0].numpy(), 4, mode="symmetric")
    expected = wide[4 + down : 10 + down, 4 + right : 12 + right]
    np.testing.assert_allclose(warped[0, 0].numpy(), expected, atol=1e-9)


def test_a_quarter_rotation_is_rot90():
    image = pixels(1, 2, 7, 7)
    rotated = warp(image, matrices([[0, -1, 0], [1, 0, 0]]))
    torch.testing.assert_close(rotated, torch.rot90(image, 1, (2, 3)), rtol=0, atol=1e-9)


def test_transforms_are_rotations_and_zooms_within_their_ranges_on_oblong_images_too():
    height, width = 40, 64
    drawn = (
        RandomAffine(shift=3, degrees=10, zoom=0.1)
        .sample(500, (height, width), torch.Generator().manual_seed(1))
        .double()
    )
    to_pixels = torch.tensor([width / 2, height / 2], dtype=torch.float64)
    matrix = drawn[:, :, :2] * to_pixels[:, None] / to_pixels[None]
    zoom = torch.linalg.det(matrix).rsqrt()
    similar = matrix @ matrix.transpose(1, 2) * zoom[:, None, None] ** 2
    torch.testing.assert_close(
        similar, torch.eye(2, dtype=torch.float64).expand_as(similar), rtol=0, atol=1e-5
    )
    angle = torch.atan2(matrix[:, 1, 0], matrix[:, 0, 0]).rad2deg()
    shift = drawn[:, :, 2] * to_pixels
    for values, limit in ((zoom - 1, 0.1), (angle, 10), (shift, 3)):
        assert 0.95 * limit < values.abs().max() <= limit * 1.0001
        assert values.mean().abs() < 0.15 * limit


def test_each_image_has_a_transform_of_its_own():
    image = pixels(1, 1, 16, 16).expand(2, 1, 16, 16)
    drawn = RandomAffine().sample(2, (16, 16), torch.Generator().manual_seed(0))
    warped = warp(image, drawn)
    assert not torch.equal(warped[0], warped[1])
    torch.testing.assert_close(warped[1:], warp(image[1:], drawn[1:]))


def test_the_shift_grows_with_the_image_and_stops():
    assert [RandomAffine.for_side(side).shift for side in (32, 64, 1024)] == [3, 6, 16]
    assert RandomAffine.for_side(64, 0.5) == RandomAffine(shift=3, degrees=5, zoom=0.05)


def test_annealed_transforms_shrink_to_the_identity():
    drawn = RandomAffine().sample(20, (8, 8), torch.Generator().manual_seed(0))
    identity = torch.eye(2, 3)
    annealed = anneal(drawn, 0.5)
    torch.testing.assert_close(annealed[:10], drawn[:10])
    torch.testing.assert_close(annealed[15] - identity, 0.4 * (drawn[15] - identity))
    assert torch.equal(annealed[-1], identity)
    assert torch.equal(anneal(drawn, 0)[:-1], drawn[:-1])


def test_crops_shrink_over_the_steps_and_stay_about_the_centre():
    drawn = RandomCrops().sample(400, (32, 32), torch.Generator().manual_seed(0))
    sides = drawn[:, 0, 0]
    assert abs(float(sides[:40].mean()) - 0.48) < 0.03
    assert float(sides.min()) >= 0.05
    assert float(sides[-40:].mean()) < 0.12
    assert abs(float(drawn[:, 0, 2].mean())) < 0.05
    assert abs(float(drawn[:, 0, 2].std()) - 0.3) < 0.05
    whole = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    half = torch.tensor([[[0.5, 0, 0], [0, 0.5, 0]]])
    cropped = RandomCrops().apply(whole, half)
    torch.testing.assert_close(cropped.mean(), whole[..., 2:6, 2:6].mean(), rtol=0, atol=0.03)


def test_rolls_move_whole_pixels_and_lose_none():
    images = torch.rand(3, 2, 5, 6, generator=torch.Generator().manual_seed(1))
    drawn = RandomRoll(4).sample(3, (5, 6), torch.Generator().manual_seed(0))
    rolled = RandomRoll(4).apply(images, drawn)
    for image, result, (rows, columns) in zip(images, rolled, drawn.tolist(), strict=True):
        assert torch.equal(result, image.roll((rows, columns), (1, 2)))
    assert int(drawn.abs().max()) <= 4
