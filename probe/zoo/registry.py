"""How is an architecture found and built by its name? Listing them loads no torch."""

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
    """All architectures by name, from the oldest idea to the youngest."""
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
    """A freshly initialised network, in training mode.

    classes, channels: those of the architecture unless given. whiten: put a layer without parameters in front that
    brings each image to mean 0 and variance 1.
    options: keyword arguments of the function that makes it, such as `depth` or `dropout`.
    The weights are drawn from torch's global generator: whoever trains it sets the seed.
    Raises UserError for an unknown name or option, and for numbers that make no network.

    >>> sum(p.numel() for p in build("lenet5").parameters())
    61706
    """
    found = architecture(name)
    maker: Callable[..., nn.Sequential] = _maker(found)
    known = set(signature(maker).parameters) - {"classes", "channels"}
    for option in options:
        if option not in known:
            raise unknown(f"option of {name}", option, [*sorted(known), "whiten"])
    arguments = {**found.options, **options, "classes": found.classes if classes is None else classes}
    if found.reads_images:
        arguments["channels"] = found.shape[0] if channels is None else channels
    elif channels is not None or whiten:
        raise UserError(f"{name} reads word numbers, not images: it has no channels and nothing to whiten")
    for what in ("classes", "channels"):
        if (count := arguments.get(what, 1)) < 1:
            raise UserError(f"{what} of {name} must be at least 1, got {count}")
    network = maker(**arguments)
    return _whitened(network) if whiten else network


def _whitened(network: nn.Sequential) -> nn.Sequential:
    from probe.zoo.chain import chain
    from probe.zoo.whitening import Standardise

    return chain(whiten=Standardise(), **dict(network.named_children()))


def _maker(found: Architecture) -> Callable[..., nn.Sequential]:
    module, function = found.maker.split(":")
    return getattr(import_module(f"probe.zoo.{module}"), function)
