"""Registries of classes that files declare by a `name`, read from the source without importing it."""

import ast
import importlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import ValidationError

from probe.errors import UserError, unknown
from probe.params import Parameters, error_message, validate

_PACKAGE = Path(__file__).parent
_DECLARES = re.compile(r"^    name\b[^=\n]*= *[\"']", re.MULTILINE)
_CALL = re.compile(r"\s*(?P<name>[\w-]+)\s*(?:\((?P<arguments>.*)\))?\s*", re.DOTALL)


class Declared(Parameters):
    """A method with its parameters. A subclass sets `name`, `title` and `source`; fields are its parameters.

    >>> class Blur(Declared):
    ...     name = "blur"
    ...     radius: float = 1
    ...     steps: int = 3
    >>> str(Blur()), str(Blur(radius=2.5))
    ('blur', 'blur(radius=2.5)')
    """

    name: ClassVar[str] = ""
    title: ClassVar[str] = ""
    source: ClassVar[str] = ""

    def __init__(self, **parameters: Any) -> None:
        """Raises UserError, one line, for an unknown parameter and a value out of bounds."""
        try:
            super().__init__(**parameters)
        except ValidationError as error:
            raise UserError(error_message(type(self), error)) from None

    def __str__(self) -> str:
        """The method as text, as on the command line and in recipes, with its `written` parameters."""
        written = [f"{field}={parameter_text(getattr(self, field))}" for field in self.written()]
        return f"{self.name}({', '.join(written)})" if written else self.name

    def written(self) -> list[str]:
        """The parameters in the text: those that differ from their defaults."""
        fields = type(self).model_fields
        return [name for name, field in fields.items() if getattr(self, name) != field.default]


@dataclass(frozen=True)
class Entry:
    """A declared class as read from its source: enough for lists and for the nearest name."""

    name: str
    title: str
    question: str
    """The first line of its docstring."""
    module: str
    attribute: str


D = TypeVar("D", bound=Parameters)


class Registry(Generic[D]):
    """The classes below `folder` that set `name` and `title` to constants, read from the source files.

    kind: what they are called in error messages. pattern: the files that are read. hint: the end of the message about
    an unknown name.
    """

    def __init__(self, kind: str, folder: Path, *, pattern: str = "*.py", hint: str = "") -> None:
        self.kind, self.folder, self.pattern, self.hint = kind, folder, pattern, hint

    @cached_property
    def catalogue(self) -> dict[str, Entry]:
        """Every entry by its name, in alphabetical order."""
        entries = [entry for path in self.folder.glob(self.pattern) for entry in _read(path)]
        return {entry.name: entry for entry in sorted(entries, key=lambda entry: entry.name)}

    def find(self, name: str) -> type[D]:
        """The class called `name`; raises UserError, with the nearest names, if there is none."""
        entry = self.catalogue.get(name)
        if entry is None:
            raise unknown(self.kind, name, self.catalogue, hint=self.hint)
        return getattr(importlib.import_module(entry.module), entry.attribute)

    def parse(self, text: str) -> D:
        """Parse a method and its parameters, such as "pgd(steps=100, restarts=5)".

        Raises UserError for an unknown name or parameter, with the nearest ones, and for a value out of bounds.
        """
        match = _CALL.fullmatch(text)
        if match is None:
            raise UserError(
                f"{text!r} is not {_article(self.kind)}: write its name, or its name with parameters, NAME(KEY=VALUE, ...)"
            )
        kind = self.find(match["name"])
        try:
            return validate(kind, _arguments(match["arguments"] or "", text))
        except UserError as error:
            raise UserError(f"{match['name']}: {error}") from None

    def text(self, value: object) -> str:
        """The validated text of a method, for fields of one method."""
        return str(self.parse(str(value)))

    def texts(self, value: object) -> tuple[str, ...]:
        """The validated texts of methods, for fields of several: separated by commas, or a list of texts or instances.

        Raises UserError as `parse` does, and for a method that is given twice.
        """
        items = value if isinstance(value, list | tuple) else [value]
        parts = [part for item in items for part in split_calls(str(item))]
        texts = tuple(str(self.parse(part)) for part in parts)
        twice = next((text for k, text in enumerate(texts) if text in texts[:k]), None)
        if twice is not None:
            raise UserError(f"{twice} is given twice")
        return texts

    def attribute(self, package: str, name: str) -> Any:
        """The class whose Python name is `name`, for the `__getattr__` of a package that imports its classes lazily."""
        for entry in self.catalogue.values():
            if entry.attribute == name:
                return self.find(entry.name)
        near = get_close_matches(name, [entry.attribute for entry in self.catalogue.values()], n=3)
        advice = f". Did you mean {' or '.join(near)}?" if near else ""
        raise AttributeError(f"module {package!r} has no attribute {name!r}{advice}")


def public_names(folder: Path) -> dict[str, str]:
    """The module of each public class and function that the files of `folder` define, read without importing them."""
    names: dict[str, str] = {}
    for path in sorted(folder.glob("*.py")):
        module = ".".join(("probe", *path.relative_to(_PACKAGE).with_suffix("").parts))
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
                names.setdefault(node.name, module)
    return names


def split_calls(text: str) -> list[str]:
    """Split a text at the commas outside parentheses.

    >>> split_calls("fgsm, pgd(steps=9, restarts=2)")
    ['fgsm', 'pgd(steps=9, restarts=2)']
    """
    parts, depth, start = [], 0, 0
    for position, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            parts.append(text[start:position])
            start = position + 1
    return [part.strip() for part in [*parts, text[start:]] if part.strip()]


def _arguments(text: str, whole: str) -> dict[str, str]:
    arguments: dict[str, str] = {}
    for part in split_calls(text):
        key, equals, value = part.partition("=")
        key = key.strip().replace("-", "_")
        if not equals or not key or not value.strip():
            raise UserError(f"{part!r} in {whole!r} is not KEY=VALUE")
        if key in arguments:
            raise UserError(f"{key} is given twice in {whole!r}")
        arguments[key] = value.strip().strip("'\"")
    return arguments


def titles(methods: Sequence[Declared]) -> list[str]:
    """The name of each method in tables and captions: its title, with its parameters if another has the same title.

    >>> class Blur(Declared):
    ...     name, title = "blur", "Blur"
    ...     steps: int = 3
    >>> titles([Blur(), Blur(steps=9)])
    ['Blur', 'Blur (steps=9)']
    """
    count = Counter(method.title for method in methods)
    parameters = [str(method).partition("(")[2].removesuffix(")") for method in methods]
    return [
        f"{method.title} ({text})" if text and count[method.title] > 1 else method.title
        for method, text in zip(methods, parameters, strict=True)
    ]


def keys(methods: Sequence[Declared]) -> list[str]:
    """A snake_case key of each method: its name, with its parameters if another has the same name.

    >>> class Blur(Declared):
    ...     name, title = "box-blur", "Box blur"
    ...     steps: int = 3
    >>> keys([Blur(steps=9)]), keys([Blur(), Blur(steps=9)])
    (['box_blur'], ['box_blur', 'box_blur_steps_9'])
    """
    count = Counter(method.name for method in methods)
    texts = [str(method) if count[method.name] > 1 else method.name for method in methods]
    return [re.sub(r"\W+", "_", text).strip("_") for text in texts]


def parameter_text(value: object) -> str:
    """A value as text that parses to the same bits; grey levels as 8/255 or 1.5/255."""
    if not isinstance(value, float):
        return str(value)
    short, levels = f"{value:.12g}", f"{255 * value:.1f}".removesuffix(".0")
    if float(short) == value:
        return short
    return f"{levels}/255" if float(levels) / 255 == value else repr(value)


def _article(kind: str) -> str:
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"


def _read(path: Path) -> list[Entry]:
    """The classes of a file that set their name and title; files that set no name are not parsed, which is slow."""
    source = path.read_text(encoding="utf-8")
    if not _DECLARES.search(source):
        return []
    tree = ast.parse(source)
    entries = []
    for node in tree.body:
        if not isinstance(node, ast.ClassDef) or not node.bases:
            continue
        constants = dict(constant for statement in node.body for constant in _constants(statement))
        if constants.get("name") and constants.get("title"):
            module = ".".join(("probe", *path.relative_to(_PACKAGE).with_suffix("").parts))
            first_line = (ast.get_docstring(node) or "").split("\n")[0]
            entries.append(
                Entry(str(constants["name"]), str(constants["title"]), first_line, module, node.name)
            )
    return entries


def _constants(statement: ast.stmt) -> list[tuple[str, object]]:
    """The names that a statement sets to a constant, such as `name = "fgsm"`, with the constant."""
    if isinstance(statement, ast.Assign):
        targets, value = statement.targets, statement.value
    elif isinstance(statement, ast.AnnAssign):
        targets, value = [statement.target], statement.value
    else:
        return []
    if not isinstance(value, ast.Constant):
        return []
    return [(target.id, value.value) for target in targets if isinstance(target, ast.Name)]
