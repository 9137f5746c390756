"""What at the end of a network names the classes, and how is it made anew for others?"""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from probe.errors import UserError
from probe.model.loading import build
from probe.model.model import Model
from probe.training.augmentation import Augmentation
from probe.training.datasets import DeviceDataset


def classifier(model: Model) -> str:
    """The address of the layer whose outputs are the classes: the last one with weights, dense or a convolution.

    Raises UserError where the network ends in something else.
    """
    weighted = [layer for layer in model.layers if layer.leaf and layer.parameters]
    last = weighted[-1] if weighted else None
    if last is None:
        raise UserError(f"{model.name} has no weights: there is nothing to transfer")
    module = model.network.get_submodule(last.address.partition("#")[0])
    outputs, classes = last.shape[0], len(model.classes)
    if not isinstance(module, nn.Linear | nn.Conv2d) or outputs != classes or last.calls > 1:
        raise UserError(
            f"{model.name} ends in {last.address} ({last.kind}, {outputs} outputs): probe transfers networks that "
            f"end in a dense layer or a convolution with one output for each of the {classes} classes"
        )
    return last.address


def new_head(inputs: int, classes: int, hidden: int = 0) -> nn.Sequential:
    """What turns (n, inputs) features into (n, classes) scores, through `hidden` units where there are any.

    >>> sum(p.numel() for p in new_head(5 * 5 * 1024, 1, 256).parameters())
    6554113
    """
    if not hidden:
        return nn.Sequential(nn.Linear(inputs, classes))
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, classes))


def with_new_head(model: Model, classes: int) -> nn.Module:
    """A frozen copy of the network whose last layer has `classes` outputs and torch's own start.

    Raises UserError where its architecture cannot be built for so many classes, so that the copy could not be loaded.
    """
    network = copy.deepcopy(model.network)
    place, _, name = classifier(model).rpartition(".")
    parent = network.get_submodule(place)
    setattr(parent, name, _widened(getattr(parent, name), classes).to(model.device))
    wanted, got = _shapes(untrained(model, classes)), _shapes(network)
    if wanted != got:
        odd = next(key for key in (*got, *wanted) if got.get(key) != wanted.get(key))
        raise UserError(
            f"{model.card.architecture} builds no network like {model.name} for {classes} classes "
            f"({odd} differs): it could not be loaded again"
        )
    return network.requires_grad_(False)


def untrained(model: Model, classes: int) -> nn.Module:
    """The model's architecture from new weights, for `classes`."""
    card = model.card
    return build(
        card.architecture, classes=classes, shape=model.shape, options=card.options, folder=model.folder
    )


def unfreeze(network: nn.Module, order: Sequence[str], last: int) -> int:
    """Free the last `last` layers of `order` and what normalises them, freeze all else; how many weights are free."""
    network.requires_grad_(False)
    modules = dict(network.named_modules())
    weighted = [name for name in order if isinstance(modules[name], nn.Conv2d | nn.Linear)]
    first = weighted[-last] if last <= len(weighted) else weighted[0]
    for name in order[order.index(first) :]:
        modules[name].requires_grad_(True)
    return sum(weight.numel() for weight in network.parameters() if weight.requires_grad)


@torch.no_grad()
def head_inputs(model: Model, feed: DeviceDataset) -> Tensor:
    """What the last layer is given for each image, (n, values).

    For a convolution that answers at many places, which the network averages, the mean over the places.
    """
    layer = model.layers.find(classifier(model))
    places = layer.shape[1:]
    heard: list[Tensor] = []

    def hear(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        maps = inputs[0]
        heard.append(maps.mean((2, 3)) if max(places, default=1) > 1 else maps.flatten(1))

    parts = list(torch.arange(len(feed)).split(model.batch()))
    handle = model.network.get_submodule(layer.address).register_forward_pre_hook(hear)
    try:
        for pixels, _ in feed.batches(parts, Augmentation((), feed.size), None, slice(None)):
            model.logits(pixels)
    finally:
        handle.remove()
    return torch.cat(heard)


def _widened(layer: nn.Module, classes: int) -> nn.Module:
    if isinstance(layer, nn.Linear):
        return nn.Linear(layer.in_features, classes, bias=layer.bias is not None)
    assert isinstance(layer, nn.Conv2d)
    return nn.Conv2d(
        layer.in_channels,
        classes,
        layer.kernel_size,  # pyrefly: ignore[bad-argument-type]
        layer.stride,  # pyrefly: ignore[bad-argument-type]
        layer.padding,  # pyrefly: ignore[bad-argument-type]
        layer.dilation,  # pyrefly: ignore[bad-argument-type]
        bias=layer.bias is not None,
    )


def _shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in network.state_dict().items()}
