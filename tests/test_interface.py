"""The names of `probe`: complete for an editor, lazy, and each with a docstring."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import probe


def test_importing_probe_and_listing_its_names_imports_no_torch() -> None:
    code = "import probe, sys; dir(probe); dir(probe.adversarial); dir(probe.synthesis); print('torch' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_what_an_editor_sees_is_what_there_is() -> None:
    tree = ast.parse(Path(probe.__file__).read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    typed = {
        alias.asname or alias.name
        for statement in block.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }
    assert typed | {"__version__"} == set(probe.__all__) == set(dir(probe))
    assert Path(probe.__file__).with_name("py.typed").exists()


@pytest.mark.parametrize("name", [name for name in probe.__all__ if name != "__version__"])
def test_every_name_exists_and_is_documented(name: str) -> None:
    value = getattr(probe, name)
    assert inspect.getdoc(value)
    if inspect.isfunction(value):
        hints = value.__annotations__
        assert set(inspect.signature(value).parameters) <= hints.keys()
        assert "return" in hints


@pytest.mark.parametrize("field", ["adversarial", "attribution"])
def test_methods_are_listed_and_documented(field: str) -> None:
    module = getattr(probe, field)
    classes = [name for name in dir(module) if name[0].isupper() and name.isidentifier()]
    assert len([name for name in classes if inspect.isclass(getattr(module, name))]) > 5


def test_functions_of_synthesis_are_not_hidden_by_their_modules() -> None:
    import probe.methods.synthesis.dream

    assert callable(probe.synthesis.dream)
    assert {"Channel", "dream", "optimise"} <= set(dir(probe.synthesis))
    assert all(inspect.getdoc(getattr(probe.synthesis, name)) for name in dir(probe.synthesis))
    with pytest.raises(AttributeError, match="no attribute 'draem'"):
        probe.synthesis.draem  # noqa: B018


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'probe' has no attribute 'atribution'"):
        probe.atribution  # noqa: B018  # pyrefly: ignore


@pytest.mark.parametrize(
    ("field", "name"), [("attribution", "GradCAM"), ("adversarial", "PGD"), ("synthesis", "dream")]
)
def test_methods_are_imported_from_their_field(field: str, name: str):
    """In a process of its own: the first import is what may fail."""
    code = (
        f"from probe.{field} import {name} as imported; import probe; assert probe.{field}.{name} is imported"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
