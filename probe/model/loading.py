"""Load a Model by its spec: a pretrained name, a folder with a card, or torchvision's published weights."""

import importlib.util
import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from probe.data.preprocess import Preprocess, Step
from probe.device import choose_device
from probe.errors import UserError, first_line, unknown
from probe.model.cards import FILE, Card, Input, read_card
from probe.model.checkpoints import load_state, read_state
from probe.model.model import Model
from probe.model.outputs import TWO_LOGITS
from probe.model.parametrisation import accept_plain_weights
from probe.model.state import preserved_state
from probe.model.trust import require_trust, trust
from probe.paths import PRETRAINED
from probe.regular_files import user_path

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


_MANY_CLASSES, _SMALL = 1_000, 10_000_000  # up to here a network is built without computing its size before
REJECTED = (
    RuntimeError,
    TypeError,
    ValueError,
    LookupError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    MemoryError,
)
"""What networks raise for options or for an input of a shape that they were not written for."""


def pretrained() -> list[str]:
    """The names of the models that are installed with probe."""
    return sorted(path.parent.name for path in PRETRAINED.glob(f"*/{FILE}"))


def load(spec: str | Path, *, device: str = "auto", trust_code: bool = False) -> Model:
    """Load a Model: the name of a pretrained one, the path of a folder with a card, or torchvision:NAME.

    The path of a weights file in such a folder, or in its epochs/, loads the network of the folder with those weights.
    device: auto, cpu, cuda or cuda:N. trust_code: run the Python file that a card names for its network, and trust it
    from now on; otherwise only a trusted file is run (`adopt` and `train` trust the file that they are given).
    Raises UserError if there is no such model or device, the weights do not match the card, or its code is not trusted.
    """
    chosen = choose_device(device)
    text = str(spec)
    if text.startswith("torchvision:"):
        return _torchvision(text, chosen)
    folder = PRETRAINED / text if text in pretrained() else user_path(text)
    weights = folder if folder.is_file() else None
    if weights is not None:
        folder = next((path for path in weights.parents[:2] if (path / FILE).is_file()), folder)
    if not folder.is_dir():
        if folder.is_file():
            raise UserError(
                f"{text} is a file: `probe adopt {text} --arch ... --out DIR` imports a checkpoint"
            )
        if "/" in text or "\\" in text:
            raise UserError(
                f"there is no model {text!r}: no such folder. A model is a folder with a card.toml, as `probe adopt` and "
                "`probe train` write it"
            )
        raise unknown(
            "model",
            text,
            pretrained(),
            hint="A model may also be a folder with a card.toml, or torchvision:NAME.",
        )
    card, path = read_card(folder), folder / FILE
    # Weights first: nothing that the folder holds is run for a model that could not be loaded anyway.
    if weights is None:
        state = read_state(folder / card.weights.file, sha256=card.weights.sha256)
    else:
        card, state = _of_checkpoint(card, weights), read_state(weights)
    if (code := code_file(card.architecture, folder)) is not None:
        if trust_code:
            trust(code)
        else:
            require_trust(code, path)
    try:
        network = build(
            card.architecture,
            classes=len(card.classes),
            shape=card.input.shape,
            options=card.options,
            folder=folder,
            values=sum(value.numel() for value in state.values()),
        )
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    accept_plain_weights(network, state)  # a network that was transferred is saved with plain weights
    load_state(network, state, what=str(weights or folder / card.weights.file))
    source = (
        folder.name if folder.parent == PRETRAINED and not weights else str((weights or folder).resolve())
    )
    model = Model(network, card, chosen, folder=None if weights else folder, spec=source)
    if folder.parent != PRETRAINED:
        check_output(model, what=f"{path}: ")
    return model


def _of_checkpoint(card: Card, weights: Path) -> Card:
    """The card of a network with other weights of its training, of which no results are known."""
    part = f"epoch {int(weights.stem)}" if weights.stem.isdecimal() else weights.stem
    return card.model_copy(update={"name": f"{card.name} {part}", "results": {}, "limits": {}})


_TRY_ANOTHER = "try another size (--size) or number of channels (--channels)"


def check_output(model: Model, *, what: str = "", hint: str = _TRY_ANOTHER) -> None:
    """Raise UserError unless the network maps a grey image to one finite number per class.

    what: begins the message. hint: ends the one about an input that does not fit.
    """
    grey = torch.full((1, *model.shape), 0.5, device=model.device)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]), preserved_state(model.network):
            logits = model.logits(grey)
    except UserError as error:
        raise UserError(f"{what}{error}") from None
    except REJECTED as error:
        size = " x ".join(map(str, model.shape))
        if _takes_two(model, grey):
            raise UserError(
                f"{what}{model.card.architecture} cannot process a single image ({first_line(error)}): its predictions depend on "
                "the other images in the batch, but probe analyses each image independently"
            ) from None
        raise UserError(
            f"{what}{model.card.architecture} cannot process {size} images ({first_line(error)}): {hint}"
        ) from None
    if logits.numel() == 1 and len(model.classes) == 2:
        raise UserError(f"{what}the network has one output for two classes: let it {TWO_LOGITS}")
    if logits.shape != (1, len(model.classes)):
        raise UserError(
            f"{what}the output must have shape (1, {len(model.classes)}), one number per class, got {tuple(logits.shape)}"
        )
    if not bool(torch.isfinite(logits).all()):
        raise UserError(f"{what}the output for a grey image is NaN or infinite: the weights are damaged")


def _takes_two(model: Model, grey: torch.Tensor) -> bool:
    """Whether the network processes two images that differ, where it does not process one."""
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]), preserved_state(model.network):
            model.logits(torch.cat([grey, grey / 2]))
    except REJECTED:
        return False
    return True


def code_file(architecture: str, folder: Path | None = None) -> Path | None:
    """The Python file that `build` would run for an architecture; None where it runs none or there is no such file."""
    kind, _, _ = architecture.rpartition(":")
    if not kind.endswith(".py"):
        return None
    inside = folder / kind if folder is not None else Path(kind)
    path = inside if inside.is_file() else Path(kind)
    return path if path.is_file() else None


def build(
    architecture: str,
    *,
    classes: int,
    shape: tuple[int, int, int],
    options: dict[str, Any] | None = None,
    folder: Path | None = None,
    values: int | None = None,
) -> nn.Module:
    """Build an untrained network: zoo:NAME, torchvision:NAME, timm:NAME, or FILE.py:FUNCTION (which runs the file).

    folder: of the card, which FILE.py may be relative to. values: the number of values in the weights; a network with
    many more is not built, since an option or a long list of classes could make it fill the memory. Its weights are
    drawn from the global random state, which is restored. Raises UserError for an unknown architecture, and for options
    that it does not accept.
    """
    options = options or {}
    with torch.random.fork_rng(devices=[]):
        if (
            values is not None
            and (options or classes > _MANY_CLASSES)
            and code_file(architecture, folder) is None
        ):
            with torch.device("meta"):
                planned = _build(architecture, classes, shape, options, folder)
            size = sum(value.numel() for value in planned.state_dict().values())
            if size > 2 * values + _SMALL:
                raise UserError(f"the network would have {size:,} values, but its weights contain {values:,}")
        return _build(architecture, classes, shape, options, folder)


def _build(
    architecture: str, classes: int, shape: tuple[int, int, int], options: dict[str, Any], folder: Path | None
) -> nn.Module:
    kind, _, name = architecture.rpartition(":")
    if kind == "zoo":
        from probe.zoo import build as build_zoo

        if settled := sorted({"classes", "channels"} & options.keys()):
            raise UserError(
                f"{settled[0]} of {architecture} are determined by the data and cannot be set as options"
            )
        with _options_of(architecture):
            return build_zoo(name, classes=classes, channels=shape[0], **options)
    if kind == "torchvision":
        import torchvision

        known = torchvision.models.list_models(module=torchvision.models)
        if name not in known:
            raise unknown("torchvision network", name, known)
        with _options_of(architecture):
            return torchvision.models.get_model(
                name, weights=None, num_classes=classes, **_quiet(name), **options
            )
    if kind == "timm":
        try:
            import timm  # pyrefly: ignore[missing-import]
        except ImportError:
            raise UserError(f"{architecture} needs the package timm: pip install timm") from None
        if not timm.is_model(name):
            raise unknown("timm network", name, timm.list_models())
        with _options_of(architecture):
            return timm.create_model(
                name, pretrained=False, num_classes=classes, in_chans=shape[0], **options
            )
    if kind.endswith(".py"):
        return _from_file(Path(kind), name, folder, classes, options)
    raise UserError(f"{architecture!r} is not an architecture: {_how_to_write(architecture)}")


def _how_to_write(architecture: str) -> str:
    """What to write instead of a name without its prefix, or of a file without a function."""
    import torchvision

    from probe.zoo import architectures

    if architecture.endswith(".py"):
        return f"write {architecture}:FUNCTION, with the function in the file that builds the network"
    if architecture in architectures():
        return f"write zoo:{architecture}"
    if architecture in torchvision.models.list_models(module=torchvision.models):
        return f"write torchvision:{architecture}"
    return "write zoo:NAME, torchvision:NAME, timm:NAME or FILE.py:FUNCTION"


@contextmanager
def _options_of(architecture: str) -> Iterator[None]:
    """Raise UserError for options that the architecture does not accept."""
    try:
        yield
    except UserError:
        raise
    except REJECTED as error:
        raise UserError(f"{architecture} cannot be built with these options: {first_line(error)}") from None


def _quiet(name: str) -> dict[str, Any]:
    """Options without which GoogLeNet and Inception warn; their auxiliary heads are used in training alone."""
    return {"init_weights": False, "aux_logits": True} if name in ("googlenet", "inception_v3") else {}


def _from_file(
    path: Path, function: str, folder: Path | None, classes: int, options: dict[str, Any]
) -> nn.Module:
    """Run a file of the user and call `function`, with classes=... if it has that parameter."""
    file = code_file(f"{path}:{function}", folder)
    if file is None:
        raise UserError(f"there is no file {path}, which should define {function}")
    path = file
    spec = importlib.util.spec_from_file_location(f"probe_user_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UserError(f"{path} could not be run: {type(error).__name__}: {first_line(error)}") from error
    names = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
    if function not in names:
        raise unknown("function", function, names, hint=f"The file is {path}.")
    make = getattr(module, function)
    try:
        parameters = inspect.signature(make).parameters
        network = make(**({"classes": classes} if "classes" in parameters else {}), **options)
    except Exception as error:
        raise UserError(
            f"{function} of {path} failed: {type(error).__name__}: {first_line(error)}"
        ) from error
    if not isinstance(network, nn.Module):
        raise UserError(f"{function} of {path} must return a torch.nn.Module, got {type(network).__name__}")
    return network


def _torchvision(spec: str, device: torch.device) -> Model:
    """A network of torchvision with its published weights, from its cache or downloaded by it."""
    import torchvision

    name = spec.partition(":")[2]
    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        raise unknown("torchvision network", name, known)
    weights = torchvision.models.get_model_weights(name)["DEFAULT"]
    cached = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
    try:
        network = torchvision.models.get_model(name, weights=weights)
    except OSError as error:
        raise UserError(
            f"the weights of {spec} are not in the cache and cannot be downloaded ({error}): copy {cached.name} to {cached}"
        ) from None
    preset = weights.transforms()
    crop = preset.crop_size[0]
    card = Card(
        name=name,
        architecture=spec,
        classes=tuple(weights.meta["categories"]),
        input=Input(
            shape=(3, crop, crop),
            mean=tuple(preset.mean),
            std=tuple(preset.std),
            preprocess=torchvision_rule(preset),
        ),
        training={
            "weights": str(weights),
            "recipe": weights.meta.get("recipe", ""),
        },
        results={"published": weights.meta.get("_metrics", {})},
    )
    return Model(network, card, device, spec=spec)


def torchvision_rule(preset: Any) -> str:
    """The preprocessing rule of the transforms of torchvision's published weights: resizing and centre crop."""
    interpolation = str(getattr(getattr(preset, "interpolation", ""), "value", "bilinear"))
    resize = Step("resize", preset.resize_size[0], interpolation)
    rule = Preprocess((resize, Step("centre crop", preset.crop_size[0])))
    return str(Preprocess.parse(str(rule)))
