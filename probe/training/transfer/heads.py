"""The classifier head of a network: found, replaced for other classes, fine-tuned, and the features that it receives."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from probe.errors import UserError
from probe.model.loading import build
from probe.model.model import Model
from probe.model.parametrisation import with_plain_weights
from probe.training.augmentation import Augmentation
from probe.training.datasets import DeviceDataset


def classifier_address(model: Model) -> str:
    """The address of the layer whose outputs are the classes: the last one with weights, dense or convolutional.

    Raises UserError where the network ends in another kind of layer.
    """
    weighted = [layer for layer in model.layers if layer.leaf and layer.parameters]
    if not weighted:
        raise UserError(f"{model.name} has no weights: there is nothing to transfer")
    last = weighted[-1]
    module = model.module(last.address)
    outputs, classes = last.shape[0], len(model.classes)
    if not isinstance(module, nn.Linear | nn.Conv2d) or outputs != classes or last.calls > 1:
        raise UserError(
            f"{model.name} ends with {last.address} ({last.kind}, {outputs} outputs): probe transfers networks that "
            f"end with a dense layer or a convolution with one output for each of the {classes} classes"
        )
    return last.address


def new_head(inputs: int, classes: int, hidden_units: int = 0, *, bias: bool = True) -> nn.Sequential:
    """A head from (n, inputs) features to (n, classes) logits, with a hidden ReLU layer if `hidden_units` > 0.

    bias: of a head without a hidden layer.

    >>> sum(p.numel() for p in new_head(5 * 5 * 1024, 1, 256).parameters())
    6554113
    """
    if not hidden_units:
        return nn.Sequential(nn.Linear(inputs, classes, bias=bias))
    return nn.Sequential(nn.Linear(inputs, hidden_units), nn.ReLU(), nn.Linear(hidden_units, classes))


def with_new_head(model: Model, classes: int) -> nn.Module:
    """A frozen copy of the network whose last layer has `classes` outputs and torch's default initialisation.

    Raises UserError where its architecture cannot be built for so many classes, so that the copy could not be loaded.
    """
    network = copy.deepcopy(model.network)
    parent_address, _, name = classifier_address(model).rpartition(".")
    parent = network.get_submodule(parent_address)
    setattr(parent, name, _with_outputs(getattr(parent, name), classes).to(model.device))
    expected = _state_shapes(with_plain_weights(build_untrained(model, classes).eval()))
    actual = _state_shapes(network)
    if expected != actual:
        differing = next(key for key in (*actual, *expected) if actual.get(key) != expected.get(key))
        raise UserError(
            f"{model.card.architecture} does not build the same network as {model.name} for {classes} classes "
            f"({differing} differs): it could not be loaded again"
        )
    return network.requires_grad_(False)


@torch.no_grad()
def with_head(model: Model, network: nn.Module, head: nn.Sequential) -> nn.Module:
    """A copy of `network`, which `with_new_head` made of `model`, whose last layer computes what `head` computes.

    head: as `new_head` makes it, without a hidden layer.
    """
    network = copy.deepcopy(network)
    layer = network.get_submodule(classifier_address(model))
    for name, value in head[0].named_parameters():
        weight = layer.get_parameter(name)
        weight.copy_(value.view_as(weight))
    return network


def build_untrained(model: Model, classes: int) -> nn.Module:
    """The model's architecture for `classes`, with newly initialised weights."""
    card = model.card
    return build(
        card.architecture, classes=classes, shape=model.shape, options=card.options, folder=model.folder
    )


def unfreeze(network: nn.Module, addresses: Sequence[str], count: int) -> None:
    """Make the last `count` layers trainable, with the normalisation layers among and after them; freeze the rest.

    addresses: of all layers with parameters, in the order of the forward pass.
    """
    network.requires_grad_(False)
    modules = dict(network.named_modules())
    weighted = [name for name in addresses if isinstance(modules[name], nn.Conv2d | nn.Linear)]
    first = weighted[-count] if count <= len(weighted) else weighted[0]
    for name in addresses[addresses.index(first) :]:
        modules[name].requires_grad_(True)


def trainable_parameters(network: nn.Module) -> int:
    """The number of parameters that are not frozen."""
    return sum(weight.numel() for weight in network.parameters() if weight.requires_grad)


@torch.no_grad()
def head_inputs(model: Model, dataset: DeviceDataset) -> Tensor:
    """The input of the last layer for each image, (n, features).

    For a convolution over maps, whose outputs the network averages, the mean over the positions.
    """
    layer = model.layers.find(classifier_address(model))
    averaged = max(layer.shape[1:], default=1) > 1
    features: list[Tensor] = []

    def record(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        maps = inputs[0]
        features.append(maps.mean((2, 3)) if averaged else maps.flatten(1))

    batches = list(torch.arange(len(dataset)).split(model.batch()))
    module = model.module(layer.address)
    assert module is not None  # `classifier_address` has checked that it is one
    handle = module.register_forward_pre_hook(record)
    try:
        for pixels, _ in dataset.batches(batches, Augmentation((), dataset.size), None, slice(None)):
            model.logits(pixels)
    finally:
        handle.remove()
    return torch.cat(features)


def _with_outputs(layer: nn.Module, classes: int) -> nn.Module:
    """A new layer like `layer` with `classes` outputs."""
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


def _state_shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in network.state_dict().items()}
