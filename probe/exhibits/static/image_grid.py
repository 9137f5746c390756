"""Draw a grid of images, enlarged by whole factors, with headers, labels and a colour bar."""

from math import ceil, floor

import numpy as np
from matplotlib.artist import Artist
from matplotlib.backend_bases import RendererBase
from matplotlib.figure import Figure
from PIL import Image

from probe.exhibits.colour import colourise
from probe.exhibits.exhibits import Array, ImageGrid, Scale
from probe.exhibits.static.theme import (
    SMALL,
    WIDTH,
    Theme,
    colormap,
    line_height,
    new_figure,
    printable,
    shorten,
    text_width,
    wrap,
)

_MARGIN, _HEADER_MARGIN = 12, 14
_LARGE = 96  # pixels of a side from which images are resampled smoothly; smaller ones show their pixels
_FRAME = (128, 128, 128, 90)


def draw(exhibit: ImageGrid, theme: Theme) -> Figure:
    """All images are placed on one sheet, pixel by pixel: 256 filters are one image rather than 256 axes."""
    n = len(exhibit.images)
    row_headers = [shorten(header, 300) for header in exhibit.row_headers]
    left = _MARGIN + (max(_widest(header) for header in row_headers) + 16 if row_headers else 0)
    room = WIDTH - left - _MARGIN
    heights, widths = zip(*(image.shape[:2] for image in exhibit.images), strict=True)
    gap = _gap(n, bool(exhibit.labels))
    columns, side = _layout(n, max(widths), max(heights), exhibit.columns, room, gap, bool(exhibit.labels))

    images = [_resized(_to_rgba(image, exhibit.scale), side) for image in exhibit.images]
    cell_width = max(image.shape[1] for image in images)
    if exhibit.labels:  # narrow images are spaced for their labels
        longest = max(_widest(printable(label)) for label in exhibit.labels)
        cell_width = max(cell_width, int(min(longest, 150, room / columns - gap)))
    if exhibit.column_headers:
        longest = max(_widest(printable(header)) for header in exhibit.column_headers)
        cell_width = max(cell_width, int(min(longest, 200, room / columns - gap)))
    labels = [wrap(label, cell_width + gap - 10) for label in exhibit.labels]
    headers = [
        shorten(header, cell_width + gap - 10, bold=True) for header in exhibit.column_headers[:columns]
    ]
    header_height = max(
        (line_height(SMALL) * (header.count("\n") + 1) + _HEADER_MARGIN for header in headers), default=0
    )

    rows = ceil(n / columns)
    row_heights = [max(i.shape[0] for i in images[r * columns : (r + 1) * columns]) for r in range(rows)]
    top = int(_MARGIN + header_height)
    label_heights = [_label_height(labels[r * columns : (r + 1) * columns]) for r in range(rows)]
    steps = [h + below + gap for h, below in zip(row_heights, label_heights, strict=True)]
    tops = top + np.concatenate([[0], np.cumsum(steps)]).astype(int)
    bar = exhibit.scale is not None and any(image.ndim == 2 for image in exhibit.images)
    width = int(left + columns * (cell_width + gap) - gap + _MARGIN)
    height = int(tops[-1] - gap + _MARGIN)
    sheet_width, sheet_height = max(width, 560 if bar else 0), height + (76 if bar else 0)

    sheet = np.zeros((sheet_height, sheet_width, 4), dtype=np.uint8)
    figure = new_figure(sheet_width, sheet_height)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, sheet_width), ylim=(sheet_height, 0))
    axes.set_axis_off()
    size = {"fontsize": SMALL, "color": theme.ink, "linespacing": 1.2}
    for i, image in enumerate(images):
        row, column = divmod(i, columns)
        x = int(left + column * (cell_width + gap) + (cell_width - image.shape[1]) // 2)
        y = int(tops[row] + (row_heights[row] - image.shape[0]) // 2)
        sheet[y - 1 : y + image.shape[0] + 1, x - 1 : x + image.shape[1] + 1] = _FRAME
        sheet[y : y + image.shape[0], x : x + image.shape[1]] = image
        if labels:
            axes.text(
                x + image.shape[1] / 2, y + image.shape[0] + 7, labels[i], ha="center", va="top", **size
            )
    for column, header in enumerate(headers):
        x = left + column * (cell_width + gap) + cell_width / 2
        axes.text(x, top - _HEADER_MARGIN + 4, header, ha="center", va="baseline", fontweight="bold", **size)
    for row, header in enumerate(row_headers[:rows]):
        axes.text(left - 16, tops[row] + row_heights[row] / 2, header, ha="right", va="center", **size)
    figure.add_artist(_Sheet(sheet))
    if bar and exhibit.scale is not None:
        _colour_bar(figure, exhibit.scale, left, height, theme)
    return figure


class _Sheet(Artist):
    """An image of the size of the figure, pixel by pixel: imshow and figimage would resample it, for most of the time."""

    def __init__(self, sheet: Array) -> None:
        super().__init__()
        self.sheet = sheet

    def draw(self, renderer: RendererBase) -> None:
        context = renderer.new_gc()
        renderer.draw_image(context, 0, 0, self.sheet[::-1])
        context.restore()


def _label_height(labels: list[str]) -> float:
    """The room that the labels of a row take below its images; none where all are empty."""
    return max((line_height(SMALL) * (label.count("\n") + 1) + 8 for label in labels if label), default=0)


def _widest(text: str) -> float:
    return max(text_width(line, SMALL) for line in text.split("\n"))


def _gap(n: int, labelled: bool) -> int:
    return 22 if labelled or n <= 40 else 12 if n <= 120 else 9


def _layout(
    n: int, width: int, height: int, columns: int, room: float, gap: int, labelled: bool
) -> tuple[int, float]:
    """The number of columns, and the pixels that the longer side of an image may have."""
    few = min(room / n - gap, 1000) if n <= 3 and max(width, height) >= _LARGE else 560
    if columns:
        return columns, _longest_side(max(width, height), max(8, min((room + gap) / columns - gap, few)))
    # Few images are large, many are thumbnails.
    target = (
        few if n <= 3 else 360 if n <= 8 else 230 if n <= 24 else 150 if n <= 80 else 92 if n <= 300 else 64
    )
    target = max(target, 210 if max(width, height) >= _LARGE else 112) if labelled else target
    largest = max(width, height)
    side = _longest_side(
        largest, min(room, largest * max(1, round(target / largest)) if largest < _LARGE else target)
    )
    image_width = side * min(1.0, width / height)
    fits = max(1, floor((room + gap) / (image_width + gap)))
    even = [c for c in range(ceil(0.6 * fits), fits + 1) if n % c == 0]
    return (even[-1] if even and n > fits else ceil(n / ceil(n / fits))), side


def _longest_side(largest: int, room: float) -> float:
    """The longer side, in the figure, of an image whose longer side is `largest` pixels."""
    if largest >= _LARGE:
        return min(room, 2.5 * largest)
    return largest * floor(room / largest) if room >= largest else room


def _to_rgba(image: Array, scale: Scale | None) -> Array:
    """The image as (h, w, 4) bytes, opaque."""
    if image.ndim == 2 and scale is not None:
        image = colourise(image, scale)
    elif image.shape[2] == 1:
        image = np.repeat(image, 3, axis=2)
    bytes_ = np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)
    return np.concatenate([bytes_, np.full((*bytes_.shape[:2], 1), 255, np.uint8)], axis=2)


def _resized(image: Array, side: float) -> Array:
    """The image enlarged by the largest whole factor within `side` pixels; a large one resampled to `side`."""
    height, width = image.shape[:2]
    largest = max(height, width)
    if largest < _LARGE and largest <= side:
        factor = floor(side / largest)
        return image.repeat(factor, axis=0).repeat(factor, axis=1)
    size = max(1, round(width * side / largest)), max(1, round(height * side / largest))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def _colour_bar(figure: Figure, scale: Scale, left: float, top: float, theme: Theme) -> None:
    width, height = (figure.get_size_inches() * figure.dpi).tolist()
    length = min(420.0, width - left - 40)
    axes = figure.add_axes((left / width, 1 - (top + 22) / height, length / width, 14 / height))
    axes.imshow(
        np.linspace(0, 1, 256)[None],
        cmap=colormap(scale.kind),
        aspect="auto",
        extent=(scale.low, scale.high, 0, 1),
    )
    ends = (scale.low, 0.0, scale.high) if scale.low < 0 < scale.high else (scale.low, scale.high)
    axes.set_yticks([])
    axes.set_xticks(ends, [f"{end:.3g}".replace("-", "\u2212") for end in ends], fontsize=SMALL)
    axes.get_xticklabels()[0].set_horizontalalignment("left")
    axes.get_xticklabels()[-1].set_horizontalalignment("right")
    axes.tick_params(length=0, pad=3, colors=theme.muted)
    axes.spines[:].set_visible(False)
    if scale.label:
        space = width - left - length - 40
        axes.text(
            1.04,
            0.5,
            shorten(scale.label, space),
            transform=axes.transAxes,
            va="center",
            fontsize=SMALL,
            color=theme.ink,
        )
