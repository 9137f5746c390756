"""Two models in step: the same image, their predictions, and where each looks."""

import streamlit as st
import torch

from apps.panels import analysis_panel
from apps.pictures import choose_picture
from apps.session import choose, model_specs, shared_model, stop
from apps.show import plain, png
from probe.data.images import Images
from probe.errors import UserError
from probe.exhibits.colour import overlay
from probe.exhibits.heatmaps import heatmap_scale
from probe.exhibits.tiles import to_image
from probe.methods.attribution.registry import METHODS
from probe.runs.execute import prepare


def page() -> None:
    choice = choose()
    st.title("Compare")
    others = sorted(
        (spec for spec in model_specs() if spec != choice.spec),
        key=lambda spec: (_data_of(spec) != _data_of(choice.spec), spec),
    )
    second = st.selectbox("Second model", others, key="second", bind="query-params", persist_state="session")
    try:
        subject = choose_picture(choice, "compare")
        if subject is not None and second:
            columns = st.columns(2)
            for column, spec in zip(columns, (choice.spec, second), strict=True):
                with column:
                    _side(spec, subject.pixels)
        st.divider()
        analysis_panel("compare", choice, compare_to=(second,) if second else ())
    except UserError as error:
        stop(error)


def _data_of(spec: str) -> str:
    """The data set at the end of a pretrained model's name: models of one set come first."""
    return spec.removesuffix("-shortcut").removesuffix("-robust").rsplit("-", 1)[-1]


def _side(spec: str, pixels: torch.Tensor) -> None:
    shared = shared_model(spec)
    model = shared.model
    st.subheader(plain(model.name))
    raw = (pixels.cpu() * 255).round().byte()
    own = prepare(model, Images.from_tensor(raw, name="image")).pixels(model.device)
    with shared.lock:
        with torch.inference_mode():
            scores = model.logits(own).softmax(1)[0].cpu()
        top = int(scores.argmax())
        image = to_image(own[0])
        cells = st.columns(2)
        cells[0].image(png(image), caption="image", width="stretch", alt="image")
        try:
            method = METHODS.parse("gradcam").resolved(model)
            heat = method.map(model, own, torch.tensor([top], device=model.device))[0].detach().cpu().numpy()
            drawn = overlay(image, heat, heatmap_scale(heat, method.kind, "Grad-CAM"))
            cells[1].image(png(drawn), caption="Grad-CAM", width="stretch", alt="Grad-CAM")
        except (UserError, ValueError) as error:
            cells[1].info(plain(f"Grad-CAM: {error}"))
    for index in scores.topk(min(3, len(scores))).indices.tolist():
        st.progress(float(scores[index]), text=plain(f"{model.classes[index]} {scores[index]:.1%}"))


page()
