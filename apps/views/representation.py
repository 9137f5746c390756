"""Images in feature space: a map of which points can be selected, and the neighbours of an image."""

import numpy as np
import streamlit as st

from apps.panels import analysis_panel, analysis_tabs
from apps.session import Choice, choose, stop
from apps.show import gallery, plain, show_exhibit, show_numbers
from probe.errors import UserError
from probe.exhibits.exhibits import Scatter
from probe.exhibits.interactive import interactive_figure
from probe.exhibits.result import Result
from probe.exhibits.tiles import to_images

_MOST = 48


def page() -> None:
    choice = choose()
    st.title("Representation")
    try:
        analysis_panel("embed", choice, show=lambda result, key: _embedding(result, key, choice))
        st.divider()
        st.header("Analyses")
        analysis_tabs("representation", choice, without=("embed",))
    except UserError as error:
        stop(error)


def _embedding(result: Result, key: str, choice: Choice) -> None:
    show_numbers(result.numbers.items())
    for warning in result.warnings:
        st.warning(plain(warning))
    for position, exhibit in enumerate(result.exhibits):
        if not isinstance(exhibit, Scatter):
            show_exhibit(exhibit, f"{key}-{position}")
            continue
        st.markdown(f"##### {plain(exhibit.title)}")
        _selectable(exhibit, f"{key}-{position}", choice)
        st.caption(plain(exhibit.caption))


@st.fragment
def _selectable(exhibit: Scatter, key: str, choice: Choice) -> None:
    """The scatter plot; the images of the points that are clicked or enclosed, or of the nearest to one point."""
    figure = interactive_figure(exhibit)
    assert figure is not None
    figure.update_layout(height=620)
    event = st.plotly_chart(figure, key=f"select-{key}", on_select="rerun", alt=exhibit.caption)
    rows = [
        int(np.ravel(point["customdata"])[0]) for point in event.selection.points if "customdata" in point
    ]
    if not rows:
        st.caption("Click a point, or enclose several with the lasso, to see their images.")
        return
    title = f"{len(rows)} images"
    if len(rows) == 1:
        distance = np.hypot(exhibit.x - exhibit.x[rows[0]], exhibit.y - exhibit.y[rows[0]])
        rows = np.argsort(distance, kind="stable")[:17].tolist()
        title = "The image and the 16 nearest to it on the map"
    st.markdown(plain(title))
    images = choice.images
    chosen = images.select([row for row in rows[:_MOST] if row < len(images)])
    labels = chosen.labels
    names = (
        [choice.model.classes[int(label)] for label in labels]
        if labels is not None
        else [str(i) for i in chosen.ids]
    )
    gallery(to_images(chosen.pixels()), names)


page()
