import io
import json
from base64 import b64decode
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from probe.exhibits.checks import check
from probe.exhibits.exhibits import Matrix, Scatter, Surface
from probe.reporting.explore import explorable, sprite
from tests.exhibits.examples import NASTY, exhibits


def example(kind: type) -> Any:
    return next(exhibit for exhibit in exhibits() if isinstance(exhibit, kind))


def decoded(sheet: dict[str, Any]) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(b64decode(sheet["uri"].split(",")[1]))).convert("RGB"))


def test_points_keep_their_places_relative_to_each_other_on_equal_axes():
    scatter = replace(example(Scatter), equal=True)
    content = json.loads(explorable(scatter))
    spans = np.array([np.ptp(content["x"]), np.ptp(content["y"])])
    true = np.array([np.ptp(scatter.x), np.ptp(scatter.y)])
    assert spans.max() == 9999
    assert spans / spans.max() == pytest.approx(true / true.max(), abs=2e-4)
    assert content["groupNames"] == [NASTY, "other"]
    assert content["neighbours"][59] == [0, 1, 2]


def test_points_in_one_place_can_be_explored():
    one = Scatter(title="t", caption="c", x=np.zeros(3), y=np.ones(3))
    assert json.loads(explorable(one))["x"] == [0, 0, 0]


def test_a_sprite_holds_every_image_at_its_place():
    values = np.linspace(0, 1, 7, dtype=np.float32)
    images = np.broadcast_to(values[:, None, None, None], (7, 16, 24, 3))
    sheet = sprite(images)
    pixels = decoded(sheet)
    for i, value in enumerate(values):
        top, left = i // sheet["across"] * 16, i % sheet["across"] * 24
        assert abs(pixels[top + 8, left + 12].mean() / 255 - value) < 0.03


def test_a_sprite_stays_within_what_browsers_decode():
    sheet = sprite(np.zeros((5, 3000, 3000, 1), np.float32))
    assert max(decoded(sheet).shape) <= 8192
    assert sheet["n"] == 4


def test_gaps_of_a_surface_are_null_and_heights_of_a_logarithmic_one_are_logarithms():
    surface = example(Surface)
    z = surface.z.copy()
    z[0, 0] = np.nan
    content = json.loads(explorable(replace(surface, z=z)))
    assert content["z"][0][0] is None
    assert content["z"][0][1] == pytest.approx(np.log10(z[0, 1]), rel=1e-4)


def test_images_of_cells_go_with_their_cells():
    content = json.loads(explorable(example(Matrix)))
    assert content["cells"] == [[0, 0], [0, 1], [0, 0]]
    assert content["sprite"]["n"] == 3
    assert explorable(replace(example(Matrix), cell_images=None)) == ""


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cells": np.array([[0, 0], [0, 2], [0, 0]])}, "cells must lie in"),
        ({"labels": ["a"]}, "labels of the images of cells: expected 3, got 1"),
        ({"counts": np.zeros((1, 2))}, "counts of cells"),
    ],
)
def test_wrong_images_of_cells_are_refused(change: dict[str, Any], words: str):
    matrix = example(Matrix)
    with pytest.raises(ValueError, match=words):
        check(replace(matrix, cell_images=replace(matrix.cell_images, **change)))


def test_wrong_neighbours_are_refused():
    with pytest.raises(ValueError, match="neighbours must lie in 0 to below 60"):
        check(replace(example(Scatter), neighbours=np.full((60, 1), 60)))
