"""Images in feature space: a map of which points can be selected, and the neighbours of an image."""

import numpy as np
import streamlit as st

from apps.forms import attack_input
from apps.panels import analysis_panel, analysis_tabs
from apps.session import Choice, choose, page_link, save_selection, stop
from apps.show import gallery, plain, show_exhibit, show_numbers
from probe.errors import UserError
from probe.exhibits.exhibits import Scatter
from probe.exhibits.interactive import interactive_figure
from probe.exhibits.result import Result
from probe.exhibits.tiles import to_images

_MOST = 48
_MODES = ("Single points", "Lasso")
_METHODS = {"pca": "PCA", "tsne": "t-SNE", "umap": "UMAP"}


def page() -> None:
    choice = choose()
    st.title("Representation")
    try:
        analysis_panel("embed", choice, show=lambda result, key: _embedding(result, key, choice))
        st.divider()
        st.header("Adversarial images in the embedding")
        _adversarial(choice)
        st.divider()
        st.header("Analyses")
        analysis_tabs("representation", choice, without=("embed",))
    except UserError as error:
        stop(error)


def _adversarial(choice: Choice) -> None:
    """Attacked images as points of an embedding, joined to their originals."""
    columns = st.columns(4)
    attack, levels = attack_input(columns, choice.model)
    method = columns[2].selectbox(
        "Embedding", list(_METHODS), format_func=lambda name: _METHODS[name], key="embedding"
    )
    count = columns[3].number_input("Attacked images", 1, 190, 30, key="attacked")
    if levels == 0:
        st.info("Choose an eps above 0 to attack the images.")
        return
    analysis_panel(
        "embed",
        choice,
        question="Where do attacked images lie among the others?",
        show=lambda result, key: _attacked(result, key, choice),
        methods=(method or "pca",),
        attack=attack,
        eps=levels / 255,
        attacked=int(count),
        seeds=1,
        grid=0,
        holdout=0,
    )


def _attacked(result: Result, key: str, choice: Choice) -> None:
    for warning in result.warnings:
        st.warning(plain(warning))
    for position, exhibit in enumerate(result.exhibits):
        if isinstance(exhibit, Scatter) and exhibit.links is not None:
            st.markdown(f"##### {plain(exhibit.title)}")
            _selectable(exhibit, f"{key}-{position}", choice)
            st.caption(plain(exhibit.caption))


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
    # Streamlit takes no clicks while the mouse draws a lasso.
    mode = st.segmented_control(
        "Select", _MODES, default=_MODES[0], required=True, key=f"mode-{key}", label_visibility="collapsed"
    )
    figure.update_layout(height=620, dragmode="pan" if mode == _MODES[0] else "lasso")
    event = st.plotly_chart(figure, key=f"select-{key}-{mode}", on_select="rerun", alt=exhibit.caption)
    rows = [
        int(np.ravel(point["customdata"])[0]) for point in event.selection.points if "customdata" in point
    ]
    if not rows:
        st.caption(
            "Click a point to see its image and the most similar images."
            if mode == _MODES[0]
            else "Draw a lasso around points to see their images."
        )
        return
    if exhibit.links is not None:
        _pairs(exhibit, rows, choice)
        return
    # A scatter plot may hold some of the images, in another order: they are found by their names.
    position = {str(name): i for i, name in enumerate(choice.images.ids)}
    members = [position.get(name, -1) for name in exhibit.point_names]
    title = f"{len(rows)} images"
    if len(rows) == 1:
        rows, title = _nearest(exhibit, rows[0])
    rows = [row for row in rows if members[row] >= 0]
    st.markdown(plain(title))
    chosen = choice.images.select([members[row] for row in rows[:_MOST]])
    labels = chosen.labels
    names = (
        [choice.model.classes[int(label)] for label in labels]
        if labels is not None
        else [str(i) for i in chosen.ids]
    )
    gallery(to_images(chosen.pixels()), names, side=144 if len(names) <= 18 else 96)
    if len(rows) > _MOST:
        st.caption(f"Showing the first {_MOST} of {len(rows)} images.")
    if len(rows) > 1:
        _keep(choice, [members[row] for row in rows], key)


def _pairs(exhibit: Scatter, rows: list[int], choice: Choice) -> None:
    """The images of the points, of an attacked one the original before it, and of an original what became of it."""
    assert exhibit.links is not None
    assert exhibit.thumbnails is not None
    partner = {int(a): (int(a), int(b)) for a, b in exhibit.links} | {
        int(b): (int(a), int(b)) for a, b in exhibit.links
    }
    shown = list(dict.fromkeys(point for row in rows for point in partner.get(row, (row,))))[:_MOST]
    names = [exhibit.point_names[point] for point in shown]
    gallery([exhibit.thumbnails[point] for point in shown], names, side=192 if len(shown) <= 2 else 112)
    if len(shown) == 2 and len(rows) == 1:
        position = {str(name): i for i, name in enumerate(choice.images.ids)}
        image = position.get(names[0].rpartition(": ")[0])
        if image is not None:
            address = {**choice.address, "image": image}
            address |= {name: st.session_state[name] for name in ("attack", "eps")}
            page_link("adversarial", "Attack this image", ":material/shield:", address)


def _nearest(exhibit: Scatter, row: int) -> tuple[list[int], str]:
    """A point and those that are nearest to it: by the features of their images where they are known, else on the map."""
    if exhibit.neighbours is not None:
        near = exhibit.neighbours[row].tolist()
        return [row, *near], f"The image and the {len(near)} most similar images in feature space"
    distance = np.hypot(exhibit.x - exhibit.x[row], exhibit.y - exhibit.y[row])
    near = np.argsort(distance, kind="stable")[:17].tolist()
    return near, f"The image and the {len(near) - 1} nearest images in the embedding"


def _keep(choice: Choice, members: list[int], key: str) -> None:
    """Buttons that keep the images as images to choose, and write their names."""
    columns = st.columns(3)
    if columns[0].button(
        "Use these images", key=f"keep-{key}", help="Make these images available on every page"
    ):
        name = save_selection(choice, members)
        st.success(plain(f"Saved as {name}: choose it under Images in the sidebar."))
    text = "\n".join(str(choice.images.ids[i]) for i in members) + "\n"
    columns[1].download_button(
        "Download names", text, "images.txt", "text/plain", key=f"names-{key}", on_click="ignore"
    )


page()
