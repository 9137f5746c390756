"""Import checkpoints that were saved by other code, as a folder with a card and weights."""

from contextlib import suppress
from pathlib import Path

from pydantic import Field

from probe.data.images import MOST_CLASSES
from probe.data.preprocess import Preprocess
from probe.errors import UserError
from probe.locks import exclusive
from probe.model.cards import FILE, Card, Input, Weights, write_card
from probe.model.checkpoints import State, load_state, read_state, write_state
from probe.model.loading import IMAGENET_MEAN, IMAGENET_STD, build, check_output, code_file
from probe.model.model import Model
from probe.model.parametrisation import accept_plain_weights
from probe.model.trust import trust
from probe.params import Fractions, Parameters, UserPath
from probe.regular_files import read_text


class AdoptOptions(Parameters):
    """What a checkpoint does not contain: architecture, normalisation, class names, input size."""

    arch: str = Field(
        description="zoo:NAME, torchvision:NAME, timm:NAME, or FILE.py:FUNCTION (this runs the code in FILE.py)"
    )
    mean: Fractions | None = Field(
        None,
        description="mean of each channel in [0, 1] in training, separated by commas (default: ImageNet's, 0.5 for grey)",
    )
    std: Fractions | None = Field(
        None, description="standard deviation of each channel in training (default: ImageNet's, 0.5 for grey)"
    )
    size: int | None = Field(
        None,
        ge=8,
        le=2048,
        description="side of the square input in pixels (default: the architecture's own)",
    )
    channels: int | None = Field(
        None, ge=1, le=3, description="1 for grey, 3 for colour (default: the architecture's own)"
    )
    classes: UserPath | None = Field(None, description="file with one class name per line")
    preprocess: str = Field(
        "", description="preprocessing of images to the input size, such as 'resize 256, centre crop 227'"
    )
    name: str = Field("", description="name of the model (default: that of the folder)")


def adopt(checkpoint: Path, options: AdoptOptions, out: Path) -> Model:
    """Load `checkpoint` strictly into the architecture and write `out`/card.toml and its weights.

    Nothing is written unless the network maps a grey image to one finite number per class. Raises UserError if the
    checkpoint cannot be read or does not match, for invalid options, and if `out` already contains a model.
    """
    if (out / FILE).exists():
        raise UserError(f"{out} already contains a model: choose another --out or remove it")
    state = read_state(checkpoint)
    shape = _shape(options)
    classes = _classes(options.classes, state)
    mean, std = _normalisation(options, shape[0])
    missing = " and ".join(name for name in ("mean", "std") if getattr(options, name) is None)
    assumed = f", {missing} assumed" if missing else ""
    preprocess = _preprocess(options, shape[1])
    network = build(options.arch, classes=len(classes), shape=shape, folder=None)
    if (code := code_file(options.arch)) is not None:
        trust(code)  # the user has named it, and it has run
    accept_plain_weights(network, state)
    load_state(network, state, what=str(checkpoint))
    architecture = absolute(options.arch)
    card = Card(
        name=options.name or out.resolve().name,
        architecture=architecture,
        classes=classes,
        input=Input(shape=shape, mean=mean, std=std, preprocess=preprocess),
        training={"origin": f"adopted from {checkpoint.name}{assumed}; how it was trained is unknown"},
    )
    model = Model(network, card)
    check_output(model)
    with exclusive(out):
        weights = out / card.weights.file
        try:
            digest = write_state(network, weights)
            write_card(card.model_copy(update={"weights": Weights(file=weights.name, sha256=digest)}), out)
        except OSError as error:
            with suppress(OSError):
                weights.unlink(missing_ok=True)  # half a model is none
            raise UserError(f"{out} cannot be written: {error.strerror or error}") from None
    return model


def absolute(architecture: str) -> str:
    """`architecture` with the full path of a file in it, so that the card is valid from any working directory."""
    kind, _, name = architecture.rpartition(":")
    return f"{Path(kind).resolve()}:{name}" if kind.endswith(".py") else architecture


def _shape(options: AdoptOptions) -> tuple[int, int, int]:
    kind, _, name = options.arch.partition(":")
    channels, side = 3, 224
    if kind == "zoo":
        from probe.zoo import architecture

        known = architecture(name)
        if not known.takes_images:
            raise UserError(f"{options.arch} takes sequences: probe analyses networks that take images")
        channels, side = known.shape[0], known.shape[-1]
    side = options.size or side
    return options.channels or channels, side, side


def _classes(path: Path | None, state: State) -> tuple[str, ...]:
    """The lines of `path`, or numbered names for the outputs of the last layer."""
    outputs = list(state.values())[-1].shape[0] if list(state.values())[-1].ndim else 0
    if path is None:
        if outputs > MOST_CLASSES:
            raise UserError(
                f"the last tensor of the checkpoint has {outputs:,} rows, more than the {MOST_CLASSES:,} classes that probe takes"
            )
        return tuple(f"class {index}" for index in range(outputs))
    try:
        text = read_text(path, what="class names")
    except FileNotFoundError:
        raise UserError(f"there is no file of class names {path}") from None
    names = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not names:
        raise UserError(f"{path} contains no class names: write one per line")
    return names


def _preprocess(options: AdoptOptions, side: int) -> str:
    """The preprocessing on the card; UserError if it cannot lead to `side` pixels."""
    if not options.preprocess:
        return f"resize {side}, centre crop {side}"
    rule = Preprocess.parse(options.preprocess)
    if all(rule.size(size) != (side, side) for size in ((side, side), (8192, 8192))):
        raise UserError(
            f"the preprocessing {options.preprocess!r} does not lead to {side} x {side} pixels: end it with 'centre crop {side}'"
        )
    return options.preprocess


def _normalisation(options: AdoptOptions, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    mean = options.mean or (IMAGENET_MEAN if channels == 3 else (0.5,) * channels)
    std = options.std or (IMAGENET_STD if channels == 3 else (0.5,) * channels)
    for name, values in (("mean", mean), ("std", std)):
        if len(values) != channels:
            raise UserError(f"{name} must have {channels} numbers, one per channel, got {len(values)}")
    if not min(std) > 0:
        raise UserError(f"std must be above 0, got {min(std):g}")
    if not all(0 <= value <= 1 for value in mean):
        raise UserError(
            f"mean must lie in [0, 1], got {max(mean):g}: pixels are in [0, 1], divide grey levels by 255"
        )
    return tuple(mean), tuple(std)
