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

MODEL_HELP = "name of a pretrained model, path of a folder with a card, or torchvision:NAME"


class RunOptions(Parameters):
    """Images, seed, device, workers and output of runs."""

    data: str = Field(
        DEFAULT_DATA, description="images: digits, shapes:test, mnist:test, cifar10:test, folder:PATH ..."
    )
    n: int | None = Field(
        None, ge=1, description="number of images to sample, equally many of each class (default: all)"
    )
    seed: int = Field(0, ge=0, le=2**63 - 1, description="seed of all random numbers")
    labels: str | None = Field(
        None,
        description="true classes of the images in a folder: 'prefix' (file names start with the class number) or a CSV file",
    )
    out: UserPath = Field(Path("runs"), description="folder in which the run directory is created")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N")
    engine: Literal["local", "processes", "ray"] | None = Field(
        None,
        description="what computes the parts of an analysis: this process, worker processes, or Ray (default: processes with"
        " --workers, else local)",
    )
    workers: int | None = Field(
        None, ge=1, le=100_000, description="workers of one thread each (default: one for each core)"
    )
    address: str | None = Field(
        None, description="of a Ray cluster, HOST:PORT or auto (default: Ray on this machine alone)"
    )
    data_root: UserPath | None = Field(None, description="folder of the data sets (default: $PROBE_DATA)")
    download: bool = Field(False, description="let torchvision download a data set that is missing")
    trust_code: bool = Field(
        False, description="run the Python file that a model's card names, and trust it from now on"
    )


class Options(RunOptions):
    """Model, images, seed, device, workers and output of a run."""

    model: str = Field(DEFAULT_MODEL, description=MODEL_HELP)
    compare_to: Names = Field((), description="further models, for analyses that compare models")
    assets: Literal["inline", "folder"] = Field(
        "inline",
        description="images, style and script inside the page, or without limit of size in a folder beside it",
    )
    pdf: bool = Field(False, description="write the report as a PDF too, beside the page")


def option_help(option: str) -> str:
    """The help text of one option, for commands that take only some of them."""
    return Options.model_fields[option].description or ""
