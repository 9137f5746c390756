"""The process of the server: imports what pages need and opens what the command line named, then runs Streamlit.

`streamlit run apps/dashboard.py` serves the same pages; there the first visitor waits for the imports.
"""

import gc
import importlib
import os
import sys
import threading
import time
from pathlib import Path

APPS = Path(__file__).resolve().parent
if str(APPS) in sys.path:  # where Python finds a script; its files are modules of the package `apps`
    sys.path.remove(str(APPS))
if str(APPS.parent) not in sys.path:
    sys.path.insert(0, str(APPS.parent))

_NEEDED = (
    *("torch", "pandas.io.formats.style", "pyarrow", "plotly.graph_objects", "streamlit.web.bootstrap"),
    *("streamlit.dataframe_util", "streamlit.elements.lib.pandas_styler_utils", "streamlit.navigation.page"),
    *("streamlit.material_icon_names", "plotly.io", "pyarrow.pandas_compat", "PIL.PngImagePlugin"),
    *("probe.reporting.report", "probe.data.sources", "probe.data.shapes", "probe.exhibits.interactive"),
    *("apps.panels", "apps.pictures", "apps.predictions", "apps.show"),
)
_FIRST_PAGE = 4.0  # seconds in which it should be there


def main(arguments: list[str]) -> int:
    """Run Streamlit with `arguments`; returns the exit code, 2 for models and images that cannot be opened."""
    from probe.cli import report_error
    from probe.errors import UserError

    for name in _NEEDED:
        importlib.import_module(name)
    try:
        _open()
    except (UserError, OSError) as error:
        return report_error(error)
    _import_analyses("inspection")
    threading.Thread(target=_import_the_rest, daemon=True, name="probe-imports").start()
    from streamlit.web.cli import main as streamlit

    return streamlit(["run", str(APPS / "dashboard.py"), *arguments], prog_name="streamlit") or 0


def _import_analyses(*rooms: str) -> None:
    """Import the analyses of these fields, by default of all."""
    from probe.analyses import catalogue, find
    from probe.methods.adversarial.registry import ATTACKS
    from probe.methods.attribution.registry import METHODS

    assert ATTACKS.catalogue
    assert METHODS.catalogue
    for name, entry in catalogue().items():
        if not rooms or entry.module.split(".")[2] in rooms:
            find(name)
    # After each run of a page Streamlit searches all objects for garbage: what is imported stays, and need not be searched.
    gc.collect()
    gc.freeze()


def _import_the_rest() -> None:
    """What the other pages need, which takes seconds, while the first one is looked at."""
    time.sleep(_FIRST_PAGE)
    importlib.import_module("torchvision")  # reads downloaded data sets, builds imported networks
    _import_analyses()


def _open() -> None:
    """Raise UserError unless the models and images that the command line named can be opened."""
    from apps.session import DATA, DEFAULT_MODEL, MODELS, open_data
    from probe.model.loading import load

    named = [spec for spec in os.environ.get(MODELS, "").split("\n") if spec]
    for spec in named or [DEFAULT_MODEL]:
        load(spec)
    for spec in os.environ.get(DATA, "").split("\n"):
        if spec:
            open_data(spec, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
