"""Tests of single pictures named as parameters: orientation, transparency, channels, sizes, what is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from probe.data.pictures import fitted_size, picture_digest, read_picture, resized
from probe.errors import UserError


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    """Red above blue, 6 wide and 4 high, with an EXIF orientation that turns it clockwise."""
    array = np.zeros((4, 6, 3), dtype=np.uint8)
    array[:2, :, 0], array[2:, :, 2] = 255, 255
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(array).save(tmp_path / "turned.png", exif=exif)
    return tmp_path / "turned.png"


def test_a_picture_is_upright_and_in_the_channels_of_the_model(drawn: Path):
    pixels = read_picture(str(drawn), 3)
    assert pixels.shape == (1, 3, 6, 4)
    assert pixels[0, 2, :, :2].min() == 1 == pixels[0, 0, :, 2:].max()
    grey = read_picture(str(drawn), 1)
    assert grey.shape == (1, 1, 6, 4)
    torch.testing.assert_close(grey[0, 0, 0, -1], torch.tensor(0.299))


def test_what_is_transparent_is_white_and_grey_is_repeated(tmp_path: Path):
    Image.new("RGBA", (3, 2), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    assert read_picture(str(tmp_path / "clear.png"), 3).min() == 1
    Image.new("L", (3, 2), 51).save(tmp_path / "grey.png")
    torch.testing.assert_close(read_picture(str(tmp_path / "grey.png"), 3), torch.full((1, 3, 2, 3), 0.2))


def test_photographs_of_scikit_learn_are_known_by_name():
    assert read_picture("china.jpg", 3).shape == (1, 3, 427, 640)
    assert picture_digest("china.jpg") != picture_digest("flower.jpg")


def test_what_is_no_picture_is_refused_in_one_line(tmp_path: Path):
    (tmp_path / "text.png").write_text("no picture")
    for name, reason in ((tmp_path / "text.png", "not a png"), (tmp_path / "no.png", "No such file")):
        with pytest.raises(UserError, match=reason) as error:
            read_picture(str(name), 3)
        assert "\n" not in str(error.value)
    with pytest.raises(UserError):
        picture_digest(str(tmp_path))


def test_sizes_keep_the_proportions():
    assert fitted_size((427, 640), 320) == (214, 320)
    assert fitted_size((1000, 1), 10) == (10, 1)
    pixels = torch.rand(1, 3, 8, 6)
    assert resized(pixels, (8, 6)) is pixels
    smaller = resized(pixels, (4, 3))
    assert smaller.shape == (1, 3, 4, 3)
    assert 0 <= float(smaller.min()) <= float(smaller.max()) <= 1
