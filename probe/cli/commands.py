"""The commands, each a thin call into the package that does the work.

A function here builds a command when it is the one called, which is when torch is imported, and returns the
definitions whose fields are its flags.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from probe.cli.listing import Kinds, listed, print_layers
from probe.cli.model_commands import adopt_command, train_command, transfer_command
from probe.cli.options import MODEL_HELP, Built
from probe.cli.report_commands import report_command, sweep_command
from probe.errors import UserError
from probe.regular_files import user_path
from probe.terminal import print_line


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
        run: Annotated[
            Path, Parameter(help="run directory with a surface, or the folder of the surface in it")
        ],
        out: Annotated[Path, Parameter(help="file to write, with the extension .npz, .h5, .ply or .vtp")],
        /,
        *,
        split: Annotated[
            Literal["train", "test"], Parameter(help="prefix of the names of the data sets in the HDF5 file")
        ] = "train",
    ) -> int:
        from probe.exhibits.result import Result
        from probe.exhibits.surface_files import write_surfaces

        folder = user_path(run)
        chosen = [f for f in (folder, *sorted(folder.glob("*surface*"))) if (f / "result.json").is_file()]
        if not chosen:
            raise UserError(f"{folder} contains no result of the analysis surface")
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
