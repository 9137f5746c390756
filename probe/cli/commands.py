"""The commands, each a thin call into the package that does the work.

A function here builds a command when it is the one called, which is when torch is imported, and returns the
definitions whose fields are its flags.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Group, Parameter
from pydantic import BaseModel

from probe.cli.listing import Kinds, listed, print_layers
from probe.cli.options import MODEL_HELP, Options, RunOptions, option_help
from probe.errors import UserError
from probe.params import Names
from probe.regular_files import user_path
from probe.terminal import print_line

if TYPE_CHECKING:
    from probe.data.images import Images
    from probe.reporting.report import ReportResult

Command = Callable[..., int]
Built = tuple[Command, list[type[BaseModel]]]


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
        str, Parameter(help="labelled images on which its accuracy is measured at once (default: none)")
    ] = ""
    n: Annotated[int | None, Parameter(help=option_help("n"))] = None
    labels: Annotated[str | None, Parameter(help=option_help("labels"))] = None
    device: Annotated[str, Parameter(help=option_help("device"))] = "auto"
    data_root: Annotated[Path | None, Parameter(help=option_help("data_root"))] = None
    download: Annotated[bool, Parameter(help=option_help("download"))] = False


def analysis_command(kind: Any) -> Command:
    """The command of one analysis: its parameters and the common options."""

    def command(*, analysis: Any = None, options: Any = None) -> int:
        from probe.reporting.recipes import Recipe

        chosen = analysis or kind()
        return run_report(options or Options(), Recipe(chosen.title, (chosen,), strict=True))

    flat = Parameter(name="*")
    command.__annotations__ = {
        "analysis": Annotated[kind, flat, Parameter(group=Group("Parameters of the analysis", sort_key=0))],
        "options": Annotated[Options, flat, Parameter(group=Group("Options", sort_key=1))],
        "return": int,
    }
    command.__doc__ = f"{kind.question()}\n\n{kind.title}. {kind.source}"
    return command


def run_report(options: Options, recipe: Any) -> int:
    """Write the report of `recipe`, a Recipe, a name or a path, and print its numbers; returns the exit code."""
    from probe.data.images import no_images
    from probe.model.loading import load
    from probe.reporting.recipes import read_recipe
    from probe.reporting.report import report
    from probe.runs.engine import Engine

    plan = read_recipe(recipe) if isinstance(recipe, str) else recipe
    engine = Engine.chosen(options.engine, options.workers, options.address)
    model, *compare_to = [
        load(name, device=options.device, trust_code=options.trust_code)
        for name in (options.model, *options.compare_to)
    ]
    images_requested = {"data", "n", "labels"} & options.model_fields_set
    if not images_requested and not any(analysis.images_needed() for analysis in plan.analyses):
        images = no_images(model.shape)
    else:
        images = _open_images(options)
    outcome = report(
        model,
        images,
        plan,
        out=options.out,
        seed=options.seed,
        compare_to=compare_to,
        progress=True,
        workers=engine,
        assets=options.assets,
    )
    _print_report(outcome, pdf=options.pdf)
    if outcome.failed:
        names = ", ".join(f"{name} ({reason})" for name, reason in outcome.failed.items())
        print_line(f"probe: internal error: {names}; see the .error.txt files beside the report", sys.stderr)
        return 1
    return 0


def _print_report(outcome: "ReportResult", *, pdf: bool) -> None:
    """Print the numbers and warnings of each analysis, the notes on the images, and the path of the page.

    pdf: write the PDF too, and print its path.
    """
    for name, result in outcome.results.items():
        print_line(f"{name}{' (reused)' if name in outcome.reused else ''}")
        for key, number in result.numbers.items():
            print_line(f"  {number.label or key}: {number}")
        for warning in result.warnings:
            print_line(f"  warning: {warning}")
    for note in outcome.notes:
        print_line(f"images: {note}")
    for name, reason in outcome.skipped.items():
        print_line(f"{name}: skipped, {reason}")
    print_line(f"report: {outcome.page}")
    if pdf:
        path, warnings = outcome.write_pdf()
        for warning in warnings:
            print_line(f"warning: {warning}")
        print_line(f"PDF: {path}")


def report_command() -> Built:
    """Run the analyses of a recipe and write a report, one self-contained HTML page, and a PDF with --pdf."""

    def command(
        *,
        recipe: Annotated[
            str, Parameter(help="quick, full, another of `probe list recipes`, or the path of a TOML file")
        ] = "quick",
        run: Annotated[
            Path | None,
            Parameter(name="--from", help="run directory: write its page again, without computing"),
        ] = None,
        options: Annotated[Options, Parameter(name="*")] = Options(),  # noqa: B008
    ) -> int:
        if run is None:
            return run_report(options, recipe)
        from probe.reporting.report import render_stored

        outcome = render_stored(user_path(run), assets=options.assets)
        _print_report(outcome, pdf=options.pdf)
        for name, reason in outcome.failed.items():
            print_line(f"probe: {name}: {reason[:1].lower()}{reason[1:]}", sys.stderr)
        return 1 if outcome.failed else 0

    return command, []


def sweep_command() -> Built:
    """Run a recipe on many models, such as the epochs of a training, and write a page that sets them side by side."""

    def command(
        *,
        models: Annotated[
            Names,
            Parameter(help="models: names, folders, checkpoints, or patterns such as 'runs/net/epochs/*'"),
        ],
        recipe: Annotated[
            str,
            Parameter(
                help="quick, full, another of `probe list recipes`, the path of a TOML file, or the name of an analysis"
            ),
        ] = "quick",
        over: Annotated[
            str, Parameter(help="field of the cards that orders the models, such as training.config.lr")
        ] = "",
        options: Annotated[RunOptions, Parameter(name="*")] = RunOptions(),  # noqa: B008
    ) -> int:
        from probe.analyses.registry import catalogue, find
        from probe.reporting.recipes import Recipe, read_recipe
        from probe.reporting.sweep import sweep
        from probe.runs.engine import Engine

        kind = find(recipe) if recipe in catalogue() else None
        plan = read_recipe(recipe) if kind is None else Recipe(kind.title, (kind(),))
        engine = Engine.chosen(options.engine, options.workers, options.address)
        outcome = sweep(
            models,
            _open_images(options),
            plan,
            over=over,
            out=options.out,
            seed=options.seed,
            device=options.device,
            trust_code=options.trust_code,
            progress=True,
            workers=engine,
        )
        for name, report in outcome.reports.items():
            print_line(f"{name}: {report.page}")
            for analysis, reason in (report.skipped | report.failed).items():
                print_line(f"  {analysis}: {reason}")
        for key, number in outcome.result.numbers.items():
            print_line(f"{number.label or key}: {number}")
        print_line(f"sweep: {outcome.page}")
        return 1 if any(report.failed for report in outcome.reports.values()) else 0

    return command, [RunOptions]


def _open_images(options: RunOptions) -> "Images":
    from probe.data.sources import open_images

    return open_images(
        options.data,
        root=options.data_root,
        n=options.n,
        seed=options.seed,
        labels=options.labels,
        download=options.download,
    )


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
        "checkpoint": Annotated[Path, Parameter(help="a .pth, .pt, .th or .safetensors file")],
        "out": Annotated[Path, Parameter(help="folder to write")],
        "options": Annotated[AdoptOptions, Parameter(name="*")],
        "source": Annotated[AccuracyOptions, Parameter(name="*", group=Group("Accuracy at once"))],
        "return": int,
    }
    return command, [AdoptOptions]


def train_command() -> Built:
    """Train a network and write a folder with a card and weights; an interrupted training continues."""
    from probe.training.config import TrainingConfig
    from probe.training.request import TrainingRequest
    from probe.training.train import run_training

    argument = Parameter(name="architecture", help="`probe list architectures` lists them")
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


def dashboard_command() -> Built:
    """Explore models in the browser: units, attribution, attacks, synthesis, embeddings, runs."""
    from probe.cli.dashboard import DashboardOptions, run_dashboard

    def command(*, options: Any = None) -> int:
        return run_dashboard(options or DashboardOptions())

    command.__annotations__ = {
        "options": Annotated[DashboardOptions, Parameter(name="*")],
        "return": int,
    }
    return command, [DashboardOptions]


def export_command() -> Built:
    """Write the surfaces of a run as .npz, HDF5 in the layout of loss-landscape, or a mesh (.ply, .vtp)."""

    def command(
        run: Annotated[Path, Parameter(help="folder of a run with a surface, or of the surface in it")],
        out: Annotated[Path, Parameter(help="file to write: .npz, .h5, .ply or .vtp")],
        /,
        *,
        split: Annotated[
            Literal["train", "test"], Parameter(help="names of the data sets in HDF5")
        ] = "train",
    ) -> int:
        from probe.exhibits.result import Result
        from probe.exhibits.surface_files import write_surfaces

        folder = user_path(run)
        chosen = [f for f in (folder, *sorted(folder.glob("*surface*"))) if (f / "result.json").is_file()]
        if not chosen:
            raise UserError(f"{folder} holds no result of surface")
        for file in write_surfaces(Result.load(chosen[0]), user_path(out), split=split):
            print_line(str(file))
        return 0

    return command, []


def layers_command() -> Built:
    """List the layers of a model: address, kind, output shape, parameters, MACs, receptive field."""

    def command(model: Annotated[str, Parameter(help=MODEL_HELP)], /) -> int:
        return print_layers(model)

    return command, []


def list_command() -> Built:
    """List the analyses, attacks, attribution methods, models, data sources, architectures or recipes that are available."""

    def command(what: Annotated[Kinds, Parameter(help="what to list")] = "analyses", /) -> int:
        entries = listed(what)
        width = max((len(name) for name in entries), default=0)
        for name, title in entries.items():
            print_line(f"{name:{width}}  {title}")
        return 0

    return command, []


COMMANDS: dict[str, Callable[[], Built]] = {
    "report": report_command,
    "sweep": sweep_command,
    "dashboard": dashboard_command,
    "adopt": adopt_command,
    "train": train_command,
    "transfer": transfer_command,
    "export": export_command,
    "layers": layers_command,
    "list": list_command,
}
