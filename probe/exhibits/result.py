"""What an analysis returns: exhibits, headline numbers and warnings."""

from dataclasses import dataclass, field

from probe.exhibits.exhibits import Exhibit
from probe.exhibits.wording import unsigned
from probe.statistics import wilson_interval


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
        return unsigned(self.format.format(value))


def proportion(hits: float, n: int, *, label: str = "", format: str = "{:.1%}") -> Number:
    """The proportion `hits` of `n` with its 95% interval (Wilson 1927).

    >>> str(proportion(9, 10))
    '90.0% (59.6% to 98.2%)'
    """
    low, high = wilson_interval(hits, n)
    return Number(value=hits / n, label=label, low=low, high=high, n=n, format=format)


@dataclass(frozen=True, kw_only=True)
class Result:
    """exhibits in reading order; numbers by key; warnings, a sentence or a few each.

    Keys are stable and snake_case, such as "accuracy_attacked"; `Number.label` is what a reader sees.
    """

    exhibits: list[Exhibit]
    numbers: dict[str, Number] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
