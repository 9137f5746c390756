"""The installed recipes are valid, and an invalid recipe is refused with the position in the file."""

from pathlib import Path

import pytest

from probe.errors import UserError
from probe.reporting.recipes import read_recipe, recipes


@pytest.mark.parametrize("name", recipes())
def test_every_installed_recipe_is_valid(name: str) -> None:
    recipe = read_recipe(name)
    assert recipe.analyses
    assert not recipe.strict


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title = ", "is not TOML"),
        ('title = "empty"', r"lists no \[\[analysis\]\]"),
        ('analyses = "fgsm"', r"a recipe has a title and \[\[analysis\]\] tables, not analyses"),
        ("[[analysis]]\neps = 0.1", "line 1: analysis 1 has no name"),
        (
            '[[analysis]]\nname = "fgms"',
            r"analysis 1 \(fgms\): there is no analysis 'fgms'\. Did you mean fgsm",
        ),
        (
            '[[analysis]]\nname = "fgsm"\nepps = 1',
            r"line 3, analysis 1 \(fgsm\): there is no parameter 'epps'",
        ),
        ('[[analysis]]\nname = "fgsm"\neps = 9', r"line 3, analysis 1 \(fgsm\): eps must lie in "),
        (
            'title = "x"\n\n[[analysis]]\nname = "classify"\n\n[[ analysis ]]\n# eps\neps_steps=4\neps=9\nname = "fgsm"',
            r"line 9, analysis 2 \(fgsm\): eps must lie in ",
        ),
        ('analysis = [{name = "fgms"}]', r"recipe\.toml, analysis 1 \(fgms\): there is no analysis"),
    ],
)
def test_an_invalid_recipe_is_refused_with_the_position(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as error:
        read_recipe(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)
