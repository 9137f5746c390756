"""Architectures by name: looked up without torch, built on demand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from inspect import signature
from typing import TYPE_CHECKING, Any

from probe.errors import UserError, unknown
from probe.zoo.table import ARCHITECTURES, Architecture

if TYPE_CHECKING:
    from torch import nn


def architectures() -> Mapping[str, Architecture]:
    """All architectures by name, roughly in order of publication."""
    return ARCHITECTURES


def architecture(name: str) -> Architecture:
    """The architecture of that name; a UserError with the nearest names where there is none."""
    if name not in ARCHITECTURES:
        raise unknown("architecture", name, ARCHITECTURES, hint="`probe list architectures` shows all.")
    return ARCHITECTURES[name]


def build(
    name: str,
    *,
    classes: int | None = None,
    channels: int | None = None,
    whiten: bool = False,
    **options: Any,
) -> nn.Sequential:
    """Build a newly initialised network, in training mode.

    classes, channels: by default those of the architecture. whiten: prepend a layer without parameters that
    standardises each image to mean 0 and variance 1.
    options: keyword arguments of the function that builds it, such as `depth` or `dropout`.
    The weights are drawn from torch's global generator, so set its seed first.
    Raises UserError for an unknown name or option, and for values with which no network can be built.

    >>> sum(p.numel() for p in build("lenet5").parameters())
    61706
    """
    entry = architecture(name)
    builder = _builder(entry)
    known = set(signature(builder).parameters) - {"classes", "channels"}
    for option in options:
        if option not in known:
            raise unknown(f"option of {name}", option, [*sorted(known), "whiten"])
    arguments = {**entry.options, **options, "classes": entry.classes if classes is None else classes}
    if entry.takes_images:
        arguments["channels"] = entry.shape[0] if channels is None else channels
    elif channels is not None or whiten:
        raise UserError(f"{name} classifies text, not images: it has no channels and nothing to whiten")
    for parameter in ("classes", "channels"):
        if (count := arguments.get(parameter, 1)) < 1:
            raise UserError(f"{parameter} of {name} must be at least 1, got {count}")
    network = builder(**arguments)
    return _whitened(network) if whiten else network


def _whitened(network: nn.Sequential) -> nn.Sequential:
    from probe.zoo.chain import chain
    from probe.zoo.whitening import Standardise

    return chain(whiten=Standardise(), **dict(network.named_children()))


def _builder(entry: Architecture) -> Callable[..., nn.Sequential]:
    module, function = entry.builder.split(":")
    return getattr(import_module(f"probe.zoo.{module}"), function)
