"""Draws a grid of pictures: whole-factor enlargements on one sheet, with heads, labels and a colour bar."""

from math import ceil, floor

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from probe.exhibits.colour import colours
from probe.exhibits.exhibits import Array, ImageGrid, Scale
from probe.exhibits.static.theme import (
    SMALL,
    WIDTH,
    Theme,
    blank,
    breadth,
    colormap,
    fit,
    line_height,
    printable,
)

_MARGIN, _HEAD_ROOM = 12, 14
_LARGE = 96  # pixels from which a picture is scaled smoothly; smaller ones show their pixels
_FRAME = (128, 128, 128, 90)


def draw(exhibit: ImageGrid, theme: Theme) -> Figure:
    """All pictures go onto one sheet at exact pixels: a figure of 256 filters is one image, not 256 axes."""
    n = len(exhibit.images)
    row_headers = [fit(head, 300) for head in exhibit.row_headers]
    left = _MARGIN + (max(_widest(head) for head in row_headers) + 16 if row_headers else 0)
    room = WIDTH - left - _MARGIN
    heights, widths = zip(*(image.shape[:2] for image in exhibit.images), strict=True)
    gap = _gap(n, bool(exhibit.labels))
    columns, reach = _layout(n, max(widths), max(heights), exhibit.columns, room, gap, bool(exhibit.labels))

    shown = [_enlarged(_coloured(image, exhibit.scale), reach) for image in exhibit.images]
    cell_width = max(image.shape[1] for image in shown)
    if exhibit.labels:  # narrow pictures stand further apart so that their labels can be read
        longest = max(_widest(printable(label)) for label in exhibit.labels)
        cell_width = max(cell_width, int(min(longest, 150, room / columns - gap)))
    if exhibit.column_headers:
        longest = max(_widest(printable(head)) for head in exhibit.column_headers)
        cell_width = max(cell_width, int(min(longest, 200, room / columns - gap)))
    labels = [fit(label, cell_width + gap - 10) for label in exhibit.labels]
    heads = [fit(head, cell_width + gap - 10, bold=True) for head in exhibit.column_headers[:columns]]
    label_height = max((line_height(SMALL) * (label.count("\n") + 1) + 8 for label in labels), default=0)
    head_height = max((line_height(SMALL) * (h.count("\n") + 1) + _HEAD_ROOM for h in heads), default=0)

    rows = ceil(n / columns)
    row_heights = [max(i.shape[0] for i in shown[r * columns : (r + 1) * columns]) for r in range(rows)]
    top = int(_MARGIN + head_height)
    tops = top + np.concatenate([[0], np.cumsum([h + label_height + gap for h in row_heights])]).astype(int)
    bar = exhibit.scale is not None and any(image.ndim == 2 for image in exhibit.images)
    width = int(left + columns * (cell_width + gap) - gap + _MARGIN)
    height = int(tops[-1] - gap + _MARGIN)
    sheet_width, sheet_height = max(width, 560 if bar else 0), height + (76 if bar else 0)

    sheet = np.zeros((sheet_height, sheet_width, 4), dtype=np.uint8)
    made = blank(sheet_width, sheet_height)
    axes = made.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, sheet_width), ylim=(sheet_height, 0))
    axes.set_axis_off()
    size = {"fontsize": SMALL, "color": theme.ink, "linespacing": 1.2}
    for i, image in enumerate(shown):
        row, column = divmod(i, columns)
        x = int(left + column * (cell_width + gap) + (cell_width - image.shape[1]) // 2)
        y = int(tops[row] + (row_heights[row] - image.shape[0]) // 2)
        sheet[y - 1 : y + image.shape[0] + 1, x - 1 : x + image.shape[1] + 1] = _FRAME
        sheet[y : y + image.shape[0], x : x + image.shape[1]] = image
        if labels:
            axes.text(
                x + image.shape[1] / 2, y + image.shape[0] + 7, labels[i], ha="center", va="top", **size
            )
    for column, head in enumerate(heads):
        x = left + column * (cell_width + gap) + cell_width / 2
        axes.text(x, top - _HEAD_ROOM + 4, head, ha="center", va="baseline", fontweight="bold", **size)
    for row, head in enumerate(row_headers[:rows]):
        axes.text(left - 16, tops[row] + row_heights[row] / 2, head, ha="right", va="center", **size)
    axes.imshow(
        sheet, extent=(0, sheet_width, sheet_height, 0), interpolation="nearest", aspect="auto", zorder=0
    )
    if bar and exhibit.scale is not None:
        _colour_bar(made, exhibit.scale, left, height, theme)
    return made


def _widest(text: str) -> float:
    return max(breadth(line, SMALL) for line in text.split("\n"))


def _gap(n: int, labelled: bool) -> int:
    return 22 if labelled or n <= 40 else 12 if n <= 120 else 9


def _layout(
    n: int, width: int, height: int, columns: int, room: float, gap: int, labelled: bool
) -> tuple[int, float]:
    """Columns, and the pixels that one picture may reach in either direction."""
    if columns:
        return columns, _reach(max(width, height), max(8, min((room + gap) / columns - gap, 560)))
    # The fewer the pictures, the larger each; many are thumbnails of a sheet.
    wanted = (
        560 if n <= 3 else 360 if n <= 8 else 230 if n <= 24 else 150 if n <= 80 else 92 if n <= 300 else 64
    )
    wanted = max(wanted, 210 if max(width, height) >= _LARGE else 112) if labelled else wanted
    largest = max(width, height)
    reach = _reach(
        largest, min(room, largest * max(1, round(wanted / largest)) if largest < _LARGE else wanted)
    )
    across = reach * min(1.0, width / height)
    fits = max(1, floor((room + gap) / (across + gap)))
    even = [c for c in range(ceil(0.6 * fits), fits + 1) if n % c == 0]
    return (even[-1] if even and n > fits else ceil(n / ceil(n / fits))), reach


def _reach(largest: int, room: float) -> float:
    """What the largest picture takes of the room it is given."""
    if largest >= _LARGE:
        return min(room, 2.5 * largest)
    return largest * floor(room / largest) if room >= largest else room


def _coloured(image: Array, scale: Scale | None) -> Array:
    """The picture as (h, w, 4) bytes, opaque."""
    if image.ndim == 2 and scale is not None:
        image = colours(image, scale)
    elif image.shape[2] == 1:
        image = np.repeat(image, 3, axis=2)
    bytes_ = np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)
    return np.concatenate([bytes_, np.full((*bytes_.shape[:2], 1), 255, np.uint8)], axis=2)


def _enlarged(image: Array, reach: float) -> Array:
    """The picture at the largest whole factor within `reach` pixels; a large one at `reach` itself."""
    height, width = image.shape[:2]
    largest = max(height, width)
    if largest < _LARGE and largest <= reach:
        factor = floor(reach / largest)
        return image.repeat(factor, axis=0).repeat(factor, axis=1)
    size = max(1, round(width * reach / largest)), max(1, round(height * reach / largest))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def _colour_bar(made: Figure, scale: Scale, left: float, top: float, theme: Theme) -> None:
    width, height = (made.get_size_inches() * made.dpi).tolist()
    long = min(420.0, width - left - 40)
    axes = made.add_axes((left / width, 1 - (top + 22) / height, long / width, 14 / height))
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
        space = width - left - long - 40
        axes.text(
            1.04,
            0.5,
            fit(scale.label, space),
            transform=axes.transAxes,
            va="center",
            fontsize=SMALL,
            color=theme.ink,
        )
