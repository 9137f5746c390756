"""The dashboard: a model and images are chosen at the side, and each field of analysis has a page.

Start it with `probe dashboard`, or with `streamlit run apps/dashboard.py`.
"""

import sys
from pathlib import Path
from typing import Any

import streamlit as st
from PIL import Image

HOME = str(Path(__file__).resolve().parents[1])
if HOME not in sys.path:
    sys.path.insert(0, HOME)

st.set_page_config(page_title="probe", page_icon=Image.new("RGB", (32, 32), "#0a5a9c"), layout="wide")
PAGES = Path(__file__).parent / "views"  # not "pages": Streamlit would run those itself


def _page(name: str, title: str, icon: str) -> Any:
    return st.Page(PAGES / f"{name}.py", title=title, icon=f":material/{icon}:", default=name == "overview")


st.navigation(
    [
        _page("overview", "Overview", "dashboard"),
        _page("units", "Units", "grid_view"),
        _page("attribution", "Attribution", "center_focus_strong"),
        _page("adversarial", "Adversarial", "shield"),
        _page("synthesis", "Synthesis", "brush"),
        _page("representation", "Representation", "scatter_plot"),
        _page("landscape", "Landscape", "landscape"),
        _page("compare", "Compare", "compare_arrows"),
        _page("runs", "Runs", "history"),
        _page("importing", "Import", "upload"),
    ]
).run()


def _active_jobs() -> None:
    from apps.panels import active_jobs  # imports torch: the page has done so by now

    active_jobs()


_active_jobs()
