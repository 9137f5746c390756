"""The commands that make models: import a checkpoint, train, transfer."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Group, Parameter
from pydantic import BaseModel

from probe.cli.options import MODEL_HELP, Built, Command, option_help
from probe.regular_files import user_path
from probe.terminal import print_line


@Parameter(name="*")
@dataclass(frozen=True)
class DataOptions:
    """Where a training takes its images, and the device that it runs on."""

    data: Annotated[str, Parameter(help="source with a train split, or folder:PATH")] = "digits"
    device: Annotated[str, Parameter(help=option_help("device"))] = "auto"
    data_root: Annotated[Path | None, Parameter(help=option_help("data_root"))] = None
    download: Annotated[bool, Parameter(help=option_help("download"))] = False


@Parameter(name="*")
@dataclass(frozen=True)
class AccuracyOptions:
    """The labelled images on which `adopt` measures the accuracy of the new model, if any."""

    data: Annotated[
        str,
        Parameter(
            help="labelled images on which the accuracy of the imported model is measured (default: it is not "
            "measured)"
        ),
    ] = ""
    n: Annotated[int | None, Parameter(help=option_help("n"))] = None
    labels: Annotated[str | None, Parameter(help=option_help("labels"))] = None
    device: Annotated[str, Parameter(help=option_help("device"))] = "auto"
    data_root: Annotated[Path | None, Parameter(help=option_help("data_root"))] = None
    download: Annotated[bool, Parameter(help=option_help("download"))] = False


def adopt_command() -> Built:
    """Import a checkpoint that was saved by other code, as a folder with a card and weights."""
    from probe.model.importing import AdoptOptions, adopt
    from probe.model.loading import load

    def command(checkpoint: Path, /, *, out: Path, options: Any, source: Any = AccuracyOptions()) -> int:
        from probe.cli.adoption import accuracy_lines, input_lines, measure_accuracy
        from probe.data.sources import open_images

        out = user_path(out)
        images = None
        if source.data:  # before anything is written
            images = open_images(
                source.data, root=source.data_root, n=source.n, labels=source.labels, download=source.download
            )
        model = adopt(user_path(checkpoint), options, out)
        size = " x ".join(map(str, model.shape))
        classes = f"{len(model.classes)} classes"
        print_line(f"{out}: {model.card.architecture}, {model.parameters:,} parameters, {size}, {classes}")
        for line in input_lines(
            model, mean_stated=options.mean is not None, std_stated=options.std is not None
        ):
            print_line(line)
        if images is not None:
            findings = measure_accuracy(load(out, device=source.device), images)
            for line in (
                [f"accuracy: not measured, {images.name} has no labels for the {classes}"]
                if findings is None
                else accuracy_lines(findings)
            ):
                print_line(line)
        return 0

    command.__annotations__ = {
        "checkpoint": Annotated[Path, Parameter(help="checkpoint, a .pth, .pt, .th or .safetensors file")],
        "out": Annotated[Path, Parameter(help="folder to write")],
        "options": Annotated[AdoptOptions, Parameter(name="*")],
        "source": Annotated[AccuracyOptions, Parameter(name="*", group=Group("Check the accuracy"))],
        "return": int,
    }
    return command, [AdoptOptions]


def train_command() -> Built:
    """Train a network and write a folder with a card and weights; an interrupted training continues."""
    from probe.training.config import TrainingConfig
    from probe.training.request import TrainingRequest
    from probe.training.train import run_training

    argument = Parameter(
        name="architecture", help="name of an architecture (`probe list architectures` lists them)"
    )
    return _training_command(run_training, TrainingRequest, argument, TrainingConfig), [TrainingConfig]


def transfer_command() -> Built:
    """Transfer a trained network to other classes: new head, last layers, and a baseline from scratch."""
    from probe.training.transfer.config import TransferConfig, TransferRequest
    from probe.training.transfer.run import run_transfer

    argument = Parameter(name="model", help=MODEL_HELP)
    return (
        _training_command(run_transfer, TransferRequest, argument, TransferConfig, _write_transfer_page),
        [TransferConfig],
    )


def _write_transfer_page(out: Path, card: Any) -> None:
    from probe.reporting.transfer import write_transfer_page

    print_line(f"report: {write_transfer_page(out, card)}")


def _training_command(
    run: Callable[..., Any],
    request: Callable[..., Any],
    argument: Parameter,
    definition: type[BaseModel],
    finish: Callable[[Path, Any], None] = lambda out, card: None,
) -> Command:
    """A command that runs a request of its first argument, the data, the folder and the fields of `definition`.

    finish: called with the folder and the card at the end.
    """

    def command(
        what: Annotated[str, argument],
        /,
        *,
        out: Annotated[Path, Parameter(help="folder to write")],
        source: DataOptions = DataOptions(),
        config: Any = None,
    ) -> int:
        from probe.training.summary import format_results

        out = user_path(out)
        requested = request(what, source.data, out, config or definition())
        card = run(requested, device=source.device, root=source.data_root, download=source.download)
        for line in format_results(card.results):
            print_line(line)
        if card.results:  # under torchrun only the first process has measured them
            print_line(f"model: {out}")
            finish(out, card)
        return 0

    title = definition.__name__.removesuffix("Config")
    command.__annotations__["config"] = Annotated[definition, Parameter(name="*", group=Group(title))]
    return command
