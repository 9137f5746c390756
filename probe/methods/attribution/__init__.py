"""Attribution methods: classes with their parameters, callable on a model, images and targets.

    probe.attribution.IntegratedGradients(steps=32)(model, pixels, targets)

The classes are imported when they are first used.
"""

from typing import Any

from probe.methods.attribution.registry import METHODS


def __getattr__(name: str) -> Any:
    if name == "layer_conductance":  # a layer's result, and no method: it has no map of the pixels
        from probe.methods.attribution.conductance import layer_conductance

        return layer_conductance
    return METHODS.attribute(__name__, name)


def __dir__() -> list[str]:
    return sorted(
        ["METHODS", "layer_conductance", *(entry.attribute for entry in METHODS.catalogue.values())]
    )
