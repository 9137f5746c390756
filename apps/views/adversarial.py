"""One image under attack, live: the perturbed image, the change, and the probabilities before and after."""

import plotly.graph_objects as go
import streamlit as st
import torch

from apps.forms import attack_input
from apps.panels import analysis_tabs
from apps.pictures import Subject, choose_picture, probabilities
from apps.session import Choice, choose, errors_in_one_line, page_link
from apps.show import plain, png
from probe.exhibits.interactive import SERIES
from probe.exhibits.tiles import to_image
from probe.methods.adversarial.attack import BoundedAttack
from probe.methods.adversarial.registry import ATTACKS

_BARS = 5


def page() -> None:
    choice = choose()
    st.title("Adversarial examples")
    _live_attack(choice)
    st.divider()
    st.header("Analyses")
    analysis_tabs("adversarial", choice)


@st.fragment
def _live_attack(choice: Choice) -> None:
    """A fragment, so that another eps does not run the rest of the page again."""
    with errors_in_one_line():
        left, right = st.columns([1, 3])
        with left:
            subject = choose_picture(choice, "adversarial")
        if subject is not None:
            with right:
                _attack(choice, subject)


def _attack(choice: Choice, subject: Subject) -> None:
    model = choice.model
    columns = st.columns(3)
    name, levels = attack_input(columns, model)
    kind = ATTACKS.find(name)
    bounded = issubclass(kind, BoundedAttack)
    names = [None, *range(len(model.classes))]
    target = columns[2].selectbox(
        "Target", names, format_func=lambda c: "(any other class)" if c is None else model.classes[c]
    )
    with choice.lock:
        before = probabilities(choice, subject.pixels)[0]
        label = subject.label if subject.label is not None else int(before.argmax())
        labels = torch.tensor([label], device=model.device)
        if target is not None and (int(target) == label or not kind.has_targets):
            advice = (
                "The target must differ from the class of the image: choose another target."
                if kind.has_targets
                else "This attack does not support targets: choose '(any other class)' or another attack."
            )
            st.warning(plain(advice))
            return
        attack = kind(eps=levels / 255) if bounded and levels > 0 else None if bounded else kind()
        perturbed = subject.pixels
        if attack is not None:
            perturbed = attack(model, subject.pixels, labels, targets=target, seed=choice.seed).pixels
        after = probabilities(choice, perturbed)[0]
    change = (perturbed - subject.pixels)[0]
    largest = float(change.abs().max())
    cells = st.columns([1, 1, 1, 2])
    cells[0].image(
        png(to_image(subject.pixels[0])), caption=plain(subject.name), width="stretch", alt=subject.name
    )
    cells[1].image(png(to_image(perturbed[0])), caption="attacked", width="stretch", alt="attacked image")
    gain = 0.5 / largest if largest else 0.0
    magnified = to_image(0.5 + gain * change)
    cells[2].image(png(magnified), caption=f"change × {gain:.0f}", width="stretch", alt="change, magnified")
    cells[3].plotly_chart(_bars(choice, before, after), key="bars", config={"displayModeBar": False})
    predicted = int(after.argmax())
    if int(before.argmax()) != label:
        verdict = f"Misclassified before the attack, true class {model.classes[label]}"
    else:
        verdict = "Fooled" if predicted != label else "Not fooled"
    st.markdown(
        plain(
            f"{verdict}: predicted {model.classes[int(before.argmax())]} ({before.max():.1%}) before and "
            f"{model.classes[predicted]} ({after[predicted]:.1%}) after the attack. The largest change of a pixel value "
            f"is {255 * largest:.1f} of 255, and the L2 norm of the change is {float(change.norm()):.3f}."
        )
    )
    address = {**choice.address, "attack": name, "eps": levels}
    page_link("representation", "Show attacked images in feature space", ":material/scatter_plot:", address)


def _bars(choice: Choice, before: torch.Tensor, after: torch.Tensor) -> go.Figure:
    classes = torch.maximum(before, after).topk(min(_BARS, len(before))).indices.tolist()
    names = [choice.model.classes[c].replace("<", "&lt;") for c in classes]
    figure = go.Figure()
    for title, values, colour in (("before", before, SERIES[0]), ("after", after, SERIES[1])):
        figure.add_bar(
            y=names, x=[float(values[c]) for c in classes], name=title, orientation="h", marker_color=colour
        )
    figure.update_layout(
        height=260,
        margin={"l": 0, "r": 10, "t": 30, "b": 40},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        barmode="group",
        xaxis={"range": [0, 1], "title": "probability"},
        yaxis={"autorange": "reversed", "type": "category"},  # names may be numbers
    )
    return figure


page()
