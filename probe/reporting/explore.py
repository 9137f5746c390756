"""What the script of a page needs to explore an exhibit: points of a scatter plot, images of cells, surfaces that turn."""

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from probe.exhibits import palette
from probe.exhibits.colour import colour_table
from probe.exhibits.exhibits import Array, Exhibit, Matrix, Scatter, Surface
from probe.exhibits.inline import Inline, encode

_MAX_POINTS = 20_000  # of a scatter plot that can be explored
_MAX_FACETS = 40_000  # of surfaces that turn
_SPRITE_SIDE = 8192  # pixels: browsers decode no larger image safely
_STEPS = 9999  # of a coordinate along the longer side of a scatter plot


Place = Callable[[Inline], str]
"""Puts an image into a page or a file beside it, and returns its address."""


def explorable(exhibit: Exhibit, place: Place = lambda image: image.uri) -> str:
    """JSON for the script of the page; empty if there is nothing more to see of the exhibit than its picture."""
    match exhibit:
        case Scatter() if len(exhibit.x) <= _MAX_POINTS:
            content = _scatter(exhibit, place)
        case Matrix() if exhibit.cell_images is not None and len(exhibit.cell_images.images):
            content = _matrix(exhibit, place)
        case Surface() if exhibit.z.size <= _MAX_FACETS:
            content = _surface(exhibit)
        case _:
            return ""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _scatter(exhibit: Scatter, place: Place) -> dict[str, Any]:
    names = exhibit.group_names if exhibit.group is not None else []
    content: dict[str, Any] = {
        "kind": "scatter",
        "groups": [] if exhibit.group is None else exhibit.group.tolist(),
        "groupNames": names,
        "colours": palette.THEMES["light"].colours(max(1, len(names))),
        "names": exhibit.point_names,
        **_coordinates(exhibit),
    }
    if exhibit.thumbnails is not None:
        content["sprite"] = sprite(exhibit.thumbnails, place)
    if exhibit.neighbours is not None:
        content["neighbours"] = exhibit.neighbours.tolist()
    if exhibit.links is not None:
        content["links"] = exhibit.links.tolist()
    return content


def _coordinates(exhibit: Scatter) -> dict[str, list[int]]:
    """Whole numbers from 0; with equal axes one of them reaches `_STEPS`, else both."""
    spans = [max(float(np.ptp(values)), 1e-30) for values in (exhibit.x, exhibit.y)]
    if exhibit.equal:
        spans = [max(spans)] * 2
    x, y = (
        ((values - values.min()) / span * _STEPS).round().astype(int).tolist()
        for values, span in zip((exhibit.x.astype(float), exhibit.y.astype(float)), spans, strict=True)
    )
    return {"x": x, "y": y}


def _matrix(exhibit: Matrix, place: Place) -> dict[str, Any]:
    behind = exhibit.cell_images
    assert behind is not None
    return {
        "kind": "matrix",
        "rows": exhibit.row_labels,
        "columns": exhibit.column_labels,
        "rowTitle": exhibit.row_title,
        "columnTitle": exhibit.column_title,
        "cells": behind.cells.tolist(),
        "labels": behind.labels,
        "counts": behind.counts.tolist(),
        "sprite": sprite(behind.images, place),
    }


def _surface(exhibit: Surface) -> dict[str, Any]:
    heights = exhibit.surfaces.astype(float)
    if exhibit.z_log:
        with np.errstate(divide="ignore", invalid="ignore"):
            heights = np.log10(heights)
    colours = (255 * colour_table("sequential", 64)).round().astype(int)
    return {
        "kind": "surface",
        "x": _rounded(exhibit.x),
        "y": _rounded(exhibit.y),
        "z": [_rounded(height) for height in heights],
        "log": exhibit.z_log,
        "names": exhibit.names,
        "labels": [exhibit.x_label, exhibit.y_label, exhibit.z_label],
        "path": [] if exhibit.path is None else [_rounded(point) for point in exhibit.path],
        "centre": exhibit.centre,
        "colours": colours.tolist(),
    }


def _rounded(values: Array) -> list[Any]:
    """Numbers of five digits, row by row; None where there is none."""
    return [float(f"{value:.5g}") if math.isfinite(value) else None for value in np.ravel(values).tolist()]


def sprite(images: Array, place: Place = lambda image: image.uri) -> dict[str, Any]:
    """Images (n, h, w, 1 or 3) in [0, 1] side by side in one WebP; those that do not fit are left out.

    The image `i` has its upper left corner at (i % across * width, i // across * height).
    """
    n, height, width, _ = images.shape
    across = min(math.ceil(math.sqrt(n * height / width)), max(1, _SPRITE_SIDE // width))
    rows = min(math.ceil(n / across), max(1, _SPRITE_SIDE // height))
    shown = (255 * np.clip(images[: rows * across], 0, 1)).round().astype(np.uint8)
    shown = np.repeat(shown, 3, axis=3) if shown.shape[3] == 1 else shown
    sheet = np.zeros((rows * height, across * width, 3), np.uint8)
    for i, image in enumerate(shown):
        top, left = i // across * height, i % across * width
        sheet[top : top + height, left : left + width] = image
    encoded = encode(Image.fromarray(sheet), level=1)
    return {"uri": place(encoded), "width": width, "height": height, "across": across, "n": len(shown)}
