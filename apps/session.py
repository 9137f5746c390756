"""What the pages share: the chosen model and images, their locks, the jobs, and the places that may be read and written."""

import ctypes
import os
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import streamlit as st
import torch
from streamlit.errors import StreamlitPageNotFoundError

from apps.jobs import Jobs
from probe.data.images import Images
from probe.data.sources import open_images
from probe.data.subsample import stratified_sample
from probe.errors import UserError
from probe.model.loading import load, pretrained
from probe.model.model import Model
from probe.runs.execute import prepare

MODELS, DATA, OUT = "PROBE_DASHBOARD_MODELS", "PROBE_DASHBOARD_DATA", "PROBE_DASHBOARD_OUT"
"""Environment variables that `probe dashboard` sets: models and data beside those that are installed, and the run folder."""
LABELS = "PROBE_DASHBOARD_LABELS"
"""The true classes of the images in the folders among the data: 'prefix' or a CSV file."""

_NO_FILES = ("shapes", "shapes-shortcut", "shapes-shortcut:swapped", "digits")
_BUILT_IN = (*_NO_FILES, "mnist", "fashion-mnist", "cifar10")
DEFAULT_MODEL = "vgg-shapes"


@dataclass(frozen=True)
class Shared:
    """A model of this server. lock: held while a page computes with it."""

    model: Model
    lock: threading.Lock


@st.cache_resource(show_spinner=False)
def jobs() -> Jobs:
    """The jobs of this server."""
    return Jobs()


def _release(shared: Shared) -> None:
    shared.model.network.to("meta")
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    _return_memory()


def _return_memory() -> None:
    """Give back to the system what the allocator of glibc keeps of freed blocks."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:
        trim(0)


@st.cache_resource(max_entries=3, show_spinner="Loading the model", on_release=_release)
def shared_model(spec: str) -> Shared:
    """The model of a spec, for the pages. Jobs load their own, so that both can compute at once."""
    return Shared(load(spec), threading.Lock())


@st.cache_resource(max_entries=3, show_spinner="Loading the images")
def prepared_images(model_spec: str, data: str, n: int, seed: int) -> Images:
    """The images of a spec, prepared for a model: n of them, or all if there are fewer."""
    if (selection := selections().get(data)) is not None:
        base = prepared_images(model_spec, selection.data, selection.n, selection.seed)
        return base.select(list(selection.rows[:n]))
    opened = open_data(data, None if data.startswith("folder:") else _size(data, n), seed)
    if len(opened) > n:
        opened = opened.select(stratified_sample(opened.labels, len(opened), n, seed))
        # The others are not kept: a set of 10,000 images takes 30 MB for every model that it is prepared for.
        opened = replace(opened, store=opened.store.subset(opened.rows), rows=torch.arange(n))
    return prepare(shared_model(model_spec).model, opened)


@dataclass(frozen=True)
class Selection:
    """Images that were selected on a page. rows: their positions among `n` images of `data` with `seed`."""

    data: str
    n: int
    seed: int
    rows: tuple[int, ...]


@st.cache_resource(show_spinner=False)
def selections() -> dict[str, Selection]:
    """The selections of this server, by the name under which any page takes them as images."""
    return {}


def save_selection(choice: "Choice", rows: Sequence[int]) -> str:
    """Keep these images of the choice as images to choose; returns their name."""
    base = (
        choice.data.partition(" of ")[2].rpartition(" (")[0] if choice.data in selections() else choice.data
    )
    chosen = Selection(choice.data, choice.n, choice.seed, tuple(rows))
    known = next((name for name, other in selections().items() if other == chosen), None)
    name = known or f"selection {len(selections()) + 1} of {base} ({len(rows)})"
    selections()[name] = chosen
    return name


def open_data(spec: str, n: int | None, seed: int = 0) -> Images:
    """The images of a spec, those in a folder with the labels that the command line named."""
    labels = os.environ.get(LABELS) if spec.startswith("folder:") else None
    return open_images(spec, n=n, seed=seed, labels=labels or None)


def _size(data: str, n: int) -> int | None:
    """shapes draws as many images as are asked for; other sources are sampled after they are read."""
    return n if data.startswith("shapes") else None


def _listed(variable: str) -> list[str]:
    return [part for part in os.environ.get(variable, "").split("\n") if part]


def model_specs() -> list[str]:
    """The models that can be chosen: those that were imported or named on the command line, then the pretrained ones."""
    return [*imported_models(), *_listed(MODELS), *pretrained()]


@st.cache_resource(show_spinner=False)
def imported_models() -> list[str]:
    """The folders of the models that were imported on this server, the last first."""
    return []


def model_name(spec: str) -> str:
    """What a page calls a model: of a folder the name alone, unless another one is called so too."""
    named = [other for other in _listed(MODELS) if Path(other).name == Path(spec).name]
    shared = len(set(named)) > 1 or Path(spec).name in pretrained()
    return Path(spec).name if spec in imported_models() or (spec in named and not shared) else spec


def option_name(spec: str) -> str:
    """What the side bar and addresses call a model: of an imported one the name alone."""
    return Path(spec).name if spec in imported_models() else spec


def data_specs() -> list[str]:
    """The images that can be chosen: what was selected on a page, what the command line named, and what is installed."""
    named = _listed(DATA)
    available = [spec for spec in _BUILT_IN if spec in _NO_FILES or _on_disk(spec)]
    return [*selections(), *named, *(spec for spec in available if spec not in named)]


def _on_disk(spec: str) -> bool:
    root = os.environ.get("PROBE_DATA", "")
    folder = {"mnist": "mnist", "fashion-mnist": "fashion-mnist", "cifar10": "cifar10"}[spec]
    return bool(root) and any((Path(root) / name).exists() for name in (folder, folder.replace("-", "")))


def out_folder() -> Path:
    """Where runs are written and read."""
    return Path(os.environ.get(OUT) or "runs")


def default_data(spec: str) -> str:
    """The images that a pretrained model was trained for, by the end of its name."""
    specs = [data for data in data_specs() if data not in selections()]
    return next((data for data in specs if spec.split(":")[0].endswith(data)), specs[0])


@st.cache_resource(show_spinner=False)
def _uploads() -> "tempfile.TemporaryDirectory[str]":
    return tempfile.TemporaryDirectory(prefix="probe-uploads-")


def upload_folder() -> Path:
    """A folder for uploaded pictures, which only the user of the server can read; removed when the server ends."""
    return Path(_uploads().name)


@dataclass(frozen=True)
class Choice:
    """What the side bar says. spec, data: specs; n: images at most."""

    spec: str
    data: str
    n: int
    seed: int

    @property
    def key(self) -> str:
        """The same for the same model and images."""
        return f"{self.spec} {self.data} {self.n} {self.seed}"

    @property
    def address(self) -> dict[str, Any]:
        """The values of the side bar, as they stand in the address of a page."""
        return {"model": option_name(self.spec), "data": self.data, "n": self.n}

    @property
    def model(self) -> Model:
        return shared_model(self.spec).model

    @property
    def lock(self) -> threading.Lock:
        return shared_model(self.spec).lock

    @property
    def images(self) -> Images:
        return prepared_images(self.spec, self.data, self.n, self.seed)


def page_link(name: str, label: str, icon: str, address: dict[str, Any] | None = None) -> None:
    """A link to another page. address: the values of its widgets, as they stand in its address."""
    query = {key: str(value) for key, value in (address or {}).items()}
    with suppress(StreamlitPageNotFoundError):  # where a page runs by itself
        st.page_link(f"views/{name}.py", label=label, icon=icon, query_params=query or None)


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """Show an error of the user as one line, and end the page or the fragment there."""
    try:
        yield
    except (UserError, OSError) as error:
        stop(error)


def stop(error: UserError | OSError | str) -> None:
    """Show one line and end the page."""
    from apps.show import plain

    st.error(plain(str(error)))
    st.stop()


def choose() -> Choice:
    """The side bar; its values are part of the page's address."""
    from apps.show import plain

    offered = {"model": [option_name(spec) for spec in model_specs()], "data": data_specs()}
    missing = [
        st.query_params[key]
        for key, options in offered.items()
        if st.query_params.get(key, options[0]) not in options
    ]
    # Streamlit keeps what a visitor has chosen for the next page, but not what came with the address: it is set again.
    for name, value in st.session_state.get("side-bar", {}).items():
        if name not in st.query_params:
            st.session_state[name] = st.session_state.get(name, value)
    with st.sidebar:
        specs = model_specs()
        first = specs.index((_listed(MODELS) or [DEFAULT_MODEL])[0])
        spec = st.selectbox(
            "Model",
            specs,
            index=first,
            format_func=option_name,
            key="model",
            on_change=_model_changed,
            **_IN_ADDRESS,
        )
        spec = spec or specs[first]
        options = data_specs()
        data = st.selectbox(
            "Images",
            options,
            index=options.index(default_data(spec)),
            key="data",
            **_IN_ADDRESS,
        )
        n = st.number_input("Number of images", 1, 100_000, 500, key="n", **_IN_ADDRESS)
        st.session_state["side-bar"] = {"model": spec, "data": data, "n": n}
    if missing:
        shown = f"this page shows {model_name(spec)} on {data or default_data(spec)}"
        st.warning(
            plain(f"The link asks for {' and '.join(missing)}, which this server does not have: {shown}.")
        )
    return Choice(spec, data or default_data(spec), int(n), 0)


_IN_ADDRESS: Any = {"bind": "query-params", "persist_state": "session"}


def _model_changed() -> None:
    """Another model comes with the images that it was trained for."""
    st.session_state["data"] = default_data(st.session_state["model"])
    st.session_state.pop("layer", None)
