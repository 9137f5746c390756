import json

import numpy as np
import pytest

from probe.exhibits.exhibits import Chart, Exhibit, ImageGrid, Line, Scatter, Surface, Table
from probe.exhibits.interactive import MOST_POINTS, interactive_figure
from tests.exhibits.examples import NASTY, exhibits

DRAWN = [exhibit for exhibit in exhibits() if not isinstance(exhibit, ImageGrid | Table)]


@pytest.mark.parametrize("exhibit", DRAWN, ids=lambda exhibit: type(exhibit).__name__)
def test_every_kind_is_a_figure_without_markup_from_names(exhibit: Exhibit):
    figure = interactive_figure(exhibit)
    assert figure is not None
    text = figure.to_json()
    json.loads(text)
    assert NASTY not in text


def test_grids_and_tables_have_no_interactive_figure():
    others = [exhibit for exhibit in exhibits() if isinstance(exhibit, ImageGrid | Table)]
    assert others
    assert [interactive_figure(exhibit) for exhibit in others] == [None] * len(others)


def test_a_chart_shows_its_values_and_intervals():
    x, y = np.arange(3.0), np.array([1.0, np.nan, 3.0])
    line = Line(name="a", x=x, y=y, low=y - 1, high=y + 1)
    figure = interactive_figure(Chart(title="t", caption="c", lines=[line], x_label="x", y_label="y"))
    assert figure is not None
    band, curve = figure.data
    np.testing.assert_array_equal(curve.y, y)
    np.testing.assert_array_equal(band.y, [2, np.nan, 4, 2, np.nan, 0])


def test_points_keep_their_row_in_the_data_where_they_are_thinned():
    n = 2 * MOST_POINTS + 1
    values = np.arange(n, dtype=np.float32)
    group = (values % 2).astype(int)
    scatter = Scatter(title="t", caption="c", x=values, y=-values, group=group, group_names=["even", "odd"])
    figure = interactive_figure(scatter)
    assert figure is not None
    rows = np.concatenate([trace.customdata for trace in figure.data])
    assert len(rows) <= MOST_POINTS
    for trace in figure.data:
        np.testing.assert_array_equal(trace.x, values[trace.customdata])
    assert f"{len(rows):,} of {n:,} points" in figure.layout.annotations[0].text


def test_missing_values_are_holes_of_a_surface():
    z = np.array([[1.0, 2.0], [np.nan, 0.0]])
    axis = np.array([0.0, 1.0])
    surface = Surface(title="t", caption="c", x=axis, y=axis, z=z, x_label="x", y_label="y", z_label="z")
    figure = interactive_figure(surface)
    assert figure is not None
    np.testing.assert_array_equal(figure.data[0].z, z)


def test_several_surfaces_share_one_scale_and_the_path_lies_on_the_first():
    axis, path = np.array([0.0, 1.0, 2.0]), np.array([[0.0, 0.0], [2.0, 1.0]])
    first = axis[None] + 10 * axis[:, None]
    surface = Surface(
        title="t", caption="c", x=axis, y=axis, z=np.stack([first, 2 * first]), names=[NASTY, "b"], path=path,
        x_label="x", y_label="y", z_label="z",
    )  # fmt: skip
    figure = interactive_figure(surface)
    assert figure is not None
    one, other, line = figure.data
    assert (one.cmin, one.cmax) == (other.cmin, other.cmax) == (0, 44)
    np.testing.assert_array_equal(line.z, [0, 12])
    assert NASTY not in figure.to_json()
