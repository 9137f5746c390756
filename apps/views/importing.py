"""Import a checkpoint: weights by upload, the architecture from the zoo or torchvision. No code of a visitor runs."""

import hashlib
import uuid
from pathlib import Path
from typing import Any

import streamlit as st
import torchvision

from apps.panels import show_job
from apps.session import choose, imported_models, jobs, model_name, upload_folder
from apps.show import plain
from apps.visitors import visitor
from probe.errors import UserError
from probe.model.importing import AdoptOptions, adopt
from probe.params import validate
from probe.zoo.registry import architectures

CHECKPOINT_TYPES = ("pth", "pt", "th", "bin", "safetensors")
CHECKPOINT_LIMIT = 500  # MB


def page() -> None:
    choose()
    st.title("Import")
    st.markdown(
        "**Analyse a checkpoint of your own.** Only its weights are read: code inside it is never executed."
    )
    file = st.file_uploader(
        "Checkpoint", type=list(CHECKPOINT_TYPES), key="checkpoint", max_upload_size=CHECKPOINT_LIMIT
    )
    with st.form("import", border=False):
        values = _fields()
        pressed = st.form_submit_button("Import", type="primary")
    if pressed and file is None:
        st.error("Choose a checkpoint first.")
    elif pressed and file is not None:
        try:
            st.session_state["import-job"] = _submit(file.name, file.getbuffer(), values)
        except UserError as error:
            st.error(plain(str(error)))
    job = jobs().get(st.session_state.get("import-job", ""))
    if job is not None:
        show_job(job, _imported)


def _fields() -> dict[str, str]:
    zoo = [f"zoo:{name}" for name, entry in architectures().items() if entry.takes_images]
    published = [f"torchvision:{name}" for name in torchvision.models.list_models(module=torchvision.models)]
    architecture = st.selectbox("Architecture", [*zoo, *published])
    left, right = st.columns(2)
    values = {
        "arch": architecture or "",
        "mean": left.text_input(
            "Mean",
            help="Mean of each channel that was used in training, in [0, 1], separated by commas. Enter 0,0,0 if pixels were not shifted.",
        ),
        "std": left.text_input(
            "Standard deviation",
            help="Standard deviation of each channel that was used in training, separated by commas. Enter 1,1,1 if pixels were not scaled.",
        ),
        "size": left.text_input(
            "Size", help="Side length of the square input in pixels. Default: that of the architecture."
        ),
        "preprocess": left.text_input(
            "Preprocessing",
            help="How images are brought to the input size, for example: resize 256, centre crop 224",
        ),
        "name": right.text_input("Name", help="Name of the model. Default: the name of the file."),
        # Lower than the left column: the hint below it comes and goes, and must not move the button under a click.
        "classes": right.text_area(
            "Class names", help="One name per line, in the order of the outputs.", height=150
        ),
    }
    return {name: value.strip() for name, value in values.items() if value and value.strip()}


def _submit(filename: str, data: memoryview, values: dict[str, str]) -> str:
    """Start the import; returns the key of its job. Raises UserError for values that cannot be."""
    if len(data) > CHECKPOINT_LIMIT * 1_000_000:
        raise UserError(f"{filename} is larger than {CHECKPOINT_LIMIT} MB")
    suffix = Path(filename).suffix.lower()
    if suffix.removeprefix(".") not in CHECKPOINT_TYPES:
        raise UserError(
            f"{filename} is not a checkpoint: supported file types are {', '.join(CHECKPOINT_TYPES)}"
        )
    digest = hashlib.sha256(data)
    digest.update(repr(sorted(values.items())).encode())
    folder = upload_folder() / digest.hexdigest()[:12]
    classes = values.pop("classes", "")
    name = _folder_name(values.pop("name", "") or Path(filename).stem)
    options = validate(AdoptOptions, values)
    folder.mkdir(exist_ok=True)
    # A file of its own: the same upload may be read by a job that runs.
    checkpoint = folder / f"{uuid.uuid4().hex}{suffix}"
    checkpoint.write_bytes(data)
    if classes:
        (folder / "classes.txt").write_text(classes, encoding="utf-8")
        options = options.model_copy(update={"classes": folder / "classes.txt"})
    target = folder / name

    def work(display: Any) -> str:
        display.section("reading the checkpoint")
        try:
            if not (target / "card.toml").exists():
                adopt(checkpoint, options, target)
        except UserError as error:  # with the name that the visitor knows, and no path of the server
            raise UserError(str(error).replace(str(checkpoint), filename)) from None
        finally:
            checkpoint.unlink(missing_ok=True)
        if str(target) not in imported_models():
            imported_models().insert(0, str(target))
        return str(target)

    key = f"import {folder.name}"
    if jobs().submit(key, f"import {name}", work, visitor=visitor(), quick=True).work is not work:
        checkpoint.unlink()
    return key


def _folder_name(text: str) -> str:
    """A name that is safe as a folder: letters, digits, hyphens and underscores."""
    kept = "".join(c if c.isalnum() or c in "-_" else "-" for c in text).strip("-")
    return kept[:60] or "model"


def _imported(spec: str) -> None:
    def choose_it() -> None:
        st.session_state["model"] = spec

    st.success(plain(f"{model_name(spec)} is imported and available until the server stops."))
    st.button("Analyse this model", on_click=choose_it)
    st.caption(
        "Check its accuracy on labelled images first: a wrong mean, standard deviation or class order lowers the accuracy "
        "without an error message."
    )


page()
