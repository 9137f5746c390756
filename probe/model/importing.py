"""Import checkpoints that were saved by other code, as a folder with a card and weights."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pydantic import Field
from torch import nn

from probe.data.images import MOST_CLASSES
from probe.data.preprocess import Preprocess
from probe.errors import UserError
from probe.locks import exclusive
from probe.model.cards import FILE, Card, Input, Weights, write_card
from probe.model.checkpoints import State, load_state, read_state, write_state
from probe.model.input_size import find_size, published_preprocess, size_after, stem_channels, timm_size
from probe.model.loading import IMAGENET_MEAN, IMAGENET_STD, build, check_output, code_file
from probe.model.model import Model
from probe.model.parametrisation import accept_plain_weights
from probe.model.trust import trust
from probe.params import Fractions, Parameters, UserPath, validate
from probe.regular_files import read_text, user_path

_ANY_SIDE = 224  # no architecture is built otherwise for another size


class AdoptOptions(Parameters):
    """What a checkpoint does not contain: architecture, normalisation, class names, input size."""

    arch: str = Field(
        description="zoo:NAME, torchvision:NAME, timm:NAME, or FILE.py:FUNCTION (this runs the code in FILE.py)"
    )
    mean: Fractions | None = Field(
        None,
        description="mean of each channel over the training images, for pixels in [0, 1], separated by commas (default: "
        "that of ImageNet, or 0.5 for grey images)",
    )
    std: Fractions | None = Field(
        None,
        description="standard deviation of each channel over the training images (default: that of ImageNet, or 0.5 for "
        "grey images)",
    )
    size: int | None = Field(
        None,
        ge=8,
        le=2048,
        description="side length of the square input in pixels (default: that of the architecture, or the size that fits "
        "the network)",
    )
    channels: int | None = Field(
        None,
        ge=1,
        le=3,
        description="1 for grey, 3 for colour images (default: the input channels of the first convolution)",
    )
    classes: UserPath | None = Field(None, description="file with one class name per line")
    preprocess: str = Field(
        "",
        description="how images are brought to the input size, such as 'resize 256, centre crop 227' or 'resize 256 "
        "bicubic, centre crop 224' (default: that of torchvision for its networks, otherwise resize and "
        "centre crop)",
    )
    name: str = Field("", description="name of the model (default: the name of the folder)")


def adopt(
    checkpoint: str | Path,
    options: AdoptOptions | None = None,
    out: str | Path = "",
    **parameters: Any,
) -> Model:
    """Load `checkpoint` strictly into the architecture and write `out`/card.toml and its weights.

        probe.adopt("net.pth", arch="torchvision:resnet18", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), out="mynet")

    options, or `parameters`: the fields of AdoptOptions, the flags of `probe adopt`. Nothing is written unless the
    network maps a grey image to one finite number per class. Raises UserError if the checkpoint cannot be read or does
    not match, for invalid options, and if `out` already contains a model.
    """
    if not str(out):
        raise UserError("adopt needs the folder to write, such as out='mynet'")
    checkpoint, out = user_path(checkpoint), user_path(out)
    if options is None:
        options = validate(AdoptOptions, parameters)
    elif parameters:
        raise UserError(
            f"{next(iter(parameters))} was passed together with options: set it in the options instead"
        )
    if (out / FILE).exists():
        raise UserError(f"{out} already contains a model: choose another --out or remove it")
    state = read_state(checkpoint)
    classes = _classes(options.classes, state)
    side, rule, origin = _stated_input(options, checkpoint)
    channels = _stated_channels(options)
    if channels is not None:
        _normalisation(options, channels)  # before the file of an architecture is run
    shape = (channels or 3, side or _ANY_SIDE, side or _ANY_SIDE)
    network = build(options.arch, classes=len(classes), shape=shape, folder=None)
    if (code := code_file(options.arch)) is not None:
        trust(code)  # the user has named it, and it has run
    accept_plain_weights(network, state)
    load_state(network, state, what=str(checkpoint))
    if channels is None:
        stem = stem_channels(network)
        channels = stem if stem in (1, 3) else 3
    mean, std = _normalisation(options, channels)
    missing = " and ".join(name for name in ("mean", "std") if getattr(options, name) is None)
    assumed = f", {missing} assumed" if missing else ""
    if side is None:
        with _explaining_channels(network, options):
            side = find_size(network, channels, len(classes), options.arch)
        origin = f"; {side} x {side} pixels, the only size tried that fits"
    shape, preprocess = (channels, side, side), rule or f"resize {side}, centre crop {side}"
    architecture = absolute(options.arch)
    card = Card(
        name=options.name or out.resolve().name,
        architecture=architecture,
        classes=classes,
        input=Input(shape=shape, mean=mean, std=std, preprocess=preprocess),
        training={
            "origin": f"adopted from {checkpoint.name}{assumed}{origin}; how it was trained is unknown"
        },
    )
    model = Model(network, card)
    with _explaining_channels(network, options):
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


def _stated_channels(options: AdoptOptions) -> int | None:
    """The channels of the input as stated or of the zoo's architecture; None where the network has to tell them."""
    if options.channels == 2:
        raise UserError("channels must be 1 (grey) or 3 (colour), got 2")
    kind, _, name = options.arch.partition(":")
    if kind != "zoo":
        return options.channels
    from probe.zoo import architecture

    known = architecture(name)
    if not known.takes_images:
        raise UserError(f"{options.arch} takes sequences: probe analyses image classifiers only")
    return options.channels or known.shape[0]


def _outputs(state: State) -> int:
    """The number of outputs of the last layer: of its bias, else the rows of its first matrix or of its last tensor."""
    last = list(state)[-1]
    layer = (
        last.partition(".parametrizations.")[0] if ".parametrizations." in last else last.rpartition(".")[0]
    )
    own = {name.removeprefix(f"{layer}."): v for name, v in state.items() if name.startswith(f"{layer}.")}
    matrices = [value for value in own.values() if value.ndim > 1]
    tensor = own.get("bias", matrices[0] if matrices else state[last])
    return tensor.shape[0] if tensor.ndim else 0


@contextmanager
def _explaining_channels(network: nn.Module, options: AdoptOptions) -> Iterator[None]:
    """Where a network rejects its images, name the channels of its first convolution if they are not 1 or 3."""
    try:
        yield
    except UserError as error:
        stem = stem_channels(network)
        if options.channels is not None or stem in (None, 1, 3):
            raise
        raise UserError(
            f"the first convolution of {options.arch} takes {stem} channels: probe analyses networks for grey (1) or colour "
            "(3) images"
        ) from error


def _stated_input(options: AdoptOptions, checkpoint: Path) -> tuple[int | None, str, str]:
    """Side of the input, preprocessing and a note for the card, as far as options and architecture state them.

    None for a side that has to be found; an empty text for the plain preprocessing, resize and crop to the side.
    """
    kind, _, name = options.arch.rpartition(":")
    side, rule = options.size, options.preprocess
    if rule:
        side = side or size_after(rule)
        _validate_preprocess(rule, side)
        return side, rule, ""
    if side is None and kind == "torchvision":
        rule, weights = published_preprocess(name, checkpoint)
        return (
            (size_after(rule), rule, f"; preprocessing of torchvision's {weights}") if rule else (224, "", "")
        )
    if side is None and kind == "timm":
        side = timm_size(name)
        return side, "", "" if side is None else f"; input size of timm's {name}"
    if side is None and kind == "zoo":
        from probe.zoo import architecture

        side = architecture(name).shape[-1]
    return side, "", ""


def _classes(path: Path | None, state: State) -> tuple[str, ...]:
    """The lines of `path`, or numbered names for the outputs of the last layer."""
    if path is None:
        outputs = _outputs(state)
        if outputs > MOST_CLASSES:
            raise UserError(
                f"the last layer of the checkpoint has {outputs:,} outputs, more than the {MOST_CLASSES:,} classes that probe supports"
            )
        return tuple(f"class {index}" for index in range(outputs))
    try:
        text = read_text(path, what="class names")
    except FileNotFoundError:
        raise UserError(f"the file of class names {path} does not exist") from None
    names = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not names:
        raise UserError(f"{path} contains no class names: write one per line")
    return names


def _validate_preprocess(rule: str, side: int | None) -> None:
    """Raise UserError if the preprocessing cannot lead to images of `side` pixels."""
    parsed = Preprocess.parse(rule)
    if side is None or all(parsed.size(size) != (side, side) for size in ((side, side), (8192, 8192))):
        size = "square images" if side is None else f"{side} x {side} pixels"
        raise UserError(
            f"the preprocessing {rule!r} does not produce {size}: end it with 'centre crop {side or 224}'"
        )


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
