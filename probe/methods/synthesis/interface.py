"""Optimised images; as `probe.synthesis`, for example `probe.synthesis.dream(...)`.

The functions and classes of this folder by their names, imported when they are first used.
"""

from importlib import import_module
from pathlib import Path
from typing import Any

from probe.registry import public_names

_MODULES = public_names(Path(__file__).parent)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'probe.synthesis' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted(_MODULES)
