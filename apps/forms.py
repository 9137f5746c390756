"""Widgets for the parameters of analyses and methods, made of their own definitions."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import streamlit as st

from apps.session import model_specs, upload_folder
from apps.show import plain
from probe.analyses.analysis import Analysis
from probe.atomic_files import write_whole
from probe.data.image_files import UnreadableFile, decode
from probe.data.pictures import SAMPLES
from probe.errors import UserError
from probe.methods.adversarial.attack import BoundedAttack
from probe.methods.adversarial.registry import ATTACKS
from probe.model.model import Model
from probe.params import Parameters, UserPath, bounds, validate
from probe.registry import parameter_text

PICTURE_TYPES = ("png", "jpg", "jpeg", "webp", "bmp")
PICTURE_LIMIT = 20  # MB


def parameter_form(kind: type[Parameters], key: str, *, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """A widget for each field of `kind`; returns the values that differ from the defaults.

    Fields that name files are left out: pages take no paths of the server.
    """
    values: dict[str, Any] = {}
    for name, field in kind.model_fields.items():
        if name in without or _is_path(field) or names_picture(field):
            continue
        value = _widget(name, field, f"{key}-{name}")
        if value is not None and value != _shown(field.default):
            values[name] = value
    return values


def _is_path(field: Any) -> bool:
    return "Path" in str(field.annotation) or field.annotation is UserPath


def names_picture(field: Any) -> bool:
    """Whether a field names picture files, which the page takes as uploads."""
    return "picture file" in (field.description or "") or "as for --" in (field.description or "")


def picture_fields(kind: type[Parameters]) -> list[str]:
    """The fields of `kind` that name picture files."""
    return [name for name, field in kind.model_fields.items() if names_picture(field)]


def _shown(value: Any) -> Any:
    """A default as the widgets give it back."""
    if isinstance(value, tuple | list):
        return ",".join(parameter_text(part) for part in value)
    return parameter_text(value) if isinstance(value, float) else value


def _widget(name: str, field: Any, key: str) -> Any:
    label, help_text = name.replace("_", " "), plain(field.description or "")
    default, kind = _shown(field.default), field.annotation
    if kind is bool:
        return st.checkbox(label, bool(default), key=key, help=help_text)
    if get_origin(kind) is Literal:
        options = list(get_args(kind))
        return st.selectbox(label, options, index=options.index(default), key=key, help=help_text)
    if kind is int:
        limits = bounds(field)
        low = int(limits["ge"]) if "ge" in limits else int(limits["gt"]) + 1 if "gt" in limits else None
        high = int(limits["le"]) if "le" in limits else None
        return st.number_input(label, low, high, default, step=1, key=key, help=help_text)
    text = st.text_input(label, "" if default is None else str(default), key=key, help=help_text)
    return None if default is None and not text else text


def picture_input(label: str, key: str) -> str:
    """A picture to work on: an upload, a photograph of scikit-learn, or empty for the analysis' own default."""
    own, sample = "upload a picture", "default picture"
    choice = st.selectbox(label, [sample, *SAMPLES, own], key=f"{key}-choice")
    if choice in SAMPLES:
        return choice
    if choice == sample:
        return ""
    path = uploaded_picture(f"{label}: file", f"{key}-file")
    return "" if path is None else str(path)


def uploaded_picture(label: str, key: str) -> Path | None:
    """An uploaded picture, checked and stored in the folder of uploads; shows why one is refused."""
    file = st.file_uploader(label, type=list(PICTURE_TYPES), key=key, max_upload_size=PICTURE_LIMIT)
    if file is None:
        return None
    if file.size > PICTURE_LIMIT * 2**20:  # the server's own limit is that of checkpoints
        st.error(plain(f"{file.name} is larger than {PICTURE_LIMIT} MB"))
        return None
    data = file.getvalue()
    try:
        decode(data, 3)
    except UnreadableFile as error:
        st.error(plain(f"{file.name} cannot be read as a picture: {error}"))
        return None
    ending = file.name.rpartition(".")[2].lower()  # of a name that the browser sent
    name = hashlib.sha256(data).hexdigest()[:16]
    path = upload_folder() / f"{name}.{ending if ending in PICTURE_TYPES else PICTURE_TYPES[0]}"
    if not path.exists():
        write_whole(path, data)
    return path


LIVE_ATTACKS = ("fgsm", "pgd", "bim", "mi-fgsm", "noise", "deepfool", "carlini-wagner", "apgd")
"""Attacks that take at most seconds for an image of a small network."""


def attack_input(columns: Sequence[Any], model: Model) -> tuple[str, float]:
    """An attack and its eps in grey levels of 255, which pages share and which are part of the address."""
    available = [name for name in LIVE_ATTACKS if name in ATTACKS.catalogue]
    name = columns[0].selectbox(
        "Attack",
        available,
        format_func=lambda entry: ATTACKS.catalogue[entry].title,
        key="attack",
        bind="query-params",
        persist_state="session",
    )
    name = name or available[0]
    levels = columns[1].slider(
        "eps (grey levels of 255)",
        0.0,
        64.0 if max(model.shape[1:]) > 28 else 128.0,
        8.0,
        0.5,
        disabled=not issubclass(ATTACKS.find(name), BoundedAttack),
        key="eps",
        bind="query-params",
        persist_state="session",
    )
    return name, levels


def make(kind: type[Analysis], values: dict[str, Any]) -> Analysis:
    """The analysis with these values; UserError for invalid ones, and for any that would read or write other files."""
    analysis = validate(kind, values)
    uploads = upload_folder().resolve()
    for name in analysis.reads():
        if name not in SAMPLES and Path(name).resolve().parent != uploads:
            raise UserError(
                f"{name}: upload the picture instead, because pages cannot read files on the server"
            )
    for path in analysis.files():
        if str(path) not in model_specs() and path.resolve().parent != uploads:
            raise UserError(
                f"{path}: pages cannot read files on the server, except for the models in the sidebar"
            )
    if analysis.writes():
        raise UserError("pages cannot write files on the server: download the results instead")
    return analysis
