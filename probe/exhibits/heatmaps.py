"""How is a map of relevance shown beside its picture? One scale for all maps, overlays, boxes. NumPy alone."""

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
    """One scale for all of `maps` (any shape): its end is the quantile of their size, so that no lone pixel sets it.

    Signed maps get a diverging scale round zero, others a sequential one from zero.
    """
    size = np.abs(maps)
    limit = float(np.quantile(size, quantile)) or float(size.max()) or 1.0
    if kind == "signed":
        return Scale(low=-limit, high=limit, kind="diverging", label=label)
    return Scale(low=0.0, high=limit, kind="sequential", label=label)


def side_by_side(faces: Sequence[Array], maps: Array, scale: Scale) -> list[Array]:
    """Picture, map and overlay of each image in turn. faces: (h, w, 1 or 3) in [0, 1]; maps: (n, h, w)."""
    shown = maps.astype(np.float32)
    return [
        one
        for face, heat in zip(faces, shown, strict=True)
        for one in (face, heat, overlay(face, heat, scale))
    ]


def signed_images(pictures: Array, limit: float) -> Array:
    """Signed colour pictures (n, h, w, 3) as they are usually printed: grey is 0, `limit` is full colour."""
    return np.clip(0.5 + 0.5 * pictures / limit, 0, 1).astype(np.float32)


def draw_box(
    picture: Array,
    box: tuple[int, int, int, int] | None,
    colour: tuple[float, float, float],
    *,
    min_side: int = 160,
) -> Array:
    """The picture in colour with the outline of `box` (left, top, right, bottom, the last two exclusive).

    Small pictures are enlarged by a whole factor to `min_side` pixels a side first, so that the outline is thin.
    """
    factor = max(1, -(-min_side // max(picture.shape[:2])))
    drawn = np.repeat(picture, 3, axis=2) if picture.shape[2] == 1 else picture
    drawn = drawn.repeat(factor, axis=0).repeat(factor, axis=1).astype(np.float32)
    if box is None:
        return drawn
    left, top, right, bottom = (side * factor for side in box)
    thick = max(1, round(max(drawn.shape[:2]) / 100))
    inside = np.zeros(drawn.shape[:2], dtype=bool)
    inside[top:bottom, left:right] = True
    inside[top + thick : bottom - thick, left + thick : right - thick] = False
    drawn[inside] = colour
    return drawn
