"""The README is true: its Python runs, its commands and files exist, its accuracies are those of the cards."""

import contextlib
import io
import re
import tomllib
from pathlib import Path

import pytest

from probe.analyses import catalogue
from probe.cli.commands import COMMANDS
from tests.docs.pages import fences

HOME = Path(__file__).parents[1]
TEXT = (".py", ".md", ".toml", ".css", ".js", ".j2", ".typ", ".json", ".html")
README = (HOME / "README.md").read_text(encoding="utf-8")


def test_no_file_has_marks_of_a_merge() -> None:
    folders = ("probe", "apps", "tests", "reports", "docs", ".ci", "pretrained")
    paths = [path for folder in folders for path in (HOME / folder).rglob("*") if path.suffix in TEXT]
    paths += [path for path in HOME.iterdir() if path.is_file() and path.suffix in (*TEXT, "")]
    marks = re.compile(r"^(<{7} |={7}$|>{7} )", re.MULTILINE)
    marked = [path for path in paths if marks.search(path.read_text(encoding="utf-8", errors="replace"))]
    assert len(paths) > 300
    assert not marked


def test_its_python_example_runs() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "README.md", "exec"), {})
    assert re.search(r"\d+\.\d+%", printed.getvalue())


def test_its_commands_exist() -> None:
    pages = [HOME / "README.md", *(HOME / "docs").glob("*.md"), *(HOME / "docs/howto").glob("*.md")]
    lines = [
        line
        for page in pages
        for f in fences(page)
        if f.kind in ("sh", "bash")
        for line in f.text.splitlines()
    ]
    commands = {match[1] for line in lines if (match := re.match(r"probe ([a-z-]+)", line))}
    examples = {"brightness"}  # of docs/howto/own-analysis.md
    assert not commands - {*COMMANDS, *catalogue(), *examples}
    assert len(commands) > 10


def test_its_links_lead_to_files() -> None:
    links = re.findall(r"\]\(([\w./-]+)\)", README)
    assert len(links) > 10
    assert not [link for link in links if not (HOME / link).is_file()]


def test_its_table_of_questions_names_every_analysis() -> None:
    table = README.split("## Analyses")[1].split("##")[0]
    named = {
        name
        for row in re.findall(r"^\| (`.*?) \|", table, flags=re.MULTILINE)
        for name in re.findall(r"`([a-z-]+)`", row)
    }
    assert named == set(catalogue())


@pytest.mark.parametrize("page", ["README.md", "docs/models.md"])
def test_its_accuracies_are_those_of_the_cards(page: str) -> None:
    table = (HOME / page).read_text(encoding="utf-8").split("## Pretrained models")[1].split("\n## ")[0]
    stated: dict[str, str] = {}
    for names, figures in re.findall(r"^\| (`.*?) \| (.*?) \|", table, flags=re.MULTILINE):
        pairs = zip(re.findall(r"`(.*?)`", names), re.findall(r"([\d.]+) %", figures), strict=True)
        stated |= dict(pairs)
    cards = {p.parent.name: tomllib.loads(p.read_text()) for p in (HOME / "pretrained").glob("*/card.toml")}
    assert set(stated) == set(cards)
    for name, figure in stated.items():
        accuracy = 100 * cards[name]["results"]["test_accuracy"]
        assert abs(float(figure) - accuracy) <= 0.051, (name, figure, accuracy)


def _tree() -> set[str]:
    """The paths in the README's file tree, folders with a slash at the end."""
    listing = README.split("## Files")[1].split("Contributing:")[0]
    paths: set[str] = set()
    folders: list[str] = []
    for line in listing.splitlines():
        match = re.match(r"^    ( *)(\S.*)$", line)
        if match is None:
            continue
        depth = len(match[1]) // 2
        names = re.match(r"(?:\S+ )*\S+(?=  |$)", match[2])
        assert names, line
        folders = folders[:depth]
        for name in names[0].split():
            paths.add("".join(folders) + name)
        if names[0].endswith("/"):
            folders.append(names[0])
    return paths


def test_its_file_tree_is_true() -> None:
    paths = _tree()
    assert not [path for path in paths if not (HOME / path).exists()]
    packages = {
        f"probe/{path.name}/" for path in (HOME / "probe").iterdir() if (path / "__init__.py").exists()
    }
    modules = {f"probe/{path.name}" for path in (HOME / "probe").glob("*.py")}
    fields = {
        f"probe/methods/{path.name}/"
        for path in (HOME / "probe/methods").iterdir()
        if (path / "__init__.py").exists()
    }
    assert not (packages | modules | fields) - paths
