"""Images in memory, as bytes if they were given as bytes, and converted to floats a batch at a time."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from probe.data.preprocess import Preprocess, Size
from probe.device import to_device
from probe.errors import UserError


@dataclass(frozen=True, eq=False)
class TensorStore:
    """Pixels in memory: (n, c, h, w), uint8 or float32 in [0, 1]."""

    raw: Tensor

    def __len__(self) -> int:
        return len(self.raw)

    @property
    def channels(self) -> int:
        return self.raw.shape[1]

    def sizes_of(self, rows: Tensor) -> set[Size]:
        """The (height, width) of all images, as a set of one."""
        return {(self.raw.shape[2], self.raw.shape[3])}

    def at(self, rows: Tensor) -> Tensor:
        """The raw pixels of `rows`; a view if they are consecutive."""
        if len(rows) and int(rows[-1]) - int(rows[0]) == len(rows) - 1 and bool((rows.diff() == 1).all()):
            return self.raw[int(rows[0]) : int(rows[0]) + len(rows)]
        return self.raw[rows]

    def subset(self, rows: Tensor) -> "TensorStore":
        """The images of `rows` alone, in order."""
        return TensorStore(self.raw[rows])

    def require_readable(self) -> None:
        """What is in memory can be read."""

    def digest(self, rows: Tensor) -> bytes:
        """A hash of the pixels of `rows`, in order, their type and shape."""
        hasher = hashlib.sha256(repr((self.raw.dtype, tuple(self.raw.shape[1:]))).encode())
        for part in rows.split(4096):
            hasher.update(self.at(part).numpy().tobytes())
        return hasher.digest()

    def batches(
        self, rows: Tensor, size: int, preprocess: Preprocess, device: torch.device
    ) -> Iterator[Tensor]:
        """Preprocessed (b, c, h, w) pixels in [0, 1], converted to floats on `device`."""
        for part in rows.split(size):
            raw = to_device(self.at(part), device)
            # Floats are copied: in-place changes of a batch must not change the images.
            floats = raw.float().div_(255) if raw.dtype == torch.uint8 else raw.clone()
            yield preprocess.pixels(floats)


def raw_pixels(pixels: Tensor) -> Tensor:
    """`pixels` as they are stored: (n, c, h, w), uint8 or float32; UserError for NaN, other shapes, types or ranges."""
    if pixels.ndim != 4:
        raise UserError(f"pixels must have the shape (n, c, h, w), got {tuple(pixels.shape)}")
    if 0 in pixels.shape:
        raise UserError(f"pixels of shape {tuple(pixels.shape)} are empty: pixels must be (n, c, h, w)")
    raw = pixels.detach().cpu()
    if raw.dtype == torch.uint8:
        return raw.contiguous()
    if not raw.is_floating_point():
        raise UserError(f"pixels must be uint8, or floats in [0, 1], got {raw.dtype}")
    raw = raw.float().contiguous()
    low, high = raw.aminmax()
    if not (low >= 0 and high <= 1):  # False for NaN too
        raise UserError(f"pixels must lie in [0, 1], got {_range(raw, float(low), float(high))}")
    return raw


def _range(pixels: Tensor, low: float, high: float) -> str:
    """The range of pixels outside [0, 1], and what to do about it."""
    if bool(pixels.isnan().any()):
        return "NaN"
    if low < 0:
        advice = "pass pixels that are not normalised, because probe normalises them inside the model"
    else:
        advice = "divide grey levels by 255"
    return f"[{low:g}, {high:g}]: {advice}"
