"""Attacks and what measures them; as `probe.adversarial`, for example `probe.adversarial.PGD(eps="8/255")`.

    result = probe.adversarial.PGD(eps="8/255", steps=20)(model, pixels, labels)

Loads no torch until one of its classes is used.
"""

from typing import Any

from probe.methods.adversarial.registry import ATTACKS


def __getattr__(name: str) -> Any:
    return ATTACKS.attribute(__name__, name)


def __dir__() -> list[str]:
    return sorted(["ATTACKS", *(entry.attribute for entry in ATTACKS.catalogue.values())])
