"""The examples of the documentation are complete: a question, short code, a picture, and what it does not mean."""

import ast
import re
from pathlib import Path

import pytest

from probe.analyses import catalogue

DOCS = Path(__file__).parents[2] / "docs"
GALLERY = sorted((DOCS / "gallery").rglob("*.py"))
EXAMPLES = [*GALLERY, *sorted((DOCS / "stories").glob("*.py"))]
NOT_INSTALLED = re.compile(r"""["'](mnist|fashion-mnist|cifar10|torchvision)\b|PROBE_DATA|https?://""")


def code_lines(source: str) -> list[str]:
    """The lines of a script that are neither text, comment nor empty."""
    (docstring,) = [node for node in ast.parse(source).body[:1] if isinstance(node, ast.Expr)]
    lines = source.splitlines()[docstring.end_lineno :]
    return [line for line in lines if line.strip() and not line.lstrip().startswith("#")]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_complete(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    compile(source, str(path), "exec")
    assert ast.get_docstring(ast.parse(source)), "it opens with a title and an introduction"
    assert not NOT_INSTALLED.search("\n".join(code_lines(source))), "only what is installed with probe"


@pytest.mark.parametrize("path", GALLERY, ids=lambda path: path.stem)
def test_an_example_of_the_gallery_is_short_and_says_what_its_pictures_do_not_mean(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    title = (ast.get_docstring(ast.parse(source)) or "").splitlines()[0]
    assert title.endswith("?"), "the title is a question"
    assert len(code_lines(source)) <= 40
    sections = re.findall(r"^# (What .*)\n# -+$", source, flags=re.MULTILINE)
    assert [section for section in sections if " not mean" not in section]
    assert [section for section in sections if " not mean" in section]


def test_every_field_has_a_folder_in_the_gallery() -> None:
    fields = {entry.module.split(".")[2] for entry in catalogue().values()}
    assert fields <= {path.parent.name for path in GALLERY}
