"""Check exhibits before they are drawn: shapes agree, and numbers are finite where they must be."""

from collections.abc import Callable

import numpy as np

from probe.exhibits.exhibits import (
    Array,
    Chart,
    Exhibit,
    ImageGrid,
    Matrix,
    Scale,
    Scatter,
    Surface,
    Table,
)

_ROUNDING = 1e-4  # by which float32 sums of weights may leave [0, 1]


def check(exhibit: Exhibit) -> None:
    """Raise ValueError, with the exhibit and the position, if `exhibit` cannot be drawn correctly.

    NaN is allowed where it can be shown as a gap: in the y of a chart, the cells of a matrix or table, the z of a
    surface. Infinite values are not allowed.
    """
    try:
        if not exhibit.title.strip():
            raise ValueError("title is empty")
        if not exhibit.caption.strip():
            raise ValueError("caption is empty")
        _CHECKS[type(exhibit)](exhibit)
    except ValueError as error:
        raise ValueError(f"{type(exhibit).__name__} {exhibit.title!r}: {error}") from None


def _finite(name: str, values: Array, *, gaps: bool = False) -> None:
    values = np.asarray(values)
    if values.dtype.kind not in "fiub":
        raise ValueError(f"{name} must be numbers, got {values.dtype}")
    bad = np.isinf(values) if gaps else ~np.isfinite(values)
    if bad.any():
        first = tuple(int(i) for i in np.argwhere(bad)[0])
        raise ValueError(f"{name} is not finite: {values[first]} at {list(first)}")
    if gaps and values.size and np.isnan(values.astype(float)).all():
        raise ValueError(f"{name} is NaN everywhere")


def _within(name: str, values: Array) -> None:
    _finite(name, values)
    if values.size == 0:
        raise ValueError(f"{name} is empty: shape {values.shape}")
    low, high = float(values.min()), float(values.max())
    if low < -_ROUNDING or high > 1 + _ROUNDING:
        raise ValueError(f"{name} must lie in [0, 1], got {low:.4g} to {high:.4g}")


def _length(name: str, actual: int, expected: int) -> None:
    if actual != expected:
        raise ValueError(f"{name}: expected {expected}, got {actual}")


def _scale(scale: Scale) -> None:
    if not (np.isfinite(scale.low) and np.isfinite(scale.high) and scale.low < scale.high):
        raise ValueError(f"scale must increase between finite limits, got {scale.low} to {scale.high}")
    if scale.kind == "diverging" and not np.isclose(scale.low, -scale.high):
        raise ValueError(f"a diverging scale must be centred on zero, got {scale.low:g} to {scale.high:g}")


def _image_grid(exhibit: ImageGrid) -> None:
    if not exhibit.images:
        raise ValueError("there are no images")
    if exhibit.scale is not None:
        _scale(exhibit.scale)
    if exhibit.labels:
        _length("labels", len(exhibit.labels), len(exhibit.images))
    for i, image in enumerate(exhibit.images):
        name = f"images[{i}]"
        if image.ndim == 2:
            if exhibit.scale is None:
                raise ValueError(f"{name} is a scalar map {image.shape} and needs a scale")
            if image.size == 0:
                raise ValueError(f"{name} is empty: shape {image.shape}")
            _finite(name, image)
        elif image.ndim == 3 and image.shape[2] in (1, 3):
            _within(name, image)
        else:
            raise ValueError(f"{name} must be (h, w, 3), (h, w, 1) or (h, w), got {image.shape}")


def _chart(exhibit: Chart) -> None:
    if not exhibit.lines:
        raise ValueError("there are no lines")
    for line in exhibit.lines:
        name = f"line {line.name!r}"
        _length(f"{name}, y", len(line.y), len(line.x))
        if len(line.x) == 0:
            raise ValueError(f"{name} has no points")
        _finite(f"{name}, x", line.x)
        _finite(f"{name}, y", line.y, gaps=True)
        for end, values in (("low", line.low), ("high", line.high)):
            if values is not None:
                _length(f"{name}, {end}", len(values), len(line.x))
                _finite(f"{name}, {end}", values, gaps=True)
        if exhibit.ticks and not (np.min(line.x) >= 0 and np.max(line.x) <= len(exhibit.ticks) - 1):
            span = f"{np.min(line.x):g} to {np.max(line.x):g}"
            raise ValueError(f"{name}: x is {span}, but the ticks are 0 to {len(exhibit.ticks) - 1}")
        if exhibit.x_log and np.min(line.x) < 0:
            raise ValueError(f"{name} has negative x on a logarithmic axis")
        if exhibit.y_log and np.nanmin(line.y) < 0:
            raise ValueError(f"{name} has negative y on a logarithmic axis")


def _matrix(exhibit: Matrix) -> None:
    if exhibit.values.ndim != 2 or exhibit.values.size == 0:
        raise ValueError(f"values must be (rows, columns), got {exhibit.values.shape}")
    _length("row labels", len(exhibit.row_labels), exhibit.values.shape[0])
    _length("column labels", len(exhibit.column_labels), exhibit.values.shape[1])
    _finite("values", exhibit.values, gaps=True)
    if exhibit.scale is not None:
        _scale(exhibit.scale)
    if (behind := exhibit.cell_images) is not None:
        _length("labels of the images of cells", len(behind.labels), len(behind.images))
        _thumbnails("images of cells", behind.images, len(behind.cells))
        _positions("cells", behind.cells, np.array(exhibit.values.shape))
        if behind.counts.shape != exhibit.values.shape:
            raise ValueError(f"counts of cells must be {exhibit.values.shape}, got {behind.counts.shape}")


def _thumbnails(name: str, images: Array, n: int) -> None:
    _length(name, len(images), n)
    if images.ndim != 4 or images.shape[3] not in (1, 3):
        raise ValueError(f"{name} must be (n, h, w, 1 or 3), got {images.shape}")
    _within(name, images)


def _positions(name: str, values: Array, ends: Array | int) -> None:
    """Whole numbers (n, k) from 0 to below `ends`, which may differ by column."""
    if values.ndim != 2 or values.dtype.kind not in "iu":
        raise ValueError(f"{name} must be whole numbers (n, k), got {values.dtype} {values.shape}")
    if (values < 0).any() or (values >= ends).any():
        raise ValueError(f"{name} must lie in 0 to below {ends}, got {values.min()} to {values.max()}")


def _scatter(exhibit: Scatter) -> None:
    n = len(exhibit.x)
    if n == 0:
        raise ValueError("there are no points")
    _length("y", len(exhibit.y), n)
    _finite("x", exhibit.x)
    _finite("y", exhibit.y)
    if exhibit.group is not None:
        _length("group", len(exhibit.group), n)
        if exhibit.group.dtype.kind not in "iu":
            raise ValueError(f"group must be whole numbers, got {exhibit.group.dtype}")
        low, high = int(exhibit.group.min()), int(exhibit.group.max())
        if low < 0 or high >= len(exhibit.group_names):
            raise ValueError(
                f"group is {low} to {high}, but there are {len(exhibit.group_names)} group names"
            )
    if exhibit.point_names:
        _length("point names", len(exhibit.point_names), n)
    if exhibit.thumbnails is not None:
        _thumbnails("thumbnails", exhibit.thumbnails, n)
    if exhibit.neighbours is not None:
        _length("neighbours", len(exhibit.neighbours), n)
        _positions("neighbours", exhibit.neighbours, n)
    if exhibit.links is not None:
        _positions("links", exhibit.links, n)
        if exhibit.links.shape[1] != 2:
            raise ValueError(f"links must be (m, 2), got {exhibit.links.shape}")


def _surface(exhibit: Surface) -> None:
    shape = exhibit.z.shape[-2:]
    if exhibit.z.ndim not in (2, 3) or shape != (len(exhibit.y), len(exhibit.x)) or min(exhibit.z.shape) < 1:
        raise ValueError(
            f"z must be (len(y), len(x)) or (surfaces, len(y), len(x)): "
            f"got {exhibit.z.shape} for {len(exhibit.y)} and {len(exhibit.x)}"
        )
    if min(shape) < 2:
        raise ValueError(f"z needs at least 2 points in each direction, got {exhibit.z.shape}")
    if exhibit.z.ndim == 3 or exhibit.names:
        _length("names", len(exhibit.names), len(exhibit.surfaces))
    if exhibit.computed is not None and exhibit.computed.shape != exhibit.z.shape:
        raise ValueError(f"computed must be {exhibit.z.shape} like z, got {exhibit.computed.shape}")
    for name, values in (("x", exhibit.x), ("y", exhibit.y)):
        _finite(name, values)
        if not (np.diff(values) > 0).all():
            raise ValueError(f"{name} must increase")
    _finite("z", exhibit.z, gaps=True)
    if exhibit.z_log and np.nanmin(exhibit.z) <= 0:
        raise ValueError("z must be positive on a logarithmic axis")
    if exhibit.path is not None:
        if exhibit.path.ndim != 2 or exhibit.path.shape[1] != 2:
            raise ValueError(f"path must be (m, 2), got {exhibit.path.shape}")
        _finite("path", exhibit.path)


def _table(exhibit: Table) -> None:
    if not exhibit.columns:
        raise ValueError("there are no columns")
    for i, row in enumerate(exhibit.rows):
        _length(f"row {i}, cells", len(row), len(exhibit.columns))
        for name, cell in zip(exhibit.columns, row, strict=True):
            if isinstance(cell, float) and np.isinf(cell):
                raise ValueError(f"row {i}, {name!r} is infinite")
    unknown = set(exhibit.formats) - set(exhibit.columns)
    if unknown:
        raise ValueError(f"formats name columns that do not exist: {', '.join(sorted(unknown))}")


_CHECKS: dict[type[Exhibit], Callable[..., None]] = {
    ImageGrid: _image_grid,
    Chart: _chart,
    Matrix: _matrix,
    Scatter: _scatter,
    Surface: _surface,
    Table: _table,
}
