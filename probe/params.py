"""What a parameter is: its type, bounds and help. Flags, recipe checks and widgets come from here."""

import re
from fractions import Fraction as ExactFraction
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from probe.errors import UserError, unknown


def _number(value: object) -> object:
    """Accept '8/255' wherever a number is asked for."""
    if not isinstance(value, str) or "/" not in value:
        return value
    try:
        return float(ExactFraction(value.replace(" ", "")))
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"{value!r} is not a number or a fraction such as 8/255") from None


def _parts(value: object) -> object:
    """Accept 'a,b,c' wherever several values are asked for; the comma of features.7:12:3,4 does not separate."""
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
"""Several names, on the command line with commas between them: conv1,conv2."""

Integers = Annotated[tuple[int, ...], BeforeValidator(_parts)]
"""Several whole numbers, on the command line with commas between them: 5,30,50."""

Fractions = Annotated[tuple[Fraction, ...], BeforeValidator(_parts)]
"""Several numbers or fractions with commas between them: 2/255,4/255,8/255."""


class Parameters(BaseModel):
    """A frozen set of parameters; an unknown or ill-typed one is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


P = TypeVar("P", bound=Parameters)


def validate(model: type[P], values: dict[str, Any]) -> P:
    """Build `model` from `values` (strings or typed); a UserError of one line where they are wrong.

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
    found: dict[str, float] = {}
    for rule in field.metadata:
        for kind in ("ge", "gt", "le", "lt"):
            if (limit := getattr(rule, kind, None)) is not None:
                found[kind] = limit
    return found


def error_message(model: type[BaseModel], error: ValidationError) -> str:
    """The first thing wrong in `error`, in one line, in the words of the field's own bounds."""
    first = error.errors()[0]
    name = str(first["loc"][0]) if first["loc"] else ""
    value, kind = first.get("input"), first["type"]
    if kind == "extra_forbidden":
        return str(unknown("parameter", name, model.model_fields))
    if kind == "missing":
        return f"{name} is required"
    if kind in ("greater_than", "greater_than_equal", "less_than", "less_than_equal"):
        return (
            f"{name} must lie in {_interval(bounds(model.model_fields[name]))}, got {_shown(value)}"
            + _grey(model, name, value)
        )
    if kind == "literal_error":
        return f"{name} must be one of {first['ctx']['expected'].replace(' or ', ', ')}, got {_shown(value)}"
    message = first["msg"].removeprefix("Value error, ")
    if kind == "value_error" and name:
        return f"{name}: {message}"  # our own words name the value
    return f"{name}: {message}, got {_shown(value)}" if name else message


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _interval(limits: dict[str, float]) -> str:
    low = f"[{limits['ge']:g}" if "ge" in limits else f"({limits['gt']:g}" if "gt" in limits else "(-inf"
    high = f"{limits['le']:g}]" if "le" in limits else f"{limits['lt']:g})" if "lt" in limits else "inf)"
    return f"{low}, {high}"


_SMALL = [
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


def _grey(model: type[BaseModel], name: str, value: object) -> str:
    """Somebody who writes eps=8 means grey levels: say how to write them."""
    limits = bounds(model.model_fields[name])
    number = float(value) if isinstance(value, int | float) else None
    if isinstance(value, str):
        try:
            number = float(value)
        except ValueError:
            return ""
    if "eps" not in name or limits.get("le") != 1 or number is None or not 1 < number <= 255:
        return ""
    word = _SMALL[int(number)] if number == int(number) and number <= 12 else f"{number:g}"
    return f": for {word} grey levels write {number:g}/255"
