"""The commands that run analyses and write a page: one analysis, a report, a sweep."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Group, Parameter

from probe.cli.options import Built, Command, Options, RunOptions
from probe.params import Names
from probe.regular_files import user_path
from probe.terminal import print_line

if TYPE_CHECKING:
    from probe.data.images import Images
    from probe.reporting.report import ReportResult


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
            Parameter(
                name="--from", help="run directory whose page is written again, without computing anything"
            ),
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
            Parameter(
                help="names, folders or checkpoints of models, or patterns such as 'runs/net/epochs/*', separated by commas"
            ),
        ],
        recipe: Annotated[
            str,
            Parameter(
                help="quick, full, another of `probe list recipes`, the path of a TOML file, or the name of an analysis"
            ),
        ] = "quick",
        over: Annotated[
            str,
            Parameter(
                help="field of the model cards by which the models are ordered, for example training.config.lr"
            ),
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
        separate = [part for text in models for part in ([text] if Path(text).exists() else text.split(","))]
        outcome = sweep(
            separate,
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
