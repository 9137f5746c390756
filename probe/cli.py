"""The command line: every flag is read off a definition that stands elsewhere."""

import errno
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, CycloptsError, Group, Parameter
from pydantic import BaseModel, Field, ValidationError

import probe
from probe.analyses.registry import catalogue, find
from probe.errors import UserError, unknown
from probe.params import Names, Parameters, readable

DEFAULT_SUBJECT, DEFAULT_DATA = "lenet5-digits", "digits"

ABOUT = """What did my CNN learn, what drives it, and how does it break?

A first look at the network and the images that travel with probe:

    probe report

Your own checkpoint and images:

    probe adopt net.pth --arch file.py:make_net --classes names.txt --out mynet
    probe report --subject mynet --data folder:photos
    probe fgsm --subject mynet --data folder:photos --eps 8/255
"""

STUDY = Group("Analyses", sort_key=1)
WORK = Group("Main commands", sort_key=0)


_SUBJECT = "a pretrained name, the path of a folder with a card, or torchvision:NAME"
_Kinds = Literal["analyses", "subjects", "data", "architectures", "recipes"]


class Options(Parameters):
    """What every analysis is asked of."""

    subject: str = Field(
        DEFAULT_SUBJECT,
        description="a pretrained name, the path of a folder with a card, or torchvision:NAME",
    )
    data: str = Field(
        DEFAULT_DATA, description="images: digits, shapes:test, mnist:test, cifar10:test, folder:PATH ..."
    )
    n: int | None = Field(
        None, ge=1, description="how many images to draw, the same number of each class (default: all)"
    )
    seed: int = Field(0, ge=0, description="seed of everything that is drawn at random")
    labels: str | None = Field(
        None,
        description="true classes of a flat folder: 'prefix' (file names start with the number) or a CSV file",
    )
    other: Names = Field((), description="further subjects, for analyses that compare")
    out: Path = Field(Path("runs"), description="folder for the run directory")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N")
    data_root: Path | None = Field(None, description="folder of the data sets (default: $PROBE_DATA)")
    download: bool = Field(False, description="allow torchvision to download a data set that is not there")


def main(arguments: Sequence[str]) -> int:
    """Run the command in `arguments`; returns the exit code. No traceback unless PROBE_TRACEBACK is set."""
    try:
        return _run(list(arguments))
    except KeyboardInterrupt:
        return _say("interrupted: what is finished was kept, the same command goes on from there", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if os.environ.get("PROBE_TRACEBACK"):
            raise
        return explain(error)


def explain(error: Exception) -> int:
    """One line for anything that went wrong, and whose fault it is."""
    if isinstance(error, UserError):
        return _say(str(error), 2)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _say(
            f"no space left on the disk of {error.filename or 'the output folder'}: what is finished was kept",
            2,
        )
    if isinstance(
        error, PermissionError | FileExistsError | NotADirectoryError | IsADirectoryError | FileNotFoundError
    ):
        return _say(f"{error.filename}: {error.strerror}", 2)
    if isinstance(error, OSError) and error.errno == errno.EROFS:
        return _say(f"{error.filename}: {error.strerror}", 2)
    line = str(error).strip().splitlines()[0] if str(error).strip() else ""
    return _say(
        f"this is a mistake in probe: {type(error).__name__}: {line} (PROBE_TRACEBACK=1 shows where)", 1
    )


def _say(line: str, code: int) -> int:
    print(f"probe: {line}", file=sys.stderr)
    return code


def _run(arguments: list[str]) -> int:
    name = arguments[0] if arguments else "--help"
    app = _app(name)
    if not name.startswith("-") and name not in _COMMANDS and name not in catalogue():
        raise unknown(
            "command or analysis", name, [*_COMMANDS, *catalogue()], hint="`probe --help` lists them."
        )
    try:
        return app(arguments, exit_on_error=False, print_error=False, result_action="return_value") or 0
    except CycloptsError as error:
        raise UserError(_reason(error)) from None


def _reason(error: CycloptsError) -> str:
    """What is wrong with the arguments, in one line."""
    cause = error.__cause__
    if isinstance(cause, ValidationError):
        models = [m for m in _MODELS if re.search(rf"\b{m.__name__}\b", cause.title)]
        if models:
            return readable(models[-1], cause).replace("_", "-")
    return " ".join(str(error).split())


def _app(name: str) -> App:
    """The commands; an analysis is imported only when it is the one called."""
    flags = Parameter(negative_iterable=(), show_default=written)
    app = App(
        name="probe",
        help=ABOUT,
        version=probe.__version__,
        default_parameter=flags,
        help_format="markdown",
        suppress_keyboard_interrupt=False,
    )
    for command, make in _COMMANDS.items():
        app.command(make() if command == name else _nothing, name=command, help=make.__doc__, group=WORK)
    for entry in catalogue().values():
        function = _analysis(find(name)) if entry.name == name else _nothing
        app.command(function, name=entry.name, help=entry.question, group=STUDY)
    return app


def _nothing() -> None:
    """Stands in for the commands that are not the one called."""


def written(value: Any) -> str | None:
    """A default as it would be typed, 8/255 rather than 0.0313725; None where there is nothing to show."""
    if isinstance(value, float) and 0 < value < 1 and abs(value * 255 - round(value * 255)) < 1e-9:
        return f"{round(value * 255)}/255"
    if isinstance(value, tuple | list):
        value = ",".join(str(written(part)) for part in value)
    return None if value in (None, "", False) else f"{value:g}" if isinstance(value, float) else str(value)


_MODELS: list[type[BaseModel]] = [Options]


def _analysis(kind: Any) -> Callable[..., int]:
    """The command of one analysis: its own fields and the common options."""
    _MODELS.append(kind)

    def command(*, analysis: Any = None, options: Any = None) -> int:
        from probe.reporting.recipes import Recipe

        chosen = analysis or kind()
        return _report(options or Options(), Recipe(chosen.title, (chosen,)), strict=True)

    flat = Parameter(name="*")
    command.__annotations__ = {
        "analysis": Annotated[kind, flat, Parameter(group=Group("Its own parameters", sort_key=0))],
        "options": Annotated[Options, flat, Parameter(group=Group("Options", sort_key=1))],
        "return": int,
    }
    command.__doc__ = f"{kind.question()}\n\n{kind.title}. {kind.source}"
    return command


def _report(options: Options, recipe: Any, *, strict: bool = False) -> int:
    from probe.data.sources import open_images
    from probe.reporting.recipes import read_recipe
    from probe.reporting.report import report
    from probe.subject.loading import load

    plan = read_recipe(recipe) if isinstance(recipe, str) else recipe
    subject = load(options.subject, device=options.device)
    others = [load(name, device=options.device) for name in options.other]
    images = open_images(
        options.data,
        root=options.data_root,
        n=options.n,
        seed=options.seed,
        labels=options.labels,
        download=options.download,
    )
    outcome = report(
        subject, images, plan, out=options.out, seed=options.seed, others=others, strict=strict, quiet=False
    )
    for name, result in outcome.results.items():
        print(f"{name}{' (kept from before)' if name in outcome.reused else ''}")
        for what, number in result.numbers.items():
            print(f"  {what}: {number}")
        for warning in result.warnings:
            print(f"  warning: {warning}")
    for name, reason in outcome.left_out.items():
        print(f"{name}: left out, {reason}")
    print(f"report: {outcome.page}")
    if outcome.failed:
        names = ", ".join(f"{name} ({reason})" for name, reason in outcome.failed.items())
        return _say(f"this is a mistake in probe: {names}; details are beside the report", 1)
    return 0


def _command_report() -> Callable[..., int]:
    """Run the analyses of a recipe and write one self-contained page."""

    def command(
        *,
        recipe: Annotated[str, Parameter(help="quick, full or the path of a TOML file")] = "quick",
        options: Annotated[Options, Parameter(name="*")] = Options(),  # noqa: B008
    ) -> int:
        return _report(options, recipe)

    return command


def _command_adopt() -> Callable[..., int]:
    """Make a subject of a checkpoint that was saved elsewhere."""
    from probe.subject.adopt import Adopt, adopt

    _MODELS.append(Adopt)

    def command(checkpoint: Path, /, *, out: Path, options: Any) -> int:
        subject = adopt(checkpoint, options, out)
        size = " x ".join(map(str, subject.shape))
        classes = f"{len(subject.classes)} classes"
        print(f"{out}: {subject.card.architecture}, {subject.parameters:,} parameters, {size}, {classes}")
        return 0

    command.__annotations__ = {
        "checkpoint": Annotated[Path, Parameter(help="a .pth, .pt, .th or .safetensors file")],
        "out": Annotated[Path, Parameter(help="folder to write")],
        "options": Annotated[Adopt, Parameter(name="*")],
        "return": int,
    }
    return command


def _command_train() -> Callable[..., int]:
    """Train a network and leave a folder that is a subject; an interrupted training goes on."""
    from probe.training.recipe import Recipe
    from probe.training.run import run_training

    _MODELS.append(Recipe)

    def command(
        architecture: str,
        /,
        *,
        out: Path,
        data: str = DEFAULT_DATA,
        device: str = "auto",
        data_root: Path | None = None,
        download: bool = False,
        recipe: Any = None,
    ) -> int:
        chosen = recipe or Recipe()
        card = run_training(architecture, data, out, chosen, device=device, root=data_root, download=download)
        for split, facts in card.results.items():
            print(f"{split}: {facts}")
        print(f"subject: {out}")
        return 0

    command.__annotations__ |= {
        "architecture": Annotated[str, Parameter(help="`probe list architectures` lists them")],
        "out": Annotated[Path, Parameter(help="folder to write")],
        "data": Annotated[str, Parameter(help="source with a train split, or folder:PATH")],
        "device": Annotated[str, Parameter(help=_described("device"))],
        "data_root": Annotated[Path | None, Parameter(help=_described("data_root"))],
        "download": Annotated[bool, Parameter(help=_described("download"))],
        "recipe": Annotated[Recipe, Parameter(name="*", group=Group("Recipe"))],
    }
    return command


def _described(option: str) -> str:
    return Options.model_fields[option].description or ""


def _command_layers() -> Callable[..., int]:
    """List the layers of a network: address, kind, shape, parameters, MACs, receptive field."""

    def command(subject: Annotated[str, Parameter(help=_SUBJECT)], /) -> int:
        return _print_layers(subject)

    return command


def _print_layers(subject: str) -> int:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from probe.subject.loading import load

    loaded = load(subject, device="cpu")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("address", "kind", "output", "parameters", "MACs", "receptive field", "stride", "calls"):
        table.add_column(heading, justify="left" if heading in ("address", "kind") else "right", no_wrap=True)
    for layer in loaded.layers:
        field = layer.receptive
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


def _command_list() -> Callable[..., int]:
    """List what there is: analyses, subjects, data, architectures or recipes."""

    def command(what: Annotated[_Kinds, Parameter(help="what to list")], /) -> int:
        for name, title in _listed(what).items():
            print(f"{name:24} {title}")
        return 0

    return command


def _listed(what: str) -> dict[str, str]:
    if what == "analyses":
        return {entry.name: entry.question for entry in catalogue().values()}
    if what == "subjects":
        from probe.places import PRETRAINED
        from probe.subject.cards import FILE, read_card

        cards = [read_card(path.parent) for path in sorted(PRETRAINED.glob(f"*/{FILE}"))]
        return {card.name: f"{card.architecture}, {len(card.classes)} classes" for card in cards}
    if what == "data":
        from probe.data.catalogue import sources

        return {name: source.title for name, source in sources().items()}
    if what == "architectures":
        from probe.zoo import architectures

        return {name: architecture.title for name, architecture in architectures().items()}
    from probe.reporting.recipes import recipes

    return {name: str(path) for name, path in recipes().items()}


_COMMANDS: dict[str, Callable[..., int]] = {
    "report": _command_report,
    "adopt": _command_adopt,
    "train": _command_train,
    "layers": _command_layers,
    "list": _command_list,
}
