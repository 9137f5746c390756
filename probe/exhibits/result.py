"""What an analysis returns: exhibits, headline numbers and warnings."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from probe.errors import UserError, first_line, unknown
from probe.exhibits.exhibits import Exhibit, ImageGrid
from probe.exhibits.wording import counted, plain
from probe.regular_files import user_path
from probe.statistics import wilson_interval

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True, kw_only=True)
class Number:
    """A headline number. low, high: its 95% interval. n: the size of its sample. format: as for str.format.

    label: what a reader sees instead of the key under which a Result holds it, such as "clean accuracy".
    """

    value: float
    label: str = ""
    low: float | None = None
    high: float | None = None
    n: int | None = None
    format: str = "{:.3g}"

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return self.format_value(self.value)
        return f"{self.format_value(self.value)} ({self.format_value(self.low)} to {self.format_value(self.high)})"

    def format_value(self, value: float) -> str:
        """`value` in this number's format."""
        return plain(self.format.format(value))


def proportion(hits: float, n: int, *, label: str = "", format: str = "{:.1%}") -> Number:
    """The proportion `hits` of `n` with its 95% interval (Wilson 1927).

    >>> str(proportion(9, 10))
    '90.0% (59.6% to 98.2%)'
    """
    low, high = wilson_interval(hits, n)
    return Number(value=hits / n, label=label, low=low, high=high, n=n, format=format)


class Numbers(dict[str, Number]):
    """Headline numbers by key; an unknown key raises UserError with the nearest ones."""

    def __missing__(self, key: str) -> Number:
        raise unknown("number", key, self)


@dataclass(frozen=True, kw_only=True, repr=False)
class Result:
    """exhibits in reading order; numbers by key; warnings, a sentence or a few each. A notebook shows all of it.

    Keys are stable and snake_case, such as "accuracy_attacked"; `Number.label` is what a reader sees. title: of the
    analysis. setting: model and images. notes: how the images were sampled and preprocessed.

        result["Confusion matrix"].to_pandas()
        result.numbers["accuracy"].value
    """

    exhibits: list[Exhibit]
    numbers: dict[str, Number] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    title: str = ""
    setting: str = ""
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        object.__setattr__(self, "numbers", Numbers(self.numbers))

    def __repr__(self) -> str:
        parts = [
            counted(len(held), noun)
            for held, noun in (
                (self.exhibits, "exhibit"),
                (self.numbers, "number"),
                (self.warnings, "warning"),
            )
        ]
        return f"Result({', '.join([repr(self.title)] * bool(self.title) + parts)})"

    def __getitem__(self, title: str) -> Exhibit:
        """The exhibit with this title; UserError, with the nearest titles, if there is none."""
        for exhibit in self.exhibits:
            if exhibit.title == title:
                return exhibit
        raise unknown("exhibit", title, self.titles)

    def __iter__(self) -> Iterator[Exhibit]:
        return iter(self.exhibits)

    def _ipython_key_completions_(self) -> list[str]:
        return self.titles

    def _repr_html_(self) -> str:
        from probe.exhibits.notebook import result_html

        return result_html(self)

    @property
    def titles(self) -> list[str]:
        """The titles of the exhibits."""
        return [exhibit.title for exhibit in self.exhibits]

    @property
    def arrays(self) -> dict[str, dict[str, np.ndarray]]:
        """The arrays behind the exhibits: result.arrays["Confusion matrix"]["values"]."""
        return {exhibit.title: exhibit.arrays for exhibit in self.exhibits}

    def show(self) -> None:
        """Show numbers, warnings and pictures in a notebook; elsewhere print them, of pictures the captions."""
        from probe.exhibits.notebook import show

        show(self, self.text())

    def text(self) -> str:
        """Numbers, warnings and captions as text."""
        lines = [" – ".join(part for part in (self.title, self.setting) if part)]
        lines += [f"  {number.label or key}: {number}" for key, number in self.numbers.items()]
        lines += [f"  warning: {warning}" for warning in self.warnings]
        lines += [f"  {exhibit.title}: {exhibit.caption}" for exhibit in self.exhibits]
        return "\n".join(line for line in lines if line)

    def save(self, folder: str | Path) -> Path:
        """Write the result into `folder`: result.json and arrays.npz, a picture and a CSV of each exhibit.

        `Result.load` reads it. Returns the folder. Raises UserError if it cannot be written.
        """
        from probe.exhibits.storage import save

        path = user_path(folder)
        try:
            save(self, path)
        except OSError as error:
            raise UserError(f"{path} cannot be written: {error.strerror or error}") from None
        return path

    @classmethod
    def load(cls, folder: str | Path) -> "Result":
        """Read the result that `save` wrote into `folder`. Raises UserError if there is none, or it is damaged."""
        from probe.exhibits.storage import load

        path = user_path(folder)
        try:
            return load(path)
        except (FileNotFoundError, NotADirectoryError):
            raise UserError(
                f"{path} contains no result: pass a folder that Result.save has written"
            ) from None
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror or error}") from None
        except ValueError as error:
            raise UserError(first_line(error)) from None

    def to_pandas(self) -> "dict[str, DataFrame]":
        """A DataFrame of each exhibit that holds numbers, by its title; UserError where pandas is not installed."""
        return {e.title: e.to_pandas() for e in self.exhibits if not isinstance(e, ImageGrid)}
