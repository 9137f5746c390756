"""Attribution methods: classes with their parameters, callable on a model, images and targets.

    probe.attribution.IntegratedGradients(steps=32)(model, pixels, targets)

The classes are imported when they are first used.
"""

from typing import Any

from probe.methods.attribution.registry import METHODS


def __getattr__(name: str) -> Any:
    return METHODS.attribute(__name__, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *(entry.attribute for entry in METHODS.catalogue.values())})
