"""Draw charts, matrices, scatter plots and surfaces with plotly, which is imported in this package alone."""

from collections.abc import Callable

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from probe.exhibits.checks import check
from probe.exhibits.colour import colour_table
from probe.exhibits.exhibits import Array, Chart, Exhibit, Matrix, Scale, Scatter, Surface

SERIES = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00"),
    *("#56b4e9", "#7a5195", "#8c6d31", "#7f8791", "#9aae07"),
)
"""The colours of series, after Okabe and Ito (2008)."""

MOST_POINTS = 20_000
"""Points of a scatter plot; of more, every so many are drawn, and the plot says so."""


def interactive_figure(exhibit: Exhibit) -> go.Figure | None:
    """A plotly figure of an exhibit without its title and caption; None for image grids and tables.

    Raises ValueError if the exhibit cannot be drawn (`checks.check`).
    """
    draw = _DRAW.get(type(exhibit))
    if draw is None:
        return None
    check(exhibit)
    figure = draw(exhibit)
    figure.update_layout(
        colorway=SERIES,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        margin={"l": 10, "r": 10, "t": 56, "b": 10},  # the tools of a plot lie above its legend
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
    )
    powers = {"exponentformat": "power", "minexponent": 5}  # plotly writes 2.5µ and 10k by default
    figure.update_xaxes(**powers)
    figure.update_yaxes(**powers)
    return figure


def _plain(text: str) -> str:
    """Text from strangers: plotly reads tags such as <b> and <a href> in names and labels."""
    return str(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _band(colour: str) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.18)"


def _chart(exhibit: Chart) -> go.Figure:
    figure = go.Figure()
    ticks = [_plain(tick) for tick in exhibit.ticks]
    for i, line in enumerate(exhibit.lines):
        colour = SERIES[i % len(SERIES)]
        if line.low is not None and line.high is not None and exhibit.kind == "line":
            xs = np.concatenate([line.x, line.x[::-1]])
            ys = np.concatenate([line.high, line.low[::-1]])
            band = {"fill": "toself", "fillcolor": _band(colour), "line": {"width": 0}, "hoverinfo": "skip"}
            figure.add_scatter(x=xs, y=ys, showlegend=False, mode="lines", **band)
        error = None
        if line.low is not None and line.high is not None and exhibit.kind != "line":
            error = {"array": line.high - line.y, "arrayminus": line.y - line.low, "thickness": 1}
        if exhibit.kind == "bar" and not line.dashed:
            figure.add_bar(x=line.x, y=line.y, name=_plain(line.name), error_y=error, marker_color=colour)
            continue
        markers = exhibit.kind == "points" and not line.dashed
        few = len(line.x) <= 30 and not line.dashed
        figure.add_scatter(
            x=line.x,
            y=line.y,
            name=_plain(line.name),
            error_y=error,
            mode="markers" if markers else "lines+markers" if few else "lines",
            line={"color": colour, "dash": "dash" if line.dashed else "solid"},
        )
    figure.update_layout(showlegend=len(exhibit.lines) > 1)
    figure.update_xaxes(title=_plain(exhibit.x_label), type="log" if exhibit.x_log else "linear")
    figure.update_yaxes(title=_plain(exhibit.y_label), type="log" if exhibit.y_log else "linear")
    if ticks:
        figure.update_xaxes(tickvals=list(range(len(ticks))), ticktext=ticks)
    if exhibit.y_range is not None:
        low, high = exhibit.y_range
        figure.update_yaxes(range=[np.log10(low), np.log10(high)] if exhibit.y_log else [low, high])
    return figure


def _colour_scale(kind: str) -> list[list[object]]:
    colours = (255 * colour_table(kind, 16)).round().astype(int)
    return [[i / 15, f"rgb({r},{g},{b})"] for i, (r, g, b) in enumerate(colours.tolist())]


def _limits(values: Array, scale: Scale | None) -> tuple[float, float, str]:
    if scale is not None:
        return scale.low, scale.high, scale.kind
    finite = values[np.isfinite(values)]
    return (
        (float(finite.min()), float(finite.max()), "sequential") if len(finite) else (0.0, 1.0, "sequential")
    )


def _matrix(exhibit: Matrix) -> go.Figure:
    low, high, kind = _limits(exhibit.values, exhibit.scale)
    rows = [f"{i}: {_plain(name)}" for i, name in enumerate(exhibit.row_labels)]
    columns = [f"{j}: {_plain(name)}" for j, name in enumerate(exhibit.column_labels)]
    text = None
    if exhibit.format:
        text = [
            ["" if np.isnan(v) else exhibit.format.format(v) for v in row] for row in exhibit.values.tolist()
        ]
    figure = go.Figure(
        go.Heatmap(
            z=exhibit.values,
            x=columns,
            y=rows,
            zmin=low,
            zmax=high,
            colorscale=_colour_scale(kind),
            colorbar={"title": _plain(exhibit.scale.label) if exhibit.scale else ""},
            text=text,
            texttemplate="%{text}" if text and len(rows) <= 24 else None,
        )
    )
    names = {"tickmode": "array"}
    figure.update_xaxes(
        title=_plain(exhibit.column_title), tickvals=columns, ticktext=_names(columns), **names
    )
    figure.update_yaxes(
        title=_plain(exhibit.row_title), tickvals=rows, ticktext=_names(rows), autorange="reversed", **names
    )
    return figure


def _names(numbered: list[str]) -> list[str]:
    return [name.split(": ", 1)[1] for name in numbered]


def _scatter(exhibit: Scatter) -> go.Figure:
    figure = go.Figure()
    n = len(exhibit.x)
    shown = np.arange(0, n, -(-n // MOST_POINTS) or 1)
    groups = exhibit.group[shown] if exhibit.group is not None else np.zeros(len(shown), dtype=int)
    for number in np.unique(groups).tolist():
        rows = shown[groups == number]
        figure.add_scattergl(
            x=exhibit.x[rows],
            y=exhibit.y[rows],
            mode="markers",
            name=_plain(exhibit.group_names[number]) if exhibit.group_names else "",
            customdata=rows,
            text=[_plain(exhibit.point_names[row]) for row in rows] if exhibit.point_names else None,
            marker={"size": 6, "opacity": 0.8, "color": SERIES[number % len(SERIES)]},
        )
    if exhibit.links is not None:
        _links(figure, exhibit)
    if len(shown) < n:
        figure.add_annotation(text=f"{len(shown):,} of {n:,} points", x=1, y=0, xref="paper", yref="paper")
    figure.update_layout(showlegend=bool(exhibit.group_names), dragmode="lasso")
    figure.update_xaxes(title=_plain(exhibit.x_label))
    figure.update_yaxes(title=_plain(exhibit.y_label))
    if exhibit.equal:
        figure.update_yaxes(scaleanchor="x")
    return figure


def _links(figure: go.Figure, exhibit: Scatter) -> None:
    """A line between the points of each pair, and a ring around the second."""
    assert exhibit.links is not None
    first, second = exhibit.links.T
    gap = np.full(len(first), np.nan)
    line = {"mode": "lines", "hoverinfo": "skip", "showlegend": False}
    figure.add_scattergl(
        x=np.stack([exhibit.x[first], exhibit.x[second], gap], 1).ravel(),
        y=np.stack([exhibit.y[first], exhibit.y[second], gap], 1).ravel(),
        line={"color": "rgba(127,137,145,0.7)", "width": 1},
        **line,
    )
    figure.add_scattergl(
        x=exhibit.x[second],
        y=exhibit.y[second],
        mode="markers",
        name="after",
        customdata=second,  # a click on the ring is one on its point
        hoverinfo="skip",
        showlegend=False,
        marker={"size": 10, "symbol": "circle-open", "color": "rgba(127,137,145,1)"},
    )


def _surface(exhibit: Surface) -> go.Figure:
    """Surfaces side by side on one scale of heights and colours, the first with its path."""
    heights = exhibit.surfaces
    if exhibit.z_log:
        heights = np.log10(np.where(heights > 0, heights, np.nan))
    count = len(heights)
    names = [_plain(name) for name in exhibit.names] or None
    figure = make_subplots(1, count, specs=[[{"type": "surface"}] * count], subplot_titles=names)
    finite = heights[np.isfinite(heights)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    label = f"log10 of {exhibit.z_label}" if exhibit.z_log else exhibit.z_label
    for k, height in enumerate(heights):
        figure.add_surface(
            x=exhibit.x,
            y=exhibit.y,
            z=height,
            cmin=low,
            cmax=high,
            colorscale=_colour_scale("sequential"),
            contours={"z": {"show": True, "usecolormap": True, "width": 1}},
            colorbar={"title": _plain(label)},
            showscale=k == count - 1,
            row=1,
            col=k + 1,
        )
    figure.update_scenes(
        xaxis_title=_plain(exhibit.x_label),
        yaxis_title=_plain(exhibit.y_label),
        zaxis={"title": _plain(label), "range": [low, high] if high > low else None},
        aspectmode="cube",
    )
    if exhibit.path is not None:
        along = _heights_at(exhibit, heights[0])
        path = {
            "x": exhibit.path[:, 0],
            "y": exhibit.path[:, 1],
            "z": along,
            "name": "path",
            "showlegend": False,
        }
        figure.add_scatter3d(**path, mode="lines+markers", marker_size=3, line_color="#d55e00", row=1, col=1)
    return figure.update_layout(height=560)


def _heights_at(exhibit: Surface, height: Array) -> Array:
    """The height at the grid point nearest to each point of the path."""
    assert exhibit.path is not None
    columns = np.abs(exhibit.x[None] - exhibit.path[:, :1]).argmin(1)
    rows = np.abs(exhibit.y[None] - exhibit.path[:, 1:2]).argmin(1)
    return height[rows, columns]


_DRAW: dict[type[Exhibit], Callable[..., go.Figure]] = {
    Chart: _chart,
    Matrix: _matrix,
    Scatter: _scatter,
    Surface: _surface,
}
