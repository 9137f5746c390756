import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from probe.exhibits.exhibits import Cell, Chart, ImageGrid, Line, Matrix, Scale, Scatter, Table
from probe.exhibits.static import figure, png
from probe.exhibits.static.theme import SMALL, WIDTH, Numbers, log_text, shorten, text_width, wrap
from tests.exhibits.examples import NASTY, exhibits


def drawn(exhibit: Any, look: Any = "light") -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png(exhibit, look=look))).convert("RGBA"))


@pytest.mark.parametrize("look", ["light", "dark", "either"])
@pytest.mark.parametrize("exhibit", exhibits(), ids=lambda e: e.title[:12])
def test_every_kind_is_drawn_in_every_look_without_a_warning(exhibit, look):
    picture = drawn(exhibit, look)
    assert picture.shape[1] <= WIDTH + 40
    assert (picture[..., 3].min() == 255) == (look == "light")
    assert picture[..., :3].std() > 5


def test_drawing_does_not_change_the_settings_of_matplotlib():
    import matplotlib

    before = dict(matplotlib.rcParams)
    for exhibit in exhibits():
        png(exhibit, look="dark")
    assert dict(matplotlib.rcParams) == before


def test_settings_of_the_user_do_not_affect_figures():
    import matplotlib

    chart = exhibits()[2]
    clean = png(chart)
    with matplotlib.rc_context(
        {"font.size": 30, "axes.facecolor": "red", "savefig.dpi": 40, "lines.linewidth": 9}
    ):
        assert png(chart) == clean


def test_a_small_image_is_enlarged_without_interpolation():
    image = np.random.default_rng(0).random((4, 4, 3), dtype=np.float32)
    picture = drawn(ImageGrid(title="t", caption="c", images=[image]))
    colours = {tuple(c) for c in np.round(image.reshape(-1, 3) * 255).astype(int).tolist()}
    found, counts = np.unique(picture[..., :3].reshape(-1, 3), axis=0, return_counts=True)
    areas = {tuple(c): n for c, n in zip(found.tolist(), counts.tolist(), strict=True)}
    sizes = {areas.get(colour, 0) for colour in colours}
    assert len(sizes) == 1, "each pixel is a block of the same size"
    assert round(sizes.pop() ** 0.5) ** 2 in {areas[colour] for colour in colours}


def test_hundreds_of_small_images_make_one_sheet_with_a_full_last_row():
    maps = [np.random.default_rng(i).normal(size=(3, 3)).astype(np.float32) for i in range(256)]
    scale = Scale(low=-3, high=3, kind="diverging")
    height, width = drawn(ImageGrid(title="t", caption="c", images=maps, scale=scale)).shape[:2]
    assert 1200 < width <= WIDTH + 40
    assert height < 2200


@pytest.mark.parametrize("columns", [1, 3, 10, 40])
def test_the_given_number_of_columns_fits_the_width(columns):
    images = [np.full((96, 96, 3), 0.5, np.float32)] * 40
    picture = drawn(ImageGrid(title="t", caption="c", images=images, columns=columns))
    assert picture.shape[1] <= WIDTH + 40
    far = np.abs(picture[..., :3].astype(int) - 128).max(axis=2)
    row = far[far.min(axis=1) <= 1][5] <= 1
    across = np.diff(row.astype(int))
    assert (across == 1).sum() == columns


@pytest.mark.parametrize("size", [1, 2, 12, 100])
def test_matrices_of_any_size_fit(size):
    values = np.random.default_rng(0).random((size, size), dtype=np.float32)
    names = [f"class number {i}" for i in range(size)]
    matrix = Matrix(
        title="t", caption="c", values=values, row_labels=names, column_labels=names, format="{:.2f}"
    )
    assert 100 < drawn(matrix).shape[1] <= WIDTH


@pytest.mark.parametrize("count", [2, 12, 60, 200])
def test_bars_with_long_names_are_drawn(count):
    x = np.arange(float(count))
    ticks = [f"{NASTY} {i}" for i in range(count)]
    chart = Chart(
        title="t",
        caption="c",
        x_label="",
        y_label="n",
        kind="bar",
        ticks=ticks,
        lines=[Line(name="", x=x, y=x)],
    )
    assert drawn(chart).shape[1] <= WIDTH


def test_zeros_on_logarithmic_axes_and_single_points_are_drawn():
    zero = Line(name="zero", x=np.array([0.0, 1, 10]), y=np.array([1.0, 0.1, 0.0]))
    drawn(Chart(title="t", caption="c", x_label="x", y_label="y", lines=[zero], x_log=True, y_log=True))
    drawn(Scatter(title="t", caption="c", x=np.zeros(1), y=np.zeros(1)))
    drawn(Table(title="t", caption="c", columns=["a"], rows=[]))


def test_an_invalid_exhibit_is_refused():
    with pytest.raises(ValueError, match="not finite"):
        figure(replace(exhibits()[0], images=[np.full((2, 2, 3), np.nan)], labels=[]))  # type: ignore[call-arg]


def test_labels_of_images_wrap_at_spaces_and_keep_both_ends_of_file_names():
    assert wrap("cat (90%)", 500) == "cat (90%)"
    wrapped = wrap("red-breasted merganser (100.0%)", 180)
    assert wrapped.replace("\n", " ") == "red-breasted merganser (100.0%)"
    assert all(text_width(line, SMALL) <= 180 for line in wrapped.split("\n"))
    name, confidence = wrap("n01440764_10026_a_long_file_name.jpg (0.31)", 180).split("\n")
    assert name.startswith("n014")
    assert name.endswith(".jpg")
    assert "…" in name
    assert confidence == "(0.31)"
    many = wrap(" ".join("word" for _ in range(40)) + " (0.5)", 120).split("\n")
    assert len(many) == 3
    assert many[-1].endswith("(0.5)")


def test_texts_are_shortened_to_their_width():
    assert shorten("cat", 500) == "cat"
    short = shorten("a name far too long for its picture", 120)
    assert short.endswith("…")
    assert text_width(short, 7.5) <= 120
    assert "\x00" not in shorten("a\x00b", 500)


def test_long_cells_of_a_table_are_wrapped_to_fit_its_width():
    words = "an attack that follows a gradient of zero or NaN stands still: this is not robustness"
    rows: list[list[Cell]] = [[words, "WARN", words, k, words] for k in range(3)]
    table = Table(title="t", caption="c", columns=["a", "b", "c", "d", "e"], rows=rows)
    whole = figure(table)
    assert whole.get_figwidth() * whole.dpi <= WIDTH + 1
    texts = [text.get_text() for text in whole.axes[0].texts]
    assert " ".join(texts).count("gradient") == 9
    assert not any("…" in text for text in texts)
    assert whole.get_figheight() > figure(replace(table, rows=rows[:1])).get_figheight()


def test_ticks_have_the_same_number_of_decimals():
    assert Numbers().format_ticks([0, 0.05, 0.1]) == ["0.00", "0.05", "0.10"]
    assert Numbers().format_ticks([-1, 0, 1000]) == ["\u22121", "0", "1,000"]
    assert [log_text(value) for value in (1e-4, 0.1, 100, 1e5)] == ["10⁻⁴", "0.1", "100", "10⁵"]


def test_names_of_points_neither_overlap_nor_leave_the_axes():
    names = [""] * 12 + [f"{k}% of the path" for k in range(17)]
    x = np.r_[np.zeros(12), np.linspace(0, 8, 17)].astype(np.float32)
    scatter = Scatter(title="t", caption="c", x=x, y=np.zeros(29, np.float32), point_names=names, x_label="x")
    drawing = figure(scatter)
    (axes,) = drawing.axes
    drawing.draw_without_rendering()
    boxes = [text.get_window_extent() for text in axes.texts]
    assert len(boxes) >= 4
    for k, box in enumerate(boxes):
        assert axes.bbox.x0 <= box.x0
        assert box.x1 <= axes.bbox.x1
        assert not any(box.overlaps(other) for other in boxes[:k])
