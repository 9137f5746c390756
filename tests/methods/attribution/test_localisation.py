"""The bounding box of a map encloses its heaviest region, and the IoU equals counting pixels."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from probe.methods.attribution.localisation import bounding_box, iou


def test_the_box_lies_round_the_heaviest_region_above_the_threshold():
    heat = torch.zeros(10, 12)
    heat[2:5, 3:9] = 0.5
    heat[8, 1] = 1.0
    assert bounding_box(heat, threshold=0.4) == (3, 2, 9, 5)
    assert bounding_box(heat, threshold=0.6) == (1, 8, 2, 9)
    heat[8, 1] = 100
    assert bounding_box(heat, threshold=0.001) == (1, 8, 2, 9)


def test_a_map_that_is_nowhere_above_zero_has_no_box():
    assert bounding_box(torch.zeros(4, 4)) is None
    assert bounding_box(torch.full((4, 4), -1.0)) is None


def test_a_constant_map_has_the_whole_image_for_a_box():
    assert bounding_box(torch.full((4, 6), 0.3)) == (0, 0, 6, 4)


def test_a_threshold_of_one_is_refused():
    with pytest.raises(ValueError, match=r"threshold must lie in \[0, 1\), got 1"):
        bounding_box(torch.ones(2, 2), threshold=1)


box = st.tuples(*[st.integers(0, 20)] * 2, *[st.integers(1, 20)] * 2).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)


@given(box, box)
def test_the_overlap_equals_counting_pixels(a, b):
    grids = []
    for left, top, right, bottom in (a, b):
        grid = torch.zeros(41, 41, dtype=torch.bool)
        grid[top:bottom, left:right] = True
        grids.append(grid)
    counted = float((grids[0] & grids[1]).sum() / (grids[0] | grids[1]).sum())
    assert iou(a, b) == pytest.approx(counted)
    assert iou(a, b) == iou(b, a)
    assert iou(a, a) == 1
