"""The input that a network was trained on, as far as its architecture and checkpoint tell: side and channels."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from probe.data.preprocess import Preprocess
from probe.errors import UserError
from probe.exhibits.wording import listed
from probe.model.loading import REJECTED, torchvision_rule
from probe.model.outputs import find_logits
from probe.model.state import preserved_state

COMMON_SIZES = (28, 32, 64, 96, 128, 224, 299)
OTHER_SIZES = (8, 16, 20, 40, 48, 56, 72, 80, 112, 144, 160, 192, 227, 240, 256, 288, 320, 384, 448, 512)
_LARGE = (8192, 8192)


def find_size(network: nn.Module, channels: int, classes: int, architecture: str) -> int:
    """The one side of a square image for which `network` gives `classes` logits: a common one, else another.

    Raises UserError where several common ones do, as behind global pooling, and where none does.
    """
    failure = ""
    for sizes in (COMMON_SIZES, OTHER_SIZES):
        fitting: list[int] = []
        for side in sizes:
            reason = _misfit(network, (channels, side, side), classes, architecture)
            fitting += [] if reason else [side]
            failure = failure or reason
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            raise UserError(
                f"{architecture} works for images of {listed([str(side) for side in fitting])} pixels: specify the "
                "size that it was trained on with --size"
            )
    raise UserError(
        f"{architecture} works for none of the image sizes from {min(OTHER_SIZES)} to {max(OTHER_SIZES)} pixels that were tried "
        f"({failure}): set --size or --channels"
    )


def _misfit(network: nn.Module, shape: tuple[int, int, int], classes: int, architecture: str) -> str:
    """Why `network` does not give (1, classes) for an image of `shape`; empty if it does."""
    dtype = next((p.dtype for p in network.parameters() if p.is_floating_point()), torch.float32)
    grey = torch.zeros(1, *shape, dtype=dtype)
    was_training = network.training
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]), preserved_state(network):
            logits = find_logits(network.eval()(grey), classes, architecture)
    except UserError:
        raise
    except REJECTED as error:
        return (str(error).strip() or type(error).__name__).split("\n")[0]
    finally:
        network.train(was_training)
    return "" if logits.shape == (1, classes) else f"the output has shape {tuple(logits.shape)}"


def size_after(preprocess: str) -> int | None:
    """The side to which a preprocessing rule brings large images, if they are square after it and it is not empty."""
    height, width = Preprocess.parse(preprocess).size((_LARGE[0], _LARGE[1] // 2))
    return height if preprocess and height == width else None


def stem_channels(network: nn.Module) -> int | None:
    """The number of channels that the first convolution takes, in a scripted part too; None without convolutions."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            return module.in_channels
        if isinstance(module, torch.jit.ScriptModule) and getattr(module, "original_name", "") == "Conv2d":
            return module.weight.shape[1]  # pyrefly: ignore
    return None


def published_preprocess(name: str, checkpoint: Path) -> tuple[str, str]:
    """The preprocessing of torchvision's published weights for a network, and which weights these are.

    Those of the weights file that `checkpoint` is called like, else of the first. Two empty texts where torchvision
    publishes none, or does not know the network, or they state no resizing and crop.
    """
    import torchvision

    known = name in torchvision.models.list_models(module=torchvision.models)
    weights: Sequence = list(torchvision.models.get_model_weights(name)) if known else []
    chosen = next(
        (w for w in weights if Path(w.url).name == checkpoint.name), weights[0] if weights else None
    )
    preset = None if chosen is None else chosen.transforms()
    if chosen is None or not hasattr(preset, "crop_size") or not hasattr(preset, "resize_size"):
        return "", ""
    return torchvision_rule(preset), str(chosen)


def timm_size(name: str) -> int | None:
    """The side of the images that timm's weights for a network take; None where it states none, or is not installed."""
    try:
        import timm  # pyrefly: ignore[missing-import]
    except ImportError:
        return None
    config = timm.get_pretrained_cfg(name) if timm.is_model(name) else None
    size = getattr(config, "input_size", None)
    return size[-1] if size and size[-1] == size[-2] else None
