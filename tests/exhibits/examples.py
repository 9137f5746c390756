"""One exhibit of each kind and its awkward relatives, shared by the tests of exhibits and of reports."""

import numpy as np
from sklearn.datasets import load_digits

from probe.exhibits.exhibits import (
    CellImages,
    Chart,
    Exhibit,
    ImageGrid,
    Line,
    Matrix,
    Scale,
    Scatter,
    Surface,
    Table,
)
from probe.exhibits.result import Number, Result

NASTY = "<script>alert('class')</script>"
"""A class name as a stranger may choose it."""


def exhibits() -> list[Exhibit]:
    """All six kinds, with ragged pictures, gaps, intervals and names that mean harm."""
    pixels, _ = load_digits(return_X_y=True)
    pictures = (np.asarray(pixels)[:60].reshape(60, 8, 8, 1) / 16).astype(np.float32)
    eps = np.linspace(0, 0.3, 7, dtype=np.float32)
    accuracy = np.array([0.98, 0.9, 0.7, np.nan, 0.3, 0.1, 0.07], dtype=np.float32)
    drawn = np.random.default_rng(0)
    axis = np.linspace(-1, 1, 21, dtype=np.float32)
    bowl = axis[None, :] ** 2 + 3 * axis[:, None] ** 2 + 0.1
    return [
        ImageGrid(
            title=f"Mistakes: {NASTY}",
            caption="Six digits, the last taken for a 3 with 98 % confidence.",
            images=list(pictures[:6]),
            labels=[NASTY, "=1+1", "two\nlines", "漢字", "$x^2$", "a name far too long for its picture " * 3],
        ),
        ImageGrid(
            title="Ragged maps",
            caption="Maps of four layers; the deepest is a single cell.",
            images=[
                drawn.normal(size=size).astype(np.float32) for size in ((28, 28), (14, 9), (7, 7), (1, 1))
            ],
            columns=2,
            column_headers=["first", "second"],
            row_headers=["shallow", "deep"],
            scale=Scale(low=-2, high=2, kind="diverging", label="activation"),
        ),
        Chart(
            title="Accuracy under attack",
            caption="Accuracy falls from 98 % to 7 % at eps 0.3.",
            lines=[
                Line(name=NASTY, x=eps, y=accuracy, low=accuracy - 0.02, high=accuracy + 0.02),
                Line(name="@chance", x=eps, y=np.full(7, 0.1, np.float32), dashed=True),
            ],
            x_label="eps",
            y_label="accuracy",
            y_range=(0.0, 1.0),
        ),
        Matrix(
            title="Confusion",
            caption="One class is never seen.",
            values=np.array([[0.9, 0.1], [np.nan, np.nan]], dtype=np.float32),
            row_labels=[NASTY, "-dog"],
            column_labels=["cat", "dog"],
            format="{:.2f}",
            scale=Scale(low=0, high=1, kind="sequential"),
            cell_images=CellImages(
                images=pictures[:3],
                cells=np.array([[0, 0], [0, 1], [0, 0]]),
                labels=["first", NASTY, "third"],
                counts=np.array([[9, 1], [0, 0]]),
            ),
        ),
        Scatter(
            title="Embedding",
            caption="Two groups of thirty.",
            x=np.concatenate([drawn.normal(size=30), drawn.normal(size=30) + 6]).astype(np.float32),
            y=drawn.normal(size=60).astype(np.float32),
            group=np.repeat([0, 1], 30),
            group_names=[NASTY, "other"],
            thumbnails=pictures,
            neighbours=(np.arange(60)[:, None] + [1, 2, 3]) % 60,
            links=np.stack([np.arange(5), np.arange(30, 35)], 1),
        ),
        Surface(
            title="Loss surface",
            caption="The loss rises three times as fast along the second direction.",
            x=axis,
            y=axis,
            z=bowl.astype(np.float32),
            x_label="first",
            y_label="second",
            z_label="loss",
            z_log=True,
            path=np.stack([np.linspace(0.8, 0, 9), np.linspace(-0.6, 0, 9)], axis=1),
        ),
        Table(
            title="Layers",
            caption="Two of three layers have dead units.",
            columns=["layer", "units", "dead", "note"],
            rows=[
                [NASTY, 64, 0.25, None],
                ["=HYPERLINK(0)", 128, float("nan"), 'says "no", twice'],
                ["c", -3, 0.5, "x"],
            ],
            formats={"dead": "{:.1%}"},
        ),
    ]


def result() -> Result:
    """A result that holds all of them."""
    return Result(
        exhibits=exhibits(),
        numbers={
            "accuracy": Number(value=0.9812, low=0.975, high=0.986, n=10_000, format="{:.1%}"),
            NASTY: Number(value=float("nan")),
        },
        warnings=[f"{NASTY} has 3 pictures only."],
    )
