"""Heat maps of attributions as images: a common scale, overlays, boxes. Uses NumPy alone."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from probe.exhibits.colour import overlay
from probe.exhibits.exhibits import Array, Scale

_GREEN, _AMBER = (0.15, 0.75, 0.3), (1.0, 0.7, 0.1)
TRUE_BOX, PREDICTED_BOX = _GREEN, _AMBER


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


def side_by_side(images: Sequence[Array], maps: Array, scale: Scale) -> list[Array]:
    """Image, map and overlay of each image in turn. images: (h, w, 1 or 3) in [0, 1]; maps: (n, h, w)."""
    return [
        tile
        for image, heat in zip(images, maps.astype(np.float32), strict=True)
        for tile in (image, heat, overlay(image, heat, scale))
    ]


def signed_images(values: Array, limit: float) -> Array:
    """Signed colour images (n, h, w, 3) as they are usually printed: grey is 0, `limit` is full colour."""
    return np.clip(0.5 + 0.5 * values / limit, 0, 1).astype(np.float32)


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
