"""Directives that write the reference of analyses and methods from the registries and the definitions of parameters.

.. probe-analyses:: inspection      every analysis of a room
.. probe-methods:: attacks          every attack (attribution: every attribution method)
.. probe-methods-table:: units      method, paper, analysis, class, of a room
.. probe-functions:: synthesis      every function and class of probe.synthesis
.. probe-list:: data                what `probe list data` prints (models, architectures, recipes ...)
"""

import importlib
import inspect
import re
import types
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from pydantic.fields import FieldInfo
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import probe
from probe.analyses.analysis import Analysis
from probe.analyses.registry import ANALYSES
from probe.cli.commands import COMMANDS
from probe.cli.listing import listed
from probe.methods.adversarial.registry import ATTACKS
from probe.methods.attribution.registry import METHODS
from probe.params import Parameters, bounds
from probe.registry import Registry, parameter_text, public_names
from probe_docstrings import inline, to_rst
from probe_gallery import GALLERIES

ROOMS = ("inspection", "units", "attribution", "synthesis", "adversarial", "representation", "landscape")
REGISTRIES: dict[str, "Registry[Any]"] = {"attacks": ATTACKS, "attribution": METHODS}
PACKAGES = {"attacks": "probe.adversarial", "attribution": "probe.attribution"}
PACKAGE = Path(probe.__file__).parent
_ARXIV = re.compile(r"arXiv:? ?(\d{4}\.\d{4,5})")


class _Written(SphinxDirective):
    """A directive that is replaced by reStructuredText, which may have sections."""

    def lines(self) -> Iterator[str]:
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        return self.parse_text_to_nodes("\n".join(self.lines()), allow_section_headings=True)


class AnalysesDirective(_Written):
    """Every analysis of a room, with its question, parameters, needs, sources and examples."""

    required_arguments = 1

    def lines(self) -> Iterator[str]:
        for name, kind in analyses(self.arguments[0]):
            yield from (f".. _analysis-{name}:", "", name, "-" * len(name), "")
            yield from (f"**{inline(kind.question())}**", "")
            yield from (*_rest_of_docstring(kind), "")
            yield from ("::", "", f"    {_call(name, kind)}", f"    {_command(name, kind)}", "")
            if needs := list(_needs(kind)):
                yield from (f"Needs {', '.join(needs)}.", "")
            yield from (*_parameters(kind, flags=True), "")
            yield from (f"Source: {linked(kind.source)}.", "")
            pages = examples(Path(self.env.srcdir), name)
            if pages:
                yield from (f"Examples: {', '.join(f':doc:`/{page}`' for page in pages)}.", "")


class MethodsDirective(_Written):
    """Every attack, or every attribution method, as a class with its parameters."""

    required_arguments = 1

    def lines(self) -> Iterator[str]:
        registry, package = REGISTRIES[self.arguments[0]], PACKAGES[self.arguments[0]]
        for name in registry.catalogue:
            kind = registry.find(name)
            arguments = ", ".join(f"{field}={_default(info)}" for field, info in kind.model_fields.items())
            yield from (f".. py:class:: {package}.{kind.__name__}({'*, ' * bool(arguments)}{arguments})", "")
            body = [
                f"**{kind.title}**, ``{name}`` on the command line.",
                "",
                *to_rst(inspect.cleandoc(kind.__doc__ or "").splitlines()),
                "",
                *_parameters(kind, flags=False),
                "",
                f"Source: {linked(kind.source)}.",
                "",
            ]
            yield from (f"   {line}" if line else "" for line in body)


class MethodsTableDirective(_Written):
    """A table of every method of a room: its paper, the analyses that run it, and its class."""

    required_arguments = 1

    def lines(self) -> Iterator[str]:
        rows = list(methods_rows(self.arguments[0]))
        yield from _table(("method", "paper", "analysis", "class"), rows, (24, 36, 20, 20))


class FunctionsDirective(_Written):
    """Every public function and class of a package of functions, file by file."""

    required_arguments = 1

    def lines(self) -> Iterator[str]:
        package = self.arguments[0]
        modules: dict[str, list[str]] = {}
        for name, module in public_names(PACKAGE / "methods" / package).items():
            modules.setdefault(module, []).append(name)
        for module, names in modules.items():
            title = module.rpartition(".")[2].replace("_", " ").capitalize()
            loaded = importlib.import_module(module)
            yield from (title, "-" * len(title), "", *to_rst((loaded.__doc__ or "").strip().splitlines()), "")
            for name in names:
                kind = "class" if isinstance(getattr(loaded, name), type) else "function"
                yield from (f".. auto{kind}:: probe.{package}.{name}", "")


class ListDirective(_Written):
    """A table of what `probe list` prints, or of the commands."""

    required_arguments = 1
    option_spec: ClassVar = {"header": directives.unchanged}

    def lines(self) -> Iterator[str]:
        what = self.arguments[0]
        entries = (
            {name: make.__doc__ for name, make in COMMANDS.items()} if what == "commands" else listed(what)
        )
        rows = [(f"``{name}``", inline(text)) for name, text in entries.items()]
        yield from _table(("name", self.options.get("header", "")), rows, (25, 75))


def analyses(room: str) -> Iterator[tuple[str, type[Analysis]]]:
    """The analyses of a room by their names, in alphabetical order."""
    for name, entry in ANALYSES.catalogue.items():
        if entry.module.split(".")[2] == room:
            yield name, ANALYSES.find(name)


def examples(docs: Path, analysis: str) -> list[str]:
    """The pages, from the root of the documentation, of the examples that run an analysis."""
    call = re.compile(rf"probe\.run\(\s*[\"']{re.escape(analysis)}[\"']")
    return [
        f"{target}/{path.relative_to(docs / source).with_suffix('').as_posix()}"
        for source, target in GALLERIES.items()
        for path in sorted((docs / source).rglob("*.py"))
        if call.search(path.read_text(encoding="utf-8"))
    ]


def methods_rows(room: str) -> Iterator[tuple[str, str, str, str]]:
    """Method, paper, analysis and class of every analysis, attack and attribution method of a room."""
    for name, kind in analyses(room):
        yield inline(kind.title), linked(kind.source), _analysis_link(name), f"``{kind.__name__}``"
    declared = {"attribution": "attribution", "adversarial": "attacks"}.get(room)
    if declared is not None:
        for name in REGISTRIES[declared].catalogue:
            method = REGISTRIES[declared].find(name)
            used = ", ".join(_analysis_link(user) for user in users(REGISTRIES[declared], name))
            path = f":py:class:`{PACKAGES[declared]}.{method.__name__}`"
            yield inline(method.title), linked(method.source), used, path


def users(registry: "Registry[Any]", method: str) -> list[str]:
    """The analyses that run a method of `registry`: those with a parameter for it, and the one of its name."""
    return [
        name
        for name in ANALYSES.catalogue
        if name == method or any(_holds(registry, info) for info in ANALYSES.find(name).model_fields.values())
    ]


def _holds(registry: "Registry[Any]", info: FieldInfo) -> bool:
    """Whether a parameter holds methods of `registry`, by its default."""
    texts = (info.default,) if isinstance(info.default, str) else info.default
    if not isinstance(texts, tuple) or not texts:
        return False
    return all(str(text).partition("(")[0] in registry.catalogue for text in texts)


def linked(source: str) -> str:
    """A source as reST, with arXiv numbers as links."""
    return _ARXIV.sub(
        lambda match: f"`arXiv {match[1]} <https://arxiv.org/abs/{match[1]}>`__", inline(source)
    )


def _analysis_link(name: str) -> str:
    return f":ref:`{name} <analysis-{name}>`"


def _rest_of_docstring(kind: type[Any]) -> list[str]:
    return to_rst(inspect.cleandoc(kind.__doc__ or "").splitlines()[1:])


def _call(name: str, kind: type[Analysis]) -> str:
    arguments = "model" if not kind.needs_images else "model, images"
    others = ", compare_to=[other]" if kind.needs_compare_to else ""
    return f'probe.run("{name}", {arguments}{others})'


def _command(name: str, kind: type[Analysis]) -> str:
    data = " --data DATA" if kind.needs_images else ""
    others = " --compare-to OTHER" if kind.needs_compare_to else ""
    return f"$ probe {name} --model MODEL{data}{others}"


def _needs(kind: type[Analysis]) -> Iterator[str]:
    if kind.needs_images > 1:
        yield f"at least {kind.needs_images} images"
    if kind.needs_labels:
        yield "the true classes of the images"
    if kind.needs_masks:
        yield "masks of the objects"
    if kind.needs_colour:
        yield "a network that sees colour"
    if kind.needs_compare_to:
        yield "another model to compare with"


def _parameters(kind: type[Parameters], *, flags: bool) -> list[str]:
    """The table of the parameters; empty where there are none."""
    if not kind.model_fields:
        return []
    rows = [
        (
            f"``{field}``",
            f"``{_default(info)}``",
            _allowed(info),
            inline(info.description or "").replace("\n", " "),
        )
        for field, info in kind.model_fields.items()
    ]
    return _table(("parameter", "default", "values", "meaning"), rows, (15, 17, 18, 50))


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    value = info.default
    return parameter_text(value) if isinstance(value, float) else repr(value)


def _allowed(info: FieldInfo) -> str:
    """The type of a parameter and its bounds, as text."""
    limits = bounds(info)
    low = next(
        (f"{sign} {_figure(limits[kind])}" for kind, sign in (("ge", "≥"), ("gt", ">")) if kind in limits), ""
    )
    high = next(
        (f"{sign} {_figure(limits[kind])}" for kind, sign in (("le", "≤"), ("lt", "<")) if kind in limits), ""
    )
    limit = ", ".join(part for part in (low, high) if part)
    return f"{_type(info.annotation)} {limit}".strip()


def _figure(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else parameter_text(float(value))


def _type(annotation: Any) -> str:
    origin = typing.get_origin(annotation)
    arguments = [part for part in typing.get_args(annotation) if part not in (type(None), Ellipsis)]
    if origin is typing.Literal:
        return ", ".join(f"``{part or repr(part)}``" for part in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(map(_type, arguments)))
    if origin is typing.Annotated:
        return _type(arguments[0])
    if origin in (tuple, list):
        return f"several: {_type(arguments[0])}"
    return {"str": "text", "int": "whole number", "float": "number", "bool": "yes or no", "Path": "path"}.get(
        annotation.__name__, annotation.__name__
    )


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], widths: Sequence[int]) -> list[str]:
    lines = [".. list-table::", "   :header-rows: 1", f"   :widths: {' '.join(map(str, widths))}", ""]
    for row in (columns, *rows):
        for k, cell in enumerate(row):
            lines.append(f"   {'* -' if k == 0 else '  -'} {cell}".rstrip())
    return [*lines, ""]


def _docstring(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    lines[:] = to_rst(lines)


def _signature(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: str | None, returns: str | None
) -> tuple[str, str | None] | None:
    """A signature that Python can parse: fields of dataclasses have defaults that it cannot."""
    return (signature.replace("<factory>", "..."), returns) if signature else None


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("probe-analyses", AnalysesDirective)
    app.add_directive("probe-methods", MethodsDirective)
    app.add_directive("probe-methods-table", MethodsTableDirective)
    app.add_directive("probe-functions", FunctionsDirective)
    app.add_directive("probe-list", ListDirective)
    app.connect("autodoc-process-docstring", _docstring)
    app.connect("autodoc-process-signature", _signature)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
