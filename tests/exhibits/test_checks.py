from dataclasses import replace

import numpy as np
import pytest

from probe.exhibits.checks import check
from probe.exhibits.exhibits import Chart, ImageGrid, Line, Matrix, Scale, Scatter, Surface, Table
from tests.exhibits.examples import exhibits

PICTURES, MAPS, CHART, MATRIX, SCATTER, SURFACE, TABLE = exhibits()
assert isinstance(PICTURES, ImageGrid)
assert isinstance(MAPS, ImageGrid)
assert isinstance(CHART, Chart)
assert isinstance(MATRIX, Matrix)
assert isinstance(SCATTER, Scatter)
assert SCATTER.thumbnails is not None
assert isinstance(SURFACE, Surface)
assert isinstance(TABLE, Table)
NAN, INF = float("nan"), float("inf")
SIX = list(PICTURES.images)


def spoilt(array: np.ndarray, value: float) -> np.ndarray:
    array = array.copy()
    array.flat[3] = value
    return array


@pytest.mark.parametrize("exhibit", exhibits(), ids=lambda e: type(e).__name__)
def test_valid_exhibits_pass(exhibit):
    check(exhibit)


WRONG = [
    (replace(PICTURES, title=" "), "title is empty"),
    (replace(PICTURES, caption=""), "caption is empty"),
    (replace(PICTURES, images=[], labels=[]), "there are no images"),
    (replace(PICTURES, labels=["one"]), "labels: expected 6, got 1"),
    (replace(PICTURES, images=[spoilt(SIX[0], NAN), *SIX[1:]]), r"images\[0\] is not finite"),
    (replace(PICTURES, images=[*SIX[:5], SIX[5] * 255]), r"images\[5\] must lie in \[0, 1\]"),
    (replace(PICTURES, images=[*SIX[:5], SIX[5] - 0.5]), r"images\[5\] must lie in \[0, 1\]"),
    (replace(PICTURES, images=[*SIX[:5], np.zeros((8, 8, 2))]), r"must be \(h, w, 3\)"),
    (replace(PICTURES, images=[*SIX[:5], np.zeros((0, 8, 3))]), "is empty"),
    (replace(PICTURES, images=[*SIX[:5], np.zeros((8, 8))]), "needs a scale"),
    (replace(MAPS, scale=Scale(low=-1, high=2, kind="diverging")), "centred on zero"),
    (replace(MAPS, scale=Scale(low=1, high=1)), "must increase"),
    (replace(CHART, lines=[]), "there are no lines"),
    (replace(CHART, lines=[Line(name="a", x=np.arange(3), y=np.arange(4))]), "expected 3, got 4"),
    (replace(CHART, lines=[Line(name="a", x=np.array([0, NAN]), y=np.zeros(2))]), "x is not finite"),
    (replace(CHART, lines=[Line(name="a", x=np.arange(2), y=np.array([0, INF]))]), "y is not finite"),
    (replace(CHART, lines=[Line(name="a", x=np.arange(2), y=np.array([NAN, NAN]))]), "NaN everywhere"),
    (replace(CHART, y_log=True, lines=[Line(name="a", x=np.arange(2), y=np.array([1, -1]))]), "negative y"),
    (replace(CHART, ticks=["only"]), "but the ticks are 0 to 0"),
    (replace(MATRIX, row_labels=["a"]), "row labels: expected 2, got 1"),
    (replace(MATRIX, values=spoilt(MATRIX.values, INF)), "not finite"),
    (replace(SCATTER, x=spoilt(SCATTER.x, NAN)), "x is not finite"),
    (replace(SCATTER, links=np.array([[0, 60]])), "links must lie in 0 to below 60"),
    (replace(SCATTER, links=np.array([[0, 1, 2]])), r"links must be \(m, 2\)"),
    (replace(SCATTER, group_names=["one"]), "there are 1 group names"),
    (replace(SCATTER, thumbnails=SCATTER.thumbnails[:5]), "thumbnails: expected 60, got 5"),
    (replace(SURFACE, z=SURFACE.z[:5]), r"z must be \(len\(y\), len\(x\)\)"),
    (replace(SURFACE, z=SURFACE.z - 1), "positive on a logarithmic axis"),
    (replace(SURFACE, x=SURFACE.x[::-1]), "x must increase"),
    (replace(TABLE, rows=[["a", 1]]), "row 0, cells: expected 4, got 2"),
    (replace(TABLE, rows=[["a", 1, float("inf"), None]]), "row 0, 'dead' is infinite"),
    (replace(TABLE, formats={"alive": "{}"}), "columns that do not exist: alive"),
]


@pytest.mark.parametrize(("exhibit", "message"), WRONG, ids=[message for _, message in WRONG])
def test_an_invalid_exhibit_is_refused_with_its_name_and_the_position(exhibit, message):
    with pytest.raises(ValueError, match=message) as refusal:
        check(exhibit)
    assert str(refusal.value).startswith(type(exhibit).__name__)
    assert "\n" not in str(refusal.value)


def test_rounding_just_outside_the_range_is_no_error():
    check(replace(PICTURES, images=[np.full((2, 2, 3), 1 + 1e-6, np.float32)], labels=[]))
