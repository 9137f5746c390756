"""Show results: numbers, warnings and exhibits with their captions, as widgets of Streamlit."""

import base64
import io
import re
from collections.abc import Sequence
from html import escape

import numpy as np
import streamlit as st
from PIL import Image

from probe.exhibits.exhibits import Exhibit, ImageGrid, Scatter, Table
from probe.exhibits.interactive import interactive_figure
from probe.exhibits.result import Number, Result
from probe.exhibits.tabular import csv_text, format_cell

_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+\-.!|~$:<>&^=])")
_NUMBERS = 4  # in a row


def plain(text: str) -> str:
    """Text for widgets that read Markdown, shown as it is."""
    return _SPECIAL.sub(r"\\\1", str(text)).replace("\n", "  \n")


def show_result(result: Result, key: str) -> None:
    """Everything that a result holds. key: unique on the page."""
    show_numbers(result.numbers.items())
    for warning in result.warnings:
        st.warning(plain(warning), icon=":material/warning:")
    for position, exhibit in enumerate(result.exhibits):
        show_exhibit(exhibit, f"{key}-{position}")


def show_numbers(numbers: "Sequence[tuple[str, Number]] | object") -> None:
    """Numbers in rows, the first four above the fold."""
    entries = list(numbers)  # pyrefly: ignore[bad-argument-type]
    _row(entries[:_NUMBERS])
    if len(entries) > _NUMBERS:
        with st.expander(f"{len(entries) - _NUMBERS} more numbers"):
            for start in range(_NUMBERS, len(entries), _NUMBERS):
                _row(entries[start : start + _NUMBERS])


def _row(entries: list[tuple[str, Number]]) -> None:
    for column, (key, number) in zip(st.columns(_NUMBERS), entries, strict=False):
        missing = number.value != number.value
        column.metric(plain(number.label or key), "–" if missing else number.format_value(number.value))
        details = []
        if number.low is not None and number.high is not None and not missing:
            details.append(f"{number.format_value(number.low)} to {number.format_value(number.high)}")
        if number.n is not None:
            details.append(f"n = {number.n:,}")
        if details:
            column.caption(plain(", ".join(details)))


def show_exhibit(exhibit: Exhibit, key: str) -> None:
    """One exhibit with its title, caption and data."""
    st.markdown(f"##### {plain(exhibit.title)}")
    try:
        if isinstance(exhibit, Table):
            show_table(exhibit)
        elif isinstance(exhibit, ImageGrid):
            st.image(drawn(exhibit), alt=f"{exhibit.title}. {exhibit.caption}")
        else:
            st.plotly_chart(interactive_figure(exhibit), key=f"plot-{key}", alt=exhibit.caption)
    except ValueError as error:
        st.error(plain(f"Not drawn: {error}"))
    st.caption(plain(exhibit.caption))
    data = csv_text(exhibit) if not isinstance(exhibit, Scatter) else None
    if data is not None:
        st.download_button(
            "CSV", data, f"{key}.csv", "text/csv", key=f"csv-{key}", type="tertiary", on_click="ignore"
        )


def drawn(exhibit: Exhibit) -> bytes:
    """The exhibit as a PNG whose text can be read on a light and on a dark page."""
    from probe.exhibits.static import pixels

    file = io.BytesIO()
    pixels(exhibit, look="either").save(file, "PNG")
    return file.getvalue()


def show_table(table: Table) -> None:
    """A sortable table: numbers stay numbers."""
    import pandas as pd

    columns, config = {}, {}
    for j, name in enumerate(table.columns):
        cells = [row[j] for row in table.rows]
        label = name if name not in columns else f"{name} ({j + 1})"
        numeric = all(cell is None or isinstance(cell, int | float) for cell in cells)
        columns[label] = cells if numeric else [format_cell(c, table.formats.get(name, "")) for c in cells]
        form = _printf(table.formats.get(name, "")) if numeric else None
        if form:
            config[label] = st.column_config.NumberColumn(format=form)
    st.dataframe(pd.DataFrame(columns), hide_index=True, column_config=config)


def _printf(form: str) -> str | None:
    """A format of Python as Streamlit reads it; None for the default."""
    match = re.fullmatch(r"\{?:?,?\.(\d)([f%])\}?", form)
    if match is None:
        return None
    return "percent" if match[2] == "%" else f"%.{match[1]}f"


def png(image: np.ndarray, *, least: int = 160) -> bytes:
    """(h, w, 3 or 1) in [0, 1] as a PNG, small images enlarged by a whole factor to at least `least` pixels."""
    factor = max(1, -(-least // max(image.shape[:2])))
    pixels = np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)
    pixels = pixels.repeat(factor, axis=0).repeat(factor, axis=1)
    file = io.BytesIO()
    Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[..., 0]).save(file, "PNG", compress_level=1)
    return file.getvalue()


def data_uri(image: np.ndarray, *, least: int = 160) -> str:
    """The image as a data: URI, for components."""
    return "data:image/png;base64," + base64.b64encode(png(image, least=least)).decode()


def thumbnail_uri(image: np.ndarray, *, side: int) -> str:
    """(h, w, 3 or 1) in [0, 1] as a data: URI of at most twice `side` pixels, for screens with fine pixels."""
    most = 2 * side
    if max(image.shape[:2]) <= most:
        return data_uri(image, least=1)
    pixels = np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)
    picture = Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[..., 0]).convert("RGB")
    picture.thumbnail((most, most))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=90)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def gallery(images: Sequence[np.ndarray], labels: Sequence[str], *, side: int = 96) -> None:
    """Images of `side` pixels with their labels, in rows as wide as the window.

    One element of the page for all of them: an element for each image takes the browser ten times as long.
    """
    figures = [figure_html(image, label, side=side) for image, label in zip(images, labels, strict=True)]
    st.html(f'<div style="display:flex;flex-wrap:wrap;gap:8px">{"".join(figures)}</div>')


def figure_html(image: np.ndarray, label: str, *, side: int, alt: str = "") -> str:
    """One image with its label, of which four lines are shown and the rest is a tooltip."""
    text, description = escape(label), escape(alt or label or "reconstruction")
    sharp = "" if max(image.shape[:2]) >= side else "image-rendering:pixelated;"
    caption = (
        f'<figcaption title="{text}" style="font-size:13px;line-height:1.3;overflow-wrap:anywhere;overflow:hidden;'
        f'max-height:68px">{text}</figcaption>'
    )
    return (
        f'<figure style="margin:0;width:{side}px"><img src="{thumbnail_uri(image, side=side)}" alt="{description}" '
        f'style="{sharp}width:{side}px;height:auto;border-radius:4px;display:block;margin-bottom:2px">'
        f"{caption if label else ''}</figure>"
    )
