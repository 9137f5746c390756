"""The commands: thin, each one a call into the room that does the work.

A function here makes a command when it is the one called (that is when torch is imported), and gives the definitions
whose fields are its flags.
"""

import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Group, Parameter
from pydantic import BaseModel

from probe.analyses.registry import catalogue
from probe.cli.options import MODEL_HELP, Options, described

if TYPE_CHECKING:
    from probe.model.cards import Card

Command = Callable[..., int]
Made = tuple[Command, list[type[BaseModel]]]
Kinds = Literal["analyses", "models", "data", "architectures", "recipes"]

Out = Annotated[Path, Parameter(help="folder to write")]
Learned = Annotated[str, Parameter(help="source with a train split, or folder:PATH")]
Device = Annotated[str, Parameter(help=described("device"))]
Root = Annotated[Path | None, Parameter(help=described("data_root"))]
Download = Annotated[bool, Parameter(help=described("download"))]


def analysis_command(kind: Any) -> Command:
    """The command of one analysis: its own fields and the common options."""

    def command(*, analysis: Any = None, options: Any = None) -> int:
        from probe.reporting.recipes import Recipe

        chosen = analysis or kind()
        return run_report(options or Options(), Recipe(chosen.title, (chosen,)), strict=True)

    flat = Parameter(name="*")
    command.__annotations__ = {
        "analysis": Annotated[kind, flat, Parameter(group=Group("Its own parameters", sort_key=0))],
        "options": Annotated[Options, flat, Parameter(group=Group("Options", sort_key=1))],
        "return": int,
    }
    command.__doc__ = f"{kind.question()}\n\n{kind.title}. {kind.source}"
    return command


def run_report(options: Options, recipe: Any, *, strict: bool = False) -> int:
    from probe.data.images import no_images
    from probe.data.sources import open_images
    from probe.model.loading import load
    from probe.reporting.recipes import read_recipe
    from probe.reporting.report import report

    plan = read_recipe(recipe) if isinstance(recipe, str) else recipe
    model = load(options.model, device=options.device)
    compare_to = [load(name, device=options.device) for name in options.compare_to]
    asked = {"data", "n", "labels"} & options.model_fields_set
    if not asked and not any(analysis.needs_images for analysis in plan.analyses):
        images = no_images(model.shape)  # nothing would look at the default ones
    else:
        images = open_images(
            options.data,
            root=options.data_root,
            n=options.n,
            seed=options.seed,
            labels=options.labels,
            download=options.download,
        )
    outcome = report(
        model,
        images,
        plan,
        out=options.out,
        seed=options.seed,
        compare_to=compare_to,
        strict=strict,
        quiet=False,
    )
    for name, result in outcome.results.items():
        print(f"{name}{' (kept from before)' if name in outcome.reused else ''}")
        for key, number in result.numbers.items():
            print(f"  {number.label or key}: {number}")
        for warning in result.warnings:
            print(f"  warning: {warning}")
    for note in outcome.notes:
        print(f"images: {note}")
    for name, reason in outcome.left_out.items():
        print(f"{name}: left out, {reason}")
    print(f"report: {outcome.page}")
    if outcome.failed:
        names = ", ".join(f"{name} ({reason})" for name, reason in outcome.failed.items())
        print(f"probe: this is a mistake in probe: {names}; details are beside the report", file=sys.stderr)
        return 1
    return 0


def report_command() -> Made:
    """Run the analyses of a recipe and write one self-contained page."""

    def command(
        *,
        recipe: Annotated[str, Parameter(help="quick, full or the path of a TOML file")] = "quick",
        options: Annotated[Options, Parameter(name="*")] = Options(),  # noqa: B008
    ) -> int:
        return run_report(options, recipe)

    return command, []


def adopt_command() -> Made:
    """Make a model of a checkpoint that was saved elsewhere."""
    from probe.model.importing import AdoptOptions, adopt

    def command(checkpoint: Path, /, *, out: Path, options: Any) -> int:
        model = adopt(checkpoint, options, out)
        size = " x ".join(map(str, model.shape))
        classes = f"{len(model.classes)} classes"
        print(f"{out}: {model.card.architecture}, {model.parameters:,} parameters, {size}, {classes}")
        print(_pixels(model.card.input, options))
        return 0

    command.__annotations__ = {
        "checkpoint": Annotated[Path, Parameter(help="a .pth, .pt, .th or .safetensors file")],
        "out": Out,
        "options": Annotated[AdoptOptions, Parameter(name="*")],
        "return": int,
    }
    return command, [AdoptOptions]


def _pixels(input: Any, options: Any) -> str:
    """How the pixels go in. A wrong mean or std costs accuracy without any error, so what was assumed is said."""
    mean, std = (", ".join(f"{value:g}" for value in values) for values in (input.mean, input.std))
    unsaid = [f"--{name}" for name in ("mean", "std") if getattr(options, name) is None]
    source = "ImageNet's" if len(input.mean) == 3 else "0.5"
    assumed = (
        f" ({source}, assumed: give {' and '.join(unsaid)} if it was trained with others)" if unsaid else ""
    )
    return f"pixels: mean {mean}, std {std}{assumed}"


def train_command() -> Made:
    """Train a network and leave a folder that is a model; an interrupted training goes on."""
    from probe.training.config import TrainingConfig
    from probe.training.train import run_training

    return _learning(run_training, "architecture", "`probe list architectures` lists them", TrainingConfig), [
        TrainingConfig
    ]


def transfer_command() -> Made:
    """Put a trained network to another task: new head, frozen trunk, last layers, beside a start from scratch."""
    from probe.training.transfer.run import run_transfer
    from probe.training.transfer.strategies import Transfer

    return _learning(run_transfer, "model", MODEL_HELP, Transfer), [Transfer]


def _learning(run: Callable[..., Any], name: str, help: str, definition: type[BaseModel]) -> Command:
    """A command that trains `what` on data as `definition` says, and leaves a folder."""

    def command(
        what: Annotated[str, Parameter(name=name, help=help)],
        /,
        *,
        out: Out,
        data: Learned = "digits",
        device: Device = "auto",
        data_root: Root = None,
        download: Download = False,
        chosen: Any = None,
    ) -> int:
        card = run(what, data, out, chosen or definition(), device=device, root=data_root, download=download)
        for title, figure in card.results.items():
            for part, value in figure.items() if isinstance(figure, dict) else ((title, figure),):
                print(f"{part}: {value}")
        if card.results:  # under torchrun the first process alone has measured it, and speaks
            print(f"model: {out}")
        return 0

    command.__annotations__["chosen"] = Annotated[
        definition, Parameter(name="*", group=Group(definition.__name__))
    ]
    return command


def layers_command() -> Made:
    """List the layers of a network: address, kind, shape, parameters, MACs, receptive field."""

    def command(model: Annotated[str, Parameter(help=MODEL_HELP)], /) -> int:
        return print_layers(model)

    return command, []


def print_layers(model: str) -> int:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from probe.model.loading import load

    loaded = load(model, device="cpu")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("address", "kind", "output", "parameters", "MACs", "receptive field", "stride", "calls"):
        table.add_column(heading, justify="left" if heading in ("address", "kind") else "right", no_wrap=True)
    for layer in loaded.layers:
        field = layer.receptive_field
        whole = field is not None and field.stride == (0, 0)
        table.add_row(
            layer.address,
            layer.kind,
            " x ".join(map(str, layer.shape)),
            f"{layer.parameters:,}" if layer.parameters else "",
            f"{layer.macs:,}" if layer.macs else "",
            "" if field is None else "whole image" if whole else f"{field.size[0]} x {field.size[1]}",
            "" if field is None or whole else f"{field.stride[0]}",
            str(layer.calls),
            style="" if layer.leaf else "dim",
        )
    console = Console()
    if not console.is_terminal:
        console = Console(width=200)
    console.print(table)
    total = sum(layer.macs for layer in loaded.layers if layer.leaf)
    console.print(f"{loaded.name}: {loaded.parameters:,} parameters, {total:,} multiply-accumulates an image")
    return 0


def list_command() -> Made:
    """List what there is: analyses, models, data, architectures or recipes."""

    def command(what: Annotated[Kinds, Parameter(help="what to list")] = "analyses", /) -> int:
        found = listed(what)
        width = max((len(name) for name in found), default=0)
        for name, title in found.items():
            print(f"{name:{width}}  {title}")
        return 0

    return command, []


def listed(what: str) -> dict[str, str]:
    if what == "analyses":
        return {entry.name: entry.question for entry in catalogue().values()}
    if what == "models":
        from probe.model.cards import FILE, read_card
        from probe.paths import PRETRAINED

        cards = [read_card(path.parent) for path in sorted(PRETRAINED.glob(f"*/{FILE}"))]
        return {card.name: _told(card) for card in cards}
    if what == "data":
        from probe.data.catalogue import sources

        return {name: source.title for name, source in sources().items()}
    if what == "architectures":
        from probe.zoo import architectures

        return {name: f"{one.takes:14} {one.title}" for name, one in architectures().items()}
    from probe.reporting.recipes import recipes

    read = {name: tomllib.loads(path.read_text(encoding="utf-8")) for name, path in recipes().items()}
    return {
        name: f"{content['title']}: {', '.join(step['name'] for step in content['analysis'])}"
        for name, content in read.items()
    }


def _told(card: "Card") -> str:
    """What a model is, for a list: architecture, input, and what it was measured to get right."""
    size = " x ".join(map(str, card.input.shape))
    right = card.results.get("accuracy")
    measured = f", {right:.1%} of {card.results.get('split')}" if isinstance(right, float) else ""
    return f"{card.architecture}, {size}, {len(card.classes)} classes{measured}"


COMMANDS: dict[str, Callable[[], Made]] = {
    "report": report_command,
    "adopt": adopt_command,
    "train": train_command,
    "transfer": transfer_command,
    "layers": layers_command,
    "list": list_command,
}
