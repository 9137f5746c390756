"""The registry of attribution methods."""

from pathlib import Path
from typing import TYPE_CHECKING

from probe.registry import Registry

if TYPE_CHECKING:
    from probe.methods.attribution.method import AttributionMethod

METHODS: "Registry[AttributionMethod]" = Registry(
    "attribution method", Path(__file__).parent, hint="`probe list methods` lists them."
)


def methods_help() -> str:
    """Help text for a field that holds attribution methods."""
    return f"any of {', '.join(METHODS.catalogue)}; parameters are given in brackets, as in smoothgrad(samples=32)"
