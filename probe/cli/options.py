"""The options that all analyses share: model, images, seed, device and output."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field

from probe.params import Names, Parameters, UserPath

Command = Callable[..., int]
"""Returns the exit code."""

Built = tuple[Command, list[type[BaseModel]]]
"""A command, and the definitions whose fields are its flags."""

DEFAULT_MODEL, DEFAULT_DATA = "vgg-shapes", "shapes"

MODEL_HELP = "name of a pretrained model, folder with a model card, or torchvision:NAME"


class RunOptions(Parameters):
    """Images, seed, device, workers and output of runs."""

    data: str = Field(
        DEFAULT_DATA,
        description="images to analyse: digits, shapes:test, mnist:test, cifar10:test, folder:PATH ...",
    )
    n: int | None = Field(
        None,
        ge=1,
        description="number of images to sample, the same number from each class (default: all images)",
    )
    seed: int = Field(0, ge=0, le=2**63 - 1, description="seed of all random numbers")
    labels: str | None = Field(
        None,
        description="where the true classes of a folder of images come from: 'prefix' (file names start with the class "
        "number) or a CSV file",
    )
    out: UserPath = Field(Path("runs"), description="folder in which the run directory is created")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N")
    engine: Literal["local", "processes", "ray"] | None = Field(
        None,
        description="where the parts of an analysis are computed: in this process (local), in worker processes, or on a "
        "Ray cluster (default: processes if --workers is given, otherwise local)",
    )
    workers: int | None = Field(
        None, ge=1, le=100_000, description="number of workers, with one thread each (default: one per core)"
    )
    address: str | None = Field(
        None, description="address of a Ray cluster, HOST:PORT or auto (default: start Ray on this machine)"
    )
    data_root: UserPath | None = Field(None, description="folder of the data sets (default: $PROBE_DATA)")
    download: bool = Field(False, description="download a missing data set with torchvision")
    trust_code: bool = Field(
        False, description="run the Python file named in the card of a model, and trust it from now on"
    )


class ModelOption(Parameters):
    """The model, the first of the options that --help lists."""

    model: str = Field(DEFAULT_MODEL, description=MODEL_HELP)


class Options(RunOptions, ModelOption):
    """Model, images, seed, device, workers and output of a run."""

    compare_to: Names = Field((), description="further models, for analyses that compare models")
    assets: Literal["inline", "folder"] = Field(
        "inline",
        description="inline: images, style sheet and script are part of the page; folder: they are files in a folder next"
        " to it, without a size limit",
    )
    pdf: bool = Field(False, description="also write the report as a PDF, next to the page")


def option_help(option: str) -> str:
    """The help text of one option, for commands that take only some of them."""
    return Options.model_fields[option].description or ""
