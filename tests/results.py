"""Exhibits of results, looked up by kind and title."""

from typing import TypeVar

from probe.exhibits.exhibits import Exhibit
from probe.exhibits.result import Result

E = TypeVar("E", bound=Exhibit)


def the(result: Result, kind: type[E], title: str) -> E:
    """The one exhibit of this kind whose title contains `title`."""
    (exhibit,) = [e for e in result.exhibits if isinstance(e, kind) and title in e.title]
    return exhibit
