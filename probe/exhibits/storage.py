"""Store a Result in a folder: result.json and arrays.npz, with a picture and a CSV of each exhibit."""

import dataclasses
import io
import json
import math
import re
import tokenize
import unicodedata
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from probe.atomic_files import write_whole
from probe.errors import UserError
from probe.exhibits.exhibits import KINDS, Array, CellImages, Exhibit, ImageGrid, Line, Scale
from probe.exhibits.result import Number, Result
from probe.exhibits.tabular import csv_text
from probe.regular_files import open_regular

_MOST_BYTES = 2 * 2**30  # of the arrays of a result
_DAMAGED = (
    LookupError,
    TypeError,
    AttributeError,
    EOFError,
    RuntimeError,  # encrypted; too deep; a compression that is not implemented
    MemoryError,
    SyntaxError,
    OverflowError,
    json.JSONDecodeError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What readers of JSON, zip archives and NumPy arrays raise for damaged files, besides ValueError and OSError."""

_PARTS = {kind.__name__: kind for kind in (*KINDS.values(), CellImages, Line, Scale, Number, Result)}


def save(result: Result, folder: Path, *, draw: bool = True) -> None:
    """Write `result` into `folder`, which is created if needed; the same result gives the same bytes.

    draw: also write a picture of each exhibit, PNG of images and SVG of the others. `load` needs only result.json and arrays.npz.
    Raises ValueError if an exhibit cannot be drawn, OSError if the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Array] = {}
    content = to_json(result, "result", arrays)
    write_whole(folder / "arrays.npz", _npz(arrays))
    text = json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False)
    write_whole(folder / "result.json", (text + "\n").encode("utf-8", "backslashreplace"))
    for stem, exhibit in zip(file_names(result), result.exhibits, strict=True):
        if (text := csv_text(exhibit)) is not None:
            write_whole(folder / f"{stem}.csv", text.encode("utf-8", "backslashreplace"))
        if draw:
            picture = "png" if isinstance(exhibit, ImageGrid) else "svg"
            save_exhibit(exhibit, folder / f"{stem}.{picture}")


def save_exhibit(exhibit: Exhibit, path: Path) -> Path:
    """Write the picture of an exhibit as .png or .svg, or its numbers as .csv; returns the path.

    Raises UserError for another suffix and for a .csv of images, ValueError if it cannot be drawn.
    """
    suffix = path.suffix.lower()
    if suffix == ".csv":
        text = csv_text(exhibit)
        if text is None:
            raise UserError(f"{exhibit.title!r} holds images: write it as .png or .svg")
        write_whole(path, text.encode("utf-8", "backslashreplace"))
        return path
    if suffix not in (".png", ".svg"):
        raise UserError(f"{path} must end in .png, .svg or .csv")
    from probe.exhibits.static import png, svg  # slow to import, and not always needed

    write_whole(path, png(exhibit) if suffix == ".png" else svg(exhibit))
    return path


def load(folder: Path) -> Result:
    """Read the Result that `save` wrote. Raises OSError or ValueError if the folder does not contain one."""
    try:
        with open_regular(folder / "result.json") as file:
            content = json.loads(file.read())
        with open_regular(folder / "arrays.npz") as file:
            data = io.BytesIO(file.read())
        if not zipfile.is_zipfile(data):  # NumPy would take it for an array of its own
            raise ValueError(f"{folder} does not contain a complete result: arrays.npz is not an archive")
        with zipfile.ZipFile(data) as archive:
            if (size := sum(entry.file_size for entry in archive.infolist())) > _MOST_BYTES:
                raise ValueError(
                    f"{folder / 'arrays.npz'} claims {size:,} bytes of arrays, more than any result has"
                )
        with np.load(data, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        result = _from_json(content, arrays)
    except _DAMAGED as error:
        raise ValueError(f"{folder} does not contain a complete result: {error}") from error
    if not isinstance(result, Result):
        raise ValueError(f"{folder} does not contain a result")
    return result


def file_names(result: Result) -> list[str]:
    """The file name of each exhibit without its extension, such as "01-most-confident-mistakes"."""
    return [f"{i:02d}-{slug(exhibit.title)}" for i, exhibit in enumerate(result.exhibits, start=1)]


def slug(text: str) -> str:
    """A text as a file name or anchor: at most 60 lower-case Latin letters, digits and hyphens, never empty."""
    letters = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", letters).strip("-")[:60].rstrip("-") or "exhibit"


def to_json(value: Any, name: str, arrays: dict[str, Array]) -> Any:
    """A Result or a part of one as JSON; arrays are put into `arrays` under `name`, its path, and what follows."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, np.ndarray):
        arrays[name] = value
        return {"array": name}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        return {"type": type(value).__name__} | {
            k: to_json(v, f"{name}.{k}", arrays) for k, v in fields.items()
        }
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    if isinstance(value, tuple):
        return {"tuple": [to_json(v, f"{name}.{i}", arrays) for i, v in enumerate(value)]}
    if isinstance(value, list):
        return [to_json(v, f"{name}.{i}", arrays) for i, v in enumerate(value)]
    if isinstance(value, dict):
        # As pairs, so that no key can be mistaken for one of the markers above.
        return {"pairs": [[k, to_json(v, f"{name}.{i}", arrays)] for i, (k, v) in enumerate(value.items())]}
    if value is None or isinstance(value, str | int | float):
        return value
    raise TypeError(f"{name} cannot be stored: {type(value).__name__}")


def _from_json(content: Any, arrays: dict[str, Array]) -> Any:
    match content:
        case {"type": str(name), **fields}:
            return _PARTS[name](**{k: _from_json(v, arrays) for k, v in fields.items()})
        case {"array": str(name)}:
            return arrays[name]
        case {"float": str(text)}:
            return float(text)
        case {"tuple": list(items)}:
            return tuple(_from_json(item, arrays) for item in items)
        case {"pairs": list(pairs)}:
            return {key: _from_json(value, arrays) for key, value in pairs}
        case list():
            return [_from_json(item, arrays) for item in content]
    return content


def _npz(arrays: dict[str, Array]) -> bytes:
    """An npz archive without timestamps."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=3) as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, np.asanyarray(array), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), content.getvalue(), zipfile.ZIP_DEFLATED, 3)
    return file.getvalue()
