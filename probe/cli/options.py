"""What every analysis is asked of: the options that all of them share."""

from pathlib import Path

from pydantic import Field

from probe.params import Names, Parameters

DEFAULT_MODEL, DEFAULT_DATA = "vgg-shapes", "shapes"

MODEL_HELP = "a pretrained name, the path of a folder with a card, or torchvision:NAME"


class Options(Parameters):
    """A model, images, and where the result goes."""

    model: str = Field(DEFAULT_MODEL, description=MODEL_HELP)
    data: str = Field(
        DEFAULT_DATA, description="images: digits, shapes:test, mnist:test, cifar10:test, folder:PATH ..."
    )
    n: int | None = Field(
        None, ge=1, description="how many images to draw, the same number of each class (default: all)"
    )
    seed: int = Field(0, ge=0, description="seed of everything that is drawn at random")
    labels: str | None = Field(
        None,
        description="true classes of a folder: 'prefix' (file names start with the number) or a CSV file",
    )
    compare_to: Names = Field((), description="further models, for analyses that compare")
    out: Path = Field(Path("runs"), description="folder for the run directory")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N")
    data_root: Path | None = Field(None, description="folder of the data sets (default: $PROBE_DATA)")
    download: bool = Field(False, description="allow torchvision to download a data set that is not there")


def described(option: str) -> str:
    """The help of one option, for commands that take only some of them."""
    return Options.model_fields[option].description or ""
