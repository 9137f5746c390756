"""The words of the code and of what it prints are the field's, and functions keep to few parameters."""

import ast
from pathlib import Path

import pytest

from tests.vocabulary import EXCEPTIONS, HOME, Place, _phrases, left_over, places, words_of

MOST_PARAMETERS = 7


def test_no_word_of_a_private_dialect_is_left() -> None:
    remaining = left_over()
    assert not remaining, "\n".join(map(str, remaining))


def test_every_exception_has_a_reason_and_is_needed() -> None:
    assert all(len(reason) > 10 for reason in EXCEPTIONS.values())
    everything = [p for path in (HOME / "probe").rglob("*.py") for p in places(path, names=True)]
    everything += [
        p for path in [*(HOME / "tests").rglob("*.py"), *HOME.glob("*.md")] for p in places(path, names=False)
    ]
    used = {f"{where}: {what}" for p in everything for where in (p.path, "*") for what in (p.word, p.text)}
    assert not set(EXCEPTIONS) - used


def test_a_planted_word_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.vocabulary.HOME", tmp_path)
    file = tmp_path / "planted.py"
    file.write_text('def found_box(eps):\n    """How sure is it?"""\n    return {"least_eps": eps}\n')
    assert [p.word for p in places(file, names=True)] == ["found", "least", "how sure"]
    assert isinstance(_phrases("x", 1, "1 images")[0], Place)
    assert words_of("CarliniWagner") == ["carlini", "wagner"]


def _parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    arguments = node.args
    names = [a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    return len([name for name in names if name not in ("self", "cls")])


def test_no_function_has_more_than_seven_parameters_without_a_reason() -> None:
    """The reason stands in a comment `# parameters: ...` on the line of the `def` or above it."""
    many = []
    for path in sorted((HOME / "probe").rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        lines = source.splitlines()
        for node in ast.walk(ast.parse(source)):
            if (
                isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
                and _parameters(node) > MOST_PARAMETERS
            ):
                near = lines[max(0, node.lineno - 3) : node.body[0].lineno]
                if not any("# parameters:" in line for line in near):
                    many.append(f"{path.relative_to(HOME)}:{node.lineno} {node.name} has {_parameters(node)}")
    assert not many, "\n".join(many)
