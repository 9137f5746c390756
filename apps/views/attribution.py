"""Attribution maps of one image, methods side by side, for one class or for the difference of two."""

import streamlit as st
import torch

from apps.panels import analysis_tabs
from apps.pictures import Subject, choose_picture, probabilities
from apps.session import Choice, choose, errors_in_one_line
from apps.show import plain, png
from probe.errors import UserError
from probe.exhibits.colour import overlay
from probe.exhibits.heatmaps import heatmap_scale
from probe.exhibits.tiles import to_image
from probe.methods.attribution.registry import METHODS
from probe.model.budget import forward_seconds

_DEFAULT = ("gradient", "integrated-gradients", "gradcam", "occlusion")
_SECONDS = 8.0  # of one method; slower ones run as an analysis


def page() -> None:
    choice = choose()
    st.title("Attribution")
    _one_image(choice)
    st.divider()
    st.header("Analyses")
    with errors_in_one_line():
        st.caption(
            plain(f"These run on {choice.model.name} and all images selected in the sidebar ({choice.data}).")
        )
        analysis_tabs("attribution", choice)


@st.fragment
def _one_image(choice: Choice) -> None:
    """A fragment, so that another image or class does not run the rest of the page again."""
    with errors_in_one_line():
        left, right = st.columns([1, 3])
        with left:
            subject = choose_picture(choice, "attribution")
        if subject is not None:
            with right:
                _maps(choice, subject)


def _maps(choice: Choice, subject: Subject) -> None:
    model = choice.model
    with choice.lock:
        scores = probabilities(choice, subject.pixels)[0]
    top = int(scores.argmax())
    classes = list(range(len(model.classes)))
    columns = st.columns(3)
    target = columns[0].selectbox(
        "Class to explain", classes, index=top, format_func=lambda c: model.classes[c], key=f"target-{top}"
    )
    other = columns[1].selectbox(
        "Compared with", [None, *classes], format_func=lambda c: "(none)" if c is None else model.classes[c]
    )
    opacity = columns[2].slider("Opacity of the maps", 0.0, 1.0, 0.6)
    available = list(METHODS.catalogue)
    methods = st.multiselect(
        "Methods",
        available,
        [name for name in _DEFAULT if name in available],
        format_func=lambda name: METHODS.catalogue[name].title,
        help="Methods run with their default parameters here; the analyses below let you change them.",
    )
    true = f"true class {model.classes[subject.label]}, " if subject.label is not None else ""
    st.caption(plain(f"{subject.name}: {true}predicted {model.classes[top]} ({scores[top]:.1%})"))
    weights = torch.zeros(1, len(model.classes), device=model.device)
    weights[0, int(target or 0)] = 1
    if other is not None:
        weights[0, int(other)] -= 1
    targets = weights if other is not None else torch.tensor([int(target or 0)], device=model.device)
    cells = st.columns(4)
    cells[0].image(
        png(to_image(subject.pixels[0])), caption=plain(subject.name), width="stretch", alt=subject.name
    )
    for position, name in enumerate(methods, start=1):
        with cells[position % 4]:
            _map(choice, subject, name, targets, opacity)


def _map(choice: Choice, subject: Subject, name: str, targets: torch.Tensor, opacity: float) -> None:
    model = choice.model
    method = METHODS.parse(name).resolved(model, "medium")
    title = METHODS.catalogue[name].title
    seconds = method.forward_passes(model) * forward_seconds(model)
    if seconds > _SECONDS:
        st.info(plain(f"{title} would take about {seconds:.0f} s: run it as an analysis below"))
        return
    try:
        with choice.lock:
            heat = method.map(model, subject.pixels, targets)[0].detach().cpu().numpy()
    except UserError as error:
        st.warning(plain(f"{title}: {error}"))
        return
    if not abs(heat).max() > 0:
        st.warning(plain(f"{title} is zero everywhere"))
        return
    scale = heatmap_scale(heat, method.kind, "attribution")
    image = overlay(to_image(subject.pixels[0]), heat, scale, alpha=opacity)
    st.image(png(image), caption=plain(title), width="stretch", alt=f"{title} of {subject.name}")


page()
