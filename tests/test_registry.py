"""Registries read files without importing them, and methods are written and read as text."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from probe.errors import UserError
from probe.params import Fraction
from probe.registry import Declared, Registry, split_calls


class Blur(Declared):
    """Blur the images."""

    name = "blur"
    title = "Blur"
    radius: Fraction = Field(1.0, ge=0, le=16)
    steps: int = Field(3, ge=1)
    layer: str = ""


class InMemory(Registry[Any]):
    catalogue = {"blur": None}  # pyrefly: ignore  # what the folder would hold

    def find(self, name: str) -> Any:
        return Blur if name == "blur" else super().find(name)


METHODS = InMemory("method", Path())


def test_a_method_is_read_with_its_parameters() -> None:
    assert METHODS.parse("blur") == Blur()
    assert METHODS.parse(" blur( radius = 8/4, steps=2 ) ") == Blur(radius=2, steps=2)
    assert METHODS.parse("blur(layer=features.3:1:2)").layer == "features.3:1:2"


@given(st.floats(0, 16, allow_nan=False), st.integers(1, 99))
def test_a_method_survives_writing_and_parsing(radius: float, steps: int) -> None:
    assert METHODS.parse(str(Blur(radius=radius, steps=steps))) == Blur(radius=radius, steps=steps)


def test_grey_levels_are_written_as_a_fraction() -> None:
    assert str(Blur(radius=8 / 255)) == "blur(radius=8/255)"
    assert str(Blur(radius=0.1 / 255)) == "blur(radius=0.1/255)"
    for tenths in range(1, 2551):
        radius = tenths / 10 / 255
        assert METHODS.parse(str(Blur(radius=radius))).radius == radius


def test_an_error_in_python_is_one_line_too() -> None:
    with pytest.raises(UserError, match=r"^radius must lie in \[0, 16\], got 17$"):
        Blur(radius=17)
    with pytest.raises(UserError, match=r"there is no parameter 'stepps'\. Did you mean steps"):
        Blur(stepps=1)


def test_several_methods_are_text_a_list_or_instances() -> None:
    expected = ("blur", "blur(steps=2)")
    assert METHODS.texts("blur, blur(steps=2)") == expected
    assert METHODS.texts(["blur", "blur(steps=2)"]) == expected
    assert METHODS.texts((Blur(), Blur(steps=2))) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("blurr", "there is no method 'blurr'. Did you mean blur?"),
        ("blur(stepps=2)", "blur: there is no parameter 'stepps'. Did you mean steps?"),
        ("blur(radius=17)", r"blur: radius must lie in \[0, 16\], got 17"),
        ("blur(steps)", r"blur: 'steps' in 'blur\(steps\)' is not KEY=VALUE"),
        ("blur(steps=1, steps=2)", "blur: steps is given twice"),
        ("blur(steps=2", r"write its name, or its name with parameters, NAME\(KEY=VALUE, ...\)"),
        ("", "is not a method"),
    ],
)
def test_an_error_is_one_line_with_what_is_allowed(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        METHODS.parse(text)
    assert "\n" not in str(error.value)


def test_commas_inside_parentheses_do_not_separate() -> None:
    assert split_calls("a(b=1, c=d(e, f)), g,") == ["a(b=1, c=d(e, f))", "g"]


def test_the_analyses_are_listed_without_importing_torch() -> None:
    import subprocess
    import sys

    code = "import sys; from probe.analyses.registry import catalogue; assert 'fgsm' in catalogue(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
