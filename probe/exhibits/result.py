"""What an analysis returns: exhibits, headline numbers and warnings."""

from dataclasses import dataclass, field

from probe.exhibits.exhibits import Exhibit
from probe.exhibits.wording import unsigned


@dataclass(frozen=True, kw_only=True)
class Number:
    """A headline figure. low, high: its 95 % interval. n: what it was measured on. format: as for str.format."""

    value: float
    low: float | None = None
    high: float | None = None
    n: int | None = None
    format: str = "{:.3g}"

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return self.said(self.value)
        return f"{self.said(self.value)} ({self.said(self.low)} to {self.said(self.high)})"

    def said(self, value: float) -> str:
        """`value` in this number's format."""
        return unsigned(self.format.format(value))


@dataclass(frozen=True, kw_only=True)
class Result:
    """exhibits in the order in which they are to be read; numbers by name; warnings, each one sentence."""

    exhibits: list[Exhibit]
    numbers: dict[str, Number] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
