"""An image in which a place can be chosen, by a click or the arrow keys."""

import streamlit as st

_HTML = '<div class="frame" tabindex="0" role="application"><img alt=""><span hidden></span></div>'
_CSS = """
.frame { position: relative; display: block; width: 100%; cursor: crosshair; line-height: 0; }
.frame:focus-visible { outline: 2px solid var(--st-primary-color); outline-offset: 2px; }
img { width: 100%; height: auto; image-rendering: pixelated; border-radius: 4px; }
span { position: absolute; width: 14px; height: 14px; margin: -7px 0 0 -7px; border: 2px solid white;
  border-radius: 50%; box-shadow: 0 0 0 2px black; pointer-events: none; }
"""
_JS = """
export default function({ parentElement, data, setStateValue }) {
  const frame = parentElement.querySelector(".frame");
  const image = frame.querySelector("img"), mark = frame.querySelector("span");
  image.src = data.image;
  image.alt = data.alt;
  frame.setAttribute("aria-label", data.alt + ": click a position, or move it with the arrow keys");
  let place = data.place;
  const show = () => {
    mark.hidden = !place;
    if (place) [mark.style.left, mark.style.top] = [100 * place[0] + "%", 100 * place[1] + "%"];
  };
  const choose = (x, y) => {
    place = [x, y].map((value) => Math.min(0.999, Math.max(0, value)));
    show();
    setStateValue("place", place);
  };
  frame.onclick = (event) => {
    const box = image.getBoundingClientRect();
    choose((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
  };
  frame.onkeydown = (event) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    const [x, y] = place || [0.5, 0.5];
    choose(x + step[0] / data.columns, y + step[1] / data.rows);
  };
  show();
}
"""
_PLACE = st.components.v2.component("probe.place", html=_HTML, css=_CSS, js=_JS)


def clickable_image(uri: str, alt: str, key: str, *, cells: tuple[int, int]) -> tuple[float, float] | None:
    """The chosen place as (x, y) in [0, 1), from the upper left; None before one is chosen.

    uri: a data: URI. cells: (rows, columns), by one of which an arrow key moves the place.
    """
    former = st.session_state.get(f"{key}-place")
    found = _PLACE(
        key=key,
        data={"image": uri, "alt": alt, "place": former, "rows": cells[0], "columns": cells[1]},
        default={"place": former},
        on_place_change=lambda: None,
    )
    place = found.place
    st.session_state[f"{key}-place"] = place
    return (float(place[0]), float(place[1])) if place else None
