"""Wrap a network that exists in Python as a Model; the caller's own network is copied and stays as it is."""

import copy
import hashlib
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from probe.device import choose_device
from probe.errors import UserError
from probe.model.cards import Card, Input
from probe.model.loading import check_output
from probe.model.model import Model
from probe.model.state import preserved_state
from probe.params import error_message

_FINGERPRINT_IMAGES = 4


def wrap(  # parameters: all that a network in memory does not say of itself
    module: nn.Module,
    *,
    shape: Sequence[int] | None = None,
    mean: float | Sequence[float] | np.ndarray | Tensor | None = None,
    std: float | Sequence[float] | np.ndarray | Tensor | None = None,
    classes: Sequence[str] | int | None = None,
    preprocess: str = "",
    name: str = "",
    device: str | torch.device | None = None,
) -> Model:
    """Create a Model from a network in memory, so that every analysis and method can be run on it.

    module: maps (n, c, h, w) to logits (n, classes), or to a tuple, mapping or dataclass that holds them. It is copied:
        its mode, hooks, flags, buffers and gradients stay as they are. Its hooks are copied too, since they may change
        what it computes.
    shape: channels, height and width of its input, such as (3, 224, 224).
    mean, std: the values per channel by which inputs were normalised in training, for pixels in [0, 1], such as
        mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225). There is no default, because a wrong one lowers the accuracy
        without an error message: pass mean=0, std=1 if the pixels were not normalised.
    classes: the names of its outputs in order, or their number.
    preprocess: how images of other sizes are brought to `shape` (default: 'resize S, centre crop S').
    name: shown in results (default: the class of the network). device: where it computes (default: where its weights are).

    Raises UserError if an argument is missing or invalid: shape, mean, std and classes are all required.
    """
    if not isinstance(module, nn.Module):
        raise UserError(
            f"wrap takes a torch.nn.Module, got {type(module).__name__}: probe.load takes names and folders"
        )
    channels, height, width = sizes = _shape(shape)
    means, stds = _normalisation(mean, std, channels)
    names = _class_names(classes)
    network = _copied(getattr(module, "_orig_mod", module))
    name = name or type(network).__name__
    side = min(height, width)
    fields = {
        "shape": sizes,
        "mean": means,
        "std": stds,
        "preprocess": preprocess or (f"resize {side}, centre crop {side}" if height == width else ""),
    }
    card = Card(
        name=name,
        architecture=f"{type(network).__name__} (in memory)",
        classes=names,
        input=_input(fields),
        training={"origin": "wrapped in Python; how it was trained is unknown"},
    )
    if device is None:
        device = next((value.device for value in network.parameters()), torch.device("cpu"))
    model = Model(network, card, choose_device(str(device)))
    check_output(model, hint="check `shape`")
    # Its code has no digest: results of two networks with the same weights must not be taken for each other.
    options = {"logits": _fingerprint(model)}
    return Model(model.network, card.model_copy(update={"options": options}), model.device)


def _input(fields: dict[str, Any]) -> Input:
    try:
        return Input(**fields)
    except ValidationError as error:
        raise UserError(error_message(Input, error)) from None


def _shape(shape: Sequence[int] | None) -> tuple[int, int, int]:
    if shape is None:
        raise UserError(
            "wrap needs the shape of one input: channels, height and width, such as shape=(3, 224, 224)"
        )
    sizes = tuple(shape) if isinstance(shape, Sequence | np.ndarray) else ()
    if len(sizes) != 3 or not all(isinstance(size, int | np.integer) and size > 0 for size in sizes):
        raise UserError(
            f"shape must be channels, height and width, such as (3, 224, 224), without the batch, got {shape!r}"
        )
    return int(sizes[0]), int(sizes[1]), int(sizes[2])


def _normalisation(
    mean: float | Sequence[float] | np.ndarray | Tensor | None,
    std: float | Sequence[float] | np.ndarray | Tensor | None,
    channels: int,
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and std of each channel; UserError where they are missing or given in grey levels."""
    values: dict[str, tuple[float, ...]] = {}
    for name, given in (("mean", mean), ("std", std)):
        if given is None:
            raise UserError(
                f"wrap needs the {name} per channel by which inputs were normalised in training, for pixels in [0, 1]: "
                "pass mean=0, std=1 if they were not normalised"
            )
        try:
            listed = np.asarray(
                given.detach().cpu() if isinstance(given, Tensor) else given, dtype=np.float64
            )
        except (TypeError, ValueError):
            raise UserError(f"{name} must be a number, or one for each channel, got {given!r}") from None
        numbers = tuple(listed.ravel().tolist()) * (channels if listed.ndim == 0 else 1)
        if len(numbers) != channels:
            raise UserError(f"{name} must have {channels} numbers, one per channel, got {len(numbers)}")
        values[name] = numbers
    if not all(0 <= value <= 1 for value in values["mean"]):
        raise UserError(
            f"mean must lie in [0, 1], got {max(values['mean'], key=abs):g}: pixels are in [0, 1], divide grey levels by 255"
        )
    if not all(0 < value <= 1 and math.isfinite(value) for value in values["std"]):
        raise UserError(
            f"std must lie in (0, 1], got {max(values['std'], key=abs):g}: pixels are in [0, 1], divide grey levels by 255"
        )
    return values["mean"], values["std"]


def _class_names(classes: Sequence[str] | int | None) -> tuple[str, ...]:
    if classes is None:
        raise UserError("wrap needs the classes: the names of the outputs in order, or their number")
    if isinstance(classes, int):
        if classes < 1 or isinstance(classes, bool):
            raise UserError(f"there must be at least one class, got classes={classes}")
        return tuple(f"class {index}" for index in range(classes))
    if isinstance(classes, str):
        raise UserError(f"classes must be a list of names or their number, got the text {classes!r}")
    names = tuple(str(name) for name in classes)
    if not names:
        raise UserError("classes is empty: give the names of the outputs in order, or their number")
    return names


def _copied(module: nn.Module) -> nn.Module:
    """A copy that shares nothing with `module`. Raises UserError for one that has no weights yet or cannot be copied."""
    if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
        module = module.module
    if isinstance(module, torch.jit.ScriptModule):
        raise UserError(
            "a ScriptModule cannot be analysed because it does not support hooks: wrap the Python network with its state dict"
        )
    for parameter in module.parameters():
        if is_lazy(parameter):
            raise UserError(
                f"{type(module).__name__} has lazy layers without weights: run one batch through it first"
            )
        if parameter.is_meta:
            raise UserError(
                f"{type(module).__name__} is on the meta device: load its weights before wrapping it"
            )
    # What a hook has computed, such as a weight by weight_norm, is no leaf, and torch copies leaves alone.
    memo: dict[int, Any] = {
        id(value): value.detach().clone()
        for part in module.modules()
        for value in vars(part).values()
        if isinstance(value, Tensor) and not value.is_leaf
    }
    try:
        return copy.deepcopy(module, memo)
    except Exception as error:
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise UserError(
            f"{type(module).__name__} cannot be copied ({reason}): remove attributes that hold files, locks or graphs"
        ) from error


def _fingerprint(model: Model) -> str:
    """A hash of the logits of a few random images: what tells two networks with the same weights apart."""
    rng = torch.Generator().manual_seed(0)
    pixels = torch.rand(_FINGERPRINT_IMAGES, *model.shape, generator=rng).to(model.device)
    with torch.no_grad(), torch.random.fork_rng(devices=[]), preserved_state(model.network):
        torch.manual_seed(0)  # for networks that draw
        logits = model.logits(pixels)
    return hashlib.sha256(logits.double().cpu().numpy().tobytes()).hexdigest()[:16]
