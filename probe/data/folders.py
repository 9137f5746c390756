"""Which images lie in a folder, and what are their labels: a folder per class, file names, or a table?"""

import csv
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from probe.data.file_store import Archive, check_files, recheck_files
from probe.data.images import Images
from probe.errors import UserError

DECODED_AT_ONCE = 20_000  # sets up to this size are decoded when they are opened, to find what is broken
_SPLITS = {"train", "test", "val", "valid", "validation"}


def open_folder(path: Path, spec: str, labelling: str | None, n: int | None, seed: int) -> Images:
    """The pictures below `path`, called `spec`; broken ones are skipped, with a note.

    labelling: None takes the folders as classes where there are any, "prefix" the number that file names start
    with, else the path of a CSV. n, seed: how many to draw. Raises UserError where no picture can be read.
    """
    archive = Archive.open(path)
    if not archive.names:
        raise UserError(f"{path} holds no picture: png, jpeg, webp and bmp files are read")
    names, notes = list(archive.names), []
    tops = {name.partition("/")[0] for name in names if "/" in name}
    if labelling is None and tops and tops <= _SPLITS:
        raise UserError(
            f"{path} holds {' and '.join(sorted(tops))}: name one of them, such as {path}/{min(tops)}"
        )
    if labelling is None and tops and (beside := [name for name in names if "/" not in name]):
        names = [name for name in names if "/" in name]
        notes.append(f"Left out: {_files(len(beside))} beside the class folders.")
    whole = len(names) <= DECODED_AT_ONCE
    files, bad = check_files(archive, names, whole=whole)
    if not files.names:
        raise _nothing(path, bad)
    labels, classes = _labelled(files.names, labelling)
    images = Images(spec, files, torch.arange(len(files)), files.names, labels, classes)
    if n is not None:
        images = images.take(n, seed)
    if not whole and n is not None and len(images) <= DECODED_AT_ONCE:
        late = recheck_files(files, images.rows.tolist())
        bad |= {files.names[row]: why for row, why in late.items()}
        if len(late) == len(images):
            raise _nothing(path, bad)
        images = images.select([i for i, row in enumerate(images.rows.tolist()) if row not in late])
    if bad:
        was = "was" if len(bad) == 1 else "were"
        notes.append(f"{_files(len(bad))} could not be read and {was} skipped: {_some(bad)}.")
    return replace(images, notes=(*notes, *images.notes))


def _labelled(names: Sequence[str], how: str | None) -> tuple[Tensor | None, tuple[str, ...] | None]:
    """Labels and class names of the files `names`, by folder, by prefix or by a table."""
    if how is None:
        if "/" not in names[0]:
            return None, None
        said: list[str] = [name.partition("/")[0] for name in names]
    elif how == "prefix":
        numbers = [re.match(r"\d+", Path(name).name) for name in names]
        if None in numbers:
            wrong = names[numbers.index(None)]
            raise UserError(f"labels=prefix wants file names that start with a number, got {wrong}")
        return torch.tensor([int(number[0]) for number in numbers if number]), None
    else:
        said = _table(Path(how).expanduser(), names)
        if all(cell.isdecimal() for cell in said):
            return torch.tensor([int(cell) for cell in said]), None
    classes = tuple(sorted(set(said)))
    numbered = {name: i for i, name in enumerate(classes)}
    return torch.tensor([numbered[cell] for cell in said]), classes


def _table(path: Path, names: Sequence[str]) -> list[str]:
    """The second column of a CSV for each of `names`, which its first column gives with or without folders."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [[cell.strip() for cell in row] for row in csv.reader(file) if any(row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"labels: {path} cannot be read ({error}); give 'prefix' or a CSV file") from None
    short = next((row for row in rows if len(row) != 2 or not all(row)), None)
    if short is not None:
        raise UserError(f"{path} wants two columns, file name and class, got {','.join(short)!r}")
    known = {row[0]: row[1] for row in rows}
    found = [known.get(name) or known.get(Path(name).name) for name in names]
    missing = [name for name, cell in zip(names, found, strict=True) if cell is None]
    if missing:
        raise UserError(f"{path} has no row for {_some(missing)}")
    return [cell for cell in found if cell is not None]


def _nothing(path: Path, bad: dict[str, str]) -> UserError:
    return UserError(f"{path} holds no picture that can be read: {_some(bad)}")


def _files(count: int) -> str:
    return f"{count:,} file{'s' if count != 1 else ''}"


def _some(bad: dict[str, str] | Sequence[str], most: int = 5) -> str:
    shown = [f"{name} ({bad[name]})" if isinstance(bad, dict) else name for name in list(bad)[:most]]
    return ", ".join(shown) + (f" and {len(bad) - most:,} more" if len(bad) > most else "")
