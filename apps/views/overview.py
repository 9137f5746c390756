"""The model, its accuracy on the images, and the images behind every cell of the confusion matrix."""

import numpy as np
import pandas as pd
import streamlit as st

from apps.panels import analysis_panel, show_job
from apps.predictions import Predictions, predictions_job
from apps.session import Choice, choose, errors_in_one_line
from apps.show import gallery, plain
from probe.data.images import Images
from probe.exhibits.tiles import to_images
from probe.statistics import wilson_interval

_MOST = 24  # images of a cell


def page() -> None:
    choice = choose()
    with errors_in_one_line():
        model = choice.model
        st.title(plain(model.name))
        size = " × ".join(map(str, model.shape))
        st.markdown(
            plain(
                f"{model.card.architecture}, {model.parameters:,} parameters, {len(model.classes)} classes, "
                f"images of {size}."
            )
        )
        images = choice.images
        st.caption(plain(" ".join([f"{len(images):,} images of {images.name}.", *images.notes])))
        show_job(predictions_job(choice), lambda found: _accuracy(found, choice))
    st.divider()
    for tab, name in zip(
        st.tabs(["Classification", "Architecture", "Card", "Image statistics"]),
        ["classify", "architecture", "", "image-statistics"],
        strict=True,
    ):
        with tab:
            if name:
                analysis_panel(name, choice)
            else:
                st.json(model.card.model_dump(mode="json", exclude={"classes"}), expanded=1)


def _accuracy(found: Predictions, choice: Choice) -> None:
    images = choice.images
    if images.labels is None:
        st.info(
            "The accuracy is not shown because these images have no labels that match the classes of the model."
        )
        return
    labels = images.labels.numpy()
    correct = found.classes == labels
    low, high = wilson_interval(int(correct.sum()), len(correct))
    columns = st.columns(4)
    columns[0].metric("accuracy", f"{correct.mean():.1%}")
    columns[0].caption(plain(f"{low:.1%} to {high:.1%}, n = {len(correct):,}"))
    columns[1].metric("misclassified", f"{int((~correct).sum()):,}")
    columns[2].metric("mean confidence", f"{found.confidence.mean():.1%}")
    if (~correct).any():
        columns[3].metric("confidence if misclassified", f"{found.confidence[~correct].mean():.1%}")
    classes = choice.model.classes
    if len(classes) <= 50:
        _confusion(found, choice)
    wrong = np.flatnonzero(~correct)
    if len(wrong):
        st.subheader("Most confident mistakes")
        _images(images, found, wrong[np.argsort(-found.confidence[wrong])], labels, classes)


@st.fragment
def _confusion(found: Predictions, choice: Choice) -> None:
    images, classes = choice.images, choice.model.classes
    assert images.labels is not None
    labels = images.labels.numpy()
    st.subheader("Confusion matrix")
    count = np.zeros((len(classes), len(classes)), dtype=int)
    np.add.at(count, (labels, found.classes), 1)
    names = [f"{name}" if classes.count(name) == 1 else f"{name} ({i})" for i, name in enumerate(classes)]
    table = pd.DataFrame(count, index=pd.Index(names, name="true \\ predicted"), columns=names)
    share = count / np.maximum(count.sum(1, keepdims=True), 1)
    shade = pd.DataFrame(share, index=table.index, columns=table.columns)
    styled = table.style.apply(lambda _: shade.map(_background), axis=None)
    chosen = st.dataframe(
        styled, key="confusion", on_select="rerun", selection_mode="single-cell", height="content"
    )
    cells = chosen.selection.cells
    if not cells:
        st.caption("Select a cell to see its images. Rows are true classes, columns predictions.")
        return
    row, name = cells[0]
    column = names.index(str(name)) if str(name) in names else 0
    members = np.flatnonzero((labels == row) & (found.classes == column))
    st.markdown(plain(f"{names[row]} predicted as {names[column]}: {len(members)} images"))
    _images(images, found, members[np.argsort(-found.confidence[members])], labels, classes)


def _background(share: float) -> str:
    return f"background-color: rgba(0, 114, 178, {0.75 * share:.2f})" if share else ""


def _images(
    images: Images, found: Predictions, rows: np.ndarray, labels: np.ndarray, classes: tuple[str, ...]
) -> None:
    rows = rows[:_MOST]
    if not len(rows):
        return
    shown = to_images(images.select(rows.tolist()).pixels())
    texts = [
        f"{classes[labels[row]]} → {classes[found.classes[row]]} ({found.confidence[row]:.2f})"
        if labels[row] != found.classes[row]
        else f"{classes[labels[row]]} ({found.confidence[row]:.2f})"
        for row in rows
    ]
    gallery(shown, texts)


page()
