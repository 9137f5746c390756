"""Heat maps of attributions as images: a common scale, overlays, boxes. Uses NumPy alone."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from probe.exhibits.colour import overlay
from probe.exhibits.exhibits import Array, Scale

_GREEN, _AMBER = (0.15, 0.75, 0.3), (1.0, 0.7, 0.1)
TRUE_BOX, PREDICTED_BOX = _GREEN, _AMBER


QUANTILE = 0.99
"""Full colour is at this quantile of the magnitudes of a map: a few outliers would leave the rest pale."""

_OVERLAY = 40  # of the side of an image: by as much a map is smoothed before it is laid over the image


def heatmap_scale(
    maps: Array, kind: Literal["signed", "magnitude"], label: str, *, quantile: float = 0.995
) -> Scale:
    """One scale for all of `maps` (any shape), up to a quantile of their magnitude, so that outliers do not set it.

    Signed maps get a diverging scale around zero, others a sequential one from zero.
    """
    magnitude = np.abs(maps)
    limit = float(np.quantile(magnitude, quantile)) or float(magnitude.max()) or 1.0
    if kind == "signed":
        return Scale(low=-limit, high=limit, kind="diverging", label=label)
    return Scale(low=0.0, high=limit, kind="sequential", label=label)


def unit_scale(kind: Literal["signed", "magnitude"], label: str) -> Scale:
    """The scale of maps that are divided by their value of full colour (`in_full_colours`).

    Signed maps get a diverging scale around zero, others a sequential one from zero.
    """
    text = f"{label}, as a fraction of the value of full colour"
    if kind == "signed":
        return Scale(low=-1.0, high=1.0, kind="diverging", label=text)
    return Scale(low=0.0, high=1.0, kind="sequential", label=text)


def in_full_colours(maps: Array) -> tuple[Array, Array]:
    """Maps (n, ...) each divided by its value of full colour, the 99th percentile of its magnitude, and these (n,).

    Values beyond full colour exceed 1. A map whose percentile is 0 is divided by its largest magnitude; a map of zeros
    stays as it is, with a value of 0.
    """
    rows = np.abs(maps.reshape(len(maps), -1)).astype(np.float64)
    limits = np.quantile(rows, QUANTILE, axis=1)
    limits = np.where(limits > 0, limits, rows.max(1, initial=0))
    divisors = np.where(limits > 0, limits, 1.0).reshape(-1, *[1] * (maps.ndim - 1))
    return (maps / divisors).astype(np.float32), limits


def smoothed(maps: Array, sigma: float) -> Array:
    """Maps (n, h, w) after a Gaussian blur with a standard deviation of `sigma` pixels; 0 leaves them as they are."""
    if sigma <= 0:
        return maps
    from scipy.ndimage import gaussian_filter  # not at the top: its import adds filters of warnings

    return gaussian_filter(maps, sigma, axes=(1, 2), mode="nearest")


def overlay_sigma(height: int, width: int) -> float:
    """Pixels by which a map is smoothed for its overlay: a fortieth of the shorter side."""
    return min(height, width) / _OVERLAY


def side_by_side(images: Sequence[Array], maps: Array, scale: Scale) -> list[Array]:
    """Image, map and overlay of each image in turn. images: (h, w, 1 or 3) in [0, 1]; maps: (n, h, w) as shown.

    The overlay has the map smoothed by `overlay_sigma`, on a full colour of its own, over the image in pale grey.
    """
    soft, _ = in_full_colours(smoothed(maps, overlay_sigma(*maps.shape[1:])))
    return [
        tile
        for image, heat, over in zip(images, maps.astype(np.float32), soft, strict=True)
        for tile in (image, heat, overlay(0.3 + 0.6 * image, over * scale.high, scale, alpha=0.8))
    ]


def signed_images(values: Array) -> Array:
    """Signed colour images (n, h, w, 3) as they are usually printed: grey is 0, -1 and 1 are full colours."""
    return np.clip(0.5 + 0.5 * values, 0, 1).astype(np.float32)


def draw_box(
    image: Array,
    box: tuple[int, int, int, int] | None,
    colour: tuple[float, float, float],
    *,
    min_side: int = 160,
) -> Array:
    """The image in colour with the outline of `box` (left, top, right, bottom, the last two exclusive), if any.

    Small images are first enlarged by a whole factor to at least `min_side` pixels, so that the outline is thin.
    """
    factor = max(1, -(-min_side // max(image.shape[:2])))
    drawn = np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image
    drawn = drawn.repeat(factor, axis=0).repeat(factor, axis=1).astype(np.float32)
    if box is None:
        return drawn
    left, top, right, bottom = (side * factor for side in box)
    thickness = max(1, round(max(drawn.shape[:2]) / 100))
    outline = np.zeros(drawn.shape[:2], dtype=bool)
    outline[top:bottom, left:right] = True
    outline[top + thickness : bottom - thickness, left + thickness : right - thickness] = False
    drawn[outline] = colour
    return drawn
