"""The style of figures: fonts, colours, axes, legends, and text that is shortened to fit."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Colormap, ListedColormap
from matplotlib.figure import Figure
from matplotlib.textpath import TextToPath
from matplotlib.ticker import Formatter, FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from probe.exhibits import colour
from probe.exhibits.palette import THEMES, Look, Theme

DPI = 192  # two pixels per CSS pixel
WIDTH = 1840  # pixels of the widest figure
SMALL, BODY = 7.5, 8.5  # points

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


# DejaVu is part of matplotlib; the others, if installed, provide glyphs that it lacks.
_FALLBACKS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Source Han Sans SC",
    "WenQuanYi Zen Hei",
    "PingFang SC",
    "Hiragino Sans",
    "Microsoft YaHei",
    "Malgun Gothic",
    "Noto Sans Devanagari",
    "Noto Sans Thai",
)


@cache
def _families() -> tuple[str, ...]:
    installed = set(font_manager.fontManager.get_font_names())
    return ("DejaVu Sans", *(name for name in _FALLBACKS if name in installed))


@cache
def _characters() -> frozenset[int]:
    paths = [font_manager.findfont(family) for family in _families()]
    return frozenset(code for path in paths for code in font_manager.get_font(path).get_charmap())


@contextmanager
def themed(look: Look) -> Iterator[Theme]:
    """Set matplotlib's parameters for `look` until the block ends; yields its theme."""
    theme = THEMES[look]
    background = theme.background or "none"
    settings = {
        **matplotlib.rcParamsDefault,
        "font.family": list(_families()),
        "font.size": BODY,
        "text.color": theme.ink,
        "text.parse_math": False,
        "axes.labelcolor": theme.ink,
        "axes.labelsize": BODY,
        "axes.labelpad": 6,
        "axes.edgecolor": theme.muted,
        "axes.linewidth": 0.7,
        "axes.facecolor": "none",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": False,
        "axes.axisbelow": True,
        "grid.color": theme.grid,
        "grid.linewidth": 0.7,
        "xtick.color": theme.muted,
        "ytick.color": theme.muted,
        "xtick.labelsize": SMALL,
        "ytick.labelsize": SMALL,
        "xtick.major.size": 3,
        "ytick.major.size": 3,
        "xtick.major.width": 0.7,
        "ytick.major.width": 0.7,
        "legend.fontsize": SMALL + 0.5,
        "legend.frameon": False,
        "figure.facecolor": background,
        "savefig.facecolor": background,
        "figure.dpi": DPI,
        "svg.hashsalt": "probe",
        "pdf.fonttype": 42,
    }
    settings = {k: v for k, v in settings.items() if not k.startswith(("backend", "interactive", "toolbar"))}
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    with matplotlib.rc_context(settings):
        yield theme


def font_folder() -> Path:
    """The folder of the fonts that are installed with matplotlib, DejaVu among them."""
    return Path(matplotlib.get_data_path()) / "fonts" / "ttf"


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of `width` x `height` pixels."""
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
    FigureCanvasAgg(figure)
    return figure


def printable(text: str) -> str:
    """The text with characters that no installed font can draw as boxes, and control characters as spaces."""
    characters = _characters()
    text = "".join(c if c == "\n" or c.isprintable() else " " for c in str(text))
    return "".join(c if c == "\n" or ord(c) in characters else "□" for c in text)


@cache
def _ruler(bold: bool) -> tuple[TextToPath, font_manager.FontProperties]:
    return TextToPath(), font_manager.FontProperties(
        family=list(_families()), weight="bold" if bold else "normal", size=100
    )


@cache
def text_width(text: str, size: float, bold: bool = False) -> float:
    """The width of a line of text at `size` points, in pixels."""
    ruler, font = _ruler(bold)
    width, _, _ = ruler.get_text_width_height_descent(text, font, ismath=False)
    return float(width) * size / 100 * DPI / 72


def shorten(text: str, width: float, size: float = SMALL, *, bold: bool = False) -> str:
    """Shorten each line of a text, with an ellipsis, to at most `width` pixels."""
    return "\n".join(_shorten_line(line, width, size, bold) for line in printable(text).split("\n"))


def wrap(text: str, width: float, size: float = SMALL) -> str:
    """Fit the label of an image into `width` pixels: a longer line is broken at spaces, into three lines at most.

    A word that is still too long keeps its beginning and its end, where file names differ: "n0144…9981.jpg".
    """
    lines = []
    for line in printable(text).split("\n"):
        parts: list[str] = []
        for word in line.split(" "):
            if parts and text_width(f"{parts[-1]} {word}", size) <= width:
                parts[-1] += f" {word}"
            else:
                parts.append(word)
        if len(parts) > 3:
            parts = [parts[0], f"{parts[1]}…", parts[-1]]
        lines += [_shorten_middle(part, width, size) for part in parts]
    return "\n".join(lines)


def _shorten_middle(line: str, width: float, size: float) -> str:
    if text_width(line, size) <= width:
        return line
    length = len(line) - 1
    while length > 2 and text_width(_without_middle(line, length), size) > width:
        length -= 1
    return _without_middle(line, length)


def _without_middle(line: str, length: int) -> str:
    return f"{line[: length - length // 2].rstrip()}…{line[len(line) - length // 2 :].lstrip()}"


def _shorten_line(line: str, width: float, size: float, bold: bool) -> str:
    if text_width(line, size, bold) <= width:
        return line
    low, high = 0, len(line)
    while low < high:
        middle = (low + high + 1) // 2
        if text_width(line[:middle].rstrip() + "…", size, bold) <= width:
            low = middle
        else:
            high = middle - 1
    return line[:low].rstrip() + "…" if low else ""


def line_height(size: float) -> float:
    """The distance of two lines of text, in pixels."""
    return size * DPI / 72 * 1.25


def colormap(kind: str) -> Colormap:
    """The matplotlib colour map of a kind of Scale; missing values are grey as in `colour.colourise`."""
    return ListedColormap(colour.colour_table(kind), name=f"probe-{kind}").with_extremes(bad=(0.6, 0.6, 0.6))


_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def log_text(value: float, _: object = None) -> str:
    """A tick of a logarithmic axis: 0.01, 1, 1000, then 10⁵."""
    if value <= 0:
        return "0"
    power = np.log10(value)
    if abs(power - round(power)) > 1e-6:
        return f"{value:g}"
    return f"{value:g}" if -3 <= power <= 3 else "10" + str(round(power)).translate(_RAISED)


def log_axis(axes: Axes, which: Literal["x", "y"]) -> None:
    """Make an axis logarithmic; zeros are drawn at its lower limit."""
    if which == "x":
        axes.set_xscale("log", nonpositive="clip")
    else:
        axes.set_yscale("log", nonpositive="clip")
    axis = axes.xaxis if which == "x" else axes.yaxis
    low, high = sorted(axis.get_view_interval())
    narrow = low > 0 and high / low < 100
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if narrow else (1.0,), numticks=9))
    axis.set_major_formatter(FuncFormatter(log_text))
    axis.set_minor_formatter(NullFormatter())


def legend(axes: Axes, handles: Sequence[Any], names: Sequence[str], width: float) -> None:
    """A legend in rows above the axes, or in a column beside them if there are many series."""
    limit = 18
    if len(names) > limit:
        handles, names = handles[:limit], [*names[: limit - 1], f"and {len(names) - limit + 1} more"]
    if len(names) > 8:
        short = [shorten(name, 260, SMALL) for name in names]
        axes.legend(
            handles,
            short,
            loc="upper left",
            bbox_to_anchor=(1.01, 1.0),
            borderaxespad=0,
            handlelength=1.6,
            labelspacing=0.4,
        )
        return
    short = [shorten(name, 420, SMALL + 0.5) for name in names]
    room = max(text_width(name, SMALL + 0.5) for name in short) + 110
    axes.legend(
        handles,
        short,
        loc="lower left",
        bbox_to_anchor=(-0.01, 1.01),
        borderaxespad=0,
        ncols=max(1, min(len(short), int(width // room))),
        handlelength=1.8,
        columnspacing=1.8,
        handletextpad=0.6,
    )


class Numbers(Formatter):
    """Ticks of a linear axis, all with the same number of decimals, as few as distinguish them, and a minus sign."""

    def __call__(self, value: float, pos: int | None = None) -> str:
        return self.format_ticks([value])[0]

    def format_ticks(self, values: Sequence[float]) -> list[str]:
        """The texts of all ticks of an axis."""
        largest = max((abs(v) for v in values), default=0.0)
        close = 1e-9 * max(largest, 1e-300)
        decimals = next((d for d in range(7) if all(abs(round(v, d) - v) <= close for v in values)), None)
        if decimals is None or largest >= 1e7:
            texts = [f"{v:.3g}" for v in values]
        else:
            texts = [f"{round(v, decimals) + 0.0:,.{decimals}f}" for v in values]
        return [text.replace("-", "\u2212") for text in texts]


def linear_axis(axis: Axis, *, ticks: int, whole: bool = False) -> None:
    """Round numbers on a linear axis, at most `ticks` + 1. whole: integers only."""
    axis.set_major_locator(MaxNLocator(ticks, steps=[1, 2, 2.5, 5, 10], integer=whole))
    axis.set_major_formatter(Numbers())
