"""Earlier names are answered in one line with the present ones, in flags, recipes, cards and Python."""

import pytest

from probe.analyses import catalogue, find
from probe.cli import main
from probe.errors import UserError
from probe.methods.adversarial.registry import ATTACKS
from probe.methods.attribution.registry import METHODS
from probe.renamed import NAMES, PARAMETERS
from probe.reporting.recipes import read_recipe
from probe.runs.execute import make_analysis


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trust"], "trust is now called attribution-tests\n"),
        (["fgsm", "--subject", "lenet5-digits"], "--subject is now called --model\n"),
        (["fgsm", "--other", "lenet5-digits"], "--other is now called --compare-to\n"),
        (["fgsm", "--at-most=20"], "--at-most is now called --max-images\n"),
        (
            ["robustness", "--steps", "9"],
            "--steps is now a parameter of the method: --attacks 'pgd(steps=N)'\n",
        ),
        (["fgsm", "--loss", "ce"], "loss: ce is now called cross-entropy\n"),
        (["attribution", "--methods", "guided"], "guided is now called guided-backprop\n"),
        (["report", "--subject", "lenet5-digits"], "--subject is now called --model\n"),
        (["train", "lenet5", "--fit", "pad 32", "--out", "x"], "--fit is now called --preprocess\n"),
        (["transfer", "lenet5-digits", "--last", "2", "--out", "x"], "--last is now called --unfreeze\n"),
        (["adopt", "x.pt", "--arch", "zoo:lenet5", "--fit", "pad 32", "--out", "x"], "called --preprocess\n"),
    ],
)
def test_an_earlier_name_on_the_command_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    printed = capsys.readouterr().err
    assert printed.endswith(message)
    assert printed.count("\n") == 1


def test_an_earlier_name_in_python_and_in_a_recipe(tmp_path) -> None:
    with pytest.raises(UserError, match=r"^at_most is now called max_images$"):
        make_analysis("fgsm", at_most=20)
    with pytest.raises(
        UserError, match=r'^steps is now a parameter of the method: attacks = "pgd\(steps=N\)"$'
    ):
        make_analysis("robustness", steps=20)
    recipe = tmp_path / "recipe.toml"
    for step, message in (
        ('name = "tuning"', r"analysis 1 \(tuning\): tuning is now called tuning-curves"),
        ('name = "fgsm"\nat_most = 20', r"analysis 1 \(fgsm\): at_most is now called max_images"),
    ):
        recipe.write_text(f"[[analysis]]\n{step}\n")
        with pytest.raises(UserError, match=message):
            read_recipe(recipe)


def test_every_present_name_exists_and_no_earlier_one_does() -> None:
    known = {"analysis": catalogue(), "attribution method": METHODS.catalogue}
    for kind, names in NAMES.items():
        assert not set(names) & set(known[kind])
        assert set(names.values()) <= set(known[kind])
    for owner, parameters in PARAMETERS.items():
        if owner not in catalogue():
            continue
        fields = {field.replace("_", "-") for field in find(owner).model_fields}
        assert not set(parameters) & fields, owner
        for present in parameters.values():
            parameter, _, method = present.partition("=")
            assert parameter in fields, (owner, present)
            if method:
                registry = ATTACKS if parameter.startswith("attack") else METHODS
                name, _, key = method.removesuffix(")").partition("(")
                assert key.partition("=")[0] in registry.find(name).model_fields, (owner, present)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("smothgrad", "there is no attribution method 'smothgrad'. Did you mean smoothgrad"),
        ("smoothgrad(sampels=3)", "smoothgrad: there is no parameter 'sampels'. Did you mean samples?"),
        ("smoothgrad(samples=-1)", "smoothgrad: samples must lie in [0, "),
        ("smoothgrad(samples=few)", "smoothgrad: samples must be a whole number, got few"),
        ("smoothgrad(samples)", "'samples' in 'smoothgrad(samples)' is not KEY=VALUE"),
        ("smoothgrad(samples=3", "is not an attribution method"),
    ],
)
def test_an_invalid_method_is_one_line_in_flags_recipes_and_python(
    text: str, message: str, tmp_path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["attribution", "--methods", text]) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert printed.count("\n") == 1
    with pytest.raises(UserError) as python:
        make_analysis("attribution", methods=text)
    assert message in str(python.value)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(f'[[analysis]]\nname = "attribution"\nmethods = ["{text}"]\n')
    with pytest.raises(UserError) as read:
        read_recipe(recipe)
    assert message in str(read.value)
