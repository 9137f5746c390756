"""Types of parameters, their validation, and its error messages: for flags, recipes, Python and widgets alike."""

import math
import re
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from probe.errors import UserError, unknown
from probe.regular_files import shortened, user_path
from probe.renamed import VALUES, renamed_parameter

_DECIMAL = re.compile(r"\s*[+-]?\d+(\.\d+)?\s*")  # without exponent: 1e999999999 is a number of a gigabyte


def _number(value: object) -> object:
    """Read '8/255' or '1.5/255' where a number is expected."""
    if not isinstance(value, str) or "/" not in value:
        return value
    try:
        numerator, denominator = value.split("/")
        if not _DECIMAL.fullmatch(numerator) or not _DECIMAL.fullmatch(denominator):
            raise ValueError
        number = float(numerator) / float(denominator)  # as Python computes what is written there
        if not math.isfinite(number):
            raise ValueError
        return number
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"{shortened(value)!r} is not a number or a fraction such as 8/255") from None


def _parts(value: object) -> object:
    """Read 'a,b,c' where several values are expected; the comma of features.7:12:3,4 separates no values."""
    if isinstance(value, int | float):
        return (value,)
    if isinstance(value, str):
        value = (value,)
    if not isinstance(value, list | tuple):
        return value
    parts: list[object] = []
    for item in value:
        if isinstance(item, str):
            parts += [p.strip() for p in re.findall(r"[^,]*:\d+:\d+,\d+|[^,]+", item) if p.strip()]
        else:
            parts.append(item)
    return tuple(parts)


Fraction = Annotated[float, BeforeValidator(_number)]
"""A number that may be written as a fraction: 0.03 or 8/255."""

Names = Annotated[tuple[str, ...], BeforeValidator(_parts)]
"""Several names, separated by commas on the command line: conv1,conv2."""

Integers = Annotated[tuple[int, ...], BeforeValidator(_parts)]
"""Several whole numbers, separated by commas on the command line: 5,30,50."""

Fractions = Annotated[tuple[Fraction, ...], BeforeValidator(_parts)]
"""Several numbers or fractions, separated by commas: 2/255,4/255,8/255."""


UserPath = Annotated[Path, BeforeValidator(lambda value: value if value is None else user_path(value))]
"""A path that the user writes, with ~ expanded; one that no file can have is an error."""


class Parameters(BaseModel):
    """A frozen set of parameters; unknown names and values of the wrong type are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


P = TypeVar("P", bound=Parameters)


def validate(model: type[P], values: dict[str, Any]) -> P:
    """Build `model` from `values`, typed or as text; raises UserError, in one line, for the first invalid one.

    >>> from pydantic import Field
    >>> class Attack(Parameters):
    ...     eps: Fraction = Field(8 / 255, ge=0, le=1)
    >>> validate(Attack, {"eps": "4/255"}).eps == 4 / 255
    True
    >>> validate(Attack, {"eps": "8"})
    Traceback (most recent call last):
    probe.errors.UserError: eps must lie in [0, 1], got 8: for eight grey levels write 8/255
    """
    try:
        return model(**values)
    except ValidationError as error:
        raise UserError(error_message(model, error)) from None


def bounds(field: Any) -> dict[str, float]:
    """The bounds that a pydantic field states, such as {"ge": 0, "le": 1}."""
    return {
        kind: limit
        for constraint in field.metadata
        for kind in ("ge", "gt", "le", "lt")
        if (limit := getattr(constraint, kind, None)) is not None
    }


def error_message(model: type[BaseModel], error: ValidationError) -> str:
    """The first of the errors in one line, with the bounds of the field or the nearest names.

    An unknown name comes before a missing one: a field under its earlier name is both.
    """
    first = min(error.errors(), key=lambda details: details["type"] == "missing")
    model, name = _innermost(model, first["loc"])
    value, kind = first.get("input"), first["type"]
    if kind == "extra_forbidden":
        return _unknown_parameter(model, name)
    if kind == "missing":
        return f"{name} is required"
    if kind in ("greater_than", "greater_than_equal", "less_than", "less_than_equal"):
        return f"{name} must {_within(bounds(model.model_fields[name]))}, got {_shown(value)}" + _grey_levels(
            model, name, value
        )
    if kind == "literal_error":
        if isinstance(value, str) and value in VALUES:
            return f"{name}: {value} is now called {VALUES[value]}"
        return f"{name} must be one of {first['ctx']['expected'].replace(' or ', ', ')}, got {_shown(value)}"
    if name and (expected := _EXPECTED.get(kind.partition("_")[0])):
        return f"{name} must be {expected}, got {_shown(value)}"
    message = first["msg"].removeprefix("Value error, ")
    if kind == "value_error" and name:
        return f"{name}: {message}"  # raised by a validator of probe, which names the value
    return f"{name}: {message}, got {_shown(value)}" if name else message


_EXPECTED = {
    "int": "a whole number",
    "float": "a number",
    "finite": "a finite number",
    "bool": "true or false",
    "string": "text",
    "tuple": "one value or several",
    "list": "one value or several",
    "dict": "a table of names and values",
    "path": "a path",
}
"""What a value must be, by the first word of the kind of error."""


def _innermost(model: type[BaseModel], location: tuple[int | str, ...]) -> tuple[type[BaseModel], str]:
    """The model whose field is invalid, and the name of that field, where models hold models."""
    for depth, part in enumerate(location):
        field = model.model_fields.get(str(part))
        inner = None if field is None else field.annotation
        if depth + 1 == len(location) or not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return model, str(part)
        model = inner
    return model, ""


def _unknown_parameter(model: type[BaseModel], name: str) -> str:
    return renamed_parameter(name, getattr(model, "name", ""), model.__name__, "Options") or str(
        unknown("parameter", name, model.model_fields)
    )


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else shortened(value)


def _within(limits: dict[str, float]) -> str:
    shown = {name: str(limit) if isinstance(limit, int) else f"{limit:g}" for name, limit in limits.items()}
    if len(shown) == 1:
        [(bound, limit)] = shown.items()
        return f"be {_BOUNDS[bound]} {limit}"
    low = f"[{shown['ge']}" if "ge" in shown else f"({shown['gt']}"
    high = f"{shown['le']}]" if "le" in shown else f"{shown['lt']})"
    return f"lie in {low}, {high}"


_BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}


_WORDS = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
]


def _grey_levels(model: type[BaseModel], name: str, value: object) -> str:
    """How to write eps=8, which means eight grey levels; empty for other parameters and values."""
    limits = bounds(model.model_fields[name])
    number = float(value) if isinstance(value, int | float) else None
    if isinstance(value, str):
        try:
            number = float(value)
        except ValueError:
            return ""
    if "eps" not in name or limits.get("le") != 1 or number is None or not 1 < number <= 255:
        return ""
    word = _WORDS[int(number)] if number == int(number) and number <= 12 else f"{number:g}"
    return f": for {word} grey levels write {number:g}/255"
