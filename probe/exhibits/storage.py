"""Keeps a Result in a folder: result.json and arrays.npz, with a picture and a CSV of each exhibit beside them."""

import dataclasses
import io
import json
import math
import re
import unicodedata
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from probe.exhibits.exhibits import KINDS, Array, Line, Scale
from probe.exhibits.result import Number, Result
from probe.exhibits.tabular import csv_text

_PARTS = {kind.__name__: kind for kind in (*KINDS.values(), Line, Scale, Number, Result)}


def save(result: Result, folder: Path, *, draw: bool = True) -> None:
    """Write `result` into `folder`, which is made if it is not there; same result, same bytes.

    draw: also a PNG of each exhibit. `load` needs only result.json and arrays.npz.
    Raises ValueError if an exhibit cannot be drawn, OSError if the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Array] = {}
    told = _plain(result, "result", arrays)
    (folder / "arrays.npz").write_bytes(_npz(arrays))
    text = json.dumps(told, ensure_ascii=False, indent=1, allow_nan=False)
    (folder / "result.json").write_text(text + "\n", encoding="utf-8")
    for stem, exhibit in zip(file_names(result), result.exhibits, strict=True):
        if (text := csv_text(exhibit)) is not None:
            (folder / f"{stem}.csv").write_bytes(text.encode("utf-8"))
        if draw:
            from probe.exhibits.static import png  # matplotlib is slow to import and not always needed

            (folder / f"{stem}.png").write_bytes(png(exhibit))


def load(folder: Path) -> Result:
    """The Result that `save` wrote. Raises OSError or ValueError if the folder does not hold one."""
    try:
        told = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        with np.load(io.BytesIO((folder / "arrays.npz").read_bytes()), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        result = _rebuilt(told, arrays)
    except (KeyError, TypeError, AttributeError, zipfile.BadZipFile, json.JSONDecodeError) as error:
        raise ValueError(f"{folder} does not hold a whole result: {error}") from error
    if not isinstance(result, Result):
        raise ValueError(f"{folder} does not hold a result")
    return result


def file_names(result: Result) -> list[str]:
    """The file name of each exhibit without its ending, such as "01-most-confident-mistakes"."""
    return [f"{i:02d}-{slug(exhibit.title)}" for i, exhibit in enumerate(result.exhibits, start=1)]


def slug(text: str) -> str:
    """A text as a file name or anchor: small Latin letters, digits and hyphens, at most 60, never empty."""
    letters = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", letters).strip("-")[:60].rstrip("-") or "exhibit"


def _plain(value: Any, name: str, arrays: dict[str, Array]) -> Any:
    """The value as JSON can say it; arrays go to `arrays` under the path that leads to them."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, np.ndarray):
        arrays[name] = value
        return {"array": name}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        return {"type": type(value).__name__} | {
            k: _plain(v, f"{name}.{k}", arrays) for k, v in fields.items()
        }
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    if isinstance(value, tuple):
        return {"tuple": [_plain(v, f"{name}.{i}", arrays) for i, v in enumerate(value)]}
    if isinstance(value, list):
        return [_plain(v, f"{name}.{i}", arrays) for i, v in enumerate(value)]
    if isinstance(value, dict):
        # As pairs, so that a name can be any string without being taken for one of the marks above.
        return {"pairs": [[k, _plain(v, f"{name}.{i}", arrays)] for i, (k, v) in enumerate(value.items())]}
    if value is None or isinstance(value, str | int | float):
        return value
    raise TypeError(f"{name} cannot be stored: {type(value).__name__}")


def _rebuilt(told: Any, arrays: dict[str, Array]) -> Any:
    match told:
        case {"type": str(name), **fields}:
            return _PARTS[name](**{k: _rebuilt(v, arrays) for k, v in fields.items()})
        case {"array": str(name)}:
            return arrays[name]
        case {"float": str(text)}:
            return float(text)
        case {"tuple": list(items)}:
            return tuple(_rebuilt(item, arrays) for item in items)
        case {"pairs": list(pairs)}:
            return {key: _rebuilt(value, arrays) for key, value in pairs}
        case list():
            return [_rebuilt(item, arrays) for item in told]
    return told


def _npz(arrays: dict[str, Array]) -> bytes:
    """An npz archive without the time of writing in it."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=3) as archive:
        for name, array in arrays.items():
            held = io.BytesIO()
            np.lib.format.write_array(held, np.asanyarray(array), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), held.getvalue(), zipfile.ZIP_DEFLATED, 3)
    return file.getvalue()
