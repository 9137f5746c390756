"""Messages for parameters of the wrong type, and defaults as they are typed."""

from pathlib import Path

import pytest
from pydantic import Field

from probe.cli.app import format_default
from probe.errors import UserError
from probe.params import Fraction, Integers, Parameters, validate


class Every(Parameters):
    count: int = Field(3, ge=1)
    size: float = 1.0
    share: Fraction = Field(0.5, ge=0, le=1)
    quiet: bool = False
    name: str = "x"
    radii: Integers = (1,)
    folder: Path = Path()


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("count", "x", "a whole number, got x"),
        ("count", 2.5, "a whole number, got 2.5"),
        ("count", None, "a whole number, got None"),
        ("size", "y", "a number, got y"),
        ("share", "q", "a number, got q"),
        ("quiet", "maybe", "true or false, got maybe"),
        ("name", 5, "text, got 5"),
        ("radii", "1,b", "a whole number, got b"),
        ("radii", {"a": 1}, "one value or several, got {'a': 1}"),
        ("folder", 5, "a path, got 5"),
    ],
)
def test_a_value_of_the_wrong_type_is_told_what_it_must_be(name: str, value: object, expected: str) -> None:
    with pytest.raises(UserError) as error:
        validate(Every, {name: value})
    assert str(error.value).endswith(f"must be {expected}")
    assert str(error.value).startswith(name)


@pytest.mark.parametrize(
    "text",
    ["1/0", "1/2/3", "/", "nan/2", "1_0/2", "1/1_0", "1/1e3", "1e9999999999/1", "9" * 5000 + "/1", "1/inf"],
)
def test_what_is_no_fraction_is_refused_at_once(text: str) -> None:
    with pytest.raises(UserError, match="is not a number or a fraction such as 8/255"):
        validate(Every, {"share": text})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8/255", 8 / 255),
        ("1.5/255", 1.5 / 255),
        ("1/2.5", 0.4),
        (" +3 / 4 ", 0.75),
        ("-0.1/-0.4", 0.25),
        ("0.03", 0.03),
        ("1e-3", 0.001),
        (1, 1.0),
    ],
)
def test_a_fraction_is_the_nearest_float_of_its_quotient(text: object, value: float) -> None:
    assert validate(Every, {"share": text}).share == value


def test_a_negative_fraction_is_outside_as_a_negative_number_is() -> None:
    for text in ("-1/4", "-0.25"):
        with pytest.raises(UserError, match=r"share must lie in \[0, 1\], got -"):
            validate(Every, {"share": text})


def test_defaults_are_shown_as_they_would_be_typed() -> None:
    values = [0.2, 0.6, 8 / 255, 1 / 255, 1.5 / 255, (2 / 255, 0.4)]
    assert list(map(format_default, values)) == ["0.2", "0.6", "8/255", "1/255", "1.5/255", "2/255,0.4"]
    assert [format_default(value) for value in (0, 0.0, None, "", False, ())] == [
        "0",
        "0",
        None,
        None,
        None,
        None,
    ]
