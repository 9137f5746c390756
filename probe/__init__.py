"""probe: what did my CNN learn, what drives it, and how does it break?

    import probe
    model = probe.load("lenet5-mnist")
    images = probe.images("mnist:test", n=512)
    result = probe.run("fgsm", model, images, eps="8/255")

Importing probe does not import torch; the names below do when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "load": ("probe.model.loading", "load"),
    "adopt": ("probe.model.importing", "adopt"),
    "Model": ("probe.model.model", "Model"),
    "images": ("probe.data.sources", "open_images"),
    "Images": ("probe.data.images", "Images"),
    "run": ("probe.runs.execute", "run"),
    "report": ("probe.reporting.report", "report"),
    "UserError": ("probe.errors", "UserError"),
    "adversarial": ("probe.methods.adversarial", ""),
    "attribution": ("probe.methods.attribution", ""),
}

if TYPE_CHECKING:
    from probe.data.images import Images
    from probe.data.sources import open_images as images
    from probe.errors import UserError
    from probe.methods import adversarial, attribution
    from probe.model.importing import adopt
    from probe.model.loading import load
    from probe.model.model import Model
    from probe.reporting.report import report
    from probe.runs.execute import run

__all__ = [
    "Images",
    "Model",
    "UserError",
    "__version__",
    "adopt",
    "adversarial",
    "attribution",
    "images",
    "load",
    "report",
    "run",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'probe' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    value = import_module(module)
    if attribute:
        value = getattr(value, attribute)
    globals()[name] = value
    return value
