"""probe: what did my CNN learn, what drives it, and how does it break?

    import probe
    model = probe.load("lenet5-mnist")                  # or probe.wrap(network, shape=..., mean=..., std=..., classes=...)
    images = probe.images("mnist:test", n=512)          # or an array, a torch Dataset, a DataLoader
    result = probe.run("fgsm", model, images, eps="8/255")
    result                                              # a notebook shows it
    result["Accuracy against eps"].to_pandas()

Importing probe does not import torch; the names below do when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from probe.data.grid import grid
    from probe.data.images import Images
    from probe.data.sources import open_images as images
    from probe.errors import UserError
    from probe.exhibits.result import Result
    from probe.methods import adversarial, attribution
    from probe.methods.synthesis import interface as synthesis
    from probe.model.importing import adopt
    from probe.model.loading import load
    from probe.model.model import Model
    from probe.model.wrapping import wrap
    from probe.reporting.report import report
    from probe.reporting.sweep import sweep
    from probe.runs.engine import Engine
    from probe.runs.execute import run
    from probe.runs.opening import open_run
    from probe.training.train import train
    from probe.training.transfer.run import transfer

_HOMES = {
    "Engine": "probe.runs.engine",
    "Images": "probe.data.images",
    "Model": "probe.model.model",
    "Result": "probe.exhibits.result",
    "UserError": "probe.errors",
    "adopt": "probe.model.importing",
    "grid": "probe.data.grid",
    "images": "probe.data.sources:open_images",
    "load": "probe.model.loading",
    "open_run": "probe.runs.opening",
    "report": "probe.reporting.report",
    "run": "probe.runs.execute",
    "sweep": "probe.reporting.sweep",
    "train": "probe.training.train",
    "transfer": "probe.training.transfer.run",
    "wrap": "probe.model.wrapping",
}
_FIELDS = ("adversarial", "attribution", "synthesis")
"""What holds the methods of a field, which are called as probe.FIELD.NAME."""

__all__ = [
    "Engine",
    "Images",
    "Model",
    "Result",
    "UserError",
    "__version__",
    "adopt",
    "adversarial",
    "attribution",
    "grid",
    "images",
    "load",
    "open_run",
    "report",
    "run",
    "sweep",
    "synthesis",
    "train",
    "transfer",
    "wrap",
]


def __getattr__(name: str) -> Any:
    if name in _FIELDS:
        value = import_module(f"probe.{name}")
    elif name in _HOMES:
        module, _, attribute = _HOMES[name].partition(":")
        value = getattr(import_module(module), attribute or name)
    else:
        raise AttributeError(f"module 'probe' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
