"""The image that a page explains or attacks: one of the data set, or an uploaded one."""

from dataclasses import dataclass

import streamlit as st
import torch
from torch import Tensor

from apps.forms import uploaded_picture
from apps.session import Choice
from probe.data.images import Images
from probe.data.pictures import read_picture
from probe.runs.execute import prepare


@dataclass(frozen=True)
class Subject:
    """pixels: (1, c, h, w) on the model's device. label: its class, if known."""

    name: str
    pixels: Tensor
    label: int | None


def choose_picture(choice: Choice, key: str) -> Subject | None:
    """An image by its number, or an upload; None while nothing is uploaded. The number is part of the address."""
    model, images = choice.model, choice.images
    own = st.toggle("My own picture", key=f"{key}-own", persist_state="session")
    if own:
        path = uploaded_picture("Picture", f"{key}-upload")
        if path is None:
            st.caption("PNG, JPEG, WebP or BMP, at most 20 MB. The file is deleted when the server stops.")
            return None
        raw = (read_picture(str(path), 3)[0] * 255).round().byte()
        prepared = prepare(model, Images.from_tensor(raw[None], name="upload"))
        return Subject("uploaded picture", prepared.pixels(model.device), None)
    number = st.number_input(
        "Image", 0, len(images) - 1, 0, key="image", bind="query-params", persist_state="session"
    )
    label = None if images.labels is None else int(images.labels[int(number)])
    return Subject(str(images.ids[int(number)]), images.select([int(number)]).pixels(model.device), label)


def probabilities(choice: Choice, pixels: Tensor) -> Tensor:
    """(n, classes) softmax probabilities on the CPU."""
    with torch.inference_mode():
        return choice.model.logits(pixels).softmax(1).cpu()
