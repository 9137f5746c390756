"""Tests of tiles: crops in frames, contact sheets, signed values around grey."""

import numpy as np
import torch

from probe.exhibits.tiles import centred_on_grey, contact_sheet, framed_crop, to_images


def test_a_crop_at_the_border_of_the_image_lies_at_that_border_of_its_frame() -> None:
    image = torch.arange(36.0).view(1, 6, 6) / 36
    first = framed_crop(image, (0, 0, 2, 3), (4, 4), limit=9, blank=-1)
    assert torch.equal(first[:, 1:, 2:], image[:, :3, :2])
    assert bool((first[:, 0] == -1).all())
    assert bool((first[:, :, :2] == -1).all())
    last = framed_crop(image, (4, 3, 6, 6), (4, 4), limit=9, blank=-1)
    assert torch.equal(last[:, :3, :2], image[:, 3:, 4:])
    assert framed_crop(image, (0, 0, 6, 6), (6, 6), limit=3).shape == (1, 3, 3)


def test_a_contact_sheet_has_a_gap_between_its_tiles() -> None:
    tiles = [torch.full((3, 4, 2), value) for value in (0.1, 0.2, 0.3)]
    sheet = contact_sheet(tiles, 2)
    assert sheet.shape == (9, 5, 3)
    np.testing.assert_allclose(sheet[:4, :2], 0.1)
    np.testing.assert_allclose(sheet[:4, 3:], 0.2)
    np.testing.assert_allclose(sheet[5:, :2], 0.3)
    np.testing.assert_allclose(sheet[4], 1)
    np.testing.assert_allclose(sheet[5:, 3:], 1)


def test_signed_values_lie_around_grey_on_their_own_scale() -> None:
    values = torch.cat([torch.linspace(-2, -0.1, 1000), torch.zeros(1), torch.linspace(0.1, 2, 1000)]).view(
        1, 3, 667
    )
    grey = centred_on_grey(values)
    assert grey[values == 0].tolist() == [0.5]
    assert float((grey - 0.5).abs().max()) == 0.5
    assert bool(((grey > 0.5) == (values > 0)).all())
    single = torch.zeros(1, 100, 100)
    single[0, 3, 4] = -7
    assert float(centred_on_grey(single)[0, 3, 4]) == 0
    assert float(centred_on_grey(torch.zeros(1, 2, 2)).std()) == 0


def test_images_are_clipped_and_their_channels_come_last() -> None:
    (image,) = to_images(torch.tensor([-0.5, 0.25, 1.5]).view(1, 3, 1, 1))
    assert image.shape == (1, 1, 3)
    assert image.dtype == np.float32
    assert image.flatten().tolist() == [0.0, 0.25, 1.0]
