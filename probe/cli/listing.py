"""What `probe list` and `probe layers` print."""

import tomllib
from typing import TYPE_CHECKING, Literal

from probe.analyses.registry import catalogue
from probe.methods.adversarial.registry import ATTACKS
from probe.methods.attribution.registry import METHODS
from probe.registry import Registry, parameter_text
from probe.terminal import escaped, print_line

if TYPE_CHECKING:
    from probe.model.cards import Card
    from probe.model.layers import Layer

Kinds = Literal["analyses", "attacks", "methods", "models", "data", "architectures", "recipes"]

_COLUMNS = ("address", "kind", "output", "parameters", "MACs", "receptive field", "stride", "calls")


def listed(what: str) -> dict[str, str]:
    """One line of description for each analysis, attack, attribution method, model, data source, architecture or recipe, by its name."""
    if what == "analyses":
        return {entry.name: entry.question for entry in catalogue().values()}
    if what == "attacks":
        return _methods(ATTACKS)
    if what == "methods":
        return _methods(METHODS)
    if what == "models":
        from probe.model.cards import FILE, read_card
        from probe.paths import PRETRAINED

        cards = [read_card(path.parent) for path in sorted(PRETRAINED.glob(f"*/{FILE}"))]
        return {card.name: _card_line(card) for card in cards}
    if what == "data":
        from probe.data.catalogue import sources

        return {name: source.title for name, source in sources().items()}
    if what == "architectures":
        from probe.zoo import architectures

        return {name: f"{entry.input_size:14} {entry.title}" for name, entry in architectures().items()}
    from probe.reporting.recipes import recipes

    contents = {name: tomllib.loads(path.read_text(encoding="utf-8")) for name, path in recipes().items()}
    return {
        name: f"{content['title']}: {', '.join(step['name'] for step in content['analysis'])}"
        for name, content in contents.items()
    }


def _methods(registry: Registry) -> dict[str, str]:
    """What each method does, and its parameters with their defaults."""
    lines = {}
    for name, entry in registry.catalogue.items():
        fields = registry.find(name).model_fields.items()
        parameters = [
            field if info.default is None else f"{field}={parameter_text(info.default)}"
            for field, info in fields
        ]
        lines[name] = f"{entry.question} ({', '.join(parameters)})" if parameters else entry.question
    return lines


def _card_line(card: "Card") -> str:
    """Architecture, input, classes and accuracy of a model."""
    size = " x ".join(map(str, card.input.shape))
    accuracy = card.results.get("test_accuracy")
    measured = (
        f", test accuracy {accuracy:.1%} ({card.results.get('test_split')})"
        if isinstance(accuracy, float)
        else ""
    )
    return f"{card.architecture}, {size}, {len(card.classes)} classes{measured}"


def print_layers(model: str) -> int:
    """Print a table of the layers of `model` and their totals; returns the exit code."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from probe.exhibits.wording import listed as listed_names
    from probe.model.loading import load
    from probe.model.observer import scripted_parts

    loaded = load(model, device="cpu")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in _COLUMNS:
        table.add_column(column, justify="left" if column in ("address", "kind") else "right", no_wrap=True)
    for layer in loaded.layers:
        table.add_row(*(Text(escaped(cell)) for cell in _cells(layer)), style="" if layer.leaf else "dim")
    console = Console()
    if not console.is_terminal:
        console = Console(width=200)
    console.print(table)
    if parts := scripted_parts(loaded.network):
        names = listed_names([part or "the whole network" for part in parts])
        print_line(f"scripted: {names}, whose inner layers have no addresses and are not listed")
    total = sum(layer.macs for layer in loaded.layers if layer.leaf)
    print_line(f"{loaded.name}: {loaded.parameters:,} parameters, {total:,} multiply-accumulates per image")
    return 0


def _cells(layer: "Layer") -> tuple[str, ...]:
    """The row of a layer, a cell for each of _COLUMNS."""
    field = layer.receptive_field
    whole = field is not None and field.stride == (0, 0)
    return (
        layer.address,
        layer.kind,
        " x ".join(map(str, layer.shape)),
        f"{layer.parameters:,}" if layer.parameters else "",
        f"{layer.macs:,}" if layer.macs else "",
        ""
        if field is None
        else "unknown"
        if not field.exact
        else "whole image"
        if whole
        else f"{field.size[0]} x {field.size[1]}",
        "" if field is None or whole else f"{field.stride[0]}",
        str(layer.calls),
    )
