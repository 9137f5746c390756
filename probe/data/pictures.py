"""Single pictures that are named as parameters: read, upright and without transparency, resized, hashed."""

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from probe.data.image_files import MAX_BYTES, UnreadableFile, decode
from probe.data.images import convert_channels
from probe.errors import UserError
from probe.regular_files import open_regular, user_path

SAMPLES = ("china.jpg", "flower.jpg")
"""Photographs that scikit-learn ships, which can be named as if they were files."""


def read_picture(name: str, channels: int) -> Tensor:
    """(1, channels, h, w) in [0, 1] of a picture file, upright by its EXIF orientation, transparency on white.

    name: a PNG, JPEG, WebP or BMP, or one of SAMPLES where there is no file of that name. Grey becomes colour by
    repeating the channel, colour becomes grey by Rec. 601 luma. Raises UserError for what is no such picture.
    """
    if _is_sample(name):
        pixels = torch.from_numpy(_sample(name).copy()).permute(2, 0, 1)
    else:
        try:
            array = np.array(decode(_read(name), 3))
        except UnreadableFile as error:
            raise UserError(f"{name} cannot be read as a picture: {error}") from None
        pixels = torch.from_numpy(array.transpose(2, 0, 1).copy())
    return convert_channels(pixels[None].float() / 255, channels)


def picture_digest(name: str) -> str:
    """SHA-256 of the file, or of a sample's pixels; UserError if it cannot be read."""
    return hashlib.sha256(_sample(name).tobytes() if _is_sample(name) else _read(name)).hexdigest()


def resized(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """Pictures (n, c, h, w) in [0, 1] at `size` (height, width), bicubic and antialiased."""
    if tuple(pixels.shape[2:]) == size:
        return pixels
    return functional.interpolate(pixels, size, mode="bicubic", antialias=True, align_corners=False).clamp_(
        0, 1
    )


def fitted_size(size: tuple[int, int], longer: int) -> tuple[int, int]:
    """The size (height, width) of the same proportions with a longer side of `longer` pixels.

    >>> fitted_size((427, 640), 320)
    (214, 320)
    """
    scale = longer / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _is_sample(name: str) -> bool:
    return name in SAMPLES and not Path(name).exists()


def _sample(name: str) -> np.ndarray:
    from sklearn.datasets import load_sample_image

    return load_sample_image(name)


def _read(name: str) -> bytes:
    path = user_path(name)
    try:
        with open_regular(path) as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None
    if len(content) > MAX_BYTES:
        raise UserError(f"{path} cannot be read: it is larger than {MAX_BYTES >> 20} MiB")
    return content
