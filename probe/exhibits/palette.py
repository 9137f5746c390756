"""The colours of figures on light and dark backgrounds, and the CSS by which a vector figure follows its page."""

from dataclasses import dataclass
from functools import cache
from typing import Literal

from probe.exhibits import colour

Look = Literal["light", "dark", "either"]

# The colours of Okabe and Ito (2008), distinguishable with colour blindness; lighter ones for dark backgrounds.
# More follow, since many data sets have ten classes.
_SERIES = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00"),
    *("#56b4e9", "#7a5195", "#8c6d31", "#7f8791", "#9aae07"),
)
_SERIES_DARK = (
    *("#4aa8e0", "#f28b46", "#2fc79a", "#e09ac0", "#f0b83d"),
    *("#8fd0f5", "#b392d6", "#c9ab6b", "#a9b1ba", "#c3d444"),
)


@dataclass(frozen=True)
class Theme:
    """The colours of a look. background: None for a transparent figure."""

    ink: str
    muted: str
    grid: str
    background: str | None
    series: tuple[str, ...]

    def colours(self, n: int) -> list[str]:
        """A colour for each of n series: ten, then paler ones, and beyond twenty the sequential scale."""
        if n <= 2 * len(self.series):
            return [*self.series, *map(_paler, self.series)][:n]
        return [_hex(rgb) for rgb in colour.colour_table("sequential", n + 2)[1:-1].tolist()]


THEMES: dict[str, Theme] = {
    # The background is nearly white, so that it is told apart from what is drawn in white.
    "light": Theme("#1d232b", "#5b6571", "#e4e7eb", "#fffffe", _SERIES),
    "dark": Theme("#e3e7ec", "#9aa4b0", "#313843", None, _SERIES_DARK),
    "either": Theme("#767d86", "#767d86", "#8a919a55", None, _SERIES),
}
_DARK_GROUND = "#14181d"


@cache
def variables() -> dict[str, tuple[str, str, str]]:
    """By the colour of the light look: the name of its CSS variable, the light value and the dark one."""
    light, dark = THEMES["light"], THEMES["dark"]
    named = {
        "ink": (light.ink, dark.ink),
        "muted": (light.muted, dark.muted),
        "grid": (light.grid, dark.grid),
        "ground": (str(light.background), _DARK_GROUND),
    }
    count = 2 * len(_SERIES)
    pairs = zip(light.colours(count), dark.colours(count), strict=True)
    named |= {f"series-{index}": pair for index, pair in enumerate(pairs)}
    return {day: (f"--figure-{name}", day, night) for name, (day, night) in named.items()}


def css(look: Literal["light", "dark"]) -> str:
    """The declarations of all variables for a look."""
    column = 1 if look == "light" else 2
    return " ".join(f"{values[0]}: {values[column]};" for values in variables().values())


def _paler(text: str) -> str:
    return _hex([0.55 * int(text[i : i + 2], 16) / 255 + 0.4 for i in (1, 3, 5)])


def _hex(rgb: list[float]) -> str:
    return "#" + "".join(f"{round(255 * part):02x}" for part in rgb)
