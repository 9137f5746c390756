"""The README says what is so: its Python runs, its commands exist, its figures are those of the cards."""

import contextlib
import io
import re
import tomllib
from pathlib import Path

from probe.analyses import catalogue
from probe.cli.commands import COMMANDS

HOME = Path(__file__).parents[1]
README = (HOME / "README.md").read_text(encoding="utf-8")


def test_its_python_example_runs() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "README.md", "exec"), {})
    assert re.search(r"\d+\.\d+%", printed.getvalue())


def test_its_commands_exist() -> None:
    for command in re.findall(r"^probe ([a-z-]+)", README, flags=re.MULTILINE):
        assert command in COMMANDS or command in catalogue()


def test_its_table_of_questions_names_every_analysis() -> None:
    table = README.split("## What it asks")[1].split("##")[0]
    named = {
        name
        for row in re.findall(r"^\| (`.*?) \|", table, flags=re.MULTILINE)
        for name in re.findall(r"`([a-z-]+)`", row)
    }
    assert named == set(catalogue())


def test_its_accuracies_are_those_of_the_cards() -> None:
    table = README.split("## What travels with it")[1].split("## The files")[0]
    said: dict[str, str] = {}
    for names, figures in re.findall(r"^\| (`.*?) \| (.*?) \|", table, flags=re.MULTILINE):
        pairs = zip(re.findall(r"`(.*?)`", names), re.findall(r"([\d.]+) %", figures), strict=True)
        said |= dict(pairs)
    cards = {p.parent.name: tomllib.loads(p.read_text()) for p in (HOME / "pretrained").glob("*/card.toml")}
    assert set(said) == set(cards)
    for name, figure in said.items():
        accuracy = 100 * cards[name]["results"]["test_accuracy"]
        assert abs(float(figure) - accuracy) <= 0.051, (name, figure, accuracy)
