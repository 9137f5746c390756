"""Make a folder with a card out of a checkpoint that somebody else saved."""

from pathlib import Path

import torch
from pydantic import Field

from probe.data.preprocess import Preprocess
from probe.errors import UserError
from probe.locks import exclusive
from probe.model.cards import FILE, Card, Input, Weights, write_card
from probe.model.checkpoints import State, load_state, read_state, write_state
from probe.model.loading import IMAGENET_MEAN, IMAGENET_STD, build, code_file
from probe.model.model import Model
from probe.model.trust import trust
from probe.params import Fractions, Parameters
from probe.regular_files import read_text

MOST_CLASSES = 100_000


class AdoptOptions(Parameters):
    """What a foreign checkpoint does not say of itself."""

    arch: str = Field(
        description="zoo:NAME, torchvision:NAME, timm:NAME, or FILE.py:FUNCTION (this runs the code in FILE.py)"
    )
    mean: Fractions | None = Field(
        None,
        description="mean of each channel in [0, 1] that the network was trained with, with commas between them "
        "(default: ImageNet's, 0.5 for grey)",
    )
    std: Fractions | None = Field(
        None, description="standard deviation of each channel (default: ImageNet's, 0.5 for grey)"
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
    classes: Path | None = Field(None, description="file with one class name a line")
    preprocess: str = Field(
        "", description="rule that brings images to the input, such as 'resize 256, centre crop 227'"
    )
    name: str = Field("", description="name of the model (default: that of the folder)")


def adopt(checkpoint: Path, options: AdoptOptions, out: Path) -> Model:
    """Load `checkpoint` strictly into the named architecture and write `out`/card.toml and its weights.

    Nothing is written unless the network answers a grey image with one finite number a class.
    Raises UserError for everything that a checkpoint can be instead.
    """
    if (out / FILE).exists():
        raise UserError(f"{out} already holds a model: choose another --out or remove it")
    state = read_state(checkpoint)
    shape = _shape(options)
    classes = _classes(options.classes, state)
    mean, std = _normalisation(options, shape[0])
    unsaid = " and ".join(name for name in ("mean", "std") if getattr(options, name) is None)
    assumed = f", {unsaid} assumed" if unsaid else ""
    preprocess = _preprocess(options, shape[1])
    network = build(options.arch, classes=len(classes), shape=shape, folder=None)
    if (code := code_file(options.arch)) is not None:
        trust(code)  # the user has named it, and it has run
    load_state(network, state, what=str(checkpoint))
    architecture = absolute(options.arch)
    card = Card(
        name=options.name or out.resolve().name,
        architecture=architecture,
        classes=classes,
        input=Input(shape=shape, mean=mean, std=std, preprocess=preprocess),
        training={
            "origin": f"adopted from {checkpoint.name}{assumed}; how it was trained is not known to probe"
        },
    )
    model = Model(network, card)
    _answers(model)
    with exclusive(out):
        try:
            digest = write_state(model.network, out / card.weights.file)
            write_card(
                card.model_copy(update={"weights": Weights(file=card.weights.file, sha256=digest)}), out
            )
        except OSError as error:
            raise UserError(f"{out} cannot be written: {error.strerror or error}") from None
    return model


def absolute(architecture: str) -> str:
    """The user's own file by its full path, so that the card works from any folder."""
    kind, _, name = architecture.rpartition(":")
    return f"{Path(kind).resolve()}:{name}" if kind.endswith(".py") else architecture


def _shape(options: AdoptOptions) -> tuple[int, int, int]:
    kind, _, name = options.arch.partition(":")
    channels, side = 3, 224
    if kind == "zoo":
        from probe.zoo import architecture

        known = architecture(name)
        if not known.reads_images:
            raise UserError(f"{options.arch} takes sequences, not images: probe studies networks of images")
        channels, side = known.shape[0], known.shape[-1]
    side = options.size or side
    return options.channels or channels, side, side


def _classes(path: Path | None, state: State) -> tuple[str, ...]:
    """The lines of `path`, or numbered names for as many classes as the last layer has outputs."""
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
        raise UserError(f"{path} holds no class names: one a line is expected")
    return names


def _preprocess(options: AdoptOptions, side: int) -> str:
    """The rule that the card will state: it must be one that can bring an image to `side` pixels."""
    if not options.preprocess:
        return f"resize {side}, centre crop {side}"
    rule = Preprocess.parse(options.preprocess)
    if all(rule.size(size) != (side, side) for size in ((side, side), (8192, 8192))):
        raise UserError(
            f"the preprocess rule {options.preprocess!r} does not lead to {side} x {side} pixels: end it with 'centre crop {side}'"
        )
    return options.preprocess


def _normalisation(options: AdoptOptions, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    mean = options.mean or (IMAGENET_MEAN if channels == 3 else (0.5,) * channels)
    std = options.std or (IMAGENET_STD if channels == 3 else (0.5,) * channels)
    for name, values in (("mean", mean), ("std", std)):
        if len(values) != channels:
            raise UserError(f"{name} must hold {channels} numbers, one a channel, got {len(values)}")
    if not min(std) > 0:
        raise UserError(f"std must be above 0, got {min(std):g}")
    if not all(0 <= value <= 1 for value in mean):
        raise UserError(
            f"mean must lie in [0, 1], got {max(mean):g}: pixels are in [0, 1], divide grey levels by 255"
        )
    return tuple(mean), tuple(std)


def _answers(model: Model) -> None:
    """Refuse a network that does not turn its input into one finite number a class."""
    grey = torch.full((1, *model.shape), 0.5)
    try:
        with torch.no_grad():
            logits = model.logits(grey)
    except (RuntimeError, ValueError, TypeError) as error:
        size = " x ".join(map(str, model.shape))
        raise UserError(
            f"{model.card.architecture} cannot be run on {size} images ({str(error).splitlines()[0]}): try --size or --channels"
        ) from None
    if not isinstance(logits, torch.Tensor) or logits.shape != (1, len(model.classes)):
        got = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise UserError(
            f"the network must answer (1, {len(model.classes)}), one number a class, but gave {got}"
        )
    if not bool(torch.isfinite(logits).all()):
        raise UserError(
            "the network answers a grey image with NaN or infinite numbers: its weights are broken"
        )
